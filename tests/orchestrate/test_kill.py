"""Killed at any moment, a run resumes to the same answer, calls nothing twice that was judged, and its sums add up.

The calls are counted by a server in a process of its own, which outlives the killed one and whose answers depend on
prompt and seed alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import monitor
from monitor.errors import ConfigError
from monitor.orchestrate.calls import total
from monitor.records import Outcome, StoredSubcall
from monitor.store import Store
from monitor.store.location import is_postgres
from tests.orchestrate import killed
from tests.store.databases import Database
from tests.stubs.schema_filler import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KILLS = 50
ROOT = Path(__file__).parents[2]


class Server:
    """The stub in its own process, and the log of what it was asked."""

    def __init__(self, log: Path) -> None:
        self.log = log
        command = [sys.executable, str(ROOT / "tests/stubs/openai_stub.py"), "--port", "0", "--log", str(log)]
        self.process = subprocess.Popen([*command, "--mode", "delay=0.004"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.base_url = self.process.stdout.readline().strip()

    def asked(self) -> Counter[tuple[str, int]]:
        """How often each request came, by the hash of its messages and its seed."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return Counter((entry["hash"], entry["seed"]) for entry in map(json.loads, lines))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "calls.jsonl")
    yield server
    server.close()


def request_of(subcall: StoredSubcall) -> tuple[str, int]:
    """The request of a subcall as the stub's log names it."""
    messages = [{"role": message.role, "content": message.content} for message in subcall.call.messages]
    assert subcall.call.seed is not None
    return digest(messages), subcall.call.seed


def test_fifty_kills_lose_nothing(stub: Server, new_database: Callable[[], str]) -> None:
    for _ in range(2):  # the first one also loads what the second finds: that is how long the killed ones take
        undisturbed = monitor.run_sync(killed.OFFICE, killed.TASK, **killed.arguments(new_database(), stub.base_url))
    assert undisturbed.outcome is Outcome.OK
    assert undisturbed.usage.calls == 32
    took = undisturbed.seconds
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.orchestrate.warmed"])
    moments = random.Random(2)
    seen_states: Counter[str] = Counter()
    for number in range(KILLS):
        db = new_database()
        stub.log.unlink(missing_ok=True)
        run_id = ""
        # Some runs are killed a second time while they resume.
        for _ in range(1 + number % 2):
            seen_states += kill_somewhere(processes, moments, db, stub.base_url, run_id, took)
            with Store.open(db) as store:
                runs = store.runs()
                if not runs:
                    break
                run_id = runs[0].start.run_id
        if not run_id:
            continue  # killed before the run was there: nothing was asked
        with Store.open(db) as store:
            before = {subcall.call.span_id: subcall for subcall in store.subcalls(run_id)}
        asked_before = stub.asked()
        result = monitor.resume_sync(run_id, **killed.arguments(db, stub.base_url))
        assert (undisturbed.answer, Outcome.OK) == (result.answer, result.outcome)
        check_the_record(db, run_id, before, asked_before, stub.asked())
    assert seen_states["started"] > 0, "no kill hit a call in flight: the moments are badly chosen"
    assert sum(seen_states.values()) > KILLS


def test_a_run_that_another_process_executes_cannot_be_resumed_until_it_is_dead(
    stub: Server, new_database: Callable[[], str]
) -> None:
    db = new_database()
    process = multiprocessing.get_context("forkserver").Process(target=killed.main, args=(db, stub.base_url))
    process.start()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.01)
        if has_begun(db):
            with Store.open(db) as store:
                runs = store.runs()
            if runs:
                break
    os.kill(process.pid or 0, signal.SIGSTOP)  # alive, and quiet while we look
    run_id = runs[0].start.run_id
    with pytest.raises(ConfigError, match=f"still being executed by process {process.pid}"):
        monitor.resume_sync(run_id, **killed.arguments(db, stub.base_url))
    process.kill()
    process.join()
    result = monitor.resume_sync(run_id, **killed.arguments(db, stub.base_url))
    assert result.outcome is Outcome.OK


def has_begun(db: str) -> bool:
    """Whether a run has come as far as its store."""
    if not is_postgres(db):
        return Path(db).exists()
    with Database(db) as database:
        return bool(database.rows("SELECT 1 FROM events LIMIT 1"))


def kill_somewhere(  # noqa: PLR0917 - the parts of one scene
    processes: multiprocessing.context.ForkServerContext,
    moments: random.Random,
    db: str,
    base_url: str,
    run_id: str,
    took: float,
) -> Counter[str]:
    """Kill a run (or its resume) at a random moment; return how many subcalls it left in which state."""
    process = processes.Process(target=killed.main, args=(db, base_url, run_id))
    process.start()
    deadline = time.monotonic() + 30
    while not has_begun(db) and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(moments.uniform(0, 1.3 * took))
    process.kill()
    process.join()
    with Store.open(db) as store:
        runs = store.runs()
        return Counter(subcall.state for run in runs for subcall in store.subcalls(run.start.run_id))


def check_the_record(
    db: str,
    run_id: str,
    before: dict[str, StoredSubcall],
    asked_before: Counter[tuple[str, int]],
    asked_after: Counter[tuple[str, int]],
) -> None:
    with Store.open(db) as store:
        run, subcalls = store.run(run_id), store.subcalls(run_id)
    assert run.end is not None
    by_span = {subcall.call.span_id: subcall for subcall in subcalls}
    for span, earlier in before.items():
        now = by_span[span]
        if earlier.observation:
            assert now.observation == earlier.observation
        if (
            earlier.observation and earlier.observation.outcome != Outcome.CANCELLED
        ):  # an interrupted call may be repeated
            assert asked_after[request_of(earlier)] == asked_before[request_of(earlier)], "called again"
        if not earlier.observation:
            # Started, never observed: it stays charged at its reservation, and its repetition is a new attempt.
            assert now.state == Outcome.CANCELLED
            assert now.charged == earlier.call.reserved
            repeated = [other for other in subcalls if other.call.key == earlier.call.key and other.state == "ok"]
            assert [other.call.retry_of for other in repeated] == [_first(subcalls, earlier).call.span_id]
            assert repeated[0].call.attempt > earlier.call.attempt
    assert all(subcall.judgement for subcall in subcalls)
    assert run.end.usage == total(subcall.charged for subcall in subcalls)
    assert len({subcall.call.key for subcall in subcalls}) == 32
    orphans = sum(subcall.state == Outcome.CANCELLED for subcall in subcalls)
    assert run.end.usage.calls == len(subcalls) == 32 + orphans


def _first(subcalls: list[StoredSubcall], one: StoredSubcall) -> StoredSubcall:
    return next(other for other in subcalls if other.call.key == one.call.key and other.call.attempt == 1)
