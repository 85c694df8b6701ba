"""A run that is cancelled at any step of its event loop: nothing that came is lost, every record ends, and it resumes."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.orchestrate.calls import total
from monitor.records import Outcome
from monitor.settings import Settings
from monitor.store import writer
from tests.anywhere import newest, run_until, this_task
from tests.orchestrate.clerks import ANSWER, Clerk, write_office

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.records import Event
    from tests.anywhere import Run
    from tests.orchestrate.conftest import Desk

STEPS = (0, 1, 2, 3, 5, 8)
"""After how many steps of the loop since an event a run is cancelled."""


@pytest.fixture
def office(tmp_path: Path) -> str:
    return write_office(tmp_path, "mapped")


@pytest.mark.parametrize(
    "commits",
    [pytest.param("at once", marks=pytest.mark.sqlite("a server's commits are made in the thread")), "in the thread"],
)
def test_nothing_is_lost_wherever_a_run_is_cancelled(
    desk: Desk, office: str, policy: Callable[..., str], monkeypatch: pytest.MonkeyPatch, commits: str
) -> None:
    if commits == "in the thread":
        monkeypatch.setattr(writer, "_INLINE_SECONDS", 0)

    settings = Settings(db=desk.db, tool_isolation="none", policies=[policy("JOB", "flag")])

    def run_of(model: Clerk) -> Run:
        async def run(seen: list[Event], target: asyncio.Future[asyncio.Task[Any]]) -> None:
            target.set_result(this_task())
            await desk.start(office, model, "the job", listener=seen.append, settings=settings)

        return run

    whole = asyncio.run(run_until(run_of(Clerk())))
    assert whole == 2 + 3 * 7, "seven subcalls, and the run itself"
    for events, steps in itertools.product(range(whole), STEPS):
        before = newest(desk.db).start.run_id
        model = Clerk()
        asyncio.run(run_until(run_of(model), events, steps))
        run = newest(desk.db)
        if run.start.run_id == before:
            assert not model.requests
            continue
        where = f"{steps} steps after {events} events"
        assert run.state in {Outcome.OK, Outcome.CANCELLED}, where
        subcalls = desk.subcalls(run.start.run_id)
        assert all(subcall.judgement for subcall in subcalls), where
        assert {subcall.state for subcall in subcalls} <= {Outcome.OK, Outcome.CANCELLED}, where
        seen = [subcall.observation for subcall in subcalls if subcall.observation and subcall.call.kind == "model"]
        assert model.said <= Counter((one.output, len(one.tool_calls)) for one in seen), where
        if run.state == Outcome.CANCELLED:
            result = monitor.resume_sync(run.start.run_id, model=Clerk(), settings=settings)
            assert (result.outcome, result.answer) == (Outcome.OK, ANSWER), where
            assert result.usage == total(subcall.charged for subcall in desk.subcalls(run.start.run_id)), where
