"""Rules over a run on the command line: shown, explained, tested against what is stored, and found again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import monitor as library
from monitor.models.scripted import ScriptedModel
from monitor.store import Store
from tests.orchestrate.conftest import OFFICE
from tests.orchestrate.over_run import PACK, echo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]

TESTS = """
    tests:
      - name: one after the other
        run:
          - {id: reads, output: SECRET}
          - {output: nothing}
          - {id: sends, output: NETWORK}
        expect: match
        at: sends
      - name: the other way round
        run: [{output: NETWORK}, {output: SECRET}]
        expect: no_match
      - name: at the same time
        run: [[{output: SECRET}, {output: NETWORK}]]
        expect: no_match
"""


@pytest.fixture
def pack(tmp_path: Path) -> str:
    text = PACK.replace("ACTION", "flag").replace(
        "correlation: {type: temporal_ordered, rules: [secret, network]}\n",
        f"correlation: {{type: temporal_ordered, rules: [secret, network]}}{TESTS}",
    )
    path = tmp_path / "run.yaml"
    path.write_text(text, "utf-8")
    return str(path)


@pytest.fixture
def db(tmp_path: Path, pack: str) -> str:
    url = str(tmp_path / "runs.db")
    for task in ("SECRET plain NETWORK", "NETWORK SECRET"):
        library.run_sync(f"{OFFICE}:words", task, model=ScriptedModel(echo), db=url, policies=[pack])
    return url


def runs(db: str) -> list[str]:
    """Ids, the first run first."""
    with Store.open(db) as store:
        return [run.start.run_id for run in reversed(store.runs())]


def parsed(result: Result) -> Any:
    return json.loads(result.out)


def test_evidence_in_another_subcall_is_shown_with_whose_it_is(monitor: Monitor, db: str) -> None:
    first = runs(db)[0]
    with Store.open(db) as store:
        secret, _, network = store.subcalls(first)
    out = monitor("show", first, "--db", db).out
    assert f"with clerk {secret.call.span_id[:8]} output: SECRET" in out
    detail = monitor("show", first, "-s", network.call.span_id, "--db", db).out
    assert f"with clerk {secret.call.span_id[:8]} output: SECRET" in detail
    finding = next(
        one
        for one in parsed(monitor("show", first, "-s", network.call.span_id, "--db", db, "--json"))["judgement"][
            "findings"
        ]
        if one["name"] == "secret_then_network"
    )
    assert finding["elsewhere"][0]["span_id"] == secret.call.span_id


def test_a_stored_run_is_explained(monitor: Monitor, db: str, pack: str) -> None:
    first, second = runs(db)
    out = monitor("policy", "explain", "secret_then_network", first, "-p", pack, "--db", db).out
    assert "no `secret` was judged before it began" not in out
    assert "it is no `network`, with which the rule ends" in out
    assert "1 other subcall of the run" in out
    said = parsed(monitor("policy", "explain", "secret_then_network", second, "-p", pack, "--db", db, "--json"))
    assert said["status"] == "no_match"
    assert [one["missing"] for one in said["subcalls"]] == [
        "no `secret` was judged before it began",
        "it is no `network`, with which the rule ends",
    ]
    assert [one["parts"] for one in said["subcalls"]] == [
        {"secret": "no_match", "network": "match"},
        {"secret": "match", "network": "no_match"},
    ]
    counted = parsed(monitor("policy", "explain", "two", second, "-p", pack, "--db", db, "--json"))
    assert (
        counted["subcalls"][0]["missing"]
        == "1 such subcall within 4 subcalls so far; the rule asks for at least 2 of them"
    )
    absent = parsed(monitor("policy", "explain", "network_alone", first, "-p", pack, "--db", db, "--json"))
    assert absent["subcalls"][-1]["missing"].endswith("came before it")


def test_a_test_is_explained(monitor: Monitor, pack: str) -> None:
    out = monitor("policy", "explain", "secret_then_network", "test:one", "-p", pack).out
    assert "subcall 3: `sends`" in out
    assert "with reads" in out
    same = parsed(monitor("policy", "explain", "secret_then_network", "test:3", "-p", pack, "--json"))
    assert same["subcalls"][1]["missing"].startswith("no `secret` was judged before it began; ")
    assert same["subcalls"][1]["missing"].endswith("was under way at the same time")
    assert monitor("policy", "explain", "secret_then_network", "test:4", "-p", pack).code == 2
    assert monitor("policy", "explain", "secret_then_network", "-", "-p", pack).code == 2


def test_rules_over_a_run_are_listed(monitor: Monitor, pack: str) -> None:
    listed = parsed(monitor("policy", "list", pack, "--json"))["rules"]
    assert [(one["name"], one["over"]) for one in listed] == [
        ("secret", "subcall"),
        ("network", "subcall"),
        ("secret_then_network", "run"),
        ("network_alone", "run"),
        ("two", "run"),
    ]


def test_what_is_stored_is_backtested_and_compared(monitor: Monitor, db: str, pack: str) -> None:
    figures = {
        one["rule"]["name"]: one["counts"]["match"]
        for one in parsed(monitor("policy", "backtest", pack, "--db", db, "--json"))["rules"]
    }
    assert figures == {"secret": 2, "network": 2, "secret_then_network": 1, "network_alone": 1, "two": 2}
    assert "with " in monitor("policy", "backtest", pack, "--db", db).out
    diff = parsed(monitor("policy", "diff", "--recorded", pack, "--db", db, "--json"))
    assert (diff["changed"], diff["quiet"], diff["rules"]) == (0, 0, {"added": [], "removed": [], "changed": []})
    coverage = parsed(monitor("policy", "coverage", pack, "--db", db, "--json"))
    assert {one["name"]: one["counts"]["match"] for one in coverage["rules"]} == figures
    scan = monitor("audit", "rescan", "-p", pack, "--db", db, "--json")
    assert scan.code == 0
    compared = parsed(monitor("audit", "diff", "recorded", "latest", "--db", db, "--json"))
    assert (compared["changed"], compared["quiet"]) == (0, 0)


def test_of_a_selection_the_rest_of_the_run_is_followed(monitor: Monitor, db: str, pack: str) -> None:
    with Store.open(db) as store:
        network = store.subcalls(runs(db)[0])[2]
    since = parsed(
        monitor("policy", "backtest", pack, "--db", db, "--since", network.call.at, "--run", runs(db)[0], "--json")
    )
    assert since["covered"]["subcalls"] == 1
    assert {one["rule"]["name"] for one in since["rules"] if one["counts"]["match"]} >= {
        "secret_then_network",
        "network",
    }
    assert [one["counts"]["match"] for one in since["rules"] if one["rule"]["name"] == "secret"] == [0]
