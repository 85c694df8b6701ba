"""A run whose untrusted role asks for one tool call, and what became of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from monitor.models.scripted import Reply, ScriptedModel
from monitor.orchestrate.isolation import kernel, landlock
from monitor.records import ToolCall
from monitor.settings import Settings
from tests.orchestrate.conftest import RECIPES, Desk

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.records import Event, Observation
    from monitor.settings import ToolIsolation

INTRUDER = str(RECIPES / "intruder.py")


def _has_landlock() -> bool:
    try:
        return landlock.version() > 0
    except kernel.UnsupportedError:
        return False


needs_landlock = pytest.mark.skipif(not _has_landlock(), reason="this kernel has no Landlock")


@pytest.fixture
def attempt(new_database: Callable[[], str]) -> Callable[..., Observation]:
    """Have an untrusted role call one tool; returns the tool subcall's observation, and sees that the run went on."""
    db = new_database()

    def call(
        tool: str,
        *,
        isolation: ToolIsolation = "landlock",
        listener: Callable[[Event], None] | None = None,
        **arguments: Any,
    ) -> Observation:
        desk = Desk(db)
        asked = Reply(tool_calls=(ToolCall(id="1", name=tool, arguments=json.dumps(arguments)),))
        model = ScriptedModel([asked, "went on"])
        settings = Settings(db=desk.db, tool_isolation=isolation)
        result = desk.run(INTRUDER, model, settings=settings, listener=listener)
        assert (result.outcome, result.answer) == ("ok", "went on"), result.error
        _, ran, _ = desk.subcalls(result.run_id)
        assert (ran.call.kind, ran.call.tools, ran.call.trust) == ("tool", (tool,), "untrusted")
        assert ran.judgement is not None
        assert ran.observation is not None
        return ran.observation

    return call
