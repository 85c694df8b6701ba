"""Leaves: one for each committed event, in an order that never changes behind a reader's back."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from monitor.errors import StoreUnavailableError
from monitor.store import Store, inspect
from monitor.store.opening import locate
from monitor.store.postgres.connection import LOCKS, SEQUENCER_LOCK
from monitor.store.postgres.sequencer import Sequencer, sequence
from tests.store.events import run_started, started, trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Server


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sequences by himself."""
    monkeypatch.setattr(Sequencer, "notify", lambda _: None)


@pytest.fixture
def late(server: Server, name: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection on which a transaction is left open."""
    connection = psycopg.connect(server.url(name).replace("+psycopg", ""))
    yield connection
    connection.close()


def leaves(server: Server, name: str) -> list[tuple[Any, ...]]:
    return server.execute("SELECT leaf_index, run_id, span_id, seq FROM leaves ORDER BY 1", database=name)


@pytest.mark.usefixtures("quiet")
def test_what_has_no_leaf_yet_is_read_last_and_reported(server: Server, name: str, db: str, store: Store) -> None:
    run = run_started()
    store.append_sync(run, *trio(run.run_id, "first"))
    assert store.sequence() == 4
    later = trio(run.run_id, "later")
    store.append_sync(*later)
    assert [event.leaf_index for event in store.events(run.run_id)] == [0, 1, 2, 3, None, None, None]
    assert [subcall.call.task for subcall in store.subcalls(run.run_id)] == ["first", "later"]
    newest = run_started()
    store.append_sync(newest)
    assert [stored.start.run_id for stored in store.runs()] == [newest.run_id, run.run_id]
    assert store.pending_leaves() == 4
    assert inspect(db).pending_leaves == 4
    (shown,) = server.execute("SELECT count(*), count(leaf_index) FROM subcalls", database=name)
    assert shown == (2, 1)
    assert (store.sequence(), store.sequence(), store.pending_leaves()) == (4, 0, 0)
    assert [event.leaf_index for event in store.events(run.run_id)] == list(range(7))


@pytest.mark.usefixtures("quiet")
def test_a_row_that_becomes_visible_late_is_neither_skipped_nor_put_in_between(
    server: Server, name: str, store: Store, late: psycopg.Connection[tuple[Any, ...]]
) -> None:
    """A transaction takes its numbers first and commits last; numbers of a transaction that is undone stay free."""
    run = run_started()
    store.append_sync(run)
    insert = (
        "INSERT INTO events (run_id, span_id, seq, kind, at, canonical, leaf_hash) "
        "VALUES (%s, %s, 0, 'started', '', '{}', '') RETURNING position"
    )
    undone = psycopg.connect(server.url(name).replace("+psycopg", ""))
    undone.execute(insert, (run.run_id, "dd" * 8))
    (early,) = late.execute(insert, (run.run_id, "ee" * 8)).fetchone() or (0,)
    undone.close()
    first = started(run.run_id)
    store.append_sync(first)
    assert store.sequence() == 2
    before = leaves(server, name)
    assert [row[2] for row in before] == [run.span_id, first.span_id]
    late.commit()
    assert store.pending_leaves() == 1
    assert store.sequence() == 1
    after = leaves(server, name)
    assert after[:2] == before
    assert after[2] == (2, run.run_id, "ee" * 8, 0)
    (positions,) = server.execute("SELECT min(position), max(position) FROM events", database=name)
    assert positions[0] < early < positions[1], "the late row had the smaller number"


def test_one_sequences_at_a_time_and_nobody_who_writes_waits(server: Server, db: str, store: Store) -> None:
    """While another process holds the sequencer's lock, appends go on; when it lets go, all get their leaves."""
    run = run_started()
    with psycopg.connect(db.replace("+psycopg", "")) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCKS, SEQUENCER_LOCK))
        store.append_sync(run, *trio(run.run_id))
        store.append_sync(*trio(run.run_id))
        assert store.pending_leaves() == 7
        with server.connect(holder.info.dbname) as other:
            assert sequence(other, wait=False) is None  # type: ignore[arg-type]  # any connection will do
        with Store.open(db, busy_seconds=0.2) as hasty, pytest.raises(StoreUnavailableError, match="held a lock"):
            hasty.sequence()
    deadline = time.monotonic() + 30
    while store.pending_leaves() and time.monotonic() < deadline:  # by itself
        time.sleep(0.01)
    assert [event.leaf_index for event in store.events(run.run_id)] == list(range(7))


def test_many_writers_and_many_sequencers(server: Server, name: str, db: str) -> None:
    """At every moment the log is an extension of what it was: no gap, no change, each run's and subcall's order kept."""
    stop = threading.Event()
    broken: list[str] = []

    def look() -> None:
        seen: list[tuple[Any, ...]] = []
        with server.connect(name) as connection:
            while not stop.is_set():
                now = connection.execute("SELECT leaf_index, run_id, span_id, seq FROM leaves ORDER BY 1").fetchall()
                if now[: len(seen)] != seen or [row[0] for row in now] != list(range(len(now))):
                    broken.append(f"{seen} became {now}")
                seen = now

    def write() -> None:
        with Store.open(db) as store:
            run = run_started()
            store.append_sync(run)
            for number in range(25):
                for event in trio(run.run_id, str(number)):
                    store.append_sync(event)
                store.sequence()

    looker = threading.Thread(target=look)
    looker.start()
    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stop.set()
    looker.join()
    assert broken == []
    rows = leaves(server, name)
    assert [row[0] for row in rows] == list(range(4 * 76))
    places = {row[1:]: row[0] for row in rows}
    for _, run_id, span_id, seq in rows:
        if seq:
            assert places[run_id, span_id, seq - 1] < places[run_id, span_id, seq]


def test_closing_sequences_what_was_written(db: str) -> None:
    with Store.open(db) as store:
        run = run_started()
        store.append_sync(run, *trio(run.run_id))
    assert locate(db).pending_leaves() == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET at = ''",
        "DELETE FROM leaves",
        "UPDATE leaves SET leaf_index = leaf_index + 1",
        "TRUNCATE leaves",
        "TRUNCATE events",
        "TRUNCATE texts",
        "TRUNCATE message_nodes CASCADE",
        "UPDATE texts SET salt = NULL",
    ],
)
def test_the_database_itself_refuses_to_change_the_log(server: Server, name: str, store: Store, statement: str) -> None:
    store.append_sync(run_started())
    store.sequence()
    with pytest.raises(psycopg.errors.RestrictViolation, match=r"append-only|erased whole"):
        server.execute(statement, database=name)


def test_a_text_is_not_erased_while_a_writer_commits_to_it(server: Server, name: str, store: Store) -> None:
    """The eraser waits for the writer, and a writer that comes after it commits to the text anew."""
    run = run_started(task="secret")
    store.append_sync(run)
    backend = locate(server.url(name))
    ledger = backend.connect()
    ledger.begin(patience=1)
    call = started(run.run_id, task="secret")
    ledger.expect([call])
    ledger.append([call])
    erased = threading.Event()

    def erase() -> None:
        server.execute("UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL", database=name)
        erased.set()

    eraser = threading.Thread(target=erase)
    eraser.start()
    assert not erased.wait(0.3), "the writer's transaction is open"
    ledger.commit()
    ledger.close()
    eraser.join()
    backend.close()
    again = started(run.run_id, task="secret")
    store.append_sync(again)
    assert store.subcall(run.run_id, call.span_id).call.task == "██████"
    assert store.subcall(run.run_id, again.span_id).call.task == "secret"
