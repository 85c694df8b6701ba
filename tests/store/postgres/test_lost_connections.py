"""A connection that is lost at any point of a commit leaves each event exactly once, or the caller is told."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import TYPE_CHECKING, get_args

import pytest

from monitor.errors import ConflictError, StoreUnavailableError
from monitor.store import Store
from tests.servers import OwnServer, Server
from tests.store.events import run_ended, run_resumed, run_started, started, trio
from tests.store.postgres.proxy import Cut, How, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.records import Event

MESSAGES = 9  # begin, find and store texts, store nodes, three or four events, commit; one more than there are


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as opened:
        yield opened


def through(server: Server, proxy: Proxy, name: str) -> str:
    return server.url(name, host="127.0.0.1", port=proxy.port)


def check_log(server: Server, name: str, expected: int) -> None:
    """Every event once, and one leaf for each, from 0 without gaps."""
    with Store.open(server.url(name)) as store:
        store.sequence()
        assert store.pending_leaves() == 0
    (counts,) = server.execute("SELECT count(*), count(DISTINCT (run_id, span_id, seq)) FROM events", database=name)
    assert counts == (expected, expected)
    (leaves,) = server.execute("SELECT count(*), min(leaf_index), max(leaf_index) FROM leaves", database=name)
    assert leaves == (expected, 0, expected - 1)


@pytest.mark.parametrize("how", [how for how in get_args(How) if how != "freeze"])
def test_a_connection_cut_at_every_message_of_a_transaction(server: Server, name: str, proxy: Proxy, how: How) -> None:
    run = run_started()
    subcalls = 0
    with Store.open(through(server, proxy, name), busy_seconds=10) as store:
        store.append_sync(run)
        for message in range(MESSAGES):
            proxy.cuts = [Cut(message, how)]
            store.append_sync(*trio(run.run_id, f"{how} {message}"))
            subcalls += 1
        assert [subcall.state for subcall in store.subcalls(run.run_id)] == ["ok"] * subcalls
    assert proxy.cut_short >= 7, "the cuts missed the transaction"
    check_log(server, name, 1 + 3 * subcalls)


@pytest.mark.parametrize("how", ["race", "after"])
def test_a_connection_that_is_cut_again_and_again(server: Server, name: str, proxy: Proxy, how: How) -> None:
    """Also while the writer looks what the lost commit came to, and writes again."""
    run = run_started()
    moments = random.Random(5)
    with Store.open(through(server, proxy, name), busy_seconds=20) as store:
        store.append_sync(run)
        for number in range(20):
            proxy.cuts = [Cut(moments.randrange(MESSAGES - 1), how) for _ in range(4)]
            store.append_sync(*trio(run.run_id, str(number)))
            proxy.cuts = []
    assert proxy.cut_short > 20
    check_log(server, name, 61)


def test_events_whose_place_is_counted_are_not_counted_twice(server: Server, name: str, proxy: Proxy) -> None:
    """A resume gets the next free place in its run: written again, it would get another one."""
    run = run_started()
    with Store.open(through(server, proxy, name), busy_seconds=10) as store:
        store.append_sync(run)
        for number in range(8):
            proxy.cuts = [Cut(number, "after")]
            store.append_sync(run_resumed(run))
            proxy.cuts = [Cut(number, "race")]
            store.append_sync(run_ended(run))
        assert len(store.run(run.run_id).resumes) == 8
    assert proxy.cut_short >= 8
    check_log(server, name, 17)


def test_a_group_whose_commit_is_lost_is_stored_once(server: Server, name: str, proxy: Proxy) -> None:
    """Some of its members are wrong, and fail alone; the others are there once."""
    run = run_started()
    with Store.open(through(server, proxy, name), busy_seconds=10) as store:
        store.append_sync(run)
        good = [started(run.run_id) for _ in range(24)]

        async def together(events: list[Event]) -> list[BaseException | None]:
            return await asyncio.gather(*(store.append(event) for event in events), return_exceptions=True)

        for message in range(3, 15):
            some = good[(message - 3) * 2 : (message - 2) * 2]
            proxy.cuts = [Cut(message, "after"), Cut(2, "race")]
            outcomes = asyncio.run(together([*some, *trio("ff" * 16)[1:2]]))
            assert [type(outcome).__name__ for outcome in outcomes] == ["NoneType", "NoneType", "StoreError"]
            proxy.cuts = []
        assert len(store.subcalls(run.run_id)) == 24
    check_log(server, name, 25)


def test_a_server_that_does_not_answer_is_given_up_in_time(server: Server, name: str, proxy: Proxy) -> None:
    """Neither an answer nor an end comes; its transaction is still open there, and is ended before anything is written."""
    run = run_started()
    with Store.open(through(server, proxy, name), busy_seconds=1) as store:
        store.append_sync(run)
        for number, message in enumerate((1, 4, 6)):
            proxy.cuts = [Cut(message, "freeze")]
            store.append_sync(*trio(run.run_id, str(number)))
    assert proxy.cut_short == 3
    check_log(server, name, 10)


def test_what_cannot_be_known_is_said_and_nothing_is_released(server: Server, name: str, proxy: Proxy) -> None:
    """The answer to a commit is lost, and the server with it: the append fails, and says that the events may be there."""
    run = run_started()
    call = started(run.run_id)
    with Store.open(through(server, proxy, name), busy_seconds=0.5) as store:
        store.append_sync(run)
        proxy.cuts = [Cut(2, "after")]  # the commit: there are no texts to store
        failure: list[BaseException] = []

        def append() -> None:
            try:
                store.append_sync(call)
            except StoreUnavailableError as exc:
                failure.append(exc)

        proxy.accepts = False  # the connection that is there stays
        append()
        assert "not known" in str(failure[0])
        proxy.accepts = True
        assert len(store.subcalls(run.run_id)) == 1
        with pytest.raises(ConflictError):
            store.append_sync(call)
    check_log(server, name, 2)


def test_sessions_that_the_server_ends(server: Server, name: str, db: str) -> None:
    """Two stores write while an administrator ends their sessions, all the time: nothing is lost, nothing is twice."""
    run = run_started()
    stop = threading.Event()
    ended = 0

    def administrate() -> None:
        nonlocal ended
        moments = random.Random(7)
        with server.connect(name) as connection:
            while not stop.is_set():
                ended += connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = %s AND application_name = 'factored-monitor'",
                    (name,),
                ).rowcount
                time.sleep(moments.uniform(0.005, 0.05))

    with Store.open(db, busy_seconds=60) as store:
        store.append_sync(run)
        administrator = threading.Thread(target=administrate)
        administrator.start()

        async def write(one: Store) -> None:
            async def subcall(number: int) -> None:
                for event in trio(run.run_id, str(number % 7)):
                    await one.append(event)

            for start in range(0, 60, 10):
                await asyncio.gather(*(subcall(start + number) for number in range(10)))

        def elsewhere() -> None:
            while True:
                try:
                    with Store.open(db, busy_seconds=60) as other:
                        asyncio.run(write(other))
                except StoreUnavailableError:  # opening is not tried again
                    continue
                return

        second = threading.Thread(target=elsewhere)
        second.start()
        asyncio.run(write(store))
        second.join()
        stop.set()
        administrator.join()
        assert [subcall.state for subcall in store.subcalls(run.run_id)] == ["ok"] * 120
    assert ended > 5
    check_log(server, name, 361)


def test_a_server_that_crashes_and_comes_back() -> None:
    """With fsync on, as in production: every answer that was given is on its disk, and each event is there once."""
    server = OwnServer(durable=True)
    try:
        with server.database() as name:
            crash(server, name)
    finally:
        server.close()


def wait_for(answered: list[str], count: int) -> None:
    """Until so many writes were answered: each crash is to come in the middle of them, however slow the machine is."""
    deadline = time.monotonic() + 120
    while len(answered) < count:
        assert time.monotonic() < deadline, f"{len(answered)} of {count} writes were answered"
        time.sleep(0.01)


def crash(server: OwnServer, name: str) -> None:
    run = run_started()
    answered: list[str] = []
    stop = threading.Event()
    with Store.open(server.url(name), busy_seconds=60) as store:
        assert store.warnings == ()
        store.append_sync(run)

        def write() -> None:
            while not stop.is_set():
                call, *rest = trio(run.run_id)
                store.append_sync(call, *rest)
                answered.append(call.span_id)

        writers = [threading.Thread(target=write) for _ in range(3)]
        for writer in writers:
            writer.start()
        for crashes in range(3):
            wait_for(answered, 10 * (crashes + 1))
            server.stop()
            time.sleep(0.1)
            server.start()
        wait_for(answered, 40)
        stop.set()
        for writer in writers:
            writer.join()
        stored = [subcall.call.span_id for subcall in store.subcalls(run.run_id)]
    assert sorted(stored) == sorted(answered)
    check_log(server, name, 1 + 3 * len(answered))


def test_a_server_that_stays_away() -> None:
    """An append says so within the busy time, and the store goes on once the server is back."""
    server = OwnServer()
    try:
        with server.database() as name, Store.open(server.url(name), busy_seconds=0.5) as store:
            run = run_started()
            store.append_sync(run)
            server.stop()
            for _ in range(2):
                with pytest.raises(StoreUnavailableError, match="is the server running"):
                    store.append_sync(*trio(run.run_id))

            async def together() -> list[BaseException | None]:
                appends = [store.append(started(run.run_id)) for _ in range(5)]
                return await asyncio.gather(*appends, return_exceptions=True)

            assert [type(outcome) for outcome in asyncio.run(together())] == [StoreUnavailableError] * 5
            with pytest.raises(StoreUnavailableError):
                store.runs()
            server.start()
            store.append_sync(*trio(run.run_id))
            assert len(store.subcalls(run.run_id)) == 1
    finally:
        server.close()
