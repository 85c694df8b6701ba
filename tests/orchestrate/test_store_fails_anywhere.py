"""A store that fails at any commit of a run: what is not durable is not released, nothing hangs, and the run goes on."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import pytest

import monitor
from monitor.catalog import load_recipe
from monitor.errors import StoreError
from monitor.orchestrate.calls import total
from monitor.records import Outcome
from monitor.settings import Settings
from monitor.store import Store, writer
from tests.orchestrate.clerks import ANSWER, Clerk, write_office

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.orchestrate.ending import RunResult
    from monitor.records import Event
    from tests.failing_disk import FailingDisk
    from tests.orchestrate.conftest import Desk

pytestmark = pytest.mark.sqlite("the commits to a file are made to fail")


@pytest.mark.parametrize("commits", ["at once", "in the thread"])
@pytest.mark.parametrize(("recipe", "lasting"), [("mapped", False), ("gathered", True), ("gathered", False)])
def test_nothing_is_released_wherever_a_store_fails(
    desk: Desk,
    tmp_path: Path,
    policy: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    disk: FailingDisk,
    *,
    commits: str,
    recipe: Literal["mapped", "gathered"],
    lasting: bool,
) -> None:
    if commits == "in the thread":
        monkeypatch.setattr(writer, "_INLINE_SECONDS", 0)
    Store.open(desk.db).close()
    office = write_office(tmp_path, recipe)
    released: list[str] = load_recipe(office).function.__globals__["RELEASED"]
    settings = Settings(db=desk.db, tool_isolation="none", policies=[policy("JOB", "flag")])

    async def run(model: Clerk, told: list[Event]) -> RunResult:
        async with asyncio.timeout(30):
            return await desk.start(office, model, "the job", listener=told.append, settings=settings)

    assert asyncio.run(run(Clerk(), [])).answer == ANSWER
    number, succeeded = 0, False
    while not succeeded:
        number += 1
        at = f"commit {number}"
        model = Clerk()
        told: list[Event] = []
        released.clear()
        before = known(desk)
        disk.fail(number, lasting=lasting)
        with suppress(StoreError):
            result = asyncio.run(run(model, told))
            assert (result.outcome, result.answer) == (Outcome.OK, ANSWER), at
            succeeded = disk.commits < number
        disk.mend()
        if known(desk) == before:
            assert not model.requests, at
            continue
        with Store.open(desk.db) as store:
            run_id = store.runs(limit=1)[0].start.run_id
            assert len(store.events(run_id)) >= len(told), at
            state = store.run(run_id).state
        judged = [subcall.observation for subcall in desk.subcalls(run_id) if subcall.judgement]
        assert set(released) <= {observation.output for observation in judged if observation}, at
        if state != Outcome.OK:
            result = monitor.resume_sync(run_id, model=Clerk(), settings=settings)
            assert (result.outcome, result.answer) == (Outcome.OK, ANSWER), at
            assert result.usage == total(subcall.charged for subcall in desk.subcalls(run_id)), at
    assert number >= 8, "the start, three commits for each of two calls one after the other at least, and the end"


def known(desk: Desk) -> int:
    with Store.open(desk.db) as store:
        return len(store.runs())
