"""A rule's ``ask_human`` in a graph with a checkpointer: LangGraph's own interrupt, and the decision stored as ours.

The call is made, stored and judged; then the node is interrupted, and our run is suspended with the invocation. When the
graph is resumed, in this process or in another, the node runs again: the call is not. The subcall is found by the place of
the node in its graph, the decision is committed to it, and what is released is made of the record.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config
from langgraph.types import interrupt

from monitor.adapters.langchain.runs import TREE, lies_in
from monitor.adapters.langchain.threads import thread_here
from monitor.adapters.observed import ObservedRun
from monitor.cancellation import in_thread, made_in_thread, outlasting
from monitor.canonical import fingerprint
from monitor.errors import AwaitingHuman, ConfigError
from monitor.orchestrate.deciding import make_decision
from monitor.records import AWAITING_HUMAN, OBSERVED, Choice
from monitor.settings import Settings
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from monitor.adapters.langchain.exchange import Exchange
    from monitor.adapters.options import Options
    from monitor.adapters.places import Place
    from monitor.records import Decision, StoredRun, StoredSubcall

CHOICES = tuple(choice.value for choice in Choice)
VIA = "decided in LangGraph"

_kept: dict[str, tuple[Exchange, StoredSubcall]] = {}  # by scope: what was interrupted in this process, value and all
_MOST_KEPT = 1_000


def resumable(exchange: Exchange, options: Options) -> None:
    """Name the call by its place in its thread, and let it be put off where a person is to be asked by an interrupt."""
    thread = thread_here()
    if thread is None:
        return
    conf = (var_child_runnable_config.get() or {}).get("configurable") or {}
    place = fingerprint(str(conf.get("checkpoint_ns")), exchange.asked.kind, exchange.call_id)[:16]
    exchange.asked = replace(exchange.asked, scope=f"{thread.scope}/{place}", asks_later=options.decider is None)


def suspended(options: Options, name: str = "") -> tuple[StoredRun, dict[str, StoredSubcall]] | None:
    """The suspended run of this thread, and those of its subcalls that were put before a person, by scope. None if none is.

    Raises:
        StoreError: the store cannot be read.
    """
    thread = thread_here()
    if thread is None:
        return None
    settings = options.settings or Settings(db=options.db)
    with Store.open(options.db or settings.db, busy_seconds=settings.busy_seconds) as store:
        for run in store.runs():
            is_ours = run.start.recipe == OBSERVED + name or (not name and run.start.is_observed)
            if not is_ours or run.state != AWAITING_HUMAN:
                continue
            subcalls = [
                item for item in store.subcalls(run.start.run_id) if item.call.scope.startswith(f"{thread.scope}/")
            ]
            if subcalls:
                asked = (item for item in subcalls if item.judgement and item.judgement.asks_human)
                return run, {item.call.scope: item for item in asked}
    return None


def waiting(exchange: Exchange, place: Place) -> StoredSubcall | None:
    """The subcall that this very call became before its graph was interrupted; None where it is to be made."""
    scope = exchange.asked.scope
    if not exchange.asked.asks_later:
        return None
    if scope in _kept:
        return _kept[scope][1]
    found = TREE.waiting(lies_in(), lambda: suspended(place.run.options))
    return found.pop(scope, None)


def kept(exchange: Exchange) -> Exchange:
    """The exchange of the call itself, where this process still has it."""
    return _kept.pop(exchange.asked.scope, (exchange, None))[0]


def settled(exchange: Exchange, subcall: StoredSubcall, place: Place) -> StoredSubcall:
    """The subcall as a person decided it; interrupts the graph until one has. Raises SubcallError, GraphInterrupt."""
    run = _run_of(subcall, place)
    try:
        answers = _answers(exchange, subcall, run)
        settling = next(answers)
        while True:
            try:
                return settling.result()
            except AwaitingHuman:
                settling = next(answers)
    finally:
        if run is not place.run:
            run.close()


async def settled_async(exchange: Exchange, subcall: StoredSubcall, place: Place) -> StoredSubcall:
    """As ``settled``."""
    run = await made_in_thread(lambda: _run_of(subcall, place), lambda run: run is place.run or run.close())
    try:
        answers = _answers(exchange, subcall, run)
        settling = next(answers)
        while True:
            try:
                return await asyncio.wrap_future(settling)
            except AwaitingHuman:
                settling = next(answers)
    finally:
        if run is not place.run:
            await outlasting(in_thread(run.close))


def _run_of(subcall: StoredSubcall, place: Place) -> ObservedRun:
    """The run that the subcall is of: the one that is open, or an earlier one, opened again for its decision."""
    run_id, options = subcall.call.run_id, place.run.options
    if run_id == place.run.run_id:
        return place.run
    settings = options.settings or Settings(db=options.db)
    with Store.open(options.db or settings.db, busy_seconds=settings.busy_seconds) as store:
        earlier = store.run(run_id)
    name = earlier.start.recipe.removeprefix(OBSERVED)
    run = ObservedRun(earlier.start.task, name=name, options=options, earlier=earlier)
    run.open()
    return run


def _answers(exchange: Exchange, subcall: StoredSubcall, run: ObservedRun) -> Iterator[Future[StoredSubcall]]:
    """What becomes of the subcall: by what is in the store already, then by one answer to an interrupt after the other."""
    yield run.settle(subcall, None)
    problem, escalated = "", sum(decision.choice is Choice.ESCALATE for decision in subcall.decisions)
    while True:
        answer = _interrupted(exchange, subcall, problem)
        try:
            decision = decision_of(subcall, answer)
        except (ConfigError, ValueError) as exc:
            problem = str(exc)
            continue
        problem = ""
        if decision.choice is Choice.ESCALATE and escalated:
            escalated -= 1  # LangGraph gives all answers again, from the first one on
            continue
        yield run.settle(subcall, decision)
        subcall = subcall.model_copy(update={"decisions": (*subcall.decisions, decision)})  # escalated: it still waits


def _interrupted(exchange: Exchange, subcall: StoredSubcall, problem: str) -> Any:
    """LangGraph's interrupt. The withheld answer is no part of the question: ``monitor show`` has it."""
    call, judgement = subcall.call, subcall.judgement
    if len(_kept) < _MOST_KEPT:
        _kept[call.scope] = exchange, subcall
    assert judgement is not None
    question = {
        "monitor": "ask_human",
        "subcall": f"{call.run_id}/{call.span_id}",
        "role": call.role,
        "kind": call.kind,
        "caught_by": list(judgement.verdict.catches),
        "could_not_be_checked_by": list(judgement.verdict.outages),
        "choices": list(CHOICES),
    }
    answer = interrupt({**question, "problem": problem} if problem else question)
    _kept.pop(call.scope, None)
    return answer


def decision_of(subcall: StoredSubcall, answer: Any) -> Decision:
    """The answer to an interrupt as a decision: a word, or ``{"decision": …, "why": …, "by": …, "output": …}``.

    Raises:
        ConfigError, ValueError: it is none; says why.
    """
    told = {"decision": answer} if isinstance(answer, str) else answer
    if not isinstance(told, dict) or told.get("decision") not in CHOICES:
        raise ConfigError(f'resume with one of {", ".join(CHOICES)}, or {{"decision": …, "why": …}}; found {answer!r}')
    if extra := sorted(set(told) - {"decision", "why", "by", "output"}):
        raise ConfigError(f"a decision has decision, why, by and output; found {', '.join(map(str, extra))}")
    return make_decision(
        subcall, told["decision"], why=str(told.get("why") or VIA), by=told.get("by"), output=told.get("output")
    )
