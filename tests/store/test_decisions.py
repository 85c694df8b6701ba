"""Decisions of people in the log: where they belong, who wins, and what the state is then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.errors import ConflictError, StoreError
from monitor.records import Choice, Outcome
from tests.store.databases import Database
from tests.store.events import asking, decided, judged, observed, run_ended, run_started, run_suspended, started, trio

if TYPE_CHECKING:
    from monitor.records import Event
    from monitor.store import Store


def waiting(store: Store) -> tuple[Event, Event]:
    """A run, and a subcall of it that waits for a decision."""
    run = run_started()
    call = started(run.run_id, task="may I?")
    store.append_sync(run, call, observed(call), asking(call))
    return run, call


def test_a_decision_settles_what_waits(store: Store) -> None:
    run, call = waiting(store)
    before = store.subcall(run.run_id, call.span_id)
    assert (before.state, before.outcome, before.awaits_human) == ("awaiting_human", None, True)
    store.append_sync(decided(call, choice=Choice.ESCALATE, why="not mine to say"))
    again = store.subcall(run.run_id, call.span_id)
    assert (again.state, again.decision) == ("awaiting_human", None)
    store.append_sync(decided(call, after=3))
    after = store.subcall(run.run_id, call.span_id)
    assert (after.state, after.outcome) == ("ok", Outcome.OK)
    assert [item.choice for item in after.decisions] == [Choice.ESCALATE, Choice.APPROVE]
    assert [event.seq for event in store.events(run.run_id) if event.kind == "decided"] == [3, 4]


@pytest.mark.parametrize(
    ("choice", "state"),
    [
        ("approve", "ok"),
        ("modify", "ok"),
        ("reject", "rejected"),
        ("terminate", "rejected"),
        ("escalate", "awaiting_human"),
    ],
)
def test_the_views_say_what_the_records_say(store: Store, db: str, choice: str, state: str) -> None:
    run, call = waiting(store)
    store.append_sync(decided(call, choice=Choice(choice), output="43" if choice == "modify" else ""))
    assert store.subcall(run.run_id, call.span_id).state == state
    with Database(db) as database:
        assert database.rows("SELECT state, decision FROM subcalls") == [(state, choice)]
        shown = database.rows("SELECT choice, why, decided_by, output, via, waited_seconds >= 0 FROM decisions")
    assert shown == [(choice, "it is fine", "ann", "43" if choice == "modify" else None, "command", 1)]


def test_of_two_who_decide_at_once_one_wins(store: Store) -> None:
    run, call = waiting(store)
    store.append_sync(decided(call, why="first"))
    with pytest.raises(ConflictError, match="was decided already"):
        store.append_sync(decided(call, choice=Choice.REJECT, why="second"))
    assert [item.why for item in store.subcall(run.run_id, call.span_id).decisions] == ["first"]


def test_nothing_is_decided_that_is_not_judged(store: Store) -> None:
    run = run_started()
    call = started(run.run_id)
    store.append_sync(run, call, observed(call))
    with pytest.raises(StoreError, match="not judged yet"):
        store.append_sync(decided(call))
    with pytest.raises(StoreError, match="not judged yet"):
        store.append_sync(decided(call, after=0))
    store.append_sync(judged(call))


def test_a_suspended_run_waits_and_goes_on(store: Store, db: str) -> None:
    run, call = waiting(store)
    store.append_sync(run_suspended(run, call))
    suspended = store.run(run.run_id)
    assert (suspended.state, suspended.end, suspended.stops[-1].seconds) == ("awaiting_human", None, 1.5)
    with Database(db) as database:
        assert database.rows("SELECT state, seconds, ended_at FROM runs") == [("awaiting_human", 1.5, None)]
    store.append_sync(run_ended(run))
    assert store.run(run.run_id).state == "ok"


def test_what_was_not_asked_is_never_waited_for(store: Store) -> None:
    run = run_started()
    store.append_sync(run, *trio(run.run_id))
    (subcall,) = store.subcalls(run.run_id)
    assert (subcall.awaits_human, subcall.state) == (False, "ok")
