"""``ObservedRun``: one run around foreign code, held open in the door's loop until the code has ended."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import monitor
from monitor.adapters import door, stores
from monitor.adapters.options import prober_of
from monitor.adapters.places import Place
from monitor.canonical import escape_text, parse_json
from monitor.errors import ConfigError
from monitor.orchestrate.confinement import Toolbox, stronger
from monitor.orchestrate.execution import Execution
from monitor.orchestrate.foreign_calls import ForeignCalls
from monitor.orchestrate.process import this_process
from monitor.orchestrate.starting import judge_name, merged, options_text, refuse_if_alive
from monitor.orchestrate.workplace import Workplace
from monitor.records import OBSERVED, RunResume, RunStart, StoredRun, new_run_id, new_salt, new_span_id, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from monitor.adapters.options import Options
    from monitor.loaded import Windows
    from monitor.orchestrate.budget import Budget
    from monitor.orchestrate.context import Context
    from monitor.orchestrate.ending import RunResult
    from monitor.orchestrate.foreign import Asked
    from monitor.records import Call, Decision, Observation, Released, StoredSubcall

_NOWHERE = Path("/nonexistent")  # no recipe's folder: foreign code names no roles


class ObservedRun:
    """One run of foreign code. ``result`` is there once it is closed; ``answer`` may be set before, for the record."""

    def __init__(self, task: str, *, name: str, options: Options, earlier: StoredRun | None = None) -> None:
        """Load what the run is checked by; nothing is stored yet.

        ``earlier`` is a suspended run that is gone on with: by its own limits and probes, and by the rules of now.

        Raises:
            ConfigError: what was asked for is not there or is wrong, among it a probe of ``earlier``.
            PolicyError, ProbeError: a pack is wrong; a probe cannot be attached.
        """
        self.options = options
        self._name, self._earlier = name, earlier
        self._loaded = loaded = options.load()
        self._checks = loaded.checks
        self._again: RunResume | None = None
        if earlier is None:
            self.start = self._new_start(task)
        else:
            refuse_if_alive(earlier)
            self._checks = replace(self._checks, prober=prober_of(earlier.start, loaded.settings))
            self.start, self._again = earlier.start, self._resume(earlier)
        self.answer: Any = ""
        self.result: RunResult | None = None
        self.is_closed = False
        self._opened: Future[Place] = Future()
        self._context: Context | None = None
        self._calls: ForeignCalls | None = None
        self._left: asyncio.Future[Any] | None = None
        self._ended: Future[RunResult] | None = None

    @property
    def run_id(self) -> str:
        """The run's id, by which ``monitor show`` finds it."""
        return self.start.run_id

    @property
    def top(self) -> Place:
        """The place at the top of the run, once it is open."""
        return self._opened.result()

    @property
    def is_suspended(self) -> bool:
        """Whether it ended because it waits for a person; foreign code cannot be gone on with when they have decided."""
        return self._context is not None and self._context.engine.people.is_suspended

    # ---------------------------------------------------------------------------------------- opening and closing

    def begin(self) -> Future[Place]:
        """Store the run's start, in the door's loop; the future has the place at its top. It raises StoreError."""
        self._ended = door.submit(self._follow())
        self._ended.add_done_callback(self._fail_if_not_begun)
        return self._opened

    def end(self, error: BaseException | None = None, *, is_paused: bool = False) -> Future[RunResult]:
        """End the run: with ``answer``, or with the error that the foreign code raised. The future raises StoreError.

        Where the foreign code ``is_paused``, to be gone on with later, the run is suspended.
        """
        assert self._ended is not None, "a run is opened before it is closed"
        self.is_closed = True
        if is_paused and self._context is not None:
            self._context.engine.people.is_paused = True
        if self._left is not None:
            self._left.get_loop().call_soon_threadsafe(_settle, self._left, self.answer, error)
        return self._ended

    def open(self) -> Place:
        """``begin``, for code that waits."""
        return self.begin().result()

    def close(self, error: BaseException | None = None, *, is_paused: bool = False) -> RunResult:
        """``end``, for code that waits."""
        return self.end(error, is_paused=is_paused).result()

    # ------------------------------------------------------------------------------------------ while it is open

    def step(self, asked: Asked, budget: Budget, work: Callable[[Call], Awaitable[Observation]]) -> Any:
        """The coroutine of one call, for the door's loop."""
        return self._foreign_calls().make(asked, budget, work)

    def windows(self, adapter: str) -> Windows:
        """What streams of this run are released by before their end. Raises ConfigError where its policy forbids it."""
        return self._checks.windows(adapter)

    def stops(self, call: Call, observation: Observation) -> bool:
        """Whether a rule withholds what came of a stream so far."""
        return self._checks.stop(call, observation)

    def hand_on(self, call: Call, part: Released, before: int) -> Future[None]:
        """Commit a part of a stream, after ``before`` others: see ``Pipeline.hand_on``."""
        assert self._context is not None, "a run is opened before anything is called in it"
        return door.submit(self._context.engine.pipeline.hand_on(call, part, before))

    def settle(self, subcall: StoredSubcall, decision: Decision | None) -> Future[StoredSubcall]:
        """Decide a subcall of this run that was put off (``Asked.asks_later``): see ``ForeignCalls.settle``."""
        return door.submit(self._foreign_calls().settle(subcall, decision))

    def _foreign_calls(self) -> ForeignCalls:
        assert self._calls is not None, "a run is opened before anything is called in it"
        return self._calls

    # ---------------------------------------------------------------------------------------- in the door's loop

    async def _follow(self) -> RunResult:
        """The run: begun, held open until it is closed, ended as any run is."""
        loaded, given = self._loaded, self.options
        recorded = parse_json(self.start.options)["tool_isolation"]
        tools = Toolbox(stronger(loaded.settings.tool_isolation, recorded), loaded.hidden)
        workplace = Workplace(loaded.settings, "", _NOWHERE, tools, self._checks.prober)
        try:
            with stores.opened(loaded.db, busy_seconds=loaded.settings.busy_seconds) as store:
                execution = Execution(store, self._checks, workplace, given.listener, given.decider, given.patience)
                earlier = self._earlier or StoredRun(start=self.start)
                self.result = await execution.follow(earlier, self._again or self.start, self._name, self._hold)
                return self.result
        finally:
            await workplace.aclose()

    async def _hold(self, context: Context) -> Any:
        if self._earlier is not None:
            await context.engine.finish_earlier()
        self._calls = ForeignCalls(context.engine)
        self._context, self._left = context, asyncio.get_running_loop().create_future()
        self._opened.set_result(Place(self, context.budget))
        return await self._left

    def _fail_if_not_begun(self, ended: Future[RunResult]) -> None:
        if not self._opened.done():
            error = ended.exception()
            self._opened.set_exception(error or ConfigError("the run ended before it began"))

    # ------------------------------------------------------------------------------------------ what is recorded

    def _new_start(self, task: str) -> RunStart:
        settings, checks, me = self._loaded.settings, self._checks, this_process()
        return RunStart(
            run_id=new_run_id(),
            span_id=new_span_id(),
            recipe=OBSERVED + self._name,
            task=escape_text(task),
            salt=new_salt(),
            model="",
            limits=merged(settings.budget, self.options.budget),
            policies=checks.packs,
            rules=checks.rules,
            filters=checks.filters,
            probes=checks.prober.refs,
            options=options_text({}, settings.concurrency, settings),
            host=me.host,
            pid=me.pid,
            process_started=me.started,
            version=monitor.__version__,
            at=now(),
        )

    def _resume(self, earlier: StoredRun) -> RunResume:
        checks, me = self._checks, this_process()
        return RunResume(
            limits=earlier.resumes[-1].limits if earlier.resumes else earlier.start.limits,
            rules=checks.rules,
            filters=checks.filters,
            probes=checks.prober.refs,
            judge=judge_name(self._loaded.settings),
            host=me.host,
            pid=me.pid,
            process_started=me.started,
            version=monitor.__version__,
            at=now(),
        )


def _settle(left: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if left.done():
        return
    if error is None:
        left.set_result(answer)
    elif not isinstance(error, Exception):  # a cancellation, or an exit, which would end the door's loop
        left.cancel()
    else:
        left.set_exception(error)
