"""One bounded call, from its reservation to its released answer.

    reserve ─ started ─ model (cancelled at its deadline) ─ settle ─ observed ─ checks ─ judged ─ release

``Engine`` holds what all subcalls of one run share: the pipeline, the clients, what an earlier execution of the run left
in the store. A step is named by its key (see ``Step``); attempts that are in the store already are not made again.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.canonical import canonical_hash
from monitor.errors import BudgetExceeded, Halted, ProviderError
from monitor.models.base import ModelRequest, Progress
from monitor.orchestrate.attempts import Settled, next_step
from monitor.orchestrate.budget import Amounts, Reservation, picodollars
from monitor.orchestrate.replies import observe_partial, observe_reply
from monitor.orchestrate.tools import Tool, ToolError
from monitor.records import (
    Call,
    ErrorInfo,
    Exceeded,
    Message,
    Observation,
    Outcome,
    StoredSubcall,
    ToolCall,
    Usage,
    new_span_id,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from monitor.models.base import InputBound, ModelClient, ModelReply
    from monitor.orchestrate.budget import Budget
    from monitor.orchestrate.roles import Role
    from monitor.pipeline import Pipeline

MIN_OUTPUT_TOKENS = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a recipe: what is asked of whom, and from which budget.

    Scope, role, model and messages make the step's key; the same step asked again in the same scope is told apart by its
    occurrence. Keys do not depend on the order in which parallel steps happen to start, so a resumed run finds its answers
    whatever the order was.
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

    @property
    def key(self) -> str:
        """The step's key, but for its occurrence."""
        handed = [message.model_dump(mode="json") for message in self.messages]
        return canonical_hash([self.scope, "model", self.role.name, self.role.sha256, self.client.name, handed])


@dataclass
class Engine:
    """What all subcalls of one run share. ``stored`` are the subcalls of earlier executions of the run."""

    run_id: str
    root_span: str
    seed: int
    pipeline: Pipeline
    gate: asyncio.Semaphore
    stored: Sequence[StoredSubcall] = ()
    retry_failed: bool = False
    halted: Halted | None = None
    on_halt: Callable[[], None] = lambda: None
    judged: list[StoredSubcall] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._occurrences: Counter[str] = Counter()
        self._earlier: defaultdict[str, list[StoredSubcall]] = defaultdict(list)
        for subcall in self.stored:
            self._earlier[subcall.call.key].append(subcall)
        for attempts in self._earlier.values():
            attempts.sort(key=lambda subcall: subcall.call.attempt)

    def spent_in(self, scope: str) -> Usage:
        """What earlier executions spent (or still have reserved) in a scope and all scopes below it."""
        return total(
            subcall.charged
            for subcall in self.stored
            if not scope or subcall.call.scope == scope or subcall.call.scope.startswith(f"{scope}/")
        )

    def spent(self) -> Usage:
        """What all executions of the run have spent or still have reserved."""
        seen = {subcall.call.span_id for subcall in self.judged}
        rest = (subcall.charged for subcall in self.stored if subcall.call.span_id not in seen)
        return total([*(subcall.charged for subcall in self.judged), *rest])

    def name_step(self, key: str) -> str:
        """Tell this occurrence of a step from the ones before it. Called when a recipe asks, before anything is awaited."""
        self._occurrences[key] += 1
        return f"{key[:32]}.{self._occurrences[key]}"

    async def model_step(self, step: Step, key: str) -> StoredSubcall:
        """Make one model step, with its attempts; returns the judged subcall whose answer may be used.

        Raises:
            SubcallError: it ended otherwise (see ``actions.enforce``).
        """
        return await self._attempts(
            key,
            step.role.retries,
            lambda number, first, resamples: self._model_attempt(step, key, number, first, resamples),
        )

    async def tool_step(self, step: Step, tool: Tool, tool_call: ToolCall, asked_by: StoredSubcall) -> StoredSubcall:
        """Run one allowed tool call as a subcall of its own, below the model call that asked for it."""
        key = self.name_step(canonical_hash([asked_by.call.key, "tool", tool_call.name, tool_call.arguments]))
        call = Call(
            run_id=self.run_id,
            span_id=new_span_id(),
            parent_id=asked_by.call.span_id,
            key=key,
            scope=step.scope,
            kind="tool",
            role=step.role.name,
            role_hash=step.role.sha256,
            trust=step.role.trust,
            recipe=step.recipe,
            depth=step.depth + 1,
            task=tool_call.arguments,
            tools=(tool_call.name,),
            reserved=Usage(tool_calls=1, cost=0.0),
        )

        async def attempt(number: int, first: str | None, _resamples: int) -> StoredSubcall:
            this = _as_attempt(call, number, first)
            return await self._through_the_door(
                this,
                step.budget,
                Amounts(tool_calls=1, cost=0),
                lambda made: _run_tool(made, tool, tool_call, step.budget),
            )

        return await self._attempts(key, 0, attempt)

    async def _attempts(
        self, key: str, retries: int, make: Callable[[int, str | None, int], Awaitable[StoredSubcall]]
    ) -> StoredSubcall:
        """Go on from what the store has of this step until an attempt settles it."""
        attempts = [await self._finished(subcall) for subcall in self._earlier.get(key, ())]
        forgiven = len(attempts) if self.retry_failed else 0
        while True:
            self._stop_if_halted()
            following = next_step(attempts, retries=retries, forgiven=forgiven)
            if isinstance(following, Settled):
                return self._release(following.subcall)
            if following.delay:
                await asyncio.sleep(following.delay)
            first = attempts[0].call.span_id if attempts else None
            attempts.append(await make(following.number, first, following.resamples))

    async def _finished(self, subcall: StoredSubcall) -> StoredSubcall:
        """Bring an attempt of an earlier execution to its end: what was observed is judged, not called again; what was
        only started was cut off, stays charged at its reservation, and says so.
        """
        if subcall.judgement:
            done = subcall
        elif subcall.observation:
            done = await self.pipeline.judge(subcall.call, subcall.observation)
        else:
            interrupted = Observation(
                outcome=Outcome.CANCELLED,
                error=ErrorInfo(kind="interrupted", message="the process ended before an answer was stored"),
                usage=subcall.call.reserved,
                usage_reported=False,
                at=now(),
            )
            done = await self.pipeline.conclude(subcall.call, interrupted)
        self.judged.append(done)
        return done

    async def finish_earlier(self) -> None:
        """Bring to their end the attempts that this execution never asked for again."""
        seen = {subcall.call.span_id for subcall in self.judged}
        for attempts in self._earlier.values():
            for subcall in attempts:
                if subcall.call.span_id not in seen:
                    await self._finished(subcall)

    async def _model_attempt(
        self, step: Step, key: str, number: int, first: str | None, resamples: int
    ) -> StoredSubcall:
        async with self.gate:
            self._stop_if_halted()
            request = _bounded_request(step, self._seed(key, resamples))
            call = Call(
                run_id=self.run_id,
                span_id=new_span_id(),
                parent_id=step.parent_id or self.root_span,
                key=key,
                scope=step.scope,
                role=step.role.name,
                role_hash=step.role.sha256,
                trust=step.role.trust,
                recipe=step.recipe,
                model=step.client.name,
                depth=step.depth,
                task=step.task,
                messages=step.messages,
                tools=tuple(tool.spec.name for tool in step.tools),
                output_schema=step.role.schema_text,
                requires_reasoning=step.role.reasoning == "required",
                temperature=request.temperature,
                seed=request.seed,
                max_output_tokens=request.max_output_tokens,
            )
            call = _as_attempt(call, number, first)
            try:
                bound = await step.client.bound_input(request)
            except ProviderError as exc:  # a prompt that cannot be counted is not sent, and the record says so
                error = ErrorInfo(kind=exc.kind, message=str(exc))
                return await self._through_the_door(call, step.budget, Amounts(calls=1, cost=0), _unsent(error))
            wanted = _worst_case(step.client, bound, request)
            return await self._through_the_door(
                call, step.budget, wanted, lambda made: _call_model(step, made, request, bound)
            )

    async def _through_the_door(
        self, call: Call, budget: Budget, wanted: Amounts, work: Callable[[Call], Awaitable[Observation]]
    ) -> StoredSubcall:
        """Reserve, pass through the pipeline, settle. A refused reservation is recorded like any other end."""
        reservation: Reservation | None = None
        refused: tuple[Exceeded, ...] = ()
        try:
            reservation = await budget.reserve(wanted, depth=call.depth)
        except BudgetExceeded as exc:
            refused = exc.exceeded
        reserved = _usage_of(wanted) if reservation else Usage()
        call = call.model_copy(update={"reserved": reserved, "budget_left": budget.left(), "at": now()})
        seen: list[Observation] = []

        async def bounded() -> Observation:
            if refused:
                observation = Observation(outcome=Outcome.BUDGET_EXCEEDED, exceeded=refused, at=now())
            else:
                started = time.monotonic()
                observation = await work(call)
                observation = observation.model_copy(update={"seconds": time.monotonic() - started})
            seen.append(observation)
            return observation

        try:
            judged = await self.pipeline.observe(call, bounded)
        finally:
            if reservation:
                reservation.settle(seen[0].usage if seen else call.reserved)
        self.judged.append(judged)
        return judged

    def _release(self, subcall: StoredSubcall) -> StoredSubcall:
        try:
            return self.pipeline.release(subcall)
        except Halted as exc:
            self.halted = self.halted or exc
            self.on_halt()
            raise

    def _stop_if_halted(self) -> None:
        if self.halted:
            raise self.halted

    def _seed(self, key: str, resamples: int) -> int:
        """A seed of 31 bits from the run's seed and the step: the same in every execution of the run."""
        digest = hashlib.sha256(f"{self.seed}:{key}:{resamples}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1


def _as_attempt(call: Call, number: int, first: str | None) -> Call:
    """Attempts after the first are child spans of the first one."""
    if first is None:
        return call.model_copy(update={"attempt": number})
    return call.model_copy(update={"attempt": number, "span_id": new_span_id(), "parent_id": first, "retry_of": first})


def _unsent(error: ErrorInfo) -> Callable[[Call], Awaitable[Observation]]:
    async def fail(_call: Call) -> Observation:
        return Observation(outcome=Outcome.FAILED, usage=Usage(cost=0.0), error=error, at=now())

    return fail


def _bounded_request(step: Step, seed: int) -> ModelRequest:
    """The request, its output bounded by the role, by what no budget has spent yet, and by the context window."""
    role = step.role
    output_tokens = role.max_output_tokens
    if (unspent := step.budget.unspent_output()) is not None:
        output_tokens = max(MIN_OUTPUT_TOKENS, min(output_tokens, unspent))
    return ModelRequest(
        messages=step.messages,
        max_output_tokens=output_tokens,
        tools=tuple(tool.spec for tool in step.tools),
        output_schema=role.output,
        temperature=role.temperature,
        seed=seed,
        timeout=step.budget.seconds_left(),
    )


def _worst_case(client: ModelClient, bound: InputBound, request: ModelRequest) -> Amounts:
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


def _usage_of(amounts: Amounts) -> Usage:
    return Usage(
        calls=amounts.calls,
        input_tokens=amounts.input_tokens,
        cached_tokens=amounts.cached_tokens,
        output_tokens=amounts.output_tokens,
        cost=None if amounts.cost is None else amounts.cost / 10**12,
        tool_calls=amounts.tool_calls,
    )


def _usage(client: ModelClient, reply: ModelReply, reserved: Usage) -> Usage:
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


async def _call_model(step: Step, call: Call, request: ModelRequest, bound: InputBound) -> Observation:
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
        error = ErrorInfo(kind=exc.kind, message=str(exc))
        usage = call.reserved if exc.billed_unknown else Usage(calls=1, cost=0.0)
        return observe_partial(call, progress, Outcome.FAILED, usage=usage, error=error)
    return observe_reply(call, reply, step.role.output, _usage(client, reply, call.reserved))


async def _run_tool(call: Call, tool: Tool, tool_call: ToolCall, budget: Budget) -> Observation:
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
        return Observation(
            outcome=Outcome.FAILED, usage=usage, error=ErrorInfo(kind="tool", message=str(exc)), at=now()
        )
    return Observation(outcome=Outcome.OK, output=result, usage=usage, at=now())


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
