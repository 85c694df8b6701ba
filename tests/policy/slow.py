"""The policy language a second time: slow, obvious, and from the reference page alone.

It reads a pack as plain YAML, compares texts with ``str`` methods (and one regular expression at a time), and joins answers
by the tables that it finds in ``docs/policy-language.md``. It shares no code with ``monitor.policy``, and knows only
letters of which ``str.lower`` and RE2 think alike.
"""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass, field
from functools import cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import re2
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.records import Record

PAGE = Path(__file__).parents[2] / "docs" / "policy-language.md"
MATCH, NO_MATCH, UNKNOWN, ABSENT = "match", "no_match", "unknown", "not_applicable"
MOST = 20
Span: TypeAlias = tuple[str, int, int, str]
TEXTS = (
    *("task", "prompt", "system", "user", "data", "reasoning", "output", "written", "raw", "error"),
    *("tool.name", "tool.arguments", "tool.result", "tool.refused", "tool.unlisted"),
)


@dataclass
class Read:
    """What a field holds: (surface, text, where its first character stands) for each text, or values."""

    texts: list[tuple[str, str, int]] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    gap: str = ""
    present: bool = False


def detections(pack: str) -> list[dict[str, Any]]:
    """What the rules of a pack look for."""
    return [rule["detection"] for rule in YAML(typ="safe").load(pack)["rules"]]


def says(detection: dict[str, Any], record: Record) -> tuple[str, list[Span]]:
    """(status, evidence) of one rule, as if there were no other."""
    answer, evidence = _Rule(detection, record).says()
    return (ABSENT if answer == f"not ({ABSENT})" else answer), evidence


@cache
def tables() -> dict[str, dict[Any, str]]:
    """``not``, ``and`` and ``or`` as the reference page prints them."""
    found: dict[str, dict[Any, str]] = {}
    for block in PAGE.read_text(encoding="utf-8").split("\n\n"):
        rows = [[cell.strip().strip("*") for cell in line.split("|")[1:-1]] for line in block.splitlines()]
        if not block.startswith(("| `not` |", "| `and` |", "| `or` |")):
            continue
        (word, *columns), body = rows[0], rows[2:]
        if word == "`not`":
            found["not"] = {row[0]: row[1] for row in body}
        else:
            found[word.strip("`")] = {
                (row[0], column): cell for row in body for column, cell in zip(columns, row[1:], strict=True)
            }
    return found


def _join(word: str, answers: list[str]) -> str:
    return reduce(lambda one, other: tables()[word][one, other], answers)


class _Rule:
    def __init__(self, detection: dict[str, Any], record: Record) -> None:
        self.condition = detection["condition"].replace("(", " ( ").replace(")", " ) ").split()
        self.selections = {name: part for name, part in detection.items() if name != "condition"}
        self.record = record
        self.asserted: dict[str, None] = {}

    def says(self) -> tuple[str, list[Span]]:
        words = list(self.condition)
        answer = self._or(words, positive=True)
        assert not words
        evidence: list[Span] = []
        if answer == MATCH:
            for name in self.asserted:
                for clauses in self._alternatives(name):
                    if _join("and", [clause.answer() for clause in clauses]) == MATCH:
                        evidence += [span for clause in clauses for span in clause.evidence()[:MOST]]
        return answer, evidence

    def _or(self, words: list[str], *, positive: bool) -> str:
        answers = [self._and(words, positive=positive)]
        while words[:1] == ["or"]:
            words.pop(0)
            answers.append(self._and(words, positive=positive))
        return _join("or", answers)

    def _and(self, words: list[str], *, positive: bool) -> str:
        answers = [self._not(words, positive=positive)]
        while words[:1] == ["and"]:
            words.pop(0)
            answers.append(self._not(words, positive=positive))
        return _join("and", answers)

    def _not(self, words: list[str], *, positive: bool) -> str:
        word = words.pop(0)
        if word == "not":
            return tables()["not"][self._not(words, positive=not positive)]
        if word == "(":
            answer = self._or(words, positive=positive)
            words.pop(0)
            return answer
        if word in {"1", "all"}:
            words.pop(0)
            wanted = words.pop(0)
            names = [
                name
                for name in self.selections
                if (not name.startswith("_") if wanted == "them" else name.startswith(wanted.removesuffix("*")))
            ]
            return _join("or" if word == "1" else "and", [self._selection(name, positive=positive) for name in names])
        return self._selection(word, positive=positive)

    def _selection(self, name: str, *, positive: bool) -> str:
        if positive:
            self.asserted[name] = None
        joined = [_join("and", [clause.answer() for clause in clauses]) for clauses in self._alternatives(name)]
        return _join("or", joined)

    def _alternatives(self, name: str) -> Iterator[list[_Clause]]:
        part = self.selections[name]
        if isinstance(part, list) and not isinstance(part[0], dict):
            yield [_Clause(f"{name}: keywords", _everything(self.record), ["contains"], part, self.record)]
            return
        for lines in part if isinstance(part, list) else [part]:
            yield [self._line(name, key, value) for key, value in lines.items()]

    def _line(self, name: str, key: str, value: Any) -> _Clause:
        wanted, *modifiers = key.split("|")
        values = value if isinstance(value, list) else [value]
        read = _read(self.record, wanted, values, modifiers)
        return _Clause(f"{name}: {key}", read, modifiers, values, self.record)


@dataclass
class _Clause:
    label: str
    read: Read
    modifiers: list[str]
    values: list[Any]
    record: Record

    def answer(self) -> str:
        if "exists" in self.modifiers:
            return MATCH if self.read.present == self.values[0] else NO_MATCH
        gaps = [self.read.gap]
        if "fieldref" in self.modifiers:
            gaps.append(self._other().gap)
        if ABSENT in gaps:
            return ABSENT
        is_word = not self.read.texts and any(isinstance(value, str) for value in self.read.values)
        if is_word and UNKNOWN in gaps:
            return UNKNOWN
        if self._holds():
            return NO_MATCH if "neq" in self.modifiers else MATCH
        if UNKNOWN in gaps:
            return UNKNOWN
        return MATCH if "neq" in self.modifiers else NO_MATCH

    def _holds(self) -> bool:
        held = [text for _, text, _ in self.read.texts] or self.read.values
        if "fieldref" in self.modifiers:
            other = self._other()
            against = [text for _, text, _ in other.texts] or other.values
            pairs = [(a, b) for a in held for b in against if not (a == "" or b == "")]
            return any(self._compares(a, b) for a, b in pairs)
        found = [any(self._compares(one, value) for one in held) for value in self.values]
        return all(found) if "all" in self.modifiers else any(found)

    def _other(self) -> Read:
        return _read(self.record, self.values[0], [], [])

    def _compares(self, held: Any, value: Any) -> bool:
        if isinstance(held, str):
            return bool(self._places(held, value)) if "fieldref" not in self.modifiers else self._relates(held, value)
        compare = next((name for name in ("lt", "lte", "gt", "gte") if name in self.modifiers), "eq")
        compare = {"lte": "le", "gte": "ge"}.get(compare, compare)
        return bool(getattr(operator, compare)(held, value))

    def _relates(self, held: str, other: str) -> bool:
        if "cased" not in self.modifiers:
            held, other = held.lower(), other.lower()
        if "contains" in self.modifiers:
            return other in held
        if "startswith" in self.modifiers:
            return held.startswith(other)
        return held.endswith(other) if "endswith" in self.modifiers else held == other

    def _places(self, text: str, value: str) -> list[tuple[int, int]]:
        """Where the value stands in the text, as the modifiers mean it."""
        if "re" in self.modifiers:
            flags = "".join(flag for flag in "ims" if flag in self.modifiers)
            return [match.span() for match in re2.finditer(f"(?{flags}){value}" if flags else value, text)][:MOST]
        if "cased" not in self.modifiers:
            text, value = text.lower(), value.lower()
        if "contains" in self.modifiers:
            places: list[tuple[int, int]] = []
            at = text.find(value)
            while at >= 0 and len(places) < MOST:
                places.append((at, at + len(value)))
                at = text.find(value, at + len(value))
            return places
        if "startswith" in self.modifiers:
            return [(0, len(value))] if text.startswith(value) else []
        if "endswith" in self.modifiers:
            return [(len(text) - len(value), len(text))] if text.endswith(value) else []
        return [(0, len(text))] if text == value else []

    def evidence(self) -> list[Span]:
        found: list[Span] = []
        for surface, text, start in self.read.texts if _has_evidence(self) else ():
            spans: set[tuple[int, int]] = set()
            if "exists" in self.modifiers or "fieldref" in self.modifiers:
                others = [] if "exists" in self.modifiers else self._other().texts
                words = [other for _, other, _ in others] or (
                    [] if "exists" in self.modifiers else self._other().values
                )
                if text and "exists" in self.modifiers:
                    spans = {(0, len(text))}
                elif text:
                    spans = {place for other in words if other for place in self._places(text, other)}
            else:
                spans = {place for value in self.values for place in self._places(text, value)}
            found += [(surface, start + first, start + last, self.label) for first, last in sorted(spans) if surface]
        return found


def _has_evidence(clause: _Clause) -> bool:
    """Whether a clause has evidence at all: what it says is not there has no place."""
    return "neq" not in clause.modifiers and clause.values != [False]


def _everything(record: Record) -> Read:
    reads = [_read(record, name, [], []) for name in TEXTS]
    texts = list(dict.fromkeys(text for read in reads for text in read.texts))
    return Read(texts, gap=UNKNOWN if any(read.gap == UNKNOWN for read in reads) else "")


def _texts(*texts: tuple[str, str]) -> Read:
    return Read([(surface, text, 0) for surface, text in texts], present=any(text for _, text in texts))


def _value(value: Any) -> Read:
    return Read(values=[value], present=value != "")


def _missing(gap: str = ABSENT, *, present: bool = False) -> Read:
    return Read(gap=gap, present=present)


def _read(record: Record, name: str, values: list[Any], modifiers: list[str]) -> Read:
    call, seen = record.call, record.observation
    is_tool = call.kind == "tool"
    said = list(enumerate(call.messages))
    has_tools = bool(call.tools or seen.tool_calls or any(message.role == "tool" for _, message in said))
    if name.startswith("tool.") and not has_tools:
        return _missing()
    results = [(f"messages[{i}].content", m.content) for i, m in said if m.role == "tool"]
    if is_tool:
        results = [("output", seen.output), *([("error", seen.error.message)] if seen.error else []), *results]
    users = [(f"messages[{i}].content", m.content) for i, m in said if m.role == "user"]
    asked = list(enumerate(seen.tool_calls))
    arguments = [
        *([("task", call.task)] if is_tool else []),
        *((f"tool_calls[{i}].arguments", a.arguments) for i, a in asked),
    ]
    if name.startswith("tool.arguments."):
        return _argument(arguments, name.removeprefix("tool.arguments."), values, modifiers)
    if name.startswith("probe."):
        return _probe(record, name)
    if name in {"reasoning", "written", "reasoning.state"}:
        return _reasoning(record, name, arguments)
    texts: dict[str, list[tuple[str, str]]] = {
        "task": [("task", call.task)],
        "prompt": [text for i, m in said for text in _message(i, m)],
        "system": [(f"messages[{i}].content", m.content) for i, m in said if m.role == "system"],
        "user": users,
        "data": [*users, *results],
        "output": [("output", seen.output)],
        "raw": [("raw", seen.raw) if seen.raw else ("output", seen.output)],
        "error": [("error", seen.error.message if seen.error else "")],
        "tool.name": [
            *(("", tool) for tool in call.tools if is_tool),
            *((f"tool_calls[{i}].name", a.name) for i, a in asked),
        ],
        "tool.arguments": arguments,
        "tool.result": results,
        "tool.refused": [("", a.refused) for _, a in asked if a.refused is not None],
        "tool.unlisted": [
            (f"tool_calls[{i}].name", a.name)
            for i, a in asked
            if a.name not in call.tools and (call.tools or a.refused is not None)
        ],
    }
    if name in texts:
        return _texts(*texts[name])
    if name == "model_reported":
        if is_tool:
            return _missing()
        return _value(seen.model_reported) if seen.model_reported else _missing(UNKNOWN)
    if name == "usage.cost":
        cost = seen.usage.cost
        return _missing(UNKNOWN) if cost is None or not seen.usage_reported else _value(cost)
    if name == "usage.output_tokens":
        return _value(float(seen.usage.output_tokens)) if seen.usage_reported else _missing(UNKNOWN)
    if name.startswith("budget_left."):
        left = getattr(call.budget_left, name.removeprefix("budget_left."))
        return _missing() if left is None else _value(float(left))
    return _value(
        {
            "role": call.role,
            "trust": call.trust,
            "model": call.model,
            "kind": call.kind,
            "outcome": seen.outcome.value,
            "requires_reasoning": call.requires_reasoning,
            "usage.reported": seen.usage_reported,
            "depth": float(call.depth),
            "seconds": seen.seconds,
        }[name]
    )


def _message(index: int, message: Any) -> Iterator[tuple[str, str]]:
    yield f"messages[{index}].content", message.content
    for number, asked in enumerate(message.tool_calls):
        yield f"messages[{index}].tool_calls[{number}].name", asked.name
        yield f"messages[{index}].tool_calls[{number}].arguments", asked.arguments


def _reasoning(record: Record, name: str, arguments: list[tuple[str, str]]) -> Read:
    if record.call.kind == "tool":
        return _missing()
    reasoning = record.observation.reasoning
    state, text = reasoning.state.value, reasoning.text
    if name == "reasoning.state":
        return _value(state)
    hidden = state in {"redacted", "encrypted"}
    is_absent = state == "absent" and not text and not record.call.requires_reasoning
    read = _texts(*([("reasoning", text)] if text or not hidden else []))
    if name == "written":
        read = _texts(
            *((surface, part) for surface, part, _ in ([] if is_absent else read.texts)),
            ("output", record.observation.output),
            *arguments,
        )
    elif is_absent:
        return _missing()
    if hidden:
        read.gap, read.present = UNKNOWN, True
    return read


def _argument(arguments: list[tuple[str, str]], path: str, values: list[Any], modifiers: list[str]) -> Read:
    """Only for flat objects as ``json.dumps`` writes them, whose texts need no escapes."""
    read = Read()
    is_text = "exists" in modifiers or any(isinstance(value, str) for value in values)
    kind = (str, int, float, bool) if is_text else bool if isinstance((values or [""])[0], bool) else float
    for surface, text in arguments:
        try:
            held = json.loads(text)
        except ValueError:
            read.gap, read.present = UNKNOWN, True
            continue
        if not isinstance(held, dict) or path not in held:
            continue
        opening = f"{json.dumps(path)}: "
        start = text.index(opening) + len(opening)
        value = float(held[path]) if type(held[path]) is int else held[path]
        written = json.dumps(held[path], ensure_ascii=False)
        if is_text and isinstance(value, str):
            read.texts.append((surface, value, start + 1))
        elif is_text:
            read.texts.append((surface, written, start))
        elif (compared := _compared(value, kind)) is not None:
            read.values.append(compared)
        else:
            read.gap = UNKNOWN
        read.present = read.present or written != '""'
    return read


def _compared(value: Any, kind: Any) -> Any:
    """What the value is as a number or a truth value; None where it is neither."""
    if isinstance(value, str):
        try:
            value = json.loads(value.strip().lower())
        except ValueError:
            return None
        value = float(value) if type(value) is int else value
    return (
        value if isinstance(value, kind) and isinstance(value, bool) == (kind is bool) and str(value) != "nan" else None
    )


def _probe(record: Record, name: str) -> Read:
    _, probe, what = name.split(".")
    for score in record.probes:
        if score.probe == probe:
            value = getattr(score, what)
            return _missing(UNKNOWN, present=True) if value is None else _value(value)
    return _missing()
