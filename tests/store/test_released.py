"""Parts of a stream that were released before its end: where their events belong, and how they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.errors import ConflictError, StoreError
from monitor.store import Store, copying
from tests.store.databases import Database
from tests.store.events import decided, judged, observed, released, run_started, started

if TYPE_CHECKING:
    from collections.abc import Callable

SUBCALLS = "SELECT span_id, state, released_before_final FROM subcalls ORDER BY leaf_index"
RELEASES = "SELECT part, reasoning_start, reasoning, output_start, output FROM releases ORDER BY part"


def test_parts_are_read_back_in_their_order_and_the_subcall_says_so(new_database: Callable[[], str]) -> None:
    address = new_database()
    run = run_started()
    call, other = started(run.run_id), started(run.run_id)
    first = released(call, reasoning="Hm", output="")
    second = released(call, after=1, reasoning=" so", reasoning_start=2, output="4", output_start=0)
    with Store.open(address) as store:
        store.append_sync(run, call, first, other)
        (stored, _) = store.subcalls(run.run_id)
        assert (stored.state, stored.released, stored.released_before_final) == ("started", (first.payload,), True)
        store.append_sync(second)
        store.append_sync(observed(call), judged(call), observed(other), judged(other))
        stored, plain = store.subcalls(run.run_id)
        assert (stored.state, stored.released) == ("ok", (first.payload, second.payload))
        assert (plain.released, plain.released_before_final) == ((), False)
        assert store.subcall(run.run_id, call.span_id) == stored
        assert [found.subcall for found in store.scan()] == [stored, plain]
        store.sequence()
        assert [event.seq for event in store.events(run.run_id) if event.kind == "released"] == [-1, -2]
    with Database(address) as database:
        assert database.rows(SUBCALLS) == [(call.span_id, "ok", 1), (other.span_id, "ok", 0)]
        assert database.rows(RELEASES) == [(1, 0, "Hm", 0, ""), (2, 2, " so", 0, "4")]


def test_a_part_belongs_behind_the_part_before_it_and_before_the_end(new_database: Callable[[], str]) -> None:
    run = run_started()
    call = started(run.run_id)
    with Store.open(new_database()) as store:
        store.append_sync(run)
        with pytest.raises(StoreError, match="cannot release part 1 of a stream"):
            store.append_sync(released(call))
        store.append_sync(call)
        with pytest.raises(StoreError, match="cannot release part 2"):
            store.append_sync(released(call, after=1))
        store.append_sync(released(call))
        with pytest.raises(ConflictError, match="was released already"):
            store.append_sync(released(call, output="another"))
        store.append_sync(observed(call))
        with pytest.raises(StoreError, match="it was observed already"):
            store.append_sync(released(call, after=1))
        store.append_sync(judged(call))
        with pytest.raises(StoreError, match="it was observed already"):
            store.append_sync(released(call, after=1))
        (stored,) = store.subcalls(run.run_id)
        assert len(stored.released) == 1


def test_a_decision_stands_beside_them(new_database: Callable[[], str]) -> None:
    from tests.store.events import asking

    run = run_started()
    call = started(run.run_id)
    with Store.open(new_database()) as store:
        store.append_sync(run, call, released(call), released(call, after=1), observed(call), asking(call))
        assert [item.call.span_id for item in store.asked()] == [call.span_id]
        store.append_sync(decided(call))
        (stored,) = store.subcalls(run.run_id)
        assert (stored.state, len(stored.released)) == ("ok", 2)


def test_they_are_copied(new_database: Callable[[], str]) -> None:
    here, there = new_database(), new_database()
    run = run_started()
    call = started(run.run_id)
    with Store.open(here) as store:
        store.append_sync(run, call, released(call), observed(call), judged(call))
        store.sequence()
        expected = store.subcalls(run.run_id)
    copying.copy(here, there, progress=lambda *_: None)
    with Store.open(there) as store:
        assert store.subcalls(run.run_id) == expected
        assert expected[0].released_before_final
