"""Records in the short form that tests inside rules are written in.

    record:
      reasoning: I will hide this from the monitor.
      tool.name: shell
      usage: {output_tokens: 90}

Names are those of the fields, dotted or nested. What is left out is as in an ordinary subcall that went well: a model's
answer, ``outcome: ok``, nothing reserved and nothing spent, no tools, reasoning ``plain`` where there is any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pydantic import TypeAdapter, ValidationError

from monitor.policy.names import suggestion
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

_Adapters: TypeAlias = dict[str, TypeAdapter[Any]]
_TEXT: TypeAdapter[str] = TypeAdapter(str)
_NUMBER: TypeAdapter[float] = TypeAdapter(float)
_FLAG: TypeAdapter[bool] = TypeAdapter(bool)
_CALL: _Adapters = {
    "task": _TEXT,
    "role": _TEXT,
    "trust": TypeAdapter(Trust),
    "model": _TEXT,
    "recipe": _TEXT,
    "adapter": _TEXT,
    "kind": TypeAdapter(Literal["model", "tool"]),
    "depth": TypeAdapter(int),
    "attempt": TypeAdapter(int),
    "requires_reasoning": _FLAG,
}
_OBSERVATION: _Adapters = {"output": _TEXT, "raw": _TEXT, "finish_reason": _TEXT, "seconds": _NUMBER}
_TOOL: _Adapters = {"tool.name": _TEXT, "tool.arguments": _TEXT, "tool.result": _TEXT, "tool.refused": _TEXT}
_OTHER: _Adapters = {
    "system": _TEXT,
    "user": _TEXT,
    "prompt": _TEXT,
    "tools": TypeAdapter(list[str]),
    "reasoning": _TEXT,
    "reasoning.state": TypeAdapter(ReasoningState),
    "outcome": TypeAdapter(Outcome),
    "error": _TEXT,
    "usage.reported": _FLAG,
    "usage.cost": TypeAdapter(float | None),
    **{f"usage.{name}": TypeAdapter(int) for name in Usage.model_fields if name != "cost"},
    **{f"budget_left.{name}": _NUMBER for name in get_args(LimitName)},
}
_KEYS: _Adapters = {**_CALL, **_OBSERVATION, **_TOOL, **_OTHER}


def faults(short: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """What is wrong with a short record, as (path of keys, problem, fix)."""
    for name, (path, value) in _flat(short).items():
        adapter = _KEYS.get(name)
        if adapter is None:
            yield path, f"a record has no `{name}`.", suggestion(name, _KEYS)
            continue
        try:
            adapter.validate_python(value, strict=not isinstance(value, str))
        except ValidationError as exc:
            yield path, f"`{name}`: {exc.errors()[0]['msg']}.", "See the guide's table of fields."
        else:
            if adapter in {_NUMBER, _FLAG} and isinstance(value, str):
                yield path, f"`{name}`: expected a number or true/false, found text.", "Leave the quotes out."


def build(short: dict[str, Any]) -> Record:
    """The record that a short form stands for; only for one without ``faults``."""
    given = {name: value for name, (_, value) in _flat(short).items()}
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
