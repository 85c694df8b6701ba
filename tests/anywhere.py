"""Code that is cancelled some steps of its loop after some event of its run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from monitor.records import Event, StoredRun
from monitor.store import Store

Run: TypeAlias = Callable[[list[Event], "asyncio.Future[asyncio.Task[Any]]"], Awaitable[None]]
"""Runs something: puts the run's events into the list, and the task that is to be cancelled into the future."""


async def run_until(run: Run, events: int = 1000, steps: int = 0) -> int:
    """Run, and cancel so many steps of this loop after so many events; returns how many events there were by then."""
    seen: list[Event] = []
    target: asyncio.Future[asyncio.Task[Any]] = asyncio.get_running_loop().create_future()
    whole = asyncio.ensure_future(run(seen, target))
    task = await target
    while len(seen) < events and not whole.done():  # noqa: ASYNC110 - steps of the loop are what is counted
        await asyncio.sleep(0)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({whole})
    if task is not whole:
        whole.result()
    return len(seen)


async def cancellable(work: Coroutine[Any, Any, Any], target: asyncio.Future[asyncio.Task[Any]]) -> None:
    """Run ``work`` as the task that is to be cancelled, and go on when it has ended, however that was."""
    target.set_result(asyncio.ensure_future(work))
    await asyncio.wait({target.result()})


def newest(db: str) -> StoredRun:
    """The run that began last."""
    with Store.open(db) as store:
        return store.runs(limit=1)[0]


def this_task() -> asyncio.Task[Any]:
    """The task that runs."""
    task = asyncio.current_task()
    assert task is not None
    return task
