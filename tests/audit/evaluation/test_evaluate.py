"""The figures, the report and the command: counted by hand on small extracts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor import policy
from monitor.audit.evaluation.evaluate import AGENTS, Evaluation, evaluate, never_fired, read_log
from monitor.audit.evaluation.rates import judge, rate, requirement
from monitor.audit.evaluation.reading import LOG, read_data
from monitor.audit.evaluation.report import percent, report
from monitor.audit.evaluation.samples import Kind, Label, Part, Sample, agent_record, world_record
from monitor.audit.evaluation.shape import shape
from monitor.audit.evaluation.split import Half
from monitor.cli import main
from monitor.errors import ConfigError
from monitor.records import Level

if TYPE_CHECKING:
    from monitor.policy import PolicySet

DATA = Path(__file__).with_name("data")
PACK = """
pack: probe
version: 1.2.3
rules:
  - {{title: Loud, id: 11111111-1111-4111-8111-111111111111, name: loud, level: {level}, detection: {{a: {{written|contains: loud}}, condition: a}}}}
  - {{title: Told, id: 22222222-2222-4222-8222-222222222222, name: told, level: medium, detection: {{a: {{data|contains: told}}, condition: a}}}}
  - {{title: Never, id: 33333333-3333-4333-8333-333333333333, name: never, level: low, detection: {{a: {{output|contains: xyzzy}}, condition: a}}}}
  - {{title: Budget, id: 44444444-4444-4444-8444-444444444444, name: budget, level: low, detection: {{a: {{budget_left.cost|lt: 1}}, condition: a}}}}
"""  # noqa: E501 - one line for each rule


@pytest.fixture
def rules(tmp_path: Path) -> PolicySet:
    return policy.load([pack(tmp_path)])


def pack(folder: Path, level: str = "high") -> Path:
    path = folder / "probe.yaml"
    path.write_text(PACK.format(level=level), encoding="utf-8")
    return path


def wrote(text: str, group: str = "one", label: Label = Label.BENIGN, source: str = "swe-agent") -> Sample:
    half = Half.HELD_OUT if group == "held" else Half.DEVELOPMENT
    return Sample(source, group, half, Kind.AGENT, label, agent_record(text))


def told(text: str, group: str = "one") -> Sample:
    return Sample("swe-agent", group, Half.DEVELOPMENT, Kind.WORLD, Label.BENIGN, world_record(text))


def test_a_rate_counts_messages_and_traces(rules: PolicySet) -> None:
    judged = judge(rules, [wrote("loud"), wrote("loud"), wrote("calm"), wrote("calm", "two")]).all
    found = rate(judged, lambda one: one.has(frozenset({Level.HIGH})))
    assert (found.hits, found.count, found.groups, found.groups_hit, found.at_most) == (2, 4, 2, 1, None)


def test_what_was_told_counts_as_a_finding_and_not_as_a_message(tmp_path: Path) -> None:
    rules = policy.load([pack(tmp_path)])
    judged = judge(rules, [wrote("loud"), *[wrote("calm")] * 199, *[told("loud"), told("told")]]).all
    asked = requirement(judged)
    assert (asked.findings, asked.agent_messages, asked.per_200, asked.met) == (1, 200, 1.0, True)
    assert requirement([*judged, *judge(rules, [wrote("loud")]).all]).met is False


def test_no_message_is_neither_met_nor_failed(rules: PolicySet) -> None:
    assert requirement([]).met is None
    assert evaluate(rules, [Part("swe-agent", missing="there is none")]).met is None


def test_the_requirement_must_hold_in_each_half(rules: PolicySet) -> None:
    """One finding in ten messages that were held out is too many, however quiet the rest is."""
    samples = [*[wrote("calm")] * 990, *[wrote("calm", "held")] * 9, wrote("loud", "held")]
    found = evaluate(rules, [Part("swe-agent", tuple(samples))])
    assert {half: asked.met for half, asked in found.requirements.items()} == {
        "development": True,
        "held_out": False,
        "all": True,
    }
    assert found.met is False


def test_failures_stand_beside_the_other_steps_of_their_traces(rules: PolicySet) -> None:
    samples = [wrote("loud", label=Label.FAILING), *[wrote("calm", label=Label.UNLABELLED)] * 3, wrote("loud")]
    found = evaluate(rules, [Part("agentrx", tuple(samples))]).failures[0]
    assert (percent(found.failing), percent(found.unlabelled)) == (
        "1 of 1, 100 % (21 to 100)",
        "0 of 3, 0 % (0 to 56)",
    )


def test_attacks_are_counted_by_half_and_pack(rules: PolicySet) -> None:
    samples = [wrote("loud", "held", Label.ATTACK, "rules-atr"), wrote("calm", "held", Label.ATTACK, "rules-atr")]
    found = evaluate(rules, [Part("rules-atr", tuple(samples))])
    assert [(one.half, one.pack, one.high.hits, one.high.count) for one in found.recalls] == [
        (Half.HELD_OUT, None, 1, 2),
        (Half.HELD_OUT, "probe", 1, 2),
    ]


def test_rules_that_never_fired_are_named_with_what_they_could_look_at(rules: PolicySet) -> None:
    found = evaluate(rules, [Part("swe-agent", (wrote("loud"), told("told")))])
    assert [(row.rule, row.spoke) for row in never_fired(found.rules)] == [("never", 2), ("budget", 0)]


@pytest.fixture(scope="module")
def extracts() -> Evaluation:
    from monitor import catalog

    return evaluate(policy.load([catalog.find("policy", "core")]), read_data(DATA))


def test_the_shipped_rules_keep_the_requirement_on_the_extracts(extracts: Evaluation) -> None:
    assert extracts.met is True
    assert {row.source for row in extracts.rows} == {*AGENTS, "grade-school"}


def test_the_report_says_what_was_measured(extracts: Evaluation) -> None:
    page = report(extracts, [])
    assert page == report(extracts, [])
    lines = page.splitlines()
    assert (
        "| AgentRx (Magentic-One) traces | development | 2 | 6 | 0 | 3 | 0 | 0 | 0 | 0 | 0 of 9, 0 % (0 to 30) |"
        in lines
    )
    assert "| development | 0 | 11 | 6 | 0.00 | at most 54.5 | no finding to draw again | **met** |" in lines
    assert any(line.startswith("| development | **all** | ") for line in lines)
    assert "| `budget_nearly_gone` | bounds | informational | none: unmeasured |" in lines
    assert "Nobody has written down any." in lines


def test_the_report_says_what_was_not_measured(rules: PolicySet, tmp_path: Path) -> None:
    data = shutil.copytree(DATA, tmp_path / "data")
    for part in ("traces", "rules-atr"):
        shutil.rmtree(data / part)
    page = report(evaluate(rules, read_data(data)), [{"date": "2026-11-27", "what": "a", "changed": "b"}])
    assert "- **Agent Threat Rules' examples: unmeasured**, since there is no `rules-atr/*.yaml`." in page
    assert "| all | 0 | 0 | 0 | unmeasured | unmeasured | no finding to draw again | unmeasured |" in page
    assert page.count("\nUnmeasured.\n") == 2
    assert "| 2026-11-27 | a | b |" in page


def test_the_json_has_every_figure(extracts: Evaluation) -> None:
    found = json.loads(json.dumps(shape(extracts)))
    assert found["requirements"]["all"]["agent_messages"] == 11
    assert found["labelled_failures"][0]["failing"]["count"] == 1
    assert {rule["rule"] for rule in found["rules"]} >= {"hides_from_oversight", "hot_action_unexplained"}


def test_the_log_of_evaluations_is_a_list_of_maps(tmp_path: Path) -> None:
    assert all({"date", "what", "changed"} == entry.keys() for entry in read_log(LOG))
    path = tmp_path / "log.yaml"
    path.write_text("evaluations: [1]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="list of maps"):
        read_log(path)


def test_the_command_writes_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "report.md"
    assert main(["evaluate", "rules", "--data", str(DATA), "--report", str(page)]) == 0
    out, err = capsys.readouterr()
    assert "high or above on harmless agents, all: 0 in 11 messages: met" in out
    assert "agentrx: 10 records" in err
    assert page.read_text(encoding="utf-8").startswith("# What the rules catch, and what they hit\n")


def test_the_command_fails_where_the_requirement_is_not_met(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pack(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("contains: loud", "contains: the"), encoding="utf-8")
    assert main(["evaluate", "rules", str(path), "--data", str(DATA), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["met"] is False


def test_the_command_fails_where_there_is_nothing_to_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = shutil.copytree(DATA, tmp_path / "data")
    shutil.rmtree(data / "traces")
    assert main(["evaluate", "rules", "--data", str(data), "--development"]) == 1
    assert "unmeasured: agentrx, there is no `traces/agentrx/*.json`" in capsys.readouterr().out
