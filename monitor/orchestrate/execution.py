"""One execution of a run: its own events around those of its subcalls, and the parts that its subcalls share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from monitor.audit.integrity.checkpoints import kept_while
from monitor.cancellation import Cancellation, times_cancelled
from monitor.canonical import parse_json
from monitor.collector import loaded_left_alone
from monitor.errors import ConfigError, ConflictError
from monitor.orchestrate.budget import Budget
from monitor.orchestrate.calls import total
from monitor.orchestrate.context import Context, recipe_options
from monitor.orchestrate.deciding import OVER, close
from monitor.orchestrate.ending import RunResult, execute, result_of
from monitor.orchestrate.engine import Engine
from monitor.orchestrate.judge import Pause, finish_asked, judge_of
from monitor.orchestrate.people import Decider, People, StoppableClock
from monitor.orchestrate.starting import ACTIVE, seconds_of
from monitor.orchestrate.tally import Judged
from monitor.pipeline import Pipeline, tell
from monitor.records import Event, Outcome, RunEnd, RunResume, RunStart, RunSuspend, Seal, StoredRun, StoredSubcall, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from monitor import catalog
    from monitor.loaded import LoadedChecks
    from monitor.orchestrate.workplace import Workplace
    from monitor.store import Store


@dataclass
class Execution:
    """One execution of a run, the first or a resumed one."""

    store: Store
    checks: LoadedChecks
    workplace: Workplace
    listener: Callable[[Event], None] | None
    decider: Decider | None
    patience: float

    async def go(self, earlier: StoredRun, step: RunStart | RunResume, found: catalog.Recipe) -> RunResult:
        """Execute the run from ``step`` to its end; ``found`` is the recipe whose hash ``step`` records."""
        task, options = earlier.start.task, recipe_options(found.function, parse_json(earlier.start.options)["options"])
        with loaded_left_alone():
            return await self.follow(
                earlier, step, found.name, lambda context: found.function(context, task, **options)
            )

    async def follow(
        self,
        earlier: StoredRun,
        step: RunStart | RunResume,
        name: str,
        program: Callable[[Context], Awaitable[Any]],
    ) -> RunResult:
        """Execute the run from ``step`` to its end; ``program`` is what is to be awaited, ``name`` what it is called."""
        start = earlier.start
        stored = () if isinstance(step, RunStart) else tuple(self.store.subcalls(start.run_id))
        concurrency = int(parse_json(start.options)["concurrency"])
        if start.run_id in ACTIVE:
            raise ConfigError(f"run {start.run_id} is being executed by this process already")
        ACTIVE.add(start.run_id)
        try:
            async with kept_while(self.store, self.workplace.settings):
                return await self._from(earlier, step, name, program, stored, concurrency)
        finally:
            ACTIVE.discard(start.run_id)

    async def _from(  # noqa: PLR0917 - what ``follow`` found out
        self,
        earlier: StoredRun,
        step: RunStart | RunResume,
        name: str,
        program: Callable[[Context], Awaitable[Any]],
        stored: Sequence[StoredSubcall],
        concurrency: int,
    ) -> RunResult:
        start = earlier.start
        before, cancelled_before = seconds_of(earlier, stored), times_cancelled()
        clock = StoppableClock()
        began = clock()
        asked = [subcall for subcall in stored if subcall.call.is_monitors]
        stored = [subcall for subcall in stored if not subcall.call.is_monitors]
        # Whatever is wrong with the judge is told before anything is stored: nobody would end a run that began with it.
        judge = judge_of(self.workplace.settings, self.workplace.client, total(one.charged for one in asked))
        if isinstance(step, RunResume):
            await self._take_over(earlier, step)
        else:
            await self._commit(start, step)
        judged: list[Judged] = []
        loaded = replace(self.checks, judge=judge)
        pipeline = Pipeline(self.store, loaded, self.listener, lambda subcall: judged.append(Judged.of(subcall)))
        pipeline.recall(stored)
        await Cancellation().outlast(asyncio.ensure_future(finish_asked(pipeline, asked)))
        people = People(pipeline, self._look, decider=self.decider, patience=self.patience, clock=clock)
        engine = Engine(
            run_id=start.run_id,
            root_span=start.span_id,
            seed=start.seed,
            seal=Seal(start.salt),
            pipeline=pipeline,
            people=people,
            gate=asyncio.Semaphore(concurrency),
            judged=judged,
            stored=stored,
            queued={review.span for review in earlier.queued},
            retry_failed=isinstance(step, RunResume) and step.retry_failed,
        )
        pipeline.on_asking = Pause(clock, lambda: engine.in_flight)
        context = Context(
            engine=engine,
            workplace=self.workplace,
            budget=Budget("run", step.limits, already=engine.spent_in(""), seconds_before=before, clock=clock),
            recipe_name=name,
            concurrency=concurrency,
        )

        def is_cancelled() -> bool:
            return times_cancelled() > cancelled_before

        end = await execute(engine, program(context), context.budget, clock, is_cancelled)
        end = end.model_copy(update={"seconds": before + clock() - began, "at": now()})
        await self._end(start, end, [subcall.span_id for subcall in judged if subcall.asks_human])
        if isinstance(end, RunEnd) and end.outcome is Outcome.CANCELLED and is_cancelled():
            raise asyncio.CancelledError
        return result_of(start, end, judged, self.store.url)

    async def _end(self, start: RunStart, end: RunEnd | RunSuspend, asked: Sequence[str]) -> None:
        """Commit the end; with one for good, in the same transaction, that nobody needs to decide any more of ``asked``."""
        late = Cancellation()
        while True:
            over = end.outcome if isinstance(end, RunEnd) and end.outcome in OVER else None
            closing = list(close(self.store, start.run_id, asked, over)) if over else []
            events = [*closing, Event.of(start.run_id, start.span_id, end)]
            try:
                await late.outlast(self.store.submit(*events))
                break
            except ConflictError:
                if not closing:
                    raise  # else somebody decided at this moment: theirs counts
        for event in events:
            tell(self.listener, event)
        late.raise_late()

    def _look(self, subcall: StoredSubcall) -> StoredSubcall:
        """The present state of a subcall of this run."""
        return self.store.subcall(subcall.call.run_id, subcall.call.span_id)

    async def _take_over(self, earlier: StoredRun, step: RunResume) -> None:
        """Commit the resume, unless the run went on since it was read: of two that resume it at once, one does."""
        try:
            await self._commit(earlier.start, step, after=earlier.last_seq)
        except ConflictError as exc:
            raise ConfigError(
                f"run {earlier.start.run_id} was resumed by another process at this moment: wait for that one"
            ) from exc

    async def _commit(self, start: RunStart, payload: RunStart | RunResume, *, after: int | None = None) -> None:
        event = Event.of(start.run_id, start.span_id, payload, after=after)
        await Cancellation().outlast(self.store.submit(event))  # a run that began has an end on record, too
        tell(self.listener, event)
