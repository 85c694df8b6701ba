"""Start a run, or go on with one: from a recipe's name and a task to a stored, judged answer.

A run's events are ``run_started``, the events of its subcalls, and ``run_ended``; a resume adds ``run_resumed`` and a new
end. What a subcall ended in is data: ``run`` returns it. What breaks the monitor itself (the store, the settings) is an
exception.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import monitor
from monitor import catalog
from monitor.canonical import escape_text
from monitor.errors import ConfigError
from monitor.loaded import load_checks
from monitor.orchestrate.context import recipe_options
from monitor.orchestrate.ending import RunResult, result_of
from monitor.orchestrate.execution import Execution
from monitor.orchestrate.judge import judge_of
from monitor.orchestrate.process import this_process
from monitor.orchestrate.starting import (
    anchored,
    ingested_again,
    judge_name,
    merged,
    name,
    options_text,
    refuse_if_alive,
    refuse_unpriced,
    toolbox,
)
from monitor.orchestrate.tally import Judged
from monitor.orchestrate.workplace import Workplace
from monitor.probes import Prober
from monitor.records import (
    Event,
    Limits,
    Outcome,
    RunResume,
    RunStart,
    StoredRun,
    new_run_id,
    new_salt,
    new_span_id,
    now,
)
from monitor.settings import Settings
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.models.base import ModelClient
    from monitor.orchestrate.people import Decider

logger = logging.getLogger(__name__)


async def run(
    recipe: str,
    task: str,
    *,
    model: str | ModelClient | None = None,
    db: str | None = None,
    policies: Sequence[str] | None = None,
    probes: Sequence[str] | None = None,
    force_probes: bool = False,
    budget: Limits | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    settings: Settings | None = None,
    listener: Callable[[Event], None] | None = None,
    decider: Decider | None = None,
    patience: float = 0.0,
) -> RunResult:
    """Run a recipe on a task: every subcall bounded, stored, checked and judged before its answer is used.

    Args:
        recipe: A name, or ``path.py`` or ``path.py:function``.
        task: What is asked.
        model: ``embedded``, an alias, ``provider:name``, or a client. Default: the settings'.
        db: Where the run is stored: a path or URL. Default: the settings'.
        policies: Policy packs by name or path; an empty list is no policy, and then nothing can pass.
        probes: Activation probes by name or path, attached to every subcall of a model. Default: the settings'.
        force_probes: Attach those too whose evaluation raised an alarm; the record says so.
        budget: The limits of the whole run; those that are not given are the settings'.
        seed: Makes the run's sampling seeds.
        options: Options of the recipe.
        concurrency: How many subcalls may be in flight.
        settings: All settings at once, instead of reading them from the environment and ``monitor.toml``.
        listener: Told of each event after its commit.
        decider: Asked there and then where a rule says ``ask_human``.
        patience: Seconds to wait for a decision from elsewhere (``monitor decide``) when nothing else of the run goes on;
            then it is suspended, to be resumed when somebody has decided.

    However the run ends, the result says so: see ``RunResult.outcome``. Seconds in which the run does nothing but wait for
    people are not its own.

    Raises:
        ConfigError: something that was asked for is not there or is wrong; nothing was spent.
        ProbeError: a probe cannot be attached; nothing was spent.
        StoreError: the record could not be written; nothing was released after that.
        asyncio.CancelledError: the caller was cancelled; the run is stored as cancelled and can be resumed.
    """
    settings = settings or Settings(
        db=db,
        model=None if not isinstance(model, str) else model,
        policies=policies,
        probes=probes,
        concurrency=concurrency,
    )
    model = anchored(model if model is not None else settings.model)
    prober = Prober(probes if probes is not None else settings.probes, models=settings.probe_models, force=force_probes)
    checks = load_checks(tuple(policies if policies is not None else settings.policies), prober)
    found = catalog.load_recipe(recipe)
    recipe_options(found.function, options or {})  # wrong options are told before anything is stored
    me = this_process()
    start = RunStart(
        run_id=new_run_id(),
        span_id=new_span_id(),
        recipe=found.ref,
        recipe_hash=found.sha256,
        task=escape_text(task),
        salt=new_salt(),
        model=name(model),
        seed=seed,
        limits=merged(settings.budget, budget),
        policies=checks.packs,
        rules=checks.rules,
        filters=checks.filters,
        probes=checks.prober.refs,
        options=options_text(options or {}, concurrency or settings.concurrency, settings),
        host=me.host,
        pid=me.pid,
        process_started=me.started,
        version=monitor.__version__,
        at=now(),
    )
    workplace = Workplace(
        settings, model, found.path.parent, toolbox(settings, db or settings.db, start), checks.prober
    )
    try:
        refuse_unpriced(start.limits, workplace.client(None))
        judge_of(settings, workplace.client)  # whatever is wrong with it is told before anything is stored
        with Store.open(db or settings.db, busy_seconds=settings.busy_seconds) as store:
            execution = Execution(store, checks, workplace, listener, decider, patience)
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
    decider: Decider | None = None,
    patience: float = 0.0,
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
        decider: As in ``run``.
        patience: As in ``run``.

    Raises:
        ConfigError: the run is still being executed by a living process, or its parts are gone.
        StoreError: no such run, or the record could not be written.
    """
    settings = settings or Settings(db=db)
    with Store.open(db or settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        earlier = store.run(run_id)
        if earlier.end and earlier.state == Outcome.OK:
            subcalls = store.subcalls(earlier.start.run_id)
            judged = [Judged.of(one) for one in subcalls if one.judgement and not one.call.is_monitors]
            return result_of(earlier.start, earlier.end, judged, store.url)
        refuse_if_alive(earlier)
        if store.redactions(earlier.start.run_id):
            raise ConfigError(
                f"texts of run {earlier.start.run_id} were redacted: what it would go on with is gone. Start it anew"
            )
        if earlier.start.is_observed:
            raise ConfigError(
                f"run {earlier.start.run_id} observed somebody else's program ({earlier.start.recipe}): it goes on where "
                "that program does (a graph of LangGraph's by Command(resume=…)), or the program is started again. "
                "Nothing was changed"
            )
        if earlier.start.is_ingested:
            raise ConfigError(ingested_again(earlier.start))
        attached = earlier.start.probes
        forced = any(probe.forced for probe in attached)
        prober = Prober([probe.ref for probe in attached], models=settings.probe_models, force=forced)
        checks = load_checks(earlier.start.policies, prober)
        limits = merged(earlier.resumes[-1].limits if earlier.resumes else earlier.start.limits, budget)
        me = this_process()
        found = catalog.load_recipe(earlier.start.recipe)
        again = RunResume(
            recipe_hash=found.sha256,
            limits=limits,
            retry_failed=retry_failed,
            rules=checks.rules,
            filters=checks.filters,
            probes=checks.prober.refs,
            judge=judge_name(settings),
            host=me.host,
            pid=me.pid,
            process_started=me.started,
            version=monitor.__version__,
            at=now(),
        )
        tools = toolbox(settings, db or settings.db, earlier.start)
        chosen = model if model is not None else earlier.start.model
        workplace = Workplace(settings, chosen, found.path.parent, tools, checks.prober)
        try:
            refuse_unpriced(limits, workplace.client(None))
            execution = Execution(store, checks, workplace, listener, decider, patience)
            return await execution.go(earlier, again, found)
        finally:
            await workplace.aclose()


def run_sync(recipe: str, task: str, **arguments: Any) -> RunResult:
    """As ``run``, for code without an event loop."""
    return asyncio.run(run(recipe, task, **arguments))


def resume_sync(run_id: str, **arguments: Any) -> RunResult:
    """As ``resume``, for code without an event loop."""
    return asyncio.run(resume(run_id, **arguments))
