"""Rules over a run on the command line: shown, explained, tested against what is stored, and found again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import monitor as library
from monitor.models.scripted import Reply, ScriptedModel
from monitor.store import Store
from tests.orchestrate.conftest import OFFICE
from tests.orchestrate.over_run import PACK, echo
from tests.orchestrate.test_judge import PACK as JUDGED
from tests.orchestrate.test_judge import YES, Door

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


JOINED = """
pack: joined
version: 1.0.0
engine: 3
rules:
  - {title: a, id: 45a9e88a-2172-46e5-9d6a-76815d990801, name: clerk, level: low,
     detection: {a: {role: clerk}, condition: a}}
run_rules:
  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: flows, level: low,
     taint: {source: clerk, sink: any, into: [prompt, reasoning]},
     tests: [{name: x, expect: match, run: [{id: q, role: clerk, output: The whole of the quarterly report},
                                            {reasoning: I send the WHOLE of the quarterly report.}]}]}
  - {title: c, id: 45a9e88a-2172-46e5-9d6a-76815d990803, name: spends, level: low,
     tree: {this: clerk, share: {field: usage.output_tokens, gte: 0.5, least: 2}},
     tests: [{name: x, expect: match, run: [{id: q, role: clerk, usage.output_tokens: 9}]}]}
"""


def test_a_rule_is_explained_in_the_words_of_its_file_with_both_ends(monitor: Monitor, tmp_path: Path) -> None:
    pack = tmp_path / "joined.yaml"
    pack.write_text(JOINED, "utf-8")
    out = monitor("policy", "explain", "flows", "test:x", "-p", str(pack)).out
    assert "taint: source clerk, sink any, into [prompt, reasoning]" in out
    assert "    reasoning: I send the WHOLE of the quarterly report." in out
    assert "    with q 5feceb66 output: The whole of the quarterly report" in out
    out = monitor("policy", "explain", "spends", "test:x", "-p", str(pack)).out
    assert "tree: this clerk, share {field: usage.output_tokens, gte: 0.5, least: 2}" in out


def test_what_a_judge_answered_is_read_and_its_questions_are_no_part_of_the_run(
    monitor: Monitor, tmp_path: Path
) -> None:
    """Two subcalls in a row are within two, with a question to the judge between them; the answer is the recorded one."""
    network = (
        "  - {title: The network, id: 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f2, name: network, level: low,\n"
        "     detection: {a: {output|contains: NETWORK}, condition: a}}\n"
        "run_rules:\n  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: hides_then_network, level: low,\n"
        "     correlation: {type: temporal_ordered, rules: [hides, network], subcalls: 2}}\n"
    )
    pack, db = tmp_path / "judged.yaml", str(tmp_path / "runs.db")
    pack.write_text(JUDGED.replace("level: high", "level: low") + network, "utf-8")
    door = Door(db, str(pack), ScriptedModel([Reply(text=json.dumps(YES))]))
    door.take("keep it secret", "NETWORK")
    assert len(door.asked()) == 1
    said = parsed(monitor("policy", "explain", "hides_then_network", "latest", "-p", str(pack), "--db", db, "--json"))
    assert [(one["number"], one["parts"], one["status"]) for one in said["subcalls"]] == [
        (1, {"hides": "match", "network": "no_match"}, "no_match"),
        (2, {"hides": "no_match", "network": "match"}, "match"),
    ]


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
