"""A store that fails at any commit of an agent: what is not durable is not acted on, and nothing hangs."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.tools import tool

from monitor.adapters.langchain import MonitorCallbackHandler, MonitorMiddleware
from monitor.errors import StoreError
from monitor.store import Store
from tests.adapters.langchain.conftest import Scripted, agent_of
from tests.adapters.langchain.test_cancelled_anywhere import answer

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from tests.failing_disk import FailingDisk

pytestmark = pytest.mark.sqlite("the commits to a file are made to fail")


def note_into(notes: list[int]) -> BaseTool:
    @tool
    def note(number: int) -> str:
        """Note a number."""
        notes.append(number)
        return f"noted {number}"

    return note


@pytest.mark.parametrize(("is_async", "lasting"), [(True, False), (False, True)])
@pytest.mark.parametrize("way", ["middleware", "callbacks"])
def test_what_is_not_durable_is_not_acted_on(
    db: str,
    disk: FailingDisk,
    way: str,
    *,
    is_async: bool,
    lasting: bool,
) -> None:
    Store.open(db).close()
    notes: list[int] = []
    options: dict[str, Any] = {"db": db, "policy": []}

    async def run(model: Scripted) -> Any:
        handed: dict[str, Any] = {}
        middleware = [MonitorMiddleware(**options)] if way == "middleware" else []
        if way == "callbacks":
            handed["callbacks"] = [MonitorCallbackHandler(**options)]
        agent = agent_of(model, [note_into(notes)], middleware=middleware)

        given = {"messages": [("user", "x")]}
        async with asyncio.timeout(30):
            if is_async:
                return await agent.ainvoke(given, handed)
            return await asyncio.to_thread(agent.invoke, given, handed)

    number, known, result = 0, 0, None
    while result is None:
        number += 1
        notes.clear()
        model = Scripted(answers=answer, asked=[])
        disk.fail(number, lasting=lasting)
        with suppress(StoreError):
            result = asyncio.run(run(model))
        disk.mend()
        with Store.open(db) as store:
            runs = store.runs()
            new = [run.start.run_id for run in runs[: len(runs) - known]]
            subcalls = [subcall for run in new for subcall in store.subcalls(run)]
            events = sum(len(store.events(run)) for run in new)
        known = len(runs)
        judged = Counter(subcall.call.kind for subcall in subcalls if subcall.judgement)
        assert events == number - 1, number
        assert len(notes) <= judged["model"], number
        assert len(model.asked) <= judged["tool"] + 1, number
    assert number - 1 == 2 + 3 * 5, "five subcalls, and the run itself"
