"""What the tests of runs share: a store of their own, and runs of the test recipes on scripted or served models."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor import catalog
from monitor.errors import StoreUnavailableError
from monitor.settings import Settings
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.models.scripted import ScriptedModel
    from monitor.orchestrate.ending import RunResult
    from monitor.records import StoredSubcall

RECIPES = Path(__file__).parent / "recipes"
OFFICE = str(RECIPES / "office.py")


class Desk:
    """One database, and runs on it."""

    def __init__(self, db: str) -> None:
        self.db = db

    def run(self, recipe: str, model: ScriptedModel | str, task: str = "the task", **arguments: Any) -> RunResult:
        """Run a recipe (``single`` and the like are the test recipes)."""
        return asyncio.run(self.start(recipe, model, task, **arguments))

    async def start(
        self, recipe: str, model: ScriptedModel | str, task: str = "the task", **arguments: Any
    ) -> RunResult:
        """As ``run``, in a loop that is there already."""
        reference = recipe if "/" in recipe or recipe in catalog.names("recipe") else f"{OFFICE}:{recipe}"
        arguments.setdefault("settings", Settings(db=self.db))
        return await monitor.run(reference, task, model=model, db=self.db, **arguments)

    def served(self, base_url: str, **alias: Any) -> dict[str, Any]:
        """Arguments for a run on a server at ``base_url``."""
        models = {"stub": {"model": "stub", "base_url": base_url, "context_tokens": 4096, **alias}}
        return {"model": "stub", "settings": Settings(db=self.db, models=models)}

    def stores_nothing(self) -> bool:
        """Whether no run was ever stored."""
        try:
            with Store.open(self.db, create=False) as store:
                return not store.runs()
        except StoreUnavailableError:  # there is no file
            return True

    def subcalls(self, run_id: str | None = None) -> list[StoredSubcall]:
        """The subcalls of a run, by default of the newest."""
        with Store.open(self.db) as store:
            return store.subcalls(run_id or store.runs()[0].start.run_id)


@pytest.fixture
def desk(new_database: Callable[[], str]) -> Desk:
    return Desk(new_database())


@pytest.fixture
def policy(tmp_path: Path) -> Callable[..., str]:
    """Write a pack with one rule that matches ``word`` in the output; returns its path."""

    def write(word: str, action: str = "withhold", fields: Sequence[str] = ("output",)) -> str:
        path = tmp_path / f"{action}.yaml"
        selections = "".join(
            f"      in_{field.replace('.', '_')}:\n        {field}|contains: {word}\n" for field in fields
        )
        path.write_text(
            f"""pack: test
version: 1.0.0
description: one rule
rules:
  - title: The word {word}
    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a11
    name: the_word
    level: medium
    action: {action}
    detection:
{selections}      condition: 1 of in_*
    tests:
      - record: {{output: {word}}}
        expect: match
"""
        )
        return str(path)

    return write
