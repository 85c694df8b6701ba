"""Foreign code that is cancelled at any moment: what its calls gave is in the record, and every record ends."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.records import Outcome
from monitor.store import Store
from tests.anywhere import cancellable, newest, run_until, this_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.records import Event

pytestmark = pytest.mark.sqlite("what is counted is steps of the loop; a server makes them longer, not others")

STEPS = (0, 1, 2, 4, 8, 16, 32, 64)
"""After how many steps of the loop since an event the code is cancelled."""


@pytest.mark.parametrize("where", ["around the run", "inside the run"])
def test_nothing_is_lost_wherever_foreign_code_is_cancelled(new_database: Callable[[], str], where: str) -> None:
    db = new_database()
    said: Counter[str] = Counter()

    @monitor.subcall("inner", kind="model")
    async def inner(text: str) -> str:
        await asyncio.sleep(0)
        said[text] += 1
        return text

    @monitor.subcall("outer")
    async def outer(text: str) -> str:
        both = " and ".join([await inner(f"{text} 1"), await inner(f"{text} 2")])
        said[both] += 1
        return both

    async def calls() -> None:
        await asyncio.gather(outer("a"), outer("b"))

    async def run(seen: list[Event], target: asyncio.Future[asyncio.Task[Any]]) -> None:
        if where == "around the run":
            target.set_result(this_task())
        async with monitor.observed_run("x", db=db, policy=[], listener=seen.append):
            if where == "inside the run":
                await cancellable(calls(), target)
            else:
                await asyncio.ensure_future(calls())

    every = asyncio.run(run_until(run))
    assert every == 2 + 3 * 6, "six subcalls, and the run itself"
    for events, steps in itertools.product(range(every), STEPS):
        said.clear()
        before = newest(db)
        asyncio.run(run_until(run, events, steps))
        latest = newest(db)
        if latest.start.run_id == before.start.run_id:
            assert not said
            continue
        at = f"{steps} steps after {events} events"
        with Store.open(db) as store:
            subcalls = store.subcalls(latest.start.run_id)
        assert latest.state in {Outcome.OK, Outcome.CANCELLED}, at
        assert all(subcall.judgement for subcall in subcalls), at
        assert {subcall.state for subcall in subcalls} <= {Outcome.OK, Outcome.CANCELLED}, at
        assert said == Counter(
            subcall.observation.output for subcall in subcalls if subcall.observation and subcall.observation.output
        ), at
