"""Roles: who answers a subcall. A Markdown file: front matter that bounds the role, then its prompt.

    ---
    name: answer
    description: Answers one question, thinking first.
    trust: untrusted
    max_output_tokens: 300
    output:
      type: object
      required: [reasoning, answer]
      properties:
        reasoning: {type: string, maxLength: 600}
        answer: {type: string, maxLength: 200}
    ---
    You answer one question. Think in short steps, then answer.

The prompt is the system message, word for word. What a recipe hands to the role becomes one user message: the ``input``
template with its ``{names}`` filled in, or a paragraph ``Name: value`` for each input. ``examples`` (inputs and the
answers that the role should give) come between the two as earlier turns. That is all that the role ever sees.
"""

from __future__ import annotations

import hashlib
import json
import string
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import jsonschema
from pydantic import Field, ValidationError, ValidationInfo, field_validator

from monitor import strict_yaml
from monitor.canonical import canonical_text
from monitor.errors import Fault, RoleError
from monitor.records import Frozen, Limits, Message, Trust
from monitor.settings import nearest

if TYPE_CHECKING:
    from pathlib import Path

FENCE = "---"
MAX_BYTES = 1 << 20
RESERVED = frozenset({"prompt", "path", "sha256"})
"""Fields of a role that its file gives by being what it is, not in front matter."""


class Example(Frozen):
    """One worked example: what was handed, and the answer that the role should give."""

    input: dict[str, Any]
    output: str | dict[str, Any]


class Role(Frozen):
    """A role, as its file says. ``budget`` bounds one subcall with all of its attempts and tool rounds.

    ``retries`` malformed answers are sampled again, and as many transient provider errors repeated; each is an attempt of
    its own in the record and in the budget. ``probes`` are attached to its subcalls, besides the run's. ``sha256`` is
    the hash of the file.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    description: str
    trust: Trust = "untrusted"
    model: str | None = None
    budget: Limits = Limits()
    max_output_tokens: int = Field(default=512, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    tools: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    reasoning: Literal["required", "optional"] = "optional"
    retries: int = Field(default=1, ge=0, le=10)
    input: str | None = None
    output: dict[str, Any] | None = None
    examples: tuple[Example, ...] = ()
    prompt: str = ""
    path: str = ""
    sha256: str = ""

    @field_validator("output")
    @classmethod
    def _check_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is None:
            return None
        if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
            raise ValueError("must be a JSON Schema of type object, with properties")
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as exc:
            where = ".".join(str(part) for part in exc.absolute_path)
            raise ValueError(f"is no JSON Schema: {where}: {exc.message}") from None
        for word in ("pattern", "patternProperties", "$ref", "$dynamicRef", "$recursiveRef"):
            if word in _keys(schema):
                raise ValueError(
                    f"may not use {word}: answers are hostile text, and {word} can be made to run for ever"
                )
        return {"additionalProperties": False, **schema}

    @field_validator("input")
    @classmethod
    def _check_template(cls, template: str | None) -> str | None:
        if template is not None:
            names_in(template)
        return template

    @field_validator("examples")
    @classmethod
    def _check_examples(cls, examples: tuple[Example, ...], info: ValidationInfo) -> tuple[Example, ...]:
        schema, template = info.data.get("output"), info.data.get("input")
        for number, example in enumerate(examples, 1):
            render(template, example.input, f"example {number}")
            error = schema and next(iter(jsonschema.Draft202012Validator(schema).iter_errors(example.output)), None)
            if error:
                raise ValueError(f"example {number} does not fit the output schema: {error.message}")
        return examples

    @cached_property
    def schema_text(self) -> str:
        """The output schema as canonical JSON, or an empty text."""
        return "" if self.output is None else canonical_text(self.output)

    def user_message(self, inputs: dict[str, Any]) -> str:
        """What was handed, as the one user message. Raises ValueError for a template with a name that was not handed."""
        return render(self.input, inputs, f"role {self.name}")

    def messages(self, inputs: dict[str, Any]) -> tuple[Message, ...]:
        """The messages of a subcall of this role: prompt, examples, and what was handed."""
        return (*self.opening, Message(role="user", content=self.user_message(inputs)))

    @cached_property
    def opening(self) -> tuple[Message, ...]:
        """The messages that every subcall of this role begins with: prompt and examples."""
        turns = [Message(role="system", content=self.prompt)] if self.prompt else []
        for example in self.examples:
            answer = example.output if isinstance(example.output, str) else _ordered_json(example.output)
            turns.append(Message(role="user", content=self.user_message(example.input)))
            turns.append(Message(role="assistant", content=answer))
        return tuple(turns)


def render(template: str | None, inputs: dict[str, Any], who: str) -> str:
    """What is handed to a role as text: the template filled in, the task alone, or labelled paragraphs.

    Raises ValueError for a template with a name that was not handed.
    """
    texts = {name: _as_text(value) for name, value in inputs.items()}
    if template is not None:
        missing = sorted(names_in(template) - texts.keys())
        if missing:
            raise ValueError(f"{who} needs {', '.join(missing)}; it was handed {', '.join(texts) or 'nothing'}")
        return string.Formatter().vformat(template, (), texts).strip()
    if texts.keys() == {"task"}:
        return texts["task"]
    return "\n\n".join(f"{name.replace('_', ' ').capitalize()}: {text}" for name, text in texts.items())


def names_in(template: str) -> set[str]:
    """The names in braces in a template. Raises ValueError for anything but plain names in single braces."""
    names: set[str] = set()
    for _, name, spec, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"a template takes plain names in braces, such as {{task}}; found {{{name}}}")
        names.add(name)
    return names


@lru_cache(maxsize=256)
def _load(path: Path, stamp: tuple[int, int]) -> Role:
    del stamp  # part of the cache key only: a file that changed is read again
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")
    if lines[0].strip() != FENCE or FENCE not in [line.strip() for line in lines[1:]]:
        raise RoleError([Fault(str(path), 1, 1, "a role begins with front matter between two lines of ---")])
    end = next(number for number, line in enumerate(lines[1:], 1) if line.strip() == FENCE)
    faults: list[Fault] = []
    node = strict_yaml.parse("\n".join(["", *lines[1:end]]), str(path), faults)
    front: dict[str, Any] = node.plain() if node and isinstance(node.value, dict) else {}
    if node and not isinstance(node.value, dict):
        faults.append(Fault(str(path), 2, 1, "front matter is a list of `name: value` lines"))
    if faults or node is None:
        raise RoleError(faults)
    if reserved := RESERVED & front.keys():
        mark = node.place([min(reserved)])
        raise RoleError([Fault(str(path), mark.line, mark.column, f"{min(reserved)} does not belong in front matter")])
    prompt = "\n".join(lines[end + 1 :]).strip()
    try:
        return Role(**front, prompt=prompt, path=str(path), sha256=hashlib.sha256(text.encode()).hexdigest())
    except ValidationError as exc:
        for error in exc.errors(include_url=False):
            mark = node.place(error["loc"])
            what = ".".join(str(part) for part in error["loc"]) or "the role"
            faults.append(Fault(str(path), mark.line, mark.column, f"{what}: {error['msg']}.", _hint(error)))
        raise RoleError(sorted(faults, key=lambda fault: (fault.line, fault.column))) from None


def _hint(error: Any) -> str:
    """The nearest known name for a name that is not known."""
    if error["type"] != "extra_forbidden":
        return ""
    known = set(Limits.model_fields) if error["loc"][0] == "budget" else Role.model_fields.keys() - RESERVED
    return f"Unknown name{nearest(str(error['loc'][-1]), known)}; known: {', '.join(sorted(known))}."


def load_role(path: Path) -> Role:
    """Read a role file. Raises RoleError with every fault and its line."""
    try:
        stat = path.stat()
        if stat.st_size > MAX_BYTES:
            raise RoleError([Fault(str(path), 1, 1, f"a role file has at most {MAX_BYTES} bytes")])
        return _load(path.resolve(), (stat.st_mtime_ns, stat.st_size))
    except (OSError, UnicodeDecodeError) as exc:
        raise RoleError([Fault(str(path), 1, 1, f"cannot be read: {exc}")]) from exc


def _keys(schema: Any) -> set[str]:
    """Every keyword of a schema, at any depth (names of properties are not keywords)."""
    if isinstance(schema, list):
        return set().union(*(_keys(item) for item in schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    keys = set(schema)
    for key, value in schema.items():
        keys |= set().union(*(_keys(item) for item in value.values())) if key == "properties" else _keys(value)
    return keys


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return "\n".join(f"{number}. {item}" for number, item in enumerate(value, 1))
    return canonical_text(value)


def _ordered_json(value: dict[str, Any]) -> str:
    """JSON in the order in which it was written: reasoning before the answer that follows from it."""
    return json.dumps(value, ensure_ascii=False)
