"""What a rule over a run could not look at it says, also where somebody made it so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from monitor import policy
from monitor.policy.matching import MAX_SPANS
from monitor.records import Status
from tests.policy.over_run.test_joined import record, watched

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.policy import PolicySet

BASE = """
pack: t
version: 1.0.0
engine: 3
rules:
  - {title: a, id: 45a9e88a-2172-46e5-9d6a-76815d990801, name: orders, level: low,
     detection: {a: {output|re: 'run \\w+'}, condition: a}}
  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: asks, level: low,
     detection: {a: {output|contains: May I}, condition: a}}
run_rules:
  - title: f
    id: 45a9e88a-2172-46e5-9d6a-76815d990806
    name: joined
    level: high
"""
MATCH, UNKNOWN, NO_MATCH = Status.MATCH, Status.UNKNOWN, Status.NO_MATCH


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def loaded(text: str) -> PolicySet:
        path = tmp_path / "pack.yaml"
        path.write_text(BASE + f"    {text}\n")
        return policy.load([path])

    return loaded


@pytest.mark.parametrize(("before", "said"), [(MAX_SPANS - 2, MATCH), (MAX_SPANS, UNKNOWN), (3 * MAX_SPANS, UNKNOWN)])
def test_an_instruction_behind_more_than_the_evidence_has_is_not_taken_for_said(
    load: Any, before: int, said: Status
) -> None:
    rules = load("tree: {this: orders, parent: any, unsaid-in: [output]}")
    plan = record(1, output="The plan: run make")
    *_, last = watched(rules, plan, record(2, 1, output="run make, " * before + "run rootkit"))
    assert last.status is said


@pytest.mark.parametrize(("before", "said"), [(MAX_SPANS - 2, MATCH), (MAX_SPANS, UNKNOWN), (3 * MAX_SPANS, UNKNOWN)])
def test_what_a_rule_found_beyond_its_evidence_is_not_taken_for_unmarked(load: Any, before: int, said: Status) -> None:
    rules = load("taint: {source: orders, from: [found], sink: asks, into: [prompt], least: 8}")
    source = record(1, output="run makefiles, " * before + "run the_rootkit")
    *_, last = watched(rules, source, record(2, role="boss", user="run the_rootkit", output="May I?"))
    assert last.status is said
