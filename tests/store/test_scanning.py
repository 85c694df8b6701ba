"""Scans: every stored subcall, in the order of the log, in bounded memory; what is damaged is handed out as damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.errors import StoreUnavailableError
from monitor.records import Message
from monitor.store import Store, Wanted, library, scanning
from tests.store.databases import Database
from tests.store.events import decided, reviewed, run_ended, run_started, started, trio

if TYPE_CHECKING:
    from monitor.records import Event

ERASE = "UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE body = '{}'"


def fill(store: Store, *, runs: int = 3, subcalls: int = 25) -> list[Event]:
    """Runs whose subcalls take turns in the log; the calls in the order of the log."""
    made = [run_started(recipe=f"recipe{number}") for number in range(runs)]
    store.append_sync(*made)
    calls = []
    for number in range(subcalls):
        for run in made:
            call, *rest = trio(run.run_id, f"text {number}")
            store.append_sync(call, *rest)
            calls.append(call)
    store.append_sync(*map(run_ended, made))
    return calls


def test_a_scan_covers_everything_in_the_order_of_the_log(store: Store) -> None:
    calls = fill(store)
    store.append_sync(reviewed(calls[0]))
    store.append_sync(late := started(calls[0].run_id))
    store.sequence()
    told: list[tuple[int, int]] = []
    found = list(store.scan(progress=lambda done, total: told.append((done, total))))
    assert [(item.run_id, item.span_id) for item in found] == [(c.run_id, c.span_id) for c in (*calls, late)]
    by_run = {run.start.run_id: store.subcalls(run.start.run_id) for run in store.runs()}
    assert sorted((item.subcall for item in found if item.subcall), key=repr) == sorted(
        (subcall for some in by_run.values() for subcall in some), key=repr
    )
    assert {item.recipe for item in found} == {"recipe0", "recipe1", "recipe2"}
    assert all(not item.problem and not item.erased for item in found)
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] == 3 + 3 * 75 + 3 + 2
    assert len(told) > 2


def test_what_is_appended_meanwhile_is_left_out(store: Store) -> None:
    calls = fill(store, runs=1, subcalls=40)
    scan = store.scan()
    first = next(scan)
    store.append_sync(*trio(calls[0].run_id))
    assert [first.span_id, *(item.span_id for item in scan)] == [call.span_id for call in calls]


def test_only_what_is_wanted(store: Store) -> None:
    calls = fill(store, subcalls=3)
    run_id = calls[1].run_id
    store.append_sync(tool := started(run_id, role="clerk", at="2020-01-01T00:00:00.000000Z"))

    def spans(wanted: Wanted) -> list[str]:
        return [item.span_id for item in store.scan(wanted)]

    of_run = [call.span_id for call in calls if call.run_id == run_id]
    assert spans(Wanted(run_id=run_id)) == [*of_run, tool.span_id]
    assert spans(Wanted(recipes=frozenset({"recipe1"}), roles=frozenset({"answer"}))) == of_run
    assert spans(Wanted(roles=frozenset({"clerk"}))) == [tool.span_id]
    assert spans(Wanted(until="2021-01-01")) == [tool.span_id]
    assert spans(Wanted(since="2021-01-01")) == [call.span_id for call in calls]
    assert spans(Wanted(roles=frozenset({"nobody"}))) == []


def test_erased_texts_are_counted_and_shown_as_blocks(store: Store, db: str) -> None:
    run = run_started()
    call, *rest = trio(run.run_id, "a secret")
    later = started(run.run_id, messages=(Message(role="user", content="a secret"), Message(role="user", content="b")))
    store.append_sync(run, call, *rest, later, started(run.run_id, task="nothing"))
    with Database(db) as database:
        database.execute(ERASE.format("a secret"))
    first, second, third = store.scan()
    assert first.subcall
    assert (first.subcall.call.task, first.problem) == ("█" * 8, "")
    assert second.subcall
    assert second.subcall.call.messages[0].content == "█" * 8
    assert len(first.erased) == 1
    assert first.erased == second.erased
    assert third.erased == frozenset()


@pytest.mark.parametrize("damage", ["{", '{"v":1}', '{"v":2}', '{"v":1,"kind":"observed","body":{}}'])
def test_a_damaged_subcall_is_handed_out_as_such_and_costs_no_other(store: Store, db: str, damage: str) -> None:
    calls = fill(store, runs=1, subcalls=3)
    with Database(db) as database:
        database.lift_triggers("events")
        database.execute(f"UPDATE events SET canonical = '{damage}' WHERE span_id = '{calls[1].span_id}' AND seq = 1")
    found = list(store.scan())
    assert [item.span_id for item in found] == [call.span_id for call in calls]
    assert [bool(item.problem) for item in found] == [False, True, False]
    assert found[1].subcall is None


def test_a_text_that_is_gone_is_damage_and_not_silence(store: Store, db: str) -> None:
    fill(store, runs=1, subcalls=3)
    with Database(db) as database:
        database.lift_triggers("texts")
        database.execute("DELETE FROM texts WHERE body = 'text 1'")
    problems = [item.problem for item in store.scan()]
    assert [bool(problem) for problem in problems] == [False, True, False]
    assert "which is not there" in problems[1]


def test_what_cannot_be_told_apart_is_handed_out(store: Store, db: str) -> None:
    """A subcall whose role cannot be read may have the role that is looked for."""
    calls = fill(store, runs=1, subcalls=2)
    with Database(db) as database:
        database.lift_triggers("events")
        database.execute(f"UPDATE events SET canonical = '{{' WHERE span_id = '{calls[0].span_id}' AND seq = 0")
        database.execute("UPDATE events SET canonical = '{' WHERE kind = 'run_started'")
    found = list(store.scan(Wanted(roles=frozenset({"nobody"}), recipes=frozenset({"recipe9"}))))
    assert [(item.span_id, bool(item.problem)) for item in found] == [(calls[0].span_id, True)]


def test_decisions_belong_to_their_subcall(store: Store) -> None:
    run = run_started()
    call, *rest = trio(run.run_id)
    store.append_sync(run, call, *rest, decided(call))
    (found,) = store.scan()
    assert found.subcall == store.subcall(run.run_id, call.span_id)


def test_few_subcalls_are_in_memory_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, runs=1, subcalls=70)
    sizes = []
    load = library.load

    def counting(session: object, events: list[object]) -> object:
        sizes.append(len(events))
        return load(session, events)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(scanning, "load", counting)
    assert len(list(store.scan())) == 70
    assert max(sizes) <= 3 * scanning.SUBCALLS_AT_ONCE


@pytest.mark.sqlite("a file that is taken away")
def test_a_database_that_is_gone_ends_the_scan(store: Store, db: str) -> None:
    fill(store, runs=1, subcalls=40)
    scan = store.scan()
    next(scan)
    Path(db).unlink()
    with pytest.raises(StoreUnavailableError):
        list(scan)
