"""A store that fails at any commit of wrapped code: what is not durable is not handed on, and nothing hangs."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.errors import StoreError
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.records import Event
    from tests.failing_disk import FailingDisk

EVERY = ["a 1", "a 2", "a", "b 1", "b 2", "b"]

pytestmark = pytest.mark.sqlite("the commits to a file are made to fail")


@pytest.mark.parametrize(
    ("way", "lasting"),
    [("async in a run", False), ("sync in a run", True), ("async alone", True), ("sync alone", False)],
)
def test_nothing_is_handed_on_wherever_a_store_fails(
    new_database: Callable[[], str],
    disk: FailingDisk,
    way: str,
    *,
    lasting: bool,
) -> None:
    db = new_database()
    Store.open(db).close()
    given: list[str] = []
    told: list[Event] = []
    options: dict[str, Any] = {"db": db, "policy": [], "listener": told.append}

    @monitor.subcall("inner", kind="model", **options)
    async def inner(text: str) -> str:
        return text

    @monitor.subcall("outer", **options)
    async def outer(text: str) -> str:
        given.append(await inner(f"{text} 1"))
        given.append(await inner(f"{text} 2"))
        return text

    @monitor.subcall("inner", kind="model", **options)
    def inner_sync(text: str) -> str:
        return text

    @monitor.subcall("outer", **options)
    def outer_sync(text: str) -> str:
        given.append(inner_sync(f"{text} 1"))
        given.append(inner_sync(f"{text} 2"))
        return text

    async def calls() -> None:
        given.append(await outer("a"))
        given.append(await outer("b"))

    def calls_sync() -> None:
        given.append(outer_sync("a"))
        given.append(outer_sync("b"))

    async def in_a_run() -> None:
        async with monitor.observed_run("x", **options):
            await calls()

    def in_a_run_sync() -> None:
        with monitor.observed_run("x", **options):
            calls_sync()

    ways: dict[str, Callable[[], None]] = {
        "async in a run": lambda: asyncio.run(in_a_run()),
        "sync in a run": in_a_run_sync,
        "async alone": lambda: asyncio.run(calls()),
        "sync alone": calls_sync,
    }
    number, known = 0, 0
    while number == 0 or disk.commits >= number:
        number += 1
        given.clear()
        told.clear()
        disk.fail(number, lasting=lasting)
        failure = outcome_of(ways[way])
        disk.mend()
        with Store.open(db) as store:
            runs = store.runs()
            new = [run.start.run_id for run in runs[: len(runs) - known]]
            events = sum(len(store.events(run)) for run in new)
            subcalls = [subcall for run in new for subcall in store.subcalls(run)]
        known = len(runs)
        judged = Counter(one.observation.output for one in subcalls if one.judgement and one.observation)
        assert Counter(given) <= judged, number
        assert len(told) <= events, number
        if failure is None and disk.commits < number:
            assert given == EVERY
            assert judged == Counter(EVERY)
        else:
            assert isinstance(failure, StoreError), number
    assert number > 3 * len(EVERY), "three commits for each call"


def outcome_of(work: Callable[[], None]) -> BaseException | None:
    """What ``work`` raises, in a thread that must not hang."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 - looked at by the test
            raised.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    return raised[0] if raised else None
