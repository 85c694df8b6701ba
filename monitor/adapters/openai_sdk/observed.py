"""What came back as the record has it: reasoning wherever it was, output, tool calls, and what is charged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.canonical import escape_text, guard_text
from monitor.orchestrate.replies import THINK_CLOSE, THINK_OPEN, split_think
from monitor.records import ErrorInfo, Exceeded, Observation, Outcome, Reasoning, ReasoningState, Usage, now

if TYPE_CHECKING:
    from monitor.adapters.openai_sdk.wire import Heard
    from monitor.errors import ProviderError
    from monitor.models.base import Price
    from monitor.records import Call


def observed(call: Call, heard: Heard, *, price: Price | None, asked: int | None) -> Observation:
    """An answer that arrived. One that is cut off exceeds the budget only where a budget, and not the caller, cut it.

    ``asked`` is the longest output that the caller wanted.
    """
    usage = _usage(call, heard, price)
    outcome, error = Outcome.OK, None
    exceeded: tuple[Exceeded, ...] = ()
    if heard.error or not heard.is_whole:
        outcome = Outcome.FAILED
        problem = heard.error or "the answer cannot be read, or never came to its end"
        kind = "server_error" if heard.error else "invalid_response"
        error = ErrorInfo(kind=kind, message=guard_text(escape_text(problem)))
    elif heard.finish_reason == "content_filter":
        outcome = Outcome.FAILED
        error = ErrorInfo(kind="content_filter", message="the provider's content filter stopped the answer")
    elif heard.finish_reason == "length" and call.max_output_tokens != asked:
        outcome = Outcome.BUDGET_EXCEEDED
        allowed = call.max_output_tokens or 0
        cut = Exceeded(owner=call.role, limit="output_tokens", allowed=allowed, used=usage.output_tokens, needed=1)
        exceeded = (cut,)
    return _told(heard, outcome, usage, error, exceeded)


def said_nothing(call: Call, error: ProviderError, heard: Heard | None) -> Observation:
    """A call that failed, with what had arrived before. What the provider may have worked stays charged."""
    usage = call.reserved if error.billed_unknown else Usage(calls=1, cost=0.0)
    info = ErrorInfo(kind=error.kind, message=guard_text(str(error)))
    if heard is None:
        reported = not error.billed_unknown
        return Observation(outcome=Outcome.FAILED, error=info, usage=usage, usage_reported=reported, at=now())
    return _told(heard, Outcome.FAILED, usage, info, ())


def out_of_time(call: Call, exceeded: tuple[Exceeded, ...], heard: Heard | None) -> Observation:
    """A call that was cut off when its budget's seconds were over; its reservation stays charged."""
    if heard is None:
        return Observation(
            outcome=Outcome.BUDGET_EXCEEDED, exceeded=exceeded, usage=call.reserved, usage_reported=False, at=now()
        )
    return _told(heard, Outcome.BUDGET_EXCEEDED, call.reserved, None, exceeded)


def cut_off(call: Call, heard: Heard, why: str = "cancelled while the answer came") -> Observation:
    """A call that was cut off by whoever asked, with what had arrived before; its reservation stays charged."""
    error = ErrorInfo(kind="cancelled", message=why)
    return _told(replace(heard, usage=None), Outcome.CANCELLED, call.reserved, error, ())


def _told(
    heard: Heard, outcome: Outcome, usage: Usage, error: ErrorInfo | None, exceeded: tuple[Exceeded, ...]
) -> Observation:
    reasoning, text = Reasoning(), heard.text
    if heard.state is not ReasoningState.ABSENT:
        reasoning = Reasoning(state=heard.state, text=escape_text(heard.reasoning), source="provider")
    elif THINK_OPEN in text or THINK_CLOSE in text:
        thought, text = split_think(text)
        reasoning = Reasoning(state=ReasoningState.PLAIN, text=escape_text(thought), source="think_tag")
    output, raw = escape_text(text), escape_text(heard.text)
    return Observation(
        outcome=outcome,
        output=output,
        raw="" if output == raw else raw,
        reasoning=reasoning,
        tool_calls=heard.tool_calls,
        usage=usage,
        usage_reported=heard.usage is not None,
        finish_reason=escape_text(heard.finish_reason),
        model_reported=escape_text(heard.model),
        error=error,
        exceeded=exceeded,
        at=now(),
    )


def _usage(call: Call, heard: Heard, price: Price | None) -> Usage:
    """What the provider says was used; where it says nothing the reservation, or what came, by its bytes."""
    if heard.usage is None:
        said = [heard.text, heard.reasoning, *(made.name + made.arguments for made in heard.tool_calls)]
        longest = sum(len(text.encode("utf-8", "surrogatepass")) for text in said)
        counts = {
            "input_tokens": call.reserved.input_tokens,
            "cached_tokens": 0,
            "output_tokens": call.reserved.output_tokens or longest,
        }
    else:
        used = heard.usage
        counts = {
            "input_tokens": used.input_tokens,
            "cached_tokens": used.cached_tokens,
            "output_tokens": used.output_tokens,
        }
    return Usage(calls=1, cost=price.cost(**counts) if price else None, **counts)
