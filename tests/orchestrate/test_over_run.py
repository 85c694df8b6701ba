"""Rules over a run in whole runs: withheld where several subcalls together show it, and found again in the log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import monitor
from monitor.models.scripted import ScriptedModel
from monitor.records import Action, Outcome, Status, VerdictValue
from monitor.store import Store
from tests.orchestrate import over_run
from tests.orchestrate.conftest import OFFICE
from tests.orchestrate.over_run import PACK, echo, matches, replayed, said_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.orchestrate.conftest import Desk

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., str]:
    def write(action: str = "withhold") -> str:
        path = tmp_path / f"run_{action}.yaml"
        path.write_text(PACK.replace("ACTION", action), "utf-8")
        return str(path)

    return write


def test_a_secret_and_then_the_network_is_withheld_at_the_network(desk: Desk, pack: Callable[..., str]) -> None:
    result = desk.run("words", ScriptedModel(echo), "SECRET plain NETWORK never", policies=[pack()])
    assert (result.outcome, result.verdict.value) == (Outcome.BLOCKED, VerdictValue.BLOCK)
    secret, plain, network = desk.subcalls()  # the last word was never asked
    assert [one.state for one in (secret, plain, network)] == ["ok", "ok", "blocked"]
    (finding,) = [one for one in said_of(network) if one.name == "secret_then_network"]
    assert finding.status is Status.MATCH
    assert [(span.surface, span.start, span.end) for span in finding.evidence] == [("output", 0, 7)]
    assert [(span.span_id, span.surface, span.start, span.end) for span in finding.elsewhere] == [
        (secret.call.span_id, "output", 0, 6)
    ]


def test_the_other_way_round_nothing_is_withheld(desk: Desk, pack: Callable[..., str]) -> None:
    result = desk.run("words", ScriptedModel(echo), "NETWORK SECRET", policies=[pack()])
    assert result.outcome is Outcome.OK
    assert matches(desk.subcalls()) == [("NETWORK", "network_alone"), ("SECRET", "two")]


def test_of_two_at_the_same_time_none_is_before_the_other(desk: Desk, pack: Callable[..., str]) -> None:
    """Neither can have heard of the other; who is asked afterwards can."""
    result = desk.run("words", ScriptedModel(echo), "SECRET+NETWORK", policies=[pack()])
    assert result.outcome is Outcome.OK
    subcalls = desk.subcalls()
    assert ("NETWORK", "network_alone") in matches(subcalls)
    assert [name for _, name in matches(subcalls)].count("two") == 1
    again = desk.run("words", ScriptedModel(echo), "SECRET+plain NETWORK", policies=[pack()])
    assert again.outcome is Outcome.BLOCKED
    assert ("NETWORK", "secret_then_network") in matches(desk.subcalls(again.run_id))


def test_a_run_that_was_killed_between_the_two_finds_it_when_it_is_resumed(
    desk: Desk, pack: Callable[..., str]
) -> None:
    rules = pack()
    command = [sys.executable, str(Path(over_run.__file__)), desk.db, f"{OFFICE}:words", rules]
    killed = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=False)
    assert killed.returncode == -9
    with Store.open(desk.db) as store:
        (run,) = store.runs()
        assert [one.state for one in store.subcalls(run.start.run_id)] == ["ok", "started"]
    result = monitor.resume_sync(run.start.run_id, model=ScriptedModel(echo), db=desk.db)
    assert result.outcome is Outcome.BLOCKED
    assert matches(desk.subcalls()) == [("NETWORK", "secret_then_network"), ("NETWORK", "two")]


def test_what_the_recipe_leaves_unchecked_is_no_part_of_it(desk: Desk, pack: Callable[..., str]) -> None:
    result = desk.run("unseen", ScriptedModel(echo), "secret NETWORK", policies=[pack()])
    assert result.outcome is Outcome.OK
    unseen, network = desk.subcalls()
    assert said_of(unseen) == []
    assert matches([network]) == [("NETWORK", "network_alone")]


def test_a_halt_stops_the_run(desk: Desk, pack: Callable[..., str]) -> None:
    result = desk.run("words", ScriptedModel(echo), "SECRET NETWORK never", policies=[pack("halt")])
    assert result.outcome is Outcome.BLOCKED
    *_, network = desk.subcalls()
    assert network.judgement is not None
    assert network.judgement.action is Action.HALT


def test_each_run_is_followed_by_itself(desk: Desk, pack: Callable[..., str]) -> None:
    rules = pack()
    for word in ("SECRET", "NETWORK"):
        assert desk.run("words", ScriptedModel(echo), word, policies=[rules]).outcome is Outcome.OK


@pytest.mark.parametrize(
    "task", ["SECRET NETWORK", "NETWORK+SECRET+NETWORK SECRET+NETWORK NETWORK", "a SECRET b b NETWORK"]
)
def test_the_log_followed_anew_says_the_same(desk: Desk, pack: Callable[..., str], task: str) -> None:
    rules = pack("flag")
    desk.run("words", ScriptedModel(echo), task, policies=[rules])
    subcalls = desk.subcalls()
    assert {one.call.span_id: said_of(one) for one in subcalls} == replayed(subcalls, rules)
