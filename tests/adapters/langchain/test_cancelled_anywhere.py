"""An agent that is cancelled at any moment: every record ends, and says that it was cancelled."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.tools import tool

import monitor
from monitor.adapters.langchain import MonitorCallbackHandler, MonitorMiddleware
from monitor.records import Outcome
from monitor.store import Store
from tests.adapters.langchain.conftest import Scripted, agent_of, calls
from tests.anywhere import cancellable, newest, run_until

if TYPE_CHECKING:
    from monitor.records import Event

pytestmark = pytest.mark.sqlite("what is counted is steps of the loop; a server makes them longer, not others")

STEPS = (0, 2, 5, 8, 21)
"""After how many steps of the loop since an event the agent is cancelled."""


class Awaited(Scripted):
    async def _agenerate(self, messages: Any, *more: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        return self._generate(messages, *more, **options)


@tool
async def note(number: int) -> str:
    """Note a number."""
    await asyncio.sleep(0)
    return f"noted {number}"


def answer(messages: list[Any]) -> Any:
    used = sum(message.type == "tool" for message in messages)
    return calls("note", str(used), number=used) if used < 2 else "done"


@pytest.mark.parametrize("in_a_run", [True, False])
@pytest.mark.parametrize("way", ["middleware", "callbacks"])
def test_every_record_ends(db: str, way: str, *, in_a_run: bool) -> None:
    async def ask(options: dict[str, Any]) -> Any:
        model = Awaited(answers=answer, asked=[])
        if way == "middleware":
            return await agent_of(model, [note], middleware=[MonitorMiddleware(**options)]).ainvoke(given)
        return await agent_of(model, [note]).ainvoke(given, {"callbacks": [MonitorCallbackHandler(**options)]})

    given = {"messages": [("user", "x")]}

    async def run(seen: list[Event], target: asyncio.Future[asyncio.Task[Any]]) -> None:
        options: dict[str, Any] = {"db": db, "policy": [], "listener": seen.append}
        async with monitor.observed_run("x", **options) if in_a_run else nullcontext():
            await cancellable(ask(options), target)

    every = asyncio.run(run_until(run))
    assert every == 2 + 3 * 5, "five subcalls, and the run itself"
    for events, steps in itertools.product(range(every), STEPS):
        before, at = newest(db), f"{steps} steps after {events} events"
        asyncio.run(run_until(run, events, steps))
        latest = newest(db)
        if latest.start.run_id == before.start.run_id:
            continue
        with Store.open(db) as store:
            subcalls = store.subcalls(latest.start.run_id)
        assert latest.state in {Outcome.OK, Outcome.CANCELLED}, at
        assert {subcall.state for subcall in subcalls} <= {Outcome.OK, Outcome.CANCELLED}, at
