"""Records in the short form that tests inside rules are written in.

    record:
      reasoning: I will hide this from the monitor.
      tool.name: shell
      usage: {output_tokens: 90}

Names are those of the fields, dotted or nested. What is left out is as in an ordinary subcall that went well: a model's
answer, ``outcome: ok``, nothing reserved and nothing spent, no tools, reasoning ``plain`` where there is any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from monitor.canonical import escape_json
from monitor.policy.names import describe, suggestion
from monitor.records import (
    Call,
    ErrorInfo,
    LimitName,
    Limits,
    Message,
    Observation,
    Outcome,
    Reasoning,
    ReasoningState,
    Record,
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


def _one_of(*words: str) -> _Kind:
    return _Kind(Literal[words], f"one of {', '.join(f'`{word}`' for word in words)}")


_TEXT, _NUMBER, _INTEGER = _Kind(str, "text"), _Kind(float, "a number"), _Kind(int, "a whole number")
_FLAG, _NAMES, _COST = (
    _Kind(bool, "true or false"),
    _Kind(list[str], "a list of names"),
    _Kind(float | None, "a number"),
)

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
_OBSERVATION = {"output": _TEXT, "raw": _TEXT, "finish_reason": _TEXT, "seconds": _NUMBER}
_TOOL = {"tool.name": _TEXT, "tool.arguments": _TEXT, "tool.result": _TEXT, "tool.refused": _TEXT}
_OTHER = {
    "system": _TEXT,
    "user": _TEXT,
    "prompt": _TEXT,
    "tools": _NAMES,
    "reasoning": _TEXT,
    "reasoning.state": _one_of(*(state.value for state in ReasoningState)),
    "outcome": _one_of(*(outcome.value for outcome in Outcome)),
    "error": _TEXT,
    "usage.reported": _FLAG,
    "usage.cost": _COST,
    **{f"usage.{name}": _INTEGER for name in Usage.model_fields if name != "cost"},
    **{f"budget_left.{name}": _NUMBER if name in {"cost", "seconds"} else _INTEGER for name in get_args(LimitName)},
}
_KEYS = {**_CALL, **_OBSERVATION, **_TOOL, **_OTHER}


def faults(short: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """What is wrong with a short record, as (path of keys, problem, fix)."""
    for name, (path, value) in _flat(short).items():
        kind = _KEYS.get(name)
        if kind is None:
            yield path, f"a record has no `{name}`.", suggestion(name, _KEYS)
        elif not kind.takes(value):
            fix = "Put it in quotes." if kind is _TEXT else "Leave the quotes out." if isinstance(value, str) else ""
            yield path, f"`{name}`: expected {kind.expected}, found {describe(value)}.", fix


def build(short: dict[str, Any]) -> Record:
    """The record that a short form stands for; only for one without ``faults``."""
    given = {name: escape_json(value) for name, (_, value) in _flat(short).items()}
    return Record(call=_call(given), observation=_observation(given))


def _flat(short: dict[str, Any]) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Dotted name → (path of keys, value). ``reasoning: {state: …, text: …}`` is understood as well."""
    flat: dict[str, tuple[tuple[str, ...], Any]] = {}
    for key, value in short.items():
        if isinstance(value, dict):
            for inner, item in value.items():
                name = "reasoning" if (key, inner) == ("reasoning", "text") else f"{key}.{inner}"
                flat[name] = ((key, inner), item)
        else:
            flat[key] = ((key,), value)
    return flat


def _call(given: dict[str, Any]) -> Call:
    tools = given.get("tools")
    if tools is None:
        tools = [given.get("tool.name", "tool")] if _TOOL.keys() & given.keys() else []
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
        error=ErrorInfo(kind="example", message=given["error"]) if "error" in given else None,
        **facts,
    )


def _tool_calls(given: dict[str, Any]) -> Iterator[ToolCall]:
    if given.get("kind") != "tool" and {"tool.name", "tool.arguments", "tool.refused"} & given.keys():
        yield ToolCall(
            id="call_0",
            name=given.get("tool.name", "tool"),
            arguments=given.get("tool.arguments", ""),
            refused=given.get("tool.refused"),
        )
