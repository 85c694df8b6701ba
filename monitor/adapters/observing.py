"""A run around foreign code, and the way of one of its calls through the door.

    with monitor.observed_run("Answer the customer's mail", policy=["core"], budget=Limits(calls=20)) as run:
        agent.invoke(...)          # any wrapped client or framework in here belongs to the run
    run.result.verdict

Where no run is open, a wrapped call makes one of its own. Which run and which subcall is open is kept in context
variables: tasks inherit them, and threads where whoever starts them copies the context, as ``asyncio.to_thread`` and
LangChain do. ``carried`` does it for threads of one's own.
"""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future, InvalidStateError
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import monitor
from monitor.adapters import door
from monitor.canonical import escape_text
from monitor.errors import AwaitingHuman, ConfigError, SubcallCancelled
from monitor.orchestrate.execution import Execution
from monitor.orchestrate.process import this_process
from monitor.orchestrate.starting import merged, options_text, refuse_if_alive, toolbox
from monitor.orchestrate.workplace import Workplace
from monitor.pipeline import LoadedChecks, load_checks
from monitor.probes import Prober
from monitor.records import OBSERVED, Observation, RunResume, RunStart, StoredRun, new_run_id, new_span_id, now
from monitor.settings import Settings
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from types import TracebackType

    from monitor.orchestrate.budget import Budget
    from monitor.orchestrate.context import Context
    from monitor.orchestrate.ending import RunResult
    from monitor.orchestrate.foreign import Asked
    from monitor.orchestrate.people import Decider
    from monitor.records import Call, Decision, Event, Limits, StoredSubcall

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where foreign code stands: its run, and the subcall in which it runs (none at the top)."""

    run: ObservedRun
    budget: Budget
    span_id: str | None = None
    depth: int = 0


_place: contextvars.ContextVar[Place | None] = contextvars.ContextVar("monitor_place", default=None)


def current() -> Place | None:
    """Where this code stands, if a run is open around it."""
    place = _place.get()
    return None if place is None or place.run.is_closed else place


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is observed: what is not given is the settings'.

    Who observes a run for each call keeps one of these: packs are loaded once, which takes longer than most calls.
    """

    policy: Sequence[str] | None = None
    budget: Limits | None = None
    probes: Sequence[str] | None = None
    force_probes: bool = False
    db: str | None = None
    settings: Settings | None = None
    listener: Callable[[Event], None] | None = None
    decider: Decider | None = None
    patience: float = 0.0
    _loaded: dict[tuple[str, ...], LoadedChecks] = field(default_factory=dict, init=False, repr=False, compare=False)

    def checks(self, packs: Sequence[str], prober: Prober) -> LoadedChecks:
        """The checks of these packs, as they were when they were first asked for. Raises PolicyError, CatalogError."""
        key = (str(Path.cwd()), *packs)
        if key not in self._loaded:
            self._loaded[key] = load_checks(tuple(packs))
        return replace(self._loaded[key], prober=prober)


class ObservedRun:
    """One run of foreign code. ``result`` is there once it is closed; ``answer`` may be set before, for the record."""

    def __init__(self, task: str, *, name: str, options: Options, earlier: StoredRun | None = None) -> None:
        """Load what the run is checked by. Raises ConfigError, PolicyError, ProbeError; nothing is stored yet.

        ``earlier`` is a suspended run that is gone on with, by its own limits and by the checks of now.
        """
        given = options
        self._options = given
        self._settings = given.settings or Settings(db=given.db, policies=given.policy, probes=given.probes)
        prober = Prober(
            given.probes if given.probes is not None else self._settings.probes,
            models=self._settings.probe_models,
            force=given.force_probes,
        )
        packs = given.policy if given.policy is not None else self._settings.policies
        self._checks = given.checks(packs, prober)
        me = this_process()
        self.start = RunStart(
            run_id=new_run_id(),
            span_id=new_span_id(),
            recipe=OBSERVED + name,
            task=escape_text(task),
            model="",
            limits=merged(self._settings.budget, given.budget),
            policies=self._checks.packs,
            rules=self._checks.rules,
            filters=self._checks.filters,
            probes=prober.refs,
            options=options_text({}, self._settings.concurrency, self._settings),
            host=me.host,
            pid=me.pid,
            process_started=me.started,
            version=monitor.__version__,
            at=now(),
        )
        self._earlier = earlier
        self._again: RunResume | None = None
        if earlier is not None:
            refuse_if_alive(earlier)
            self._again = RunResume(
                limits=earlier.resumes[-1].limits if earlier.resumes else earlier.start.limits,
                rules=self._checks.rules,
                filters=self._checks.filters,
                probes=prober.refs,
                host=me.host,
                pid=me.pid,
                process_started=me.started,
                version=monitor.__version__,
                at=now(),
            )
            self.start = earlier.start
        self.answer: Any = ""
        self.result: RunResult | None = None
        self.is_closed = False
        self._name = name
        self._context: Future[Context] = Future()
        self._leave: asyncio.Future[Any] | None = None
        self._ended: Future[RunResult] | None = None

    @property
    def run_id(self) -> str:
        """The run's id, by which ``monitor show`` finds it."""
        return self.start.run_id

    @property
    def is_suspended(self) -> bool:
        """Whether it ended because it waits for a person; foreign code cannot be gone on with when they have decided."""
        begun = self._context.done() and self._context.exception() is None
        return begun and self._context.result().engine.people.is_suspended

    def open(self) -> Place:
        """Store the run's start; returns the place at its top. Raises StoreError."""
        self._ended = door.submit(self._follow())
        self._ended.add_done_callback(self._fail_if_not_begun)
        context = self._context.result()
        return Place(self, context.budget)

    @property
    def options(self) -> Options:
        """How it is observed."""
        return self._options

    def close(self, error: BaseException | None = None, *, is_paused: bool = False) -> RunResult:
        """End the run: with ``answer``, or with the error that the foreign code raised. Raises StoreError.

        Where the foreign code ``is_paused``, to be gone on with later, the run is suspended.
        """
        assert self._ended is not None, "a run is opened before it is closed"
        self.is_closed = True
        if is_paused and self._context.done():
            self._context.result().engine.people.is_paused = True
        answer, leave = self.answer, self._leave
        if leave is not None:
            leave.get_loop().call_soon_threadsafe(_settle, leave, answer, error)
        self.result = self._ended.result()
        return self.result

    def through(self, asked: Asked, place: Place, work: Callable[[Call], Observation]) -> StoredSubcall:
        """Take a call through the door from code that waits; ``work`` makes it, in this thread.

        Raises:
            SubcallError: it ended without an answer that may be used.
            StoreError: the record could not be written.
            ConfigError: this is the door's own loop, or the call's cost cannot be bounded.
        """
        if door.is_inside():
            raise ConfigError("a call of foreign code from inside the monitor's own loop would wait for itself")
        passage = Passage(self, asked, place)
        call = passage.begin()
        if call is not None:
            passage.make(work, call)
        return passage.result()

    async def through_async(
        self, asked: Asked, place: Place, work: Callable[[Call], Awaitable[Observation]]
    ) -> StoredSubcall:
        """As ``through``, in an event loop: ``work`` runs in the task that asks."""
        passage = Passage(self, asked, place)
        try:
            call = await passage.begin_async()
            if call is not None:
                await passage.make_async(work, call)
            return await passage.result_async()
        except asyncio.CancelledError:
            passage.cancel()
            raise

    def settle(self, subcall: StoredSubcall, decision: Decision | None) -> Future[StoredSubcall]:
        """Decide a subcall of this run that was put off (``Asked.asks_later``): see ``Engine.settle``."""
        return door.submit(self._context.result().engine.settle(subcall, decision))

    async def _follow(self) -> RunResult:
        """The run, in the door's loop: begun, held open until it is closed, ended as any run is."""
        settings, given = self._settings, self._options
        db = given.db or settings.db
        workplace = Workplace(settings, "", _NOWHERE, toolbox(settings, db, self.start), self._checks.prober)
        try:
            with Store.open(db, busy_seconds=settings.busy_seconds) as store:
                execution = Execution(store, self._checks, workplace, given.listener, given.decider, given.patience)
                earlier = self._earlier or StoredRun(start=self.start)
                return await execution.follow(earlier, self._again or self.start, self._name, self._hold)
        finally:
            await workplace.aclose()

    async def _hold(self, context: Context) -> Any:
        if self._earlier is not None:
            await context.engine.finish_earlier()
        self._leave = asyncio.get_running_loop().create_future()
        self._context.set_result(context)
        return await self._leave

    def _fail_if_not_begun(self, ended: Future[RunResult]) -> None:
        if not self._context.done():
            error = ended.exception()
            self._context.set_exception(error or ConfigError("the run ended before it began"))

    def step(self, asked: Asked, budget: Budget, work: Callable[[Call], Awaitable[Observation]]) -> Any:
        """The coroutine of one call, for the door's loop."""
        return self._context.result().engine.foreign_step(asked, budget, work)


class Passage:
    """One call on its way: begun in the door's loop, made where it was asked for, judged in the door's loop."""

    def __init__(self, run: ObservedRun, asked: Asked, place: Place) -> None:
        self._run, self._place = run, place
        self._asked = replace(asked, parent_id=asked.parent_id or place.span_id, depth=place.depth + 1)
        self._go: Future[Call | None] = Future()
        self._came: Future[Observation] = Future()
        self._step: Future[StoredSubcall] = door.submit(run.step(self._asked, place.budget, self._bridge))
        self._step.add_done_callback(self._refused)

    def _refused(self, _step: Future[StoredSubcall]) -> None:
        if not self._go.done():
            self._go.set_result(None)

    async def _bridge(self, call: Call) -> Observation:
        self._go.set_result(call)
        return await asyncio.wrap_future(self._came)

    def begin(self) -> Call | None:
        """Wait until the call's start is stored. None where it is not to be made: ``result`` says why."""
        try:
            return self._go.result()
        except BaseException:
            self.cancel()
            raise

    async def begin_async(self) -> Call | None:
        """As ``begin``."""
        return await asyncio.shield(asyncio.wrap_future(self._go))

    def make(self, work: Callable[[Call], Observation], call: Call) -> None:
        """Make the call, here; calls that it makes in its turn hang below it. What came back goes to the door."""
        came: Observation | BaseException
        with self._inside(call):
            try:
                came = work(call)
            except BaseException as exc:  # noqa: BLE001 - the record says so, and it is raised again afterwards
                came = exc
        self.finish(came)
        if not isinstance(came, Observation | Exception):
            raise came  # KeyboardInterrupt and SystemExit are this thread's, not the door's

    async def make_async(self, work: Callable[[Call], Awaitable[Observation]], call: Call) -> None:
        """As ``make``."""
        came: Observation | BaseException
        with self._inside(call):
            try:
                came = await work(call)
            except BaseException as exc:  # noqa: BLE001 - as above
                came = exc
        self.finish(came)
        if not isinstance(came, Observation | Exception):
            raise came

    @contextmanager
    def _inside(self, call: Call) -> Iterator[None]:
        token = _place.set(Place(self._run, self._place.budget, call.span_id, self._asked.depth))
        try:
            yield
        finally:
            _place.reset(token)

    def finish(self, came: Observation | BaseException) -> None:
        """Hand in what came of the call, or what it was ended by."""
        with suppress(InvalidStateError):  # it was cut off meanwhile: what came then is nobody's
            if isinstance(came, Observation):
                self._came.set_result(came)
            elif isinstance(came, Exception):
                self._came.set_exception(came)
            else:  # a cancellation, or an exit, which would end the door's loop
                self._came.cancel()
                self.cancel()

    def cancel(self) -> None:
        """Cut the call off; its record says so."""
        self._step.cancel()

    def result(self) -> StoredSubcall:
        """Wait for the verdict. Raises SubcallError, StoreError."""
        try:
            return self._step.result()
        except BaseException as exc:  # noqa: BLE001 - raised on at once
            raise _translated(exc, self._run) from None

    async def result_async(self) -> StoredSubcall:
        """As ``result``."""
        try:
            return await asyncio.shield(asyncio.wrap_future(self._step))
        except BaseException as exc:
            task = asyncio.current_task()
            if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            raise _translated(exc, self._run) from None


def _translated(exc: BaseException, run: ObservedRun) -> BaseException:
    """The error as foreign code gets it: a call that the run cut off is no cancellation of the code that asked."""
    if isinstance(exc, asyncio.CancelledError | FutureCancelledError):
        if run.is_suspended:
            return AwaitingHuman("the answer waits for a person, and nobody decided in time", run_id=run.run_id)
        return SubcallCancelled("the run ended while the call was in flight", run_id=run.run_id)
    return exc


def _settle(leave: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if leave.done():
        return
    if error is None:
        leave.set_result(answer)
    elif not isinstance(error, Exception):  # a cancellation, or an exit, which would end the door's loop
        leave.cancel()
    else:
        leave.set_exception(error)


class observed_run:  # noqa: N801 - used as a function, in `with` and in `async with`
    """Observe the wrapped calls of foreign code as one run: ``with`` and ``async with``, from any thread.

    Args:
        task: What is asked, for the record.
        name: What the program is called.
        policy: Policy packs by name or path; an empty list is no policy, and then nothing can pass.
        budget: Limits of the run; those that are not given are the settings'.
        probes: Activation probes by name or path.
        force_probes: Attach those too whose evaluation raised an alarm.
        db: Where the run is stored.
        settings: All settings at once.
        listener: Told of each event after its commit.
        decider: Asked there and then where a rule says ``ask_human``.
        patience: Seconds to wait for ``monitor decide`` where nothing else of the run goes on.

    An error that leaves the block ends the run as what it is, and is raised on.

    Raises:
        ConfigError: something that was asked for is not there or is wrong; nothing was spent.
        StoreError: the record could not be written.
    """

    def __init__(self, task: str = "", *, name: str = "python", **options: Any) -> None:
        self._run = ObservedRun(task, name=name, options=Options(**options))
        self._token: contextvars.Token[Place | None] | None = None

    def __enter__(self) -> ObservedRun:
        self._token = _place.set(self._run.open())
        return self._run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._token is not None
        _place.reset(self._token)
        self._run.close(error)

    async def __aenter__(self) -> ObservedRun:
        self._token = _place.set(await asyncio.to_thread(self._run.open))
        return self._run

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._token is not None
        _place.reset(self._token)
        await _closed(self._run, error)


async def _closed(run: ObservedRun, error: BaseException | None = None) -> None:
    closing = asyncio.ensure_future(asyncio.to_thread(run.close, error))
    while not closing.done():  # a cancellation must not leave the run open
        with suppress(asyncio.CancelledError):
            await asyncio.shield(closing)
    closing.result()


@contextmanager
def standing(task: str, name: str, options: Options) -> Iterator[Place]:
    """The place where this code stands, or that of a run of its own, for a call outside of any."""
    place = current()
    if place is not None:
        yield place
        return
    run = ObservedRun(task, name=name, options=options)
    place = run.open()
    try:
        yield place
    except BaseException as exc:
        run.close(exc)
        raise
    run.close()


@asynccontextmanager
async def standing_async(task: str, name: str, options: Options) -> AsyncIterator[Place]:
    """As ``standing``, without keeping the event loop waiting."""
    place = current()
    if place is not None:
        yield place
        return
    run = await asyncio.to_thread(ObservedRun, task, name=name, options=options)
    opening = asyncio.ensure_future(asyncio.to_thread(run.open))
    try:
        place = await asyncio.shield(opening)
    except asyncio.CancelledError as exc:  # it opens all the same
        await asyncio.wait({opening})
        await _closed(run, exc)
        raise
    try:
        yield place
    except BaseException as exc:
        await _closed(run, exc)
        raise
    await _closed(run)


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """A function that knows, in whatever thread it is called, the run and the subcall that are open now."""
    place = _place.get()

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _place.set(place)
        try:
            return function(*args, **kwargs)
        finally:
            _place.reset(token)

    return call


_NOWHERE = Path("/nonexistent")  # no recipe's folder: foreign code names no roles
