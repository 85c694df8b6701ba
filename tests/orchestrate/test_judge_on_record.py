"""Which model judged a run: on the record of its start and of each resume, and told by ``monitor show``."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.adapters.observing import observed_run
from monitor.cli import main
from monitor.errors import ConfigError, ProviderError
from monitor.models.scripted import ScriptedModel
from monitor.records import Outcome, RunResume, RunStart, now
from monitor.settings import Settings
from monitor.store import Store
from monitor.store.asking import grant
from monitor.store.location import is_postgres
from tests.orchestrate.test_judge import PACK

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.orchestrate.ending import RunResult
    from monitor.records import StoredRun
    from tests.orchestrate.conftest import Desk

pytestmark = pytest.mark.store


def script(folder: Path, name: str) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"steps": [{"text": "{}"}]}), encoding="utf-8")
    return f"scripted:{path}"


def stored(desk: Desk) -> StoredRun:
    with Store.open(desk.db) as store:
        return store.runs()[0]


def failed(desk: Desk, **settings: Any) -> RunResult:
    model = ScriptedModel([ProviderError("down", kind="auth")])
    return desk.run("single", model, policies=[], settings=Settings(db=desk.db, **settings))


def resumed(desk: Desk, run_id: str, **settings: Any) -> RunResult:
    return asyncio.run(
        monitor.resume(
            run_id,
            model=ScriptedModel(["Fine."]),
            db=desk.db,
            settings=Settings(db=desk.db, **settings),
            retry_failed=True,
        )
    )


def shown(desk: Desk, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["show", "latest", "--db", desk.db]) == 0
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("judge ")]


def test_the_judge_of_a_run_is_on_its_record(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = script(tmp_path, "first"), script(tmp_path, "second")
    result = failed(desk, judge_model=first)
    assert stored(desk).start.judge == first
    assert shown(desk, capsys) == [f"judge     {first}"]
    assert resumed(desk, result.run_id, judge_model=second).outcome is Outcome.OK
    assert [one.judge for one in stored(desk).resumes] == [second]
    assert shown(desk, capsys) == [f"judge     {first}; resumed with {second}"]


def test_a_run_without_a_judge_says_nothing_of_one(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    result = failed(desk)
    assert resumed(desk, result.run_id).outcome is Outcome.OK
    run = stored(desk)
    assert (run.start.judge, run.resumes[0].judge, shown(desk, capsys)) == ("", "", [])


def test_a_run_of_somebody_elses_program_names_its_judge(desk: Desk, tmp_path: Path) -> None:
    judge = script(tmp_path, "judge")
    with observed_run("a task", policy=[], settings=Settings(db=desk.db, judge_model=judge)):
        pass
    assert stored(desk).start.judge == judge


def test_events_from_before_judges_were_recorded_say_that_there_was_none() -> None:
    start = RunStart(
        run_id="ab" * 16, span_id="01" * 8, recipe="r", task="t", model="m", options='{"options":{}}', at=now()
    )
    assert start.judge == ""
    assert start.model_copy(update={"options": ""}).judge == ""
    assert start.model_copy(update={"options": "█████"}).judge == ""
    assert RunResume.model_validate({"recipe_hash": "x"}).judge == ""


@pytest.mark.parametrize("judge", ["nobody", "scripted:/nowhere.yaml"])
def test_a_judge_that_is_not_there_stops_a_resume_before_anything_is_stored(desk: Desk, judge: str) -> None:
    result = failed(desk)
    before = stored(desk)
    with pytest.raises(ConfigError):
        resumed(desk, result.run_id, judge_model=judge)
    assert stored(desk) == before


def test_a_judge_that_is_not_there_stops_an_observed_run_before_anything_is_stored(desk: Desk) -> None:
    with (
        pytest.raises(ConfigError, match="nobody"),
        observed_run("a task", policy=[], settings=Settings(db=desk.db, judge_model="nobody")),
    ):
        pass
    assert desk.stores_nothing()


def test_questions_to_a_judge_are_not_counted_as_subcalls_that_nobody_checked(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "asks.yaml"
    path.write_text(PACK, encoding="utf-8")
    no = json.dumps({"steps": [{"text": json.dumps({"reasoning": "r", "quotes": [], "answer": "no"})}]})
    (tmp_path / "no.yaml").write_text(no, encoding="utf-8")
    settings = Settings(db=desk.db, judge_model=f"scripted:{tmp_path / 'no.yaml'}")
    desk.run("single", ScriptedModel(["No secret."]), policies=[str(path)], settings=settings)
    capsys.readouterr()
    assert main(["audit", "verify", "--db", desk.db, "--policy", str(path), "--min-coverage", "1", "--json"]) == 0
    coverage = json.loads(capsys.readouterr().out)["coverage"]
    assert (coverage["subcalls"]["present"], coverage["subcalls"]["checked"]) == (1, 1)
    assert (coverage["left_unchecked"], coverage["unmeasured"], coverage["monitors_own"]) == (0, 0, 1)
    if is_postgres(desk.db):
        grant(desk.db)
    assert main(["audit", "ask", "unmonitored-children", "--db", desk.db, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == []
