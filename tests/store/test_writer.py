"""Groups, loops, threads, cancellation, closing."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import TYPE_CHECKING, cast

import pytest

from monitor.errors import ConflictError, StoreError
from monitor.records import Message, Reasoning, TokenEvidence, ToolCall
from monitor.store import Store
from monitor.store.requests import Request, is_light
from monitor.store.writer import Writer
from tests.store.events import observed, run_started, started, trio
from tests.store.processes import run_python, start_python

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.store.ledger import Ledger


def leaf_indices(store: Store) -> list[int | None]:
    store.sequence()
    return sorted(
        (event.leaf_index for run in store.runs() for event in store.events(run.start.run_id)),
        key=lambda leaf: leaf or 0,
    )


def test_several_loops_and_threads_share_one_store(store: Store) -> None:
    """Two event loops with concurrent tasks and two plain threads: all there, no gap, no duplicate."""
    run = run_started()
    store.append_sync(run)

    async def subcall() -> None:
        for event in trio(run.run_id):
            await store.append(event)

    async def many() -> None:
        await asyncio.gather(*(subcall() for _ in range(10)))

    def plain() -> None:
        for _ in range(10):
            store.append_sync(*trio(run.run_id))

    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(2)]
    threads += [threading.Thread(target=plain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [subcall.state for subcall in store.subcalls(run.run_id)] == ["ok"] * 40
    assert leaf_indices(store) == list(range(121))


def test_waiting_requests_are_committed_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 concurrent appends take far fewer transactions than 32."""
    groups: list[int] = []
    write = Writer._write

    def counted(self: Writer, group: Sequence[Request], *, patience: float) -> bool:
        groups.append(len(group))
        return write(self, group, patience=patience)

    monkeypatch.setattr(Writer, "_write", counted)
    run = run_started()
    store.append_sync(run)
    groups.clear()

    async def many() -> None:
        await asyncio.gather(*(store.append(started(run.run_id)) for _ in range(32)))

    asyncio.run(many())
    assert sum(groups) == 32
    assert len(groups) < 16


def test_long_texts_are_never_written_in_the_loop() -> None:
    call = started("ab" * 16)
    assert is_light(trio("ab" * 16, "x" * 1000))
    long = "x" * 100_000
    tools = (ToolCall(id="1", name="search", arguments=long),)
    ids = TokenEvidence(output_ids=tuple(range(10_000)))
    history = (Message(role="user", content=long),)
    for heavy in (
        started(call.run_id, messages=history),
        observed(call, reasoning=Reasoning(text=long)),
        observed(call, tool_calls=tools),
        observed(call, tokens=ids),
        run_started(),
    ):
        assert not is_light([heavy])


@pytest.mark.sqlite("a server's database is written by the thread alone")
def test_a_slow_disk_is_left_to_the_thread(store: Store) -> None:
    """The loop writes by itself only while the disk has lately been fast, and goes back to the thread when it is not."""
    run = run_started()
    writers = set()
    store.append_sync(run)
    writer = cast("Writer", getattr(store._submit, "__self__"))  # noqa: B009 - a bound method, which mypy forgets
    connected = writer._connected

    def noted() -> Ledger:
        writers.add(threading.current_thread().name)
        return connected()

    writer._connected = noted  # type: ignore[method-assign]  # a look at who writes, nothing else
    for pace, name in ((1.0, "monitor-store-writer"), (1e-9, "MainThread")):
        writers.clear()
        writer._pace = pace
        asyncio.run(store.append(started(run.run_id)))
        assert writers == {name}


def test_one_bad_member_does_not_fail_its_group(store: Store) -> None:
    run = run_started()
    store.append_sync(run)
    good = [started(run.run_id) for _ in range(8)]
    orphan = observed(started(run.run_id))
    again = started(run.run_id, span_id=good[0].span_id)

    async def together() -> list[BaseException | None]:
        events = [*good[:4], orphan, *good[4:], again]
        return await asyncio.gather(*(store.append(event) for event in events), return_exceptions=True)

    outcomes = asyncio.run(together())
    assert [type(outcome) for outcome in outcomes] == [
        *[type(None)] * 4,
        StoreError,
        *[type(None)] * 4,
        ConflictError,
    ]
    assert len(store.subcalls(run.run_id)) == 8


def test_cancelling_the_waiter_does_not_undo_the_write(store: Store) -> None:
    run = run_started()
    store.append_sync(run)

    async def cancelled_at_once() -> None:
        task = asyncio.create_task(store.append(*trio(run.run_id)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for _ in range(40):  # the first go to the thread, later ones are written in the loop
        asyncio.run(cancelled_at_once())
    store.append_sync(started(run.run_id))
    assert len(store.subcalls(run.run_id)) == 41


def test_a_failure_that_nobody_waits_for_is_logged(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async def cancelled_at_once() -> None:
        task = asyncio.create_task(store.append(observed(started("ab" * 16))))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    with caplog.at_level(logging.ERROR):
        asyncio.run(cancelled_at_once())
        store.close()
    assert "not stored" in caplog.text


def test_closing_writes_what_was_accepted(db: str) -> None:
    run = run_started()
    store = Store.open(db)
    store.append_sync(run)

    async def leave_at_once() -> None:
        tasks = [asyncio.create_task(store.append(started(run.run_id))) for _ in range(50)]
        await asyncio.sleep(0)
        store.close()
        await asyncio.gather(*tasks)

    asyncio.run(leave_at_once())
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.append_sync(started(run.run_id))
    with pytest.raises(StoreError, match="closed"):
        asyncio.run(store.append(started(run.run_id)))
    with Store.open(db) as again:
        assert len(again.subcalls(run.run_id)) == 50


def test_the_interpreter_ends_although_the_store_was_not_closed(db: str) -> None:
    """And what was accepted, even by a loop that is gone, is on the disk."""
    script = """
import asyncio, sys
from monitor.store import Store
from tests.store.events import run_started, started
store = Store.open(sys.argv[1])
run = run_started()
store.append_sync(run)
async def main():
    tasks = [asyncio.ensure_future(store.append(started(run.run_id))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
asyncio.run(main())
"""
    run_python(script, db)
    with Store.open(db) as store:
        (run,) = store.runs()
        assert len(store.subcalls(run.start.run_id)) == 20


def test_a_forked_child_is_refused(store: Store) -> None:
    """Connections and threads do not survive a fork: the child is told, and the parent's store goes on."""
    run = run_started()
    store.append_sync(run)
    child = os.fork()
    if child == 0:  # nothing but the bare facts here: the child shares pytest's own state
        try:
            store.append_sync(started(run.run_id))
        except StoreError as exc:
            store.close()
            os._exit(0 if "fork" in str(exc) else 2)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    store.append_sync(started(run.run_id))
    assert len(store.subcalls(run.run_id)) == 1


def test_four_processes_on_one_file(db: str) -> None:
    """4 × 50 appends into one run, the file made by whoever comes first."""
    run_id, span_id = "ab" * 16, "cd" * 8
    script = """
import sys
from monitor.errors import ConflictError
from monitor.records import Event, RunStart
from monitor.store import Store
from tests.store.events import trio
_, path, run_id, span_id = sys.argv
start = RunStart(run_id=run_id, span_id=span_id, recipe="r", task="t", model="m")
with Store.open(path) as store:
    try:
        store.append_sync(Event.of(run_id, span_id, start))
    except ConflictError:
        pass
    for _ in range(50):
        store.append_sync(*trio(run_id, "the same text in all"))
"""
    processes = [start_python(script, db, run_id, span_id) for _ in range(4)]
    assert [process.communicate(timeout=120)[1] for process in processes] == [""] * 4
    with Store.open(db) as store:
        assert [subcall.state for subcall in store.subcalls(run_id)] == ["ok"] * 200
        assert leaf_indices(store) == list(range(601))
