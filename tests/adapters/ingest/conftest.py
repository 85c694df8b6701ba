"""Public traces to ingest, and the command that does it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.adapters.ingest.sources import files_of
from monitor.adapters.ingest.taking import Report, ingest
from monitor.loaded import load_checks
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.records import StoredRun, StoredSubcall

TESTS = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
OTHERS = TESTS / "audit/evaluation/data/traces"
TRAJECTORY = DATA / "swe-agent/936b-function_calling_simple.traj"
STEPS = DATA / "swe-agent/dd5a-marshmallow-code__marshmallow-1867.traj"
MAGENTIC = OTHERS / "agentrx/56137764-b4e0-45b8-9c52-1866420c3df5.json"
CHAT = DATA / "openai-cookbook/toy_chat_fine_tuning.jsonl"
DRONE = DATA / "openai-cookbook/drone_training.jsonl"
NESTED = DATA / "inspect/nested-agents.eval"
INSPECT = DATA / "inspect/websearch-addition.eval"


class Ingesting:
    """A store, and what was ingested into it."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __call__(self, *paths: Path, policy: tuple[str, ...] = ()) -> Report:
        checks = load_checks(policy)
        return asyncio.run(ingest(files_of(paths), self.store, checks))

    @property
    def runs(self) -> list[StoredRun]:
        return self.store.runs()

    def subcalls(self, run: StoredRun | None = None) -> list[StoredSubcall]:
        """Those of one run, by default of the only one."""
        if run is None:
            (run,) = self.runs
        return self.store.subcalls(run.start.run_id)

    @property
    def events(self) -> int:
        """How many events are in the store."""
        return sum(len(self.store.events(run.start.run_id)) for run in self.runs)


@pytest.fixture
def take(new_database: Callable[[], str]) -> Iterator[Ingesting]:
    """Ingest files into a store of one's own, and look at it."""
    with Store.open(new_database()) as store:
        yield Ingesting(store)
