"""From a model's reply to an observation: where the reasoning was, what the answer is, whether it is well-formed.

Reasoning is looked for in this order: the provider's own reasoning blocks, the ``reasoning`` field that the role's output
schema asks for, text inside ``<think>…</think>``. Where none is found it is ``absent``; nothing is ever invented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema

from monitor.canonical import canonical_text, escape_json, escape_text, parse_json, unescape_json
from monitor.records import (
    MALFORMED,
    ErrorInfo,
    Exceeded,
    Observation,
    Outcome,
    Reasoning,
    ReasoningState,
    ToolCall,
    Usage,
    now,
)

if TYPE_CHECKING:
    from monitor.models.base import ModelReply, Progress
    from monitor.records import Call

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
REASONING_FIELD = "reasoning"


class Malformed(ValueError):  # noqa: N818 - a property of the answer, not of the program
    """The answer is not what the role's output schema asks for; the message says how, without quoting it."""


def split_think(text: str) -> tuple[str, str]:
    """Return (thought, rest). A tag that is never closed leaves everything after it as thought; so does a closing tag
    without an opening one (a template may have opened it) for everything before it.
    """
    thoughts: list[str] = []
    rest: list[str] = []
    while text:
        before, opened, after = text.partition(THINK_OPEN)
        if not opened:
            early, closed, late = before.partition(THINK_CLOSE)
            (thoughts if closed else rest).append(early)
            text = late
            continue
        rest.append(before)
        thought, _, text = after.partition(THINK_CLOSE)
        thoughts.append(thought)
    return "\n".join(part.strip() for part in thoughts if part.strip()), "".join(rest).strip()


def parse_answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Read one JSON object of ``schema`` from ``text``. Raises Malformed.

    A field that stands twice would hide one of its values from whoever reads the other, so it is malformed (RFC 7493).
    """
    try:
        data = parse_json(text, made=_fields_once)
    except Malformed:
        raise
    except ValueError as exc:
        raise Malformed(f"expected one JSON object; the answer is not JSON ({_position(exc)})") from None
    error = next(iter(jsonschema.Draft202012Validator(schema).iter_errors(data)), None)
    if error:
        where = ".".join(str(part) for part in error.absolute_path) or "the answer"
        raise Malformed(f"{where} breaks {error.validator}: {canonical_text(error.validator_value)[:200]}")
    assert isinstance(data, dict)  # roles only take schemas of type object
    return data


def _fields_once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(fields)
    if len(made) < len(fields):
        raise Malformed("a field stands twice in one object")
    return made


def _position(exc: ValueError) -> str:
    line, column = getattr(exc, "lineno", None), getattr(exc, "colno", None)
    return f"line {line}, column {column}" if line else "cannot be read"


def answer_data(output: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    """The parsed answer as a recipe gets it, from the stored output; {} for a role without an output schema.

    The stored output is canonical JSON without the reasoning; texts stay escaped, for what was judged is what is released.
    """
    if schema is None or not output:
        return {}
    data = unescape_json(parse_json(output), texts=False)
    return data if isinstance(data, dict) else {}


def observe_reply(call: Call, reply: ModelReply, schema: dict[str, Any] | None, usage: Usage) -> Observation:
    """Turn a reply that arrived whole into an observation; refuses tool calls outside the role's list.

    Here foreign text enters the record, and is escaped.
    """
    reasoning = Reasoning()
    if reply.reasoning_state is not ReasoningState.ABSENT:
        reasoning = Reasoning(state=reply.reasoning_state, text=escape_text(reply.reasoning), source="provider")
    text = reply.text
    if THINK_OPEN in text or THINK_CLOSE in text:
        thought, text = split_think(text)
        if reasoning.state is ReasoningState.ABSENT and thought:
            reasoning = Reasoning(state=ReasoningState.PLAIN, text=escape_text(thought), source="think_tag")
    tool_calls = tuple(_refuse_unlisted(tool_call, call.tools) for tool_call in reply.tool_calls)
    outcome, error, output = Outcome.OK, None, escape_text(text)
    exceeded: tuple[Exceeded, ...] = ()
    if reply.finish_reason == "length":
        outcome, exceeded = Outcome.BUDGET_EXCEEDED, (_cut_off(call, usage),)
    elif reply.finish_reason == "content_filter":
        outcome = Outcome.FAILED
        error = ErrorInfo(kind="content_filter", message="the provider's content filter stopped the answer")
    elif schema is not None and not tool_calls:
        try:
            data = parse_answer(text, schema)
        except Malformed as exc:
            outcome, error = Outcome.FAILED, ErrorInfo(kind=MALFORMED, message=str(exc))
        else:
            thought = data.pop(REASONING_FIELD, "") if REASONING_FIELD in schema["properties"] else ""
            if reasoning.state is ReasoningState.ABSENT and isinstance(thought, str) and thought.strip():
                reasoning = Reasoning(state=ReasoningState.PLAIN, text=escape_text(thought), source="schema")
            output = canonical_text(data)
    elif not text and not tool_calls and not reasoning.text:
        outcome, error = Outcome.FAILED, ErrorInfo(kind=MALFORMED, message="the answer is empty")
    return Observation(
        outcome=outcome,
        output=output,
        raw="" if output == (raw := escape_text(reply.text)) else raw,
        reasoning=reasoning,
        tool_calls=tool_calls,
        usage=usage,
        usage_reported=reply.usage is not None,
        finish_reason=escape_text(reply.finish_reason),
        model_reported=escape_text(reply.model),
        error=error,
        exceeded=exceeded,
        tokens=reply.tokens,
        at=now(),
    )


def observe_partial(
    call: Call,
    progress: Progress,
    outcome: Outcome,
    *,
    usage: Usage,
    error: ErrorInfo | None = None,
    exceeded: tuple[Exceeded, ...] = (),
) -> Observation:
    """An observation of a call that was cut off: what had arrived is kept as it is, and is no answer."""
    raw, provider_thought = escape_text("".join(progress.text)), escape_text("".join(progress.reasoning))
    thought, text = split_think(raw) if THINK_OPEN in raw else ("", raw)
    reasoning = Reasoning()
    if provider_thought:
        reasoning = Reasoning(state=ReasoningState.PLAIN, text=provider_thought, source="provider")
    elif thought:
        reasoning = Reasoning(state=ReasoningState.PLAIN, text=thought, source="think_tag")
    return Observation(
        outcome=outcome,
        output=text,
        raw="" if text == raw else raw,
        reasoning=reasoning,
        usage=usage,
        usage_reported=usage != call.reserved,
        error=error,
        exceeded=exceeded,
        at=now(),
    )


def _cut_off(call: Call, usage: Usage) -> Exceeded:
    allowed = call.max_output_tokens or 0
    return Exceeded(owner=call.role, limit="output_tokens", allowed=allowed, used=usage.output_tokens, needed=1)


def _refuse_unlisted(tool_call: ToolCall, allowed: tuple[str, ...]) -> ToolCall:
    """Mark a call that may not run: a tool outside the role's list, or arguments that are no JSON object."""
    if tool_call.name not in allowed:
        listed = ", ".join(allowed) or "none"
        return tool_call.model_copy(update={"refused": f"not in the role's tools ({listed})"})
    try:
        arguments = escape_json(parse_json(tool_call.arguments or "{}"))
    except (ValueError, RecursionError):
        return tool_call.model_copy(update={"refused": "its arguments are not JSON"})
    if not isinstance(arguments, dict):
        return tool_call.model_copy(update={"refused": "its arguments are not a JSON object"})
    return tool_call
