"""Records in the short form that tests inside rules are written in.

    record:
      reasoning: I will hide this from the monitor.
      tool.name: shell
      usage: {output_tokens: 90}

Names are those of the fields, dotted or nested. ``messages`` is a history, each message with ``role`` and ``content``
(and ``tool_calls``); ``tool_calls`` are the calls that the subcall made, each with ``name``, ``arguments`` and ``refused``.
Where ``arguments`` is a map, its JSON text is meant. ``probe.NAME.score`` and ``.fpr`` attach a probe; one that is null
could not be had. ``judge.NAME`` is what a judge answered: ``yes``, ``no``, ``unclear``, or null where it
failed. What is left out is as in an ordinary subcall that went well: a model's answer, ``outcome: ok``, nothing reserved
and nothing spent, no tools, reasoning ``plain`` where there is any.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError

from monitor.canonical import escape_json
from monitor.policy.judges.question import question_name
from monitor.policy.names import describe, suggestion
from monitor.policy.schema import ExampleMessage, ExampleToolCall
from monitor.records import (
    Call,
    ErrorInfo,
    JudgeAnswer,
    LimitName,
    Limits,
    Message,
    Observation,
    Outcome,
    ProbeScore,
    Reasoning,
    ReasoningState,
    Record,
    Said,
    ToolCall,
    Trust,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Kind:
    """What a key of a short record takes: a type, and the same in words."""

    def __init__(self, annotation: Any, expected: str) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        self.expected = expected

    def takes(self, value: object) -> bool:
        """Whether ``value`` is of this kind; nothing is converted."""
        try:
            self._adapter.validate_python(value, strict=True)
        except ValidationError:
            return False
        return True

    @property
    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""
        return self._adapter.json_schema()


def _one_of(*words: str) -> _Kind:
    return _Kind(Literal[words], f"one of {', '.join(f'`{word}`' for word in words)}")


_TEXT, _NUMBER, _INTEGER = _Kind(str, "text"), _Kind(float, "a number"), _Kind(int, "a whole number")
_FLAG, _NAMES, _COST = (
    _Kind(bool, "true or false"),
    _Kind(list[str], "a list of names"),
    _Kind(float | None, "a number"),
)
_SHARE = _Kind(Annotated[float, Field(ge=0, le=1)] | None, "a number from 0 to 1")
_ANSWER = _Kind(Said | None, "`yes`, `no`, `unclear`, or null for a judge that failed")
_ARGUMENTS = _Kind(str | dict[str, Any], "JSON text, or a map")
_MESSAGES = _Kind(list[ExampleMessage], "a list of maps with `role` and `content`")
_TOOL_CALLS = _Kind(list[ExampleToolCall], "a list of maps with `name` and `arguments`")

_CALL = {
    "task": _TEXT,
    "role": _TEXT,
    "trust": _one_of(*get_args(Trust)),
    "model": _TEXT,
    "recipe": _TEXT,
    "adapter": _TEXT,
    "kind": _one_of("model", "tool"),
    "depth": _INTEGER,
    "attempt": _INTEGER,
    "requires_reasoning": _FLAG,
}
_OBSERVATION = {"output": _TEXT, "raw": _TEXT, "finish_reason": _TEXT, "model_reported": _TEXT, "seconds": _NUMBER}
_TOOL = {"tool.name": _TEXT, "tool.arguments": _ARGUMENTS, "tool.result": _TEXT, "tool.refused": _TEXT}
_OTHER = {
    "system": _TEXT,
    "user": _TEXT,
    "prompt": _TEXT,
    "tools": _NAMES,
    "messages": _MESSAGES,
    "tool_calls": _TOOL_CALLS,
    "reasoning": _TEXT,
    "reasoning.state": _one_of(*(state.value for state in ReasoningState)),
    "outcome": _one_of(*(outcome.value for outcome in Outcome)),
    "error": _TEXT,
    "error.kind": _TEXT,
    "usage.reported": _FLAG,
    "usage.cost": _COST,
    **{f"usage.{name}": _INTEGER for name in Usage.model_fields if name != "cost"},
    **{f"budget_left.{name}": _NUMBER if name in {"cost", "seconds"} else _INTEGER for name in get_args(LimitName)},
}
_KEYS = {**_CALL, **_OBSERVATION, **_TOOL, **_OTHER}


def faults(short: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """What is wrong with a short record, as (path of keys, problem, fix)."""
    for name, (path, value) in _flat(short).items():
        probe = _probe(name)
        kind = {"score": _COST, "fpr": _SHARE}[probe[1]] if probe else _KEYS.get(name)
        kind = _ANSWER if question_name(name) else kind
        if kind is None and name.startswith("probe."):
            yield path, f"a probe has no `{name}`.", "Write `probe.NAME.score` or `probe.NAME.fpr`."
        elif kind is None:
            yield path, f"a record has no `{name}`.", suggestion(name, _KEYS)
        elif not kind.takes(value):
            fix = "Put it in quotes." if kind is _TEXT else "Leave the quotes out." if isinstance(value, str) else ""
            yield path, f"`{name}`: expected {kind.expected}, found {describe(value)}.", fix


def key_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of every key of a short record, by its dotted name; those of probes and judges are
    not among them.
    """
    return {name: kind.schema for name, kind in _KEYS.items()}


def build(short: dict[str, Any]) -> Record:
    """The record that a short form stands for; only for one without ``faults``."""
    given = {name: escape_json(_with_texts(name, value)) for name, (_, value) in _flat(short).items()}
    return Record(
        call=_call(given), observation=_observation(given), probes=tuple(_probes(given)), answers=tuple(_answers(given))
    )


def _with_texts(name: str, value: Any) -> Any:
    """The value with the JSON text of every map of arguments."""
    if name == "tool.arguments" and isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if name == "tool_calls":
        return [{**asked, "arguments": _with_texts("tool.arguments", asked.get("arguments", ""))} for asked in value]
    if name == "messages":
        return [
            {**message, "tool_calls": _with_texts("tool_calls", message.get("tool_calls", []))} for message in value
        ]
    return value


def _probe(name: str) -> tuple[str, str] | None:
    """(probe, ``score`` or ``fpr``) for the name of such a field."""
    kind, _, rest = name.partition(".")
    probe, _, what = rest.rpartition(".")
    return (probe, what) if kind == "probe" and probe and what in {"score", "fpr"} else None


def _probes(given: dict[str, Any]) -> Iterator[ProbeScore]:
    found: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        if named := _probe(name):
            found.setdefault(named[0], {})[named[1]] = value
    yield from (ProbeScore(probe=probe, **scores) for probe, scores in found.items())


def _answers(given: dict[str, Any]) -> Iterator[JudgeAnswer]:
    for key, value in given.items():
        if name := question_name(key):
            yield JudgeAnswer(judge=name, answer=value)


def _flat(short: dict[str, Any]) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Dotted name → (path of keys, value). ``reasoning: {state: …, text: …}`` is understood as well."""
    flat: dict[str, tuple[tuple[str, ...], Any]] = {}
    for key, value in short.items():
        if isinstance(value, dict) and key != "tool.arguments":
            for inner, item in value.items():
                name = "reasoning" if (key, inner) == ("reasoning", "text") else f"{key}.{inner}"
                if key == "probe" and isinstance(item, dict):
                    flat |= {f"{name}.{what}": ((key, inner, what), score) for what, score in item.items()}
                else:
                    flat[name] = ((key, inner), item)
        else:
            flat[key] = ((key,), value)
    return flat


def _call(given: dict[str, Any]) -> Call:
    tools = given.get("tools")
    if tools is None:
        tools = [given.get("tool.name", "tool")] if _TOOL.keys() & given.keys() else []
        tools += [asked["name"] for asked in given.get("tool_calls", [])]
    left = {name: given.get(f"budget_left.{name}") for name in Limits.model_fields}
    facts = {name: given[name] for name in _CALL if name in given}
    if facts.get("kind") == "tool" and "tool.arguments" in given:
        facts["task"] = given["tool.arguments"]
    return Call(
        run_id="0" * 32,
        span_id="0" * 16,
        key="example",
        messages=tuple(_messages(given)),
        tools=tuple(tools),
        budget_left=Limits.model_validate(left),
        **{"role": "example", "model": "example", **facts},
    )


def _messages(given: dict[str, Any]) -> Iterator[Message]:
    if "system" in given:
        yield Message(role="system", content=given["system"])
    for name in ("prompt", "user"):
        if name in given:
            yield Message(role="user", content=given[name])
    for message in given.get("messages", []):
        asked = tuple(_asked(message["tool_calls"], "earlier"))
        yield Message(role=message["role"], content=message.get("content", ""), tool_calls=asked)
    if "tool.result" in given and given.get("kind") != "tool":
        yield Message(role="tool", content=given["tool.result"])


def _observation(given: dict[str, Any]) -> Observation:
    reasoning = given.get("reasoning", "")
    state = given.get("reasoning.state", "plain" if reasoning else "absent")
    spent = {name: given[f"usage.{name}"] for name in Usage.model_fields if f"usage.{name}" in given}
    facts = {name: given[name] for name in _OBSERVATION if name in given}
    if given.get("kind") == "tool" and "tool.result" in given:
        facts["output"] = given["tool.result"]
    return Observation(
        outcome=Outcome(given.get("outcome", "ok")),
        reasoning=Reasoning(state=ReasoningState(state), text=reasoning),
        tool_calls=tuple(_tool_calls(given)),
        usage=Usage.model_validate({"cost": 0.0, **spent}),
        usage_reported=given.get("usage.reported", True),
        error=_error(given),
        **facts,
    )


def _error(given: dict[str, Any]) -> ErrorInfo | None:
    if not {"error", "error.kind"} & given.keys():
        return None
    return ErrorInfo(kind=given.get("error.kind", "example"), message=given.get("error", ""))


def _asked(calls: list[dict[str, Any]], prefix: str) -> Iterator[ToolCall]:
    for number, asked in enumerate(calls):
        yield ToolCall(
            id=f"{prefix}_{number}", name=asked["name"], arguments=asked["arguments"], refused=asked.get("refused")
        )


def _tool_calls(given: dict[str, Any]) -> Iterator[ToolCall]:
    if given.get("kind") != "tool" and {"tool.name", "tool.arguments", "tool.refused"} & given.keys():
        yield ToolCall(
            id="call_0",
            name=given.get("tool.name", "tool"),
            arguments=given.get("tool.arguments", ""),
            refused=given.get("tool.refused"),
        )
    yield from _asked(given.get("tool_calls", []), "call_of_list")
