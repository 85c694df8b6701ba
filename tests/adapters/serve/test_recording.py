"""Any order, any repetition, any batches, any kills: the same spans end as the same tree. Time is the test's own."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.adapters.serve.receiving import receive_logs, receive_spans
from monitor.adapters.serve.recording import Patience, Recorded, Recorder
from monitor.loaded import load_checks
from monitor.records import Outcome
from monitor.store import Store
from monitor.store.inbox import Inbox, InboxFullError
from tests.adapters.ingest.test_formats import seen
from tests.adapters.ingest.test_otlp import AGENT, FAMILY, TRACE, TREE, export, shape, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from monitor.records import StoredSubcall

PATIENCE = Patience(settle=10, wait=600, remember=3600)
OTHER = [{**one, "traceId": "cd" * 16} for one in FAMILY]
PARTIAL = [{**FAMILY[2], "endTimeUnixNano": "0"}, {**FAMILY[0], "endTimeUnixNano": "0", "attributes": []}]
TOOL = {"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": "look"}


class Desk:
    """A receiver without a socket, at a time that the test sets."""

    def __init__(self, db: str, inbox: Path, *, max_bytes: int = 10**8) -> None:
        self.now, self._inbox_path, self._max = 1_000_000.0, inbox, max_bytes
        self.store = Store.open(db)
        self.told: list[Recorded] = []
        self._checks = load_checks(())
        self.open()

    def open(self) -> None:
        self.inbox = Inbox(self._inbox_path, owner="x", max_bytes=self._max)
        self.recorder = Recorder(
            self.inbox,
            self.store,
            self._checks,
            patience=PATIENCE,
            told=self.told.append,
            clock=lambda: self.now,
        )

    def restart(self) -> None:
        """As after a kill: nothing is left but what is on the disk."""
        self.inbox.close()
        self.open()

    def send(self, *spans: dict[str, Any]) -> None:
        received = receive_spans(json.loads(export(*spans)))
        assert received.rejected == []
        self.inbox.add(received.parcels, received.notes, now=self.now, due=self.now + PATIENCE.settle)

    def later(self, seconds: float) -> None:
        """Let time go by; what is due by then is recorded."""
        self.now += seconds

        async def work() -> None:
            while await self.recorder.step():
                if (due := self.inbox.next_due()) is None or due > self.now:
                    return

        asyncio.run(work())

    def finish(self) -> None:
        asyncio.run(self.recorder.finish())

    def subcalls(self, run_id: str = TRACE) -> list[StoredSubcall]:
        return self.store.subcalls(run_id)

    def close(self) -> None:
        self.inbox.close()
        self.store.close()


@pytest.fixture
def desk(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Desk]:
    one = Desk(new_database(), tmp_path / "inbox")
    yield one
    one.close()


SENT = st.lists(st.sampled_from([*FAMILY, *OTHER, *PARTIAL]), max_size=12)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_order_repetition_and_batches_end_as_the_same_tree(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Pauses are shorter than what a span waits for those around it; a restart may come between any two batches."""
    desk = Desk(new_database(), tmp_path_factory.mktemp("x") / "inbox")
    try:
        spans = data.draw(st.permutations([*FAMILY, *OTHER, *data.draw(SENT)]))
        while spans:
            size = data.draw(st.integers(1, len(spans)))
            desk.send(*spans[:size])
            spans = spans[size:]
            if data.draw(st.booleans()):
                desk.later(data.draw(st.sampled_from([0.0, 5.0, 11.0, 25.0])))
            if data.draw(st.booleans()):
                desk.restart()
        desk.later(PATIENCE.settle)
        for run_id in (TRACE, "cd" * 16):
            subcalls = desk.subcalls(run_id)
            assert shape(subcalls) == TREE
            assert len(subcalls) == len(TREE)
            assert {int(one.call.span_id, 16): one.call.depth for one in subcalls} == {2: 1, 3: 2, 5: 3}
            assert {int(one.call.span_id, 16): one.call.role for one in subcalls} == {2: "boss", 3: "look", 5: "helper"}
            run = desk.store.run(run_id)
            assert (run.state, run.end.answer if run.end else "", run.start.model) == ("ok", "5", "")
        desk.later(3 * PATIENCE.remember)
        assert desk.inbox.next_due() is None
        assert desk.inbox.bytes == 0
    finally:
        desk.close()


def test_a_child_waits_for_its_parents_and_then_names_them(desk: Desk) -> None:
    desk.send(FAMILY[4], FAMILY[3])
    desk.later(PATIENCE.wait - 1)
    assert desk.store.runs() == []
    desk.later(1)
    (orphan,) = desk.subcalls()
    assert orphan.call.parent_id == FAMILY[2]["spanId"]
    desk.send(*FAMILY[:3])
    desk.later(PATIENCE.settle)
    assert shape(desk.subcalls()) == TREE


def test_what_has_not_ended_is_completed_by_its_end(desk: Desk) -> None:
    desk.send(*PARTIAL, FAMILY[4], FAMILY[3], FAMILY[1])
    desk.later(PATIENCE.settle)
    assert desk.store.runs() == []
    desk.send(FAMILY[2], FAMILY[0])
    desk.later(PATIENCE.settle)
    assert shape(desk.subcalls()) == TREE


def test_what_never_ends_is_recorded_as_that(desk: Desk) -> None:
    desk.send(FAMILY[0], FAMILY[1], PARTIAL[0])
    desk.later(PATIENCE.settle)
    assert shape(desk.subcalls()) == {2: 0}
    desk.later(PATIENCE.remember)
    assert shape(desk.subcalls()) == {2: 0, 3: 2}
    cut = desk.subcalls()[1]
    assert (seen(cut).outcome, seen(cut).error.message) == (Outcome.CANCELLED, "nobody sent the end of this span")
    desk.later(2 * PATIENCE.remember)
    assert desk.inbox.next_due() is None


def test_a_shape_that_was_forgotten_costs_no_span(desk: Desk) -> None:
    desk.send(*FAMILY[:3])
    desk.later(PATIENCE.settle)
    desk.later(2 * PATIENCE.remember)
    assert desk.inbox.bytes == 0
    desk.send(*FAMILY[1:])
    desk.later(PATIENCE.wait)
    assert shape(desk.subcalls()) == TREE
    assert len(desk.subcalls()) == 3


def test_of_two_with_one_id_the_fuller_counts_whichever_comes_first(desk: Desk) -> None:
    empty = span(2, 1, gen_ai__output__messages="")
    desk.send(empty, FAMILY[1])
    desk.send(FAMILY[0], empty)
    desk.later(PATIENCE.settle)
    assert [seen(one).output for one in desk.subcalls()] == ["2"]


def test_a_log_that_breaks_a_span_does_not_lose_it(desk: Desk) -> None:
    """What belongs to it cannot be read: it is recorded without."""
    bare = span(1, gen_ai__output__messages="")
    body = {"kvlistValue": {"values": [{"key": "message", "value": {"kvlistValue": {"values": [
        {"key": "content", "value": {"intValue": "5"}}]}}}]}}  # fmt: skip
    record = {"traceId": TRACE, "spanId": bare["spanId"], "eventName": "gen_ai.choice", "body": body}
    notes = receive_logs({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).notes
    assert len(notes) == 1
    desk.inbox.add((), notes, now=desk.now, due=desk.now)
    desk.send(bare)
    desk.later(PATIENCE.settle)
    (subcall,) = desk.subcalls()
    assert seen(subcall).output == ""
    (run,) = desk.store.runs()
    assert run.end is not None
    assert run.end.dropped == 1  # and verify counts it


def test_a_trace_that_is_larger_than_memory_is_recorded_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.adapters.serve.recording._TOGETHER", 8_000)
    chain = [span(number, number - 1, **(TOOL if number % 2 else {})) for number in range(1, 60)]
    desk.send(*chain)
    desk.later(PATIENCE.settle)
    assert shape(desk.subcalls()) == {number: number - 1 for number in range(1, 60)}
    assert sorted(one.call.depth for one in desk.subcalls()) == list(range(1, 60))
    assert len(desk.told) > 10


def test_a_full_inbox_takes_nothing_until_there_is_room(new_database: Callable[[], str], tmp_path: Path) -> None:
    desk = Desk(new_database(), tmp_path / "inbox", max_bytes=20_000)
    try:
        kept: list[str] = []

        def fill() -> None:
            for number in range(1, 1000):
                trace = {"traceId": f"{number:032x}"}
                desk.send({**span(1, **AGENT), **trace}, {**span(2, 1), **trace})
                kept.append(trace["traceId"])

        with pytest.raises(InboxFullError):
            fill()
        before = desk.inbox.bytes
        assert before <= 20_000
        desk.restart()
        assert desk.inbox.bytes == before
        desk.later(PATIENCE.settle)
        assert {run.start.run_id for run in desk.store.runs()} == set(kept)
        for number in range(5000, 5100):  # shapes of what is recorded make room, and are no reason to refuse
            desk.send({**span(2), "traceId": f"{number:032x}"})
            if number % 10 == 0:
                desk.later(PATIENCE.settle)
        assert desk.inbox.bytes <= 20_000
    finally:
        desk.close()


def test_spans_that_are_around_each_other_end(desk: Desk) -> None:
    desk.send(span(1, 2), span(2, 1), span(3, 3), span(4, 1))
    desk.later(PATIENCE.settle)
    assert shape(desk.subcalls()) == {1: 0, 2: 0, 3: 0, 4: 1}


def test_a_run_of_our_own_is_not_added_to(desk: Desk) -> None:
    from monitor.records import Event, RunStart, now

    start = RunStart(run_id=TRACE, span_id="01" * 8, recipe="answer", task="x", model="m", at=now())
    desk.store.append_sync(Event.of(TRACE, "01" * 8, start))
    desk.send(span(1))
    desk.later(PATIENCE.settle)
    (told,) = desk.told
    assert told.report.problems[0].why.endswith("is none that was ingested so: answer")
    assert desk.subcalls() == []
