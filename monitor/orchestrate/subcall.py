"""One bounded call, from its reservation to its released answer.

    reserve ─ started ─ model (cancelled at its deadline) ─ settle ─ observed ─ checks ─ judged ─ release

``Engine`` holds what all subcalls of one run share: the pipeline, the clients, what an earlier execution of the run left
in the store. A step is named by its key (see ``calls.Step``); attempts that are in the store already are not made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.canonical import escape_text, fingerprint, guard_text
from monitor.errors import BudgetExceeded, Halted, ProviderError, RecipeError, Terminated
from monitor.orchestrate.attempts import Settled, next_step
from monitor.orchestrate.budget import NOTHING, Amounts, Reservation
from monitor.orchestrate.calls import (
    Place,
    Step,
    bounded_request,
    call_model,
    run_tool,
    total,
    unsent,
    usage_of,
    worst_case,
)
from monitor.orchestrate.tally import Judged
from monitor.records import (
    Call,
    ErrorInfo,
    Exceeded,
    Limits,
    Observation,
    Outcome,
    QueuedReview,
    StoredSubcall,
    ToolCall,
    Usage,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from monitor.orchestrate.budget import Budget
    from monitor.orchestrate.foreign import Asked
    from monitor.orchestrate.people import People
    from monitor.orchestrate.tools import Tool
    from monitor.pipeline import Pipeline
    from monitor.records import Decision


@dataclass
class Engine:
    """What all subcalls of one run share.

    ``stored`` are the subcalls of earlier executions of the run, ``queued`` the spans that these put before a person.
    ``judged`` collects all that this execution asked for and are judged: the pipeline adds its own, the engine those that
    were in the store already.
    """

    run_id: str
    root_span: str
    seed: int
    pipeline: Pipeline
    people: People
    gate: asyncio.Semaphore
    judged: list[Judged]
    stored: Sequence[StoredSubcall] = ()
    queued: set[str] = field(default_factory=set)
    retry_failed: bool = False
    halted: Halted | Terminated | None = None
    on_halt: Callable[[], object] = lambda: None
    is_cancelled: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self._occurrences: Counter[str] = Counter()
        self._in_flight: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        self._held: dict[str, Reservation] = {}  # by the span of the foreign call that holds it
        self._over = False
        self._below: Counter[str] = Counter()  # foreign calls in flight, by the call that makes them
        self.people.is_idle = lambda waiting: waiting == self._working()
        self._earlier: defaultdict[str, list[StoredSubcall]] = defaultdict(list)
        for subcall in self.stored:
            self._earlier[subcall.call.key].append(subcall)
        for attempts in self._earlier.values():
            attempts.sort(key=lambda subcall: subcall.call.attempt)
        self._charged_in: defaultdict[str, list[Usage]] = defaultdict(list)
        for subcall in self.stored:
            self._charged_in[""].append(subcall.charged)
            for scope in () if self._forgives(subcall) else _scopes_of(subcall.call.scope):
                self._charged_in[scope].append(subcall.charged)

    def spent_in(self, scope: str) -> Usage:
        """What earlier executions spent (or still have reserved) in a scope and all scopes below it; "" is the run.

        Where failures are tried again, only the run still carries them: a role that used up its calls in an outage could
        never be asked again otherwise.
        """
        return total(self._charged_in[scope]) if scope in self._charged_in else NOTHING

    def _forgives(self, subcall: StoredSubcall) -> bool:
        return self.retry_failed and subcall.state in {Outcome.FAILED, Outcome.BUDGET_EXCEEDED}

    def spent(self) -> Usage:
        """What all executions of the run have spent or still have reserved."""
        seen = {subcall.span_id for subcall in self.judged}
        rest = (subcall.charged for subcall in self.stored if subcall.call.span_id not in seen)
        return total([*(subcall.charged for subcall in self.judged), *rest])

    def name_step(self, key: str) -> str:
        """Tell this occurrence of a step from the ones before it. Called when a recipe asks, before anything is awaited."""
        self._occurrences[key] += 1
        return f"{key[:32]}.{self._occurrences[key]}"

    async def model_step(self, step: Step, key: str) -> StoredSubcall:
        """Make one model step, with its attempts; returns the judged subcall whose answer may be used.

        Raises:
            SubcallError: it ended otherwise (see ``actions.release``).
        """
        return await self._attempts(
            key,
            step.role.retries,
            lambda number, first, resamples: self._model_attempt(step, key, number, first, resamples),
        )

    async def tool_step(self, step: Step, tool: Tool, tool_call: ToolCall, asked_by: StoredSubcall) -> StoredSubcall:
        """Run one allowed tool call as a subcall of its own, below the model call that asked for it."""
        key = self.name_step(fingerprint(asked_by.call.key, "tool", tool_call.name, tool_call.arguments))

        async def attempt(number: int, first: str | None, _resamples: int) -> StoredSubcall:
            place = Place.of(asked_by.call.span_id, first)
            return await self._through_the_door(
                lambda reserved, left: self._call(
                    step,
                    place,
                    key=key,
                    attempt=number,
                    kind="tool",
                    depth=step.depth + 1,
                    task=tool_call.arguments,
                    tools=(tool_call.name,),
                    reserved=reserved,
                    budget_left=left,
                ),
                step.depth + 1,
                step.budget,
                Amounts(tool_calls=1, cost=0),
                lambda made: run_tool(made, tool, tool_call, step.budget),
                gate=self.gate if tool.is_apart else None,
            )

        return await self._attempts(key, 0, attempt)

    async def foreign_step(
        self, asked: Asked, budget: Budget, work: Callable[[Call], Awaitable[Observation]]
    ) -> StoredSubcall:
        """Take a call that a foreign agent makes through the door; ``work`` makes it, once its start is stored.

        ``work`` finds in the call what its output may be at most.

        Returns the judged subcall whose answer may be used, or, with ``asks_later``, one that waits for a person. Nothing
        of it is ever tried again here.

        Raises:
            SubcallError: it ended otherwise (see ``actions.release``).
            ConfigError: a cost limit holds and the price of the call is unknown.
        """
        self._stop_if_over()
        task = asyncio.current_task()
        assert task is not None, "foreign calls are taken through the door in tasks of their own"
        budget.begin()
        if asked.parent_id in self._held:
            self._held[asked.parent_id].pin()
        asked = asked.bounded(budget)
        first = asked.first
        key = first.key if first else self.name_step(asked.key)
        place = Place.of(asked.parent_id or self.root_span, first.span_id if first else None)
        probes = self.pipeline.probes_of(())
        landed = self._in_flight[task] = asyncio.get_running_loop().create_future()
        self._below[asked.parent_id or ""] += 1
        try:
            subcall = await self._through_the_door(
                lambda reserved, left: asked.call(self.run_id, key, place, probes, reserved, left),
                asked.depth,
                budget,
                asked.wanted,
                work,
                hold=True,
            )
            if subcall.awaits_human and asked.asks_later:
                self.people.put_off[subcall.call.span_id] = None
                return subcall
            return self._release(await self._decided_or_suspended(subcall))
        finally:
            self._below[asked.parent_id or ""] -= 1
            del self._in_flight[task]
            landed.set_result(None)

    async def settle(self, subcall: StoredSubcall, decision: Decision | None) -> StoredSubcall:
        """The subcall that was put off, decided; without a decision of our own, by whoever has decided meanwhile.

        Raises:
            SubcallError: it ended otherwise than with an answer, or (AwaitingHuman) nobody has decided yet.
            StoreError: the decision could not be committed.
        """
        self._stop_if_over()
        return self._release(await self.people.settle(subcall, decision))

    async def _decided_or_suspended(self, subcall: StoredSubcall) -> StoredSubcall:
        """As ``_decided``; where the run is suspended meanwhile, foreign code is told what it waits for."""
        try:
            return await self._decided(subcall)
        except asyncio.CancelledError:
            if self.people.is_suspended:
                return subcall
            raise

    def _working(self) -> int:
        """How many of the calls in flight do something: not those that wait for a call that they make."""
        return len(self._in_flight) - sum(self._below[span_id] > 0 for span_id in self._held)

    async def _attempts(
        self, key: str, retries: int, make: Callable[[int, str | None, int], Awaitable[StoredSubcall]]
    ) -> StoredSubcall:
        """Go on from what the store has of this step until an attempt settles it."""
        self._stop_if_over()
        task = asyncio.current_task()
        assert task is not None, "recipes run in tasks"
        landed = self._in_flight[task] = asyncio.get_running_loop().create_future()
        try:
            return await self._until_settled(key, retries, make)
        finally:
            del self._in_flight[task]
            landed.set_result(None)

    async def _until_settled(
        self, key: str, retries: int, make: Callable[[int, str | None, int], Awaitable[StoredSubcall]]
    ) -> StoredSubcall:
        attempts = [await self._finished(subcall) for subcall in self._earlier.get(key, ())]
        forgiven = len(attempts) if self.retry_failed else 0
        while True:
            self._stop_if_over()
            following = next_step(attempts, retries=retries, forgiven=forgiven)
            if isinstance(following, Settled):
                return self._release(await self._decided(following.subcall))
            if following.delay:
                await asyncio.sleep(following.delay)
            first = attempts[0].call.span_id if attempts else None
            attempts.append(await make(following.number, first, following.resamples))

    async def _finished(self, subcall: StoredSubcall) -> StoredSubcall:
        """Bring an attempt of an earlier execution to its end: what was observed is judged, not called again; what was
        only started was cut off, stays charged at its reservation, and says so.
        """
        if subcall.judgement:
            self.judged.append(Judged.of(subcall))
            return subcall
        if subcall.observation:
            return await self.pipeline.judge(subcall.call, subcall.observation)
        interrupted = Observation(
            outcome=Outcome.CANCELLED,
            error=ErrorInfo(kind="interrupted", message="the process ended before an answer was stored"),
            usage=subcall.call.reserved,
            usage_reported=False,
            at=now(),
        )
        return await self.pipeline.conclude(subcall.call, interrupted)

    async def queue(self, span_id: str, why: str, score: float) -> None:
        """Put a subcall before a person for later, once in all executions of the run."""
        if span_id not in self.queued:
            self.queued.add(span_id)
            review = QueuedReview(span=span_id, why=escape_text(why), score=score, at=now())
            await self.pipeline.queue(self.run_id, self.root_span, review)

    async def land(self) -> None:
        """Cut off and record what the recipe started and did not await (in this loop); from now on nothing is started."""
        self._over = True
        loop = asyncio.get_running_loop()
        flying = {task: landed for task, landed in self._in_flight.items() if task.get_loop() is loop}
        for task in flying:
            task.cancel()
        if flying:
            await asyncio.wait(flying.values())

    async def finish_earlier(self) -> None:
        """Bring to their end the attempts that this execution never asked for again."""
        seen = {subcall.span_id for subcall in self.judged}
        for attempts in self._earlier.values():
            for subcall in attempts:
                if subcall.call.span_id not in seen:
                    await self._finished(subcall)

    def _call(self, step: Step, place: Place, **own: Any) -> Call:
        """The call of one attempt: what every call of the step says, and what is this one's own."""
        return Call(
            run_id=self.run_id,
            span_id=place.span_id,
            parent_id=place.parent_id,
            retry_of=place.retry_of,
            scope=step.scope,
            role=step.role.name,
            role_hash=step.role.sha256,
            trust=step.role.trust,
            recipe=step.recipe,
            checked=step.checked,
            at=now(),
            **own,
        )

    async def _model_attempt(
        self, step: Step, key: str, number: int, first: str | None, resamples: int
    ) -> StoredSubcall:
        async with self.gate:
            self._stop_if_over()
            step.budget.begin()
            request = bounded_request(step, self._seed(key, resamples), resamples)
            place = Place.of(step.parent_id or self.root_span, first)

            def describe(reserved: Usage, left: Limits) -> Call:
                return self._call(
                    step,
                    place,
                    key=key,
                    attempt=number,
                    model=step.client.name,
                    depth=step.depth,
                    task=step.task,
                    messages=step.messages,
                    tools=tuple(tool.spec.name for tool in step.tools),
                    probes=self.pipeline.probes_of(step.role.probes),
                    output_schema=step.role.schema_text,
                    requires_reasoning=step.role.reasoning == "required",
                    temperature=request.temperature,
                    seed=request.seed,
                    max_output_tokens=request.max_output_tokens,
                    reserved=reserved,
                    budget_left=left,
                )

            try:
                bound = await step.client.bound_input(request)
            except ProviderError as exc:  # a prompt that cannot be counted is not sent, and the record says so
                error = ErrorInfo(kind=exc.kind, message=guard_text(str(exc)))
                return await self._through_the_door(
                    describe, step.depth, step.budget, Amounts(calls=1, cost=0), unsent(error)
                )
            wanted = worst_case(step.client, bound, request)
            return await self._through_the_door(
                describe, step.depth, step.budget, wanted, lambda made: call_model(step, made, request, bound)
            )

    async def _through_the_door(
        self,
        describe: Callable[[Usage, Limits], Call],
        depth: int,
        budget: Budget,
        wanted: Amounts,
        work: Callable[[Call], Awaitable[Observation]],
        *,
        gate: asyncio.Semaphore | None = None,
        hold: bool = False,
    ) -> StoredSubcall:
        """Reserve, pass through the pipeline, settle. A refused reservation is recorded like any other end.

        ``describe`` makes the call, once it is known what is reserved for it and what its budgets have left. ``gate`` is
        taken only then, for the call alone: whoever holds it waits for nobody else's reservation. ``hold`` is for calls
        that may make others while they are under way.
        """
        reservation: Reservation | None = None
        refused: tuple[Exceeded, ...] = ()
        try:
            reservation = await budget.reserve(wanted, depth=depth)
        except BudgetExceeded as exc:
            refused = exc.exceeded
        reserved = usage_of(wanted) if reservation else Usage(cost=0.0)
        seen: list[Observation] = []
        is_begun, held_as = False, ""

        async def bounded() -> Observation:
            if refused:
                observation = Observation(
                    outcome=Outcome.BUDGET_EXCEEDED, usage=Usage(cost=0.0), exceeded=refused, at=now()
                )
            else:
                started = time.monotonic()
                observation = await work(call)
                observation = Observation.trusted(**{**observation.__dict__, "seconds": time.monotonic() - started})
            seen.append(observation)
            return observation

        try:
            async with gate or contextlib.nullcontext():
                self._stop_if_over()
                is_begun = True
                call = describe(reserved, budget.left())
                if hold and reservation:
                    held_as = call.span_id
                    self._held[held_as] = reservation
                return await self.pipeline.observe(call, bounded)
        finally:
            self._held.pop(held_as, None)
            if reservation:
                unseen = reserved if is_begun else Usage(cost=0.0)
                reservation.settle(seen[0].usage if seen else unseen)

    async def _decided(self, subcall: StoredSubcall) -> StoredSubcall:
        """The subcall as it is, or with the decision that it waits for."""
        return await self.people.decide(subcall) if subcall.awaits_human else subcall

    def _release(self, subcall: StoredSubcall) -> StoredSubcall:
        try:
            return self.pipeline.release(subcall)
        except (Halted, Terminated) as exc:
            self.halted = self.halted or exc
            self.on_halt()
            raise

    def _stop_if_over(self) -> None:
        if self.halted:
            raise self.halted
        if self.is_cancelled():
            raise asyncio.CancelledError  # the run was; a recipe that swallows that gets nothing more
        if self._over:
            raise RecipeError("the recipe has returned already: await every call before it does")

    def _seed(self, key: str, resamples: int) -> int:
        """A seed of 31 bits from the run's seed and the step: the same in every execution of the run."""
        digest = hashlib.sha256(f"{self.seed}:{key}:{resamples}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1


def _scopes_of(scope: str) -> list[str]:
    """A scope and the scopes that it lies in, but for the run's own: "/a/b" is in "/a" and in "/a/b"."""
    ends = [index for index, char in enumerate(scope) if char == "/" and index] + [len(scope)]
    return [scope[:end] for end in ends if end]
