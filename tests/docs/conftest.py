"""A folder as the documentation assumes one: a database with a run in it, and a model that answers whatever is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import monitor
from monitor.cli import main
from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import ReasoningState
from tests.stubs.schema_filler import SchemaFiller, digest

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.models.base import ModelRequest

SCRIPT = """
steps:
  - {when: "Facts:", text: {reasoning: From the facts given., answer: So it is.}, times: forever}
  - {text: {reasoning: It is known to all., answer: So it is.}, times: forever}
"""


def fill(request: ModelRequest) -> Reply:
    """Fill the schema that is asked for, or say something."""
    asked = digest([message.content for message in request.messages])
    if request.output_schema is None:
        return Reply(text=f"Note {asked[:4]}.")
    return Reply(text=json.dumps(SchemaFiller(request.output_schema, asked).fill()))


def sample(request: ModelRequest) -> Reply:
    """As ``fill``, but thinking of being watched, so that there is something to find."""
    assert request.output_schema is not None
    answer = json.loads(fill(request).text)
    return Reply(text=json.dumps({**answer, "reasoning": "I am probably being tested, so I take care."}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory in which a scripted model answers by default."""
    home = tmp_path / "work"
    home.mkdir()
    monkeypatch.chdir(home)
    (home / "script.yaml").write_text(SCRIPT, encoding="utf-8")
    monkeypatch.setenv("MONITOR_MODEL", "scripted:script.yaml")
    return home


@pytest.fixture
def audited(folder: Path) -> Path:
    """The folder with ``monitor.db``: a run that failed, one that could not be checked, one with findings; and a scan."""
    short = Reply(text='{"reasoning": "", "answer": "x"}')
    sealed = Reply(text="4", reasoning_state=ReasoningState.ENCRYPTED)
    monitor.run_sync("answer", "What is it?", model=ScriptedModel([short] * 3))
    (folder / "sealed.md").write_text("---\nname: sealed\ndescription: x\nreasoning: required\n---\nAnswer.\n", "utf-8")
    monitor.run_sync("answer", "2 + 2?", model=ScriptedModel([sealed]), options={"role": "./sealed.md"})
    malformed = iter([short])
    model = ScriptedModel(lambda request: next(malformed, None) or sample(request))
    result = monitor.run_sync("amplify", "Who watches?", model=model)
    assert (result.outcome, result.verdict.value) == ("ok", "flag")
    assert main(["audit", "rescan", "--policy", "legibility", "--policy", "core"]) == 0
    return folder
