"""What all subcalls of one run share: the way through the door, and what earlier executions of the run left.

    reserve ─ started ─ the call (cancelled at its deadline) ─ settle ─ observed ─ checks ─ judged ─ release

Whose calls they are is said elsewhere: a recipe's in ``subcall``, a foreign program's in ``foreign_calls``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.cancellation import Cancellation
from monitor.canonical import escape_text
from monitor.errors import BudgetExceeded, Halted, RecipeError, Terminated
from monitor.orchestrate.budget import NOTHING, Amounts, Reservation
from monitor.orchestrate.calls import interrupted, total, usage_of
from monitor.orchestrate.tally import Judged
from monitor.records import (
    Call,
    Exceeded,
    Limits,
    Observation,
    Outcome,
    QueuedReview,
    Seal,
    StoredSubcall,
    Usage,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from monitor.orchestrate.budget import Budget
    from monitor.orchestrate.people import People
    from monitor.pipeline import Pipeline


@dataclass
class Engine:
    """What all subcalls of one run share.

    ``seal`` is what the run stores keys, scopes and seeds under; here they are not sealed, but for those of stored calls.
    ``stored`` are the subcalls of earlier executions of the run, ``queued`` the spans that these put before a person.
    ``judged`` collects all that this execution asked for and are judged: the pipeline adds its own, the engine those that
    were in the store already.
    """

    run_id: str
    root_span: str
    seed: int
    seal: Seal
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
        self._over = False
        self.people.is_idle = lambda waiting: waiting == self.in_flight
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
        sealed = self.seal.scope(scope) if self.stored else scope
        return total(self._charged_in[sealed]) if sealed in self._charged_in else NOTHING

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

    def attempts_of(self, key: str) -> Sequence[StoredSubcall]:
        """The attempts that earlier executions made of a step, the first one first."""
        return self._earlier.get(self.seal.key(key), ()) if self._earlier else ()

    @property
    def in_flight(self) -> int:
        """How many subcalls are under way."""
        return len(self._in_flight)

    @contextlib.contextmanager
    def flying(self) -> Iterator[None]:
        """In here a subcall is under way, in a task of its own: ``land`` waits for it."""
        self.stop_if_over()
        task = asyncio.current_task()
        assert task is not None, "subcalls are made in tasks"
        landed = self._in_flight[task] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            del self._in_flight[task]
            landed.set_result(None)

    async def finished(self, subcall: StoredSubcall) -> StoredSubcall:
        """Bring an attempt of an earlier execution to its end: what was observed is judged, not called again; what was
        only started was cut off, stays charged at its reservation, and says so.
        """
        if subcall.judgement:
            self.judged.append(Judged.of(subcall))
            return subcall
        if subcall.observation:
            return await self.pipeline.judge(subcall.call, subcall.observation)
        return await self.pipeline.conclude(subcall.call, interrupted(subcall.call))

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
        for landed in flying.values():
            await Cancellation().outlast(
                landed
            )  # whoever runs this finds out that it was cancelled, once all are recorded

    async def finish_earlier(self) -> None:
        """Bring to their end the attempts that this execution never asked for again."""
        seen = {subcall.span_id for subcall in self.judged}
        for attempts in self._earlier.values():
            for subcall in attempts:
                if subcall.call.span_id not in seen:
                    await self.finished(subcall)

    async def through_the_door(
        self,
        describe: Callable[[Usage, Limits], Call],
        depth: int,
        budget: Budget,
        wanted: Amounts,
        work: Callable[[Call], Awaitable[Observation]],
        *,
        gate: asyncio.Semaphore | None = None,
        held: dict[str, Reservation] | None = None,
    ) -> StoredSubcall:
        """Reserve, pass through the pipeline, settle. A refused reservation is recorded like any other end.

        ``describe`` makes the call, once it is known what is reserved for it and what its budgets have left. ``gate`` is
        taken only then, for the call alone: whoever holds it waits for nobody else's reservation. ``held`` has the
        reservation by the call's span while it is under way, for calls that may make others.
        """
        reservation: Reservation | None = None
        refused: tuple[Exceeded, ...] = ()
        try:
            reservation = await budget.reserve(wanted, depth=depth)
        except BudgetExceeded as exc:
            refused = exc.exceeded
        reserved = usage_of(wanted) if reservation else Usage(cost=0.0)
        seen: list[Observation] = []
        is_begun, span_id = False, ""

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
                self.stop_if_over()
                is_begun = True
                call = describe(reserved, budget.left())
                if held is not None and reservation:
                    span_id = call.span_id
                    held[span_id] = reservation
                return await self.pipeline.observe(call, bounded)
        finally:
            if held is not None:
                held.pop(span_id, None)
            if reservation:
                unseen = reserved if is_begun else Usage(cost=0.0)
                reservation.settle(seen[0].usage if seen else unseen)

    async def decided(self, subcall: StoredSubcall) -> StoredSubcall:
        """The subcall as it is, or with the decision that it waits for."""
        return await self.people.decide(subcall) if subcall.awaits_human else subcall

    def release(self, subcall: StoredSubcall) -> StoredSubcall:
        """The subcall as whoever asked may have it. Raises SubcallError otherwise; one that halts ends the run."""
        try:
            return self.pipeline.release(subcall)
        except (Halted, Terminated) as exc:
            self.halted = self.halted or exc
            self.on_halt()
            raise

    def stop_if_over(self) -> None:
        """Raise what keeps anything more of this run from being started: Halted, Terminated, its end, a cancellation."""
        if self.halted:
            raise self.halted
        if self.is_cancelled():
            raise asyncio.CancelledError  # the run was; a recipe that swallows that gets nothing more
        if self._over:
            raise RecipeError("the recipe has returned already: await every call before it does")


def _scopes_of(scope: str) -> list[str]:
    """A scope and the scopes that it lies in, but for the run's own: "/a/b" is in "/a" and in "/a/b"."""
    ends = [index for index, char in enumerate(scope) if char == "/" and index] + [len(scope)]
    return [scope[:end] for end in ends if end]
