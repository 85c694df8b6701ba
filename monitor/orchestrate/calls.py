"""One call itself: what it may spend, how it is made, and how each way in which it can end becomes an observation.

Nothing here reserves, stores or judges: ``engine`` does, around it.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, NamedTuple

from monitor.canonical import escape_text, fingerprint, guard_text
from monitor.errors import ProviderError
from monitor.models.base import ModelRequest, Progress
from monitor.models.secrets import clean
from monitor.orchestrate.budget import PICO, Amounts, picodollars
from monitor.orchestrate.replies import observe_partial, observe_reply
from monitor.orchestrate.tools import Tool, ToolError
from monitor.records import Call, ErrorInfo, Message, Observation, Outcome, ToolCall, Usage, new_span_id, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from monitor.models.base import InputBound, ModelClient, ModelReply
    from monitor.orchestrate.budget import Budget
    from monitor.orchestrate.roles import Role

MIN_OUTPUT_TOKENS = 1
RESAMPLING_TEMPERATURE = 0.7


class Step(NamedTuple):
    """One step of a recipe: what is asked of whom, and from which budget.

    Scope, role, model and messages make the step's key; the same step asked again in the same scope is told apart by its
    occurrence. Keys do not depend on the order in which parallel steps happen to start, so a resumed run finds its answers
    whatever the order was. ``scope`` ends in a fingerprint of what was handed at first (see ``Context.call``); ``told`` are
    the messages since then: what the role asked of its tools, and what they answered.
    """

    role: Role
    client: ModelClient
    messages: tuple[Message, ...]
    task: str
    scope: str
    parent_id: str | None
    depth: int
    budget: Budget
    tools: tuple[Tool, ...] = ()
    recipe: str = ""
    checked: bool = True
    told: tuple[Message, ...] = ()

    @property
    def key(self) -> str:
        """The step's key, but for its occurrence."""
        told = [
            (
                message.role,
                message.content,
                message.tool_call_id,
                [(tool.name, tool.arguments) for tool in message.tool_calls],
            )
            for message in self.told
        ]
        return fingerprint(self.scope, "model", self.role.name, self.role.sha256, self.client.name, told)


class Place(NamedTuple):
    """Where an attempt stands in the tree. Attempts after the first are child spans of the first one, ``retry_of``."""

    span_id: str
    parent_id: str | None
    retry_of: str | None

    @classmethod
    def of(cls, parent_id: str | None, first: str | None) -> Place:
        """A new place below ``parent_id``, or below the first attempt where there is one."""
        return cls(new_span_id(), first or parent_id, first)


def unsent(error: ErrorInfo) -> Callable[[Call], Awaitable[Observation]]:
    """Work that fails without having sent anything: nothing was spent."""

    async def fail(_call: Call) -> Observation:
        return Observation(outcome=Outcome.FAILED, usage=Usage(cost=0.0), error=error, at=now())

    return fail


def bounded_request(step: Step, seed: int, resamples: int = 0) -> ModelRequest:
    """The request, its output bounded by the role and by what no budget has spent yet.

    A greedy model would give a malformed answer again, word for word: it is sampled anew at ``RESAMPLING_TEMPERATURE``.
    """
    role = step.role
    output_tokens = role.max_output_tokens
    if (unspent := step.budget.unspent_output()) is not None:
        output_tokens = max(MIN_OUTPUT_TOKENS, min(output_tokens, unspent))
    return ModelRequest(
        messages=step.messages,
        max_output_tokens=output_tokens,
        tools=tuple(tool.spec for tool in step.tools),
        output_schema=role.output,
        temperature=RESAMPLING_TEMPERATURE if resamples and role.temperature == 0 else role.temperature,
        seed=seed,
        timeout=step.budget.seconds_left(),
    )


def worst_case(client: ModelClient, bound: InputBound, request: ModelRequest) -> Amounts:
    """All input uncached and all of it from the cache, whichever a limit asks about, and the longest output."""
    cost = None
    if client.price is not None:
        price = client.price
        cost = max(
            price.cost(input_tokens=bound.tokens, cached_tokens=cached, output_tokens=request.max_output_tokens)
            for cached in (0, bound.tokens)
        )
    return Amounts(
        calls=1,
        input_tokens=bound.tokens,
        cached_tokens=bound.tokens,
        output_tokens=request.max_output_tokens,
        cost=None if cost is None else picodollars(cost),
    )


def usage_of(amounts: Amounts) -> Usage:
    """Reserved amounts as a record carries them, in tokens and US dollars."""
    return Usage.trusted(
        calls=amounts.calls,
        input_tokens=amounts.input_tokens,
        cached_tokens=amounts.cached_tokens,
        output_tokens=amounts.output_tokens,
        cost=None if amounts.cost is None else amounts.cost / PICO,
        tool_calls=amounts.tool_calls,
    )


def reported_usage(client: ModelClient, reply: ModelReply, reserved: Usage) -> Usage:
    """What the provider says was used, or the reservation where it says nothing."""
    if reply.usage is None:
        return reserved
    used = reply.usage
    counts = {
        "input_tokens": used.input_tokens,
        "cached_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
    }
    return Usage(calls=1, cost=client.price.cost(**counts) if client.price else None, **counts)


async def call_model(step: Step, call: Call, request: ModelRequest, bound: InputBound) -> Observation:
    """Call the model once; every way in which that can end is an observation."""
    client, progress = step.client, Progress()
    context = client.context_tokens
    if bound.exact and context is not None and bound.tokens + request.max_output_tokens > context:
        problem = (
            f"the prompt has {bound.tokens} tokens and the answer may have {request.max_output_tokens}; "
            f"the model's context is {context}: hand over less, or lower max_output_tokens of the role"
        )
        error = ErrorInfo(kind="context_exceeded", message=problem)
        return observe_partial(call, progress, Outcome.FAILED, usage=Usage(cost=0.0), error=error)
    try:
        async with asyncio.timeout(step.budget.seconds_left()):
            reply = await client.complete(request, progress)
    except TimeoutError:
        exceeded = step.budget.out_of_time()
        return observe_partial(call, progress, Outcome.BUDGET_EXCEEDED, usage=call.reserved, exceeded=exceeded)
    except asyncio.CancelledError:
        error = ErrorInfo(kind="cancelled", message="cancelled while the model was answering")
        return observe_partial(call, progress, Outcome.CANCELLED, usage=call.reserved, error=error)
    except ProviderError as exc:
        if exc.kind == "timeout" and (step.budget.seconds_left() or 1) <= 0:
            exceeded = step.budget.out_of_time()
            return observe_partial(call, progress, Outcome.BUDGET_EXCEEDED, usage=call.reserved, exceeded=exceeded)
        error = ErrorInfo(kind=exc.kind, message=guard_text(str(exc)))
        usage = call.reserved if exc.billed_unknown else Usage(calls=1, cost=0.0)
        return observe_partial(call, progress, Outcome.FAILED, usage=usage, error=error)
    return observe_reply(call, reply, step.role.output, reported_usage(client, reply, call.reserved))


async def run_tool(call: Call, tool: Tool, tool_call: ToolCall, budget: Budget) -> Observation:
    """Run a tool once; its failure is text for the model and an outcome in the record."""
    usage = Usage(tool_calls=1, cost=0.0)
    try:
        async with asyncio.timeout(budget.seconds_left()):
            result = await tool.run(tool_call)
    except TimeoutError:
        return Observation(outcome=Outcome.BUDGET_EXCEEDED, usage=usage, exceeded=budget.out_of_time(), at=now())
    except asyncio.CancelledError:
        error = ErrorInfo(kind="cancelled", message="cancelled while the tool was running")
        return Observation(outcome=Outcome.CANCELLED, usage=usage, error=error, at=now())
    except ToolError as exc:
        error = ErrorInfo(kind="tool", message=clean(escape_text(str(exc))))
        return Observation(outcome=Outcome.FAILED, usage=usage, error=error, at=now())
    return Observation(outcome=Outcome.OK, output=result, usage=usage, at=now())


def interrupted(call: Call) -> Observation:
    """What is recorded of a call whose process ended before anything of it was stored: it stays charged."""
    return Observation(
        outcome=Outcome.CANCELLED,
        error=ErrorInfo(kind="interrupted", message="the process ended before an answer was stored"),
        usage=call.reserved,
        usage_reported=False,
        at=now(),
    )


def total(usages: Iterable[Usage]) -> Usage:
    """The sum of usages. Its cost is None as soon as one of them is: a sum with an unknown part is unknown."""
    listed = list(usages)
    costs = [usage.cost for usage in listed]
    return Usage(
        calls=sum(usage.calls for usage in listed),
        input_tokens=sum(usage.input_tokens for usage in listed),
        cached_tokens=sum(usage.cached_tokens for usage in listed),
        output_tokens=sum(usage.output_tokens for usage in listed),
        cost=None if None in costs else math.fsum(cost for cost in costs if cost is not None),
        tool_calls=sum(usage.tool_calls for usage in listed),
    )
