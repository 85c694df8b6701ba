"""Stores of many small subcalls, and scans of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from monitor.audit.rescan import local
from monitor.audit.rescan.job import Job, PolicyText
from monitor.audit.rescan.scan import Engine, Summary, rescan
from monitor.audit.rescan.sources import StoreSource
from monitor.records import (
    Call,
    Event,
    Judgement,
    Message,
    Observation,
    Outcome,
    Reasoning,
    ReasoningState,
    RunStart,
    Verdict,
    VerdictValue,
    new_run_id,
    new_span_id,
    now,
)
from monitor.store import ScanResult, Store, Wanted
from tests.audit.conftest import rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PART = 16
"""Leaves in a part: some four subcalls."""
WORDS = (
    *("the", "plan", "is", "to", "read", "every", "file", "then", "send", "it", "away"),
    *("nothing", "from", "monitor", "ask", "user", "étage", "你好", "twice"),
)


def fill(store: Store, subcalls: int, *, seed: int = 0, role: str = "clerk") -> str:
    """Add one run of that many subcalls, each with texts of its own; every seventh thinks of hiding something."""
    chance = random.Random(seed)
    run_id, root = new_run_id(), new_span_id()
    events = [
        Event.of(run_id, root, RunStart(run_id=run_id, span_id=root, recipe="answer", task="t", model="m", at=now()))
    ]
    for number in range(subcalls):
        words = " ".join(chance.choices(WORDS, k=12))
        thought = f"{number} {words}" + (" and hide it" if number % 7 == 0 else "")
        call = Call(
            run_id=run_id,
            span_id=new_span_id(),
            key="k",
            role=role,
            task=f"task {seed} {number}",
            messages=(Message(role="user", content=f"task {seed} {number} {words}"),),
            at=now(),
        )
        seen = Observation(
            outcome=Outcome.OK,
            output=f"{words} {seed} {number}",
            reasoning=Reasoning(state=ReasoningState.PLAIN, text=thought, source="provider"),
            at=now(),
        )
        said = Judgement(verdict=Verdict(value=VerdictValue.UNMEASURED), outcome=Outcome.OK, at=now())
        events += [Event.of(run_id, call.span_id, payload) for payload in (call, seen, said)]
    store.append_sync(*events)
    store.sequence()
    return run_id


class Bench:
    """A store, and scans of it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.store = Store.open(url)

    def pack(self, *rules: str, name: str = "pack") -> Path:
        """Write a pack."""
        path = self.folder / f"{name}.yaml"
        path.write_text(f"pack: {name}\nversion: 1.0.0\ndescription: x\nrules:\n{''.join(rules)}", encoding="utf-8")
        return path

    def hiding(self) -> Path:
        """A pack with a rule that finds what thinks of hiding, and one about tools, which no subcall has."""
        return self.pack(rule(1, "reasoning|contains: hide it"), rule(2, "tool.arguments|contains: rm"), name="hiding")

    def job(self, *packs: Path, wanted: Wanted = Wanted(), part: int = PART, **fields: Any) -> Job:  # noqa: B008 - frozen
        """A job over the store as it is now."""
        source = StoreSource.of(self.url, self.store, wanted, part_leaves=part)
        return Job(source, PolicyText.of(packs or (self.hiding(),)), **fields)

    def scan(self, job: Job | None = None, engine: Engine | None = None, **options: Any) -> Summary:
        """Scan, in this process if nothing else is said."""
        return rescan(job or self.job(), self.store.scans, engine or here, **options)

    def rows(self, scan_id: str) -> list[ScanResult]:
        """The results of a scan, in the order of the log."""
        return list(self.store.scans.results(scan_id))


def here(job: Job, tasks: Any, loaded: Any) -> Iterator[Any]:
    """The local engine without any other process."""
    return local.run(job, tasks, workers=1, loaded=loaded)


@pytest.fixture
def bench(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Bench]:
    made = Bench(new_database(), tmp_path)
    yield made
    made.store.close()
