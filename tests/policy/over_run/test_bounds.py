"""Bounded memory: whoever opens groups without end makes things unknown, and nothing is wrong in silence."""

from __future__ import annotations

import resource
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from monitor import policy
from monitor.policy import examples
from monitor.policy.over_run import RunWatch, memory
from monitor.policy.over_run.memory import MAX_GROUPS, Groups
from monitor.policy.over_run.run_rules import RunRuleMemory
from monitor.records import Action, Status, ToolCall
from tests.policy.over_run.test_against_slow import expected, found, rules, schedules

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.policy import PolicySet
    from monitor.records import Record
    from tests.policy.over_run.slow import Sub

__all__ = ["rules"]

PACK = """
pack: t
version: 1.0.0
engine: 3
rules:
  - {title: a, id: 45a9e88a-2172-46e5-9d6a-76815d990801, name: part_a, level: low,
     detection: {a: {output|contains: a}, condition: a}}
  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: part_b, level: low,
     detection: {a: {output|contains: b}, condition: a}}
run_rules:
  - {title: ordered, id: 45a9e88a-2172-46e5-9d6a-76815d990803, name: ordered, level: high,
     correlation: {type: temporal_ordered, rules: [part_a, part_b], group-by: [tool.name]}}
  - {title: absent, id: 45a9e88a-2172-46e5-9d6a-76815d990804, name: absent, level: high,
     correlation: {type: absence, rules: [part_b], without: [part_a], group-by: [tool.name]}}
  - {title: counted, id: 45a9e88a-2172-46e5-9d6a-76815d990805, name: counted, level: high,
     correlation: {type: event_count, rules: [part_a, part_b], group-by: [tool.name], condition: {gte: 2}}}
"""
KEYS = 16
"""Groups that one subcall opens: as many as it may."""


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=schedules())
def test_whatever_is_not_unknown_is_what_the_definition_says(
    rules: PolicySet, log: list[tuple[str, Sub]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One group and two subcalls of it are remembered, and all else is forgotten."""
    monkeypatch.setattr("monitor.policy.over_run.run_rules.Groups", partial(Groups, most=1))
    monkeypatch.setattr("monitor.policy.over_run.correlations.MAX_ENTRIES", 2)
    for (name, said), (same, wanted) in zip(found(rules.watch(), log), expected(log), strict=True):
        assert name == same
        assert [one for one, other in zip(said, wanted, strict=True) if one not in {other, Status.UNKNOWN}] == []


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=schedules())
def test_what_no_subcall_in_flight_can_ask_for_is_forgotten_and_nothing_else(
    rules: PolicySet, log: list[tuple[str, Sub]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.policy.over_run.memory._FEW", 0)
    assert found(rules.watch(), log) == expected(log)


@pytest.fixture
def open_rules(tmp_path: Path) -> PolicySet:
    path = tmp_path / "pack.yaml"
    path.write_text(PACK, "utf-8")
    return policy.load([path])


def record_of(blank: Record, number: int, output: str, tools: list[str]) -> Record:
    calls = tuple(ToolCall.trusted(id="1", name=name, arguments="") for name in tools)
    return blank.model_copy(
        update={
            "call": blank.call.model_copy(update={"span_id": f"{number:016x}"}),
            "observation": blank.observation.model_copy(update={"output": output, "tool_calls": calls}),
        }
    )


@pytest.mark.parametrize(("kinds", "groups"), [(["ordered"], 1_000_000), (["absent", "counted"], 40_000)])
def test_a_million_groups(open_rules: PolicySet, kinds: list[str], groups: int) -> None:
    """A secret is read, a million groups are opened, and then it goes out: unknown, and not no_match."""
    blank = examples.build({"output": "a", "tool.name": "victim"})
    rules = [rule for rule in open_rules.run_rules if rule.name in kinds]
    watch = RunWatch(open_rules, rules)
    findings = {word: open_rules.findings(record_of(blank, 0, word, ["x"])) for word in "ab"}

    def see(number: int, word: str, tools: list[str]) -> dict[str, tuple[Status, str]]:
        record = record_of(blank, number, word, tools)
        watch.begin(record.call)
        return {one.name: (one.status, one.cause) for one in watch.see(record, findings[word])}

    see(0, "a", ["victim"])
    sizes = []
    subcalls = groups // KEYS
    for number in range(1, subcalls + 1):
        see(number, "a", [f"{number}-{key}" for key in range(KEYS)])
        if number % (subcalls // 5) == 0:
            sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert sizes[-1] - sizes[1] < 16_384  # KiB: it does not grow any more
    for memory_of_rule in watch._memories:
        assert isinstance(memory_of_rule, RunRuleMemory)
        assert len(memory_of_rule._groups) == MAX_GROUPS
        assert memory_of_rule._groups.forgotten == subcalls * KEYS + 1 - MAX_GROUPS
    said = see(subcalls + 1, "b", ["victim"])
    cause = f"more than {MAX_GROUPS:,} groups: the state of some was dropped"
    assert said == dict.fromkeys(kinds, (Status.UNKNOWN, cause))
    assert {rule.written.effective_on_unknown for rule in rules} == {Action.WITHHOLD}  # and so it is withheld
    newest = see(subcalls + 2, "b", [f"{subcalls}-0"])
    wanted = {"ordered": Status.MATCH, "absent": Status.NO_MATCH, "counted": Status.MATCH}
    assert {name: status for name, (status, _) in newest.items()} == {name: wanted[name] for name in kinds}


def test_a_subcall_that_stays_in_flight_makes_nobody_remember_all_that_came_meanwhile(open_rules: PolicySet) -> None:
    """An agent is in flight for as long as others work for it."""
    rules = [rule for rule in open_rules.run_rules if rule.name in {"ordered", "absent"}]
    blank = examples.build({"output": "a", "tool.name": "x"})
    watch = RunWatch(open_rules, rules)
    findings = {word: open_rules.findings(record_of(blank, 0, word, ["x"])) for word in "ab"}
    agent, early, late = (record_of(blank, number, "b", ["x"]) for number in (0, 1_500, 3_001))
    watch.begin(agent.call)
    for number in range(1, 3_001):
        one = early if number == 1_500 else record_of(blank, number, "a", ["x"])
        watch.begin(one.call)
        if one is not early:
            watch.see(one, findings["a"])
    ordered, absent = (one._groups.at(("x",), 3_000) for one in watch._memories if isinstance(one, RunRuleMemory))
    frontiers = [*ordered._chains[False], *ordered._chains[True], absent._certain, absent._possible]
    assert [len(one) <= 20 for one in frontiers] == [True] * 4
    said = {}
    for name, one in (("late", late), ("early", early), ("agent", agent)):
        watch.begin(one.call)
        found_of = watch.see(one, findings["b"])
        said[name] = [(finding.status, [far.span_id for far in finding.elsewhere]) for finding in found_of]
    assert said == {
        "late": [(Status.MATCH, [f"{3_000:016x}"]), (Status.NO_MATCH, [])],
        "early": [(Status.MATCH, [f"{1_499:016x}"]), (Status.NO_MATCH, [])],
        "agent": [(Status.NO_MATCH, []), (Status.MATCH, [])],
    }


def test_groups_are_forgotten_from_the_one_that_is_longest_without_news() -> None:
    groups: Groups[memory.Group] = Groups(memory.Group, most=2)
    first = groups.at("a", 0)
    groups.at("b", 1)
    assert groups.at("a", 2) is first
    groups.at("c", 3)
    assert groups.at("a", 4) is first
    assert groups.at("b", 5).lost == 1
