"""Start a run, or go on with one: from a recipe's name and a task to a stored, judged answer.

A run's events are ``run_started``, the events of its subcalls, and ``run_ended``; a resume adds ``run_resumed`` and a new
end. What a subcall ended in is data: ``run`` returns it. What breaks the monitor itself (the store, the settings) is an
exception.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import monitor
from monitor import catalog
from monitor.canonical import canonical_text, escape_text, parse_json
from monitor.errors import ConfigError, ConflictError
from monitor.orchestrate.budget import Budget
from monitor.orchestrate.context import Context, recipe_options
from monitor.orchestrate.ending import RunResult, execute, result_of
from monitor.orchestrate.process import this_process
from monitor.orchestrate.starting import (
    ACTIVE,
    anchored,
    merged,
    name,
    refuse_if_alive,
    refuse_unpriced,
    seconds_of,
)
from monitor.orchestrate.subcall import Engine
from monitor.orchestrate.workplace import Workplace
from monitor.pipeline import LoadedChecks, Pipeline, load_checks
from monitor.records import (
    Event,
    Limits,
    Outcome,
    RunEnd,
    RunResume,
    RunStart,
    StoredRun,
    StoredSubcall,
    new_run_id,
    new_span_id,
    now,
)
from monitor.settings import Settings
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.models.base import ModelClient

logger = logging.getLogger(__name__)


async def run(
    recipe: str,
    task: str,
    *,
    model: str | ModelClient | None = None,
    db: str | None = None,
    policies: Sequence[str] | None = None,
    budget: Limits | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    settings: Settings | None = None,
    listener: Callable[[Event], None] | None = None,
) -> RunResult:
    """Run a recipe on a task: every subcall bounded, stored, checked and judged before its answer is used.

    Args:
        recipe: A name, or ``path.py`` or ``path.py:function``.
        task: What is asked.
        model: ``embedded``, an alias, ``provider:name``, or a client. Default: the settings'.
        db: Where the run is stored: a path or URL. Default: the settings'.
        policies: Policy packs by name or path; an empty list is no policy, and then nothing can pass.
        budget: The limits of the whole run; those that are not given are the settings'.
        seed: Makes the run's sampling seeds.
        options: Options of the recipe.
        concurrency: How many subcalls may be in flight.
        settings: All settings at once, instead of reading them from the environment and ``monitor.toml``.
        listener: Told of each event after its commit.

    However the run ends, the result says so: see ``RunResult.outcome``.

    Raises:
        ConfigError: something that was asked for is not there or is wrong; nothing was spent.
        StoreError: the record could not be written; nothing was released after that.
        asyncio.CancelledError: the caller was cancelled; the run is stored as cancelled and can be resumed.
    """
    settings = settings or Settings(
        db=db, model=None if not isinstance(model, str) else model, policies=policies, concurrency=concurrency
    )
    model = anchored(model if model is not None else settings.model)
    checks = load_checks(tuple(policies if policies is not None else settings.policies))
    found = catalog.load_recipe(recipe)
    recipe_options(found.function, options or {})  # wrong options are told before anything is stored
    me = this_process()
    start = RunStart(
        run_id=new_run_id(),
        span_id=new_span_id(),
        recipe=found.ref,
        recipe_hash=found.sha256,
        task=escape_text(task),
        model=name(model),
        seed=seed,
        limits=merged(settings.budget, budget),
        policies=checks.packs,
        rules=checks.rules,
        options=canonical_text({"options": dict(options or {}), "concurrency": concurrency or settings.concurrency}),
        host=me.host,
        pid=me.pid,
        process_started=me.started,
        version=monitor.__version__,
        at=now(),
    )
    workplace = Workplace(settings, model, found.path.parent)
    try:
        refuse_unpriced(start.limits, workplace.client(None))
        with Store.open(db or settings.db, busy_seconds=settings.busy_seconds) as store:
            execution = _Execution(store, checks, workplace, listener)
            return await execution.go(StoredRun(start=start), start, found)
    finally:
        await workplace.aclose()


async def resume(
    run_id: str,
    *,
    retry_failed: bool = False,
    budget: Limits | None = None,
    model: str | ModelClient | None = None,
    db: str | None = None,
    settings: Settings | None = None,
    listener: Callable[[Event], None] | None = None,
) -> RunResult:
    """Go on with a run that was killed, cancelled or failed. No judged subcall is called again, and none charged twice.

    What was observed but not judged is judged; what was started but not observed stays charged at its reservation, and is
    called again as a new attempt. A run that ended well is returned as it is.

    Args:
        run_id: The run, or an unambiguous beginning of its id.
        retry_failed: Call again what failed or exceeded its budget; otherwise those ends are final.
        budget: New limits for the whole run; what was spent before counts.
        model: Only to hand in a client; by name, the run's own model is used.
        db: As in ``run``.
        settings: As in ``run``.
        listener: As in ``run``.

    Raises:
        ConfigError: the run is still being executed by a living process, or its parts are gone.
        StoreError: no such run, or the record could not be written.
    """
    settings = settings or Settings(db=db)
    with Store.open(db or settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        earlier = store.run(run_id)
        if earlier.end and earlier.state == Outcome.OK:
            return result_of(earlier.start, earlier.end, store.subcalls(earlier.start.run_id), store.url)
        refuse_if_alive(earlier)
        checks = load_checks(earlier.start.policies)
        limits = merged(earlier.resumes[-1].limits if earlier.resumes else earlier.start.limits, budget)
        me = this_process()
        found = catalog.load_recipe(earlier.start.recipe)
        again = RunResume(
            recipe_hash=found.sha256,
            limits=limits,
            retry_failed=retry_failed,
            rules=checks.rules,
            host=me.host,
            pid=me.pid,
            process_started=me.started,
            version=monitor.__version__,
            at=now(),
        )
        workplace = Workplace(settings, model if model is not None else earlier.start.model, found.path.parent)
        try:
            refuse_unpriced(limits, workplace.client(None))
            return await _Execution(store, checks, workplace, listener).go(earlier, again, found)
        finally:
            await workplace.aclose()


def run_sync(recipe: str, task: str, **arguments: Any) -> RunResult:
    """As ``run``, for code without an event loop."""
    return asyncio.run(run(recipe, task, **arguments))


def resume_sync(run_id: str, **arguments: Any) -> RunResult:
    """As ``resume``, for code without an event loop."""
    return asyncio.run(resume(run_id, **arguments))


class _Execution:
    """One execution of a run, the first or a resumed one."""

    def __init__(
        self, store: Store, checks: LoadedChecks, workplace: Workplace, listener: Callable[[Event], None] | None
    ) -> None:
        self._store = store
        self._checks = checks
        self._workplace = workplace
        self._listener = listener

    async def go(self, earlier: StoredRun, step: RunStart | RunResume, found: catalog.Recipe) -> RunResult:
        """Execute the run from ``step`` to its end; ``found`` is the recipe whose hash ``step`` records."""
        start = earlier.start
        stored = () if isinstance(step, RunStart) else tuple(self._store.subcalls(start.run_id))
        chosen = parse_json(start.options)
        concurrency = int(chosen["concurrency"])
        options = recipe_options(found.function, chosen["options"])
        if start.run_id in ACTIVE:
            raise ConfigError(f"run {start.run_id} is being executed by this process already")
        ACTIVE.add(start.run_id)
        try:
            return await self._from(earlier, step, found, stored, options, concurrency)
        finally:
            ACTIVE.discard(start.run_id)

    async def _from(  # noqa: PLR0917 - what ``go`` found out
        self,
        earlier: StoredRun,
        step: RunStart | RunResume,
        found: catalog.Recipe,
        stored: Sequence[StoredSubcall],
        options: Mapping[str, Any],
        concurrency: int,
    ) -> RunResult:
        start = earlier.start
        before = seconds_of(earlier, stored)
        began = time.monotonic()
        if isinstance(step, RunResume):
            await self._take_over(earlier, step)
        else:
            await self._commit(start, step)
        judged: list[StoredSubcall] = []
        engine = Engine(
            run_id=start.run_id,
            root_span=start.span_id,
            seed=start.seed,
            pipeline=Pipeline(self._store, self._checks, self._listener, judged.append),
            gate=asyncio.Semaphore(concurrency),
            judged=judged,
            stored=stored,
            retry_failed=isinstance(step, RunResume) and step.retry_failed,
        )
        context = Context(
            engine=engine,
            workplace=self._workplace,
            budget=Budget("run", step.limits, already=engine.spent_in(""), seconds_before=before),
            recipe_name=found.name,
            concurrency=concurrency,
        )
        end = await execute(engine, found.function(context, start.task, **options), context.budget)
        end = end.model_copy(update={"seconds": before + time.monotonic() - began, "at": now()})
        await self._commit(start, end)
        this = asyncio.current_task()
        if end.outcome is Outcome.CANCELLED and this is not None and this.cancelling():
            raise asyncio.CancelledError
        return result_of(start, end, judged, self._store.url)

    async def _take_over(self, earlier: StoredRun, step: RunResume) -> None:
        """Commit the resume, unless the run went on since it was read: of two that resume it at once, one does."""
        try:
            await self._commit(earlier.start, step, after=earlier.last_seq)
        except ConflictError as exc:
            raise ConfigError(
                f"run {earlier.start.run_id} was resumed by another process at this moment: wait for that one"
            ) from exc

    async def _commit(
        self, start: RunStart, payload: RunStart | RunResume | RunEnd, *, after: int | None = None
    ) -> None:
        event = Event.of(start.run_id, start.span_id, payload, after=after)
        await self._store.append(event)
        if self._listener:
            try:
                self._listener(event)
            except Exception:  # as in the pipeline: a broken display must not cost a run its end
                logger.exception("the listener failed on a %s event", event.kind)
