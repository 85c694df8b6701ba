"""Probes over stored runs: rates from a role's own harmless texts, and scores of what was stored long ago."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("torch", reason="torch is not installed: make probes")

from typer.testing import CliRunner

from monitor.cli import app
from monitor.models.scripted import ScriptedModel
from monitor.records import Status
from tests.orchestrate.conftest import Desk, desk, policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.probes.attached.conftest import Make

__all__ = ["desk", "policy"]
pytestmark = pytest.mark.embedded
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def answers(count: int) -> list[str]:
    return [f"Item {number} is {NUMBERS[number % 12]} and costs {number * 7 % 31} coins." for number in range(count)]


def command(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["probe", *arguments])
    return done.exit_code, done.output + (str(done.exception) if done.exception and done.exit_code == 1 else "")


def test_a_role_s_stored_runs_give_its_rate_and_no_other_s(desk: Desk, probe: Make, policy: Callable[..., str]) -> None:
    """Sixty runs of one subcall each: enough for 5 %. What a rule caught is no harmless text."""
    for answer in answers(60):
        desk.run("single", ScriptedModel([answer]))
    desk.run("single", ScriptedModel(["an alarm"]), policies=[policy("alarm", "flag")])
    folder = str(probe())
    code, said = command("calibrate", folder, "--role", "clerk", "--rate", "0.05", "--db", desk.db)
    assert code == 0, said
    assert "left out: 1 subcall with the verdict flag" in said
    assert "role clerk: 60 texts in 60 groups, output, mode reader" in said
    desk.run("single", ScriptedModel([answers(1)[0]]), probes=[folder])
    (subcall,) = desk.subcalls()
    assert subcall.judgement is not None
    (score,) = subcall.judgement.probes
    assert score.cause == ""
    assert score.fpr is not None
    assert 0 < score.fpr <= 1
    assert score.rate is not None
    assert score.rate <= 0.05
    finding = next(one for one in subcall.judgement.findings if one.check == "probe")
    assert finding.status in {Status.MATCH, Status.NO_MATCH}


def test_too_few_runs_for_a_rate_are_refused_and_nothing_is_changed(desk: Desk, probe: Make) -> None:
    folder = probe()
    before = (folder / "probe.json").read_bytes()
    code, said = command("calibrate", str(folder), "--role", "clerk", "--db", desk.db)
    assert code != 0, "there is no store"
    for answer in answers(3):
        desk.run("single", ScriptedModel([answer]))
    code, said = command("calibrate", str(folder), "--role", "clerk", "--rate", "0.05", "--db", desk.db)
    assert code != 0
    assert "0.05 needs 59, found 3" in said
    code, said = command("calibrate", str(folder), "--role", "nobody", "--db", desk.db)
    assert code != 0
    assert "no harmless text of the role 'nobody'" in said
    assert (folder / "probe.json").read_bytes() == before


def test_a_stored_run_can_be_scored_afterwards(desk: Desk, probe: Make) -> None:
    result = desk.run("many", ScriptedModel(answers(4)))
    folder = str(probe())
    code, said = command("score", folder, "--run", result.run_id, "--db", desk.db)
    assert code == 0, said
    lines = [line for line in said.splitlines() if "probe sample" in line]
    assert len(lines) == 4
    assert all("(reader, output; false-positive rate unknown): the probe is not calibrated" in line for line in lines)
    code, said = command("score", folder, "--run", "latest", "--db", desk.db, "--json")
    scores: list[dict[str, Any]] = json.loads(said)["scores"]
    assert [score["role"] for score in scores] == ["clerk"] * 4
    assert all(subcall.judgement is not None and not subcall.judgement.probes for subcall in desk.subcalls()), (
        "told, not stored"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", "PROBE"), "give a text to score, or --run RUN"),
        (("score", "PROBE", "a text", "--run", "latest"), "give a text to score, or --run RUN"),
        (("calibrate", "PROBE"), "say which texts are harmless: --data FILE, or --role ROLE"),
        (("calibrate", "PROBE", "--role", "clerk", "--surface", "output"), "--surface is for --data"),
        (("calibrate", "PROBE", "--data", "x.csv", "--name", "role clerk"), "is of a role's stored runs"),
    ],
)
def test_what_does_not_go_together_is_said(probe: Make, arguments: tuple[str, ...], said: str) -> None:
    folder = str(probe())
    code, output = command(*(folder if one == "PROBE" else one for one in arguments))
    assert code != 0
    assert said in " ".join(output.split())
