"""Explaining a rule on a record: the same answers as in a run, laid open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from monitor import catalog
from monitor.policy import examples
from monitor.policy.loader import assemble, read_policy
from monitor.policy.tools.explain import Explanation, explain
from monitor.policy.tools.places import nodes_of
from tests.policy.packs import pack

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.errors import Fault
    from tests.policy.conftest import Write

DETECTION = """\
promise:
  reasoning|contains: [refund, money back]
  depth|lt: 3
exception:
  - tool.name: issue_refund
  - {role: sandbox, usage.cost|gt: 1}
keywords_only: [drill]
condition: promise and not (exception or keywords_only)
"""


def explained(path: Path, record: dict[str, Any], *, today: str = "2026-11-22") -> Explanation:
    faults: list[Fault] = []
    loaded = read_policy([path], faults, today=today)
    assert faults == []
    rules = assemble(loaded)
    rule = rules.rules[0]
    return explain(rules, rule, nodes_of(loaded)[rule.id], examples.build(record))


def outline(explanation: Explanation) -> list[tuple[str, int, str, str]]:
    return [
        (selection.name, clause.at, clause.line, clause.truth.value)
        for selection in explanation.selections
        for part in selection.alternatives
        for clause in part.clauses
    ]


def test_each_line_says_what_it_saw_and_where(write: Write) -> None:
    found = explained(write(pack(DETECTION)), {"reasoning": "No refund, but money back!", "depth": 2})
    assert outline(found) == [
        ("promise", 10, "reasoning|contains", "match"),
        ("promise", 11, "depth|lt", "match"),
        ("exception", 13, "tool.name", "not_applicable"),
        ("exception", 14, "role", "no_match"),
        ("exception", 14, "usage.cost|gt", "no_match"),
        ("keywords_only", 15, "keywords", "no_match"),
    ]
    first, second = found.selections[0].alternatives[0].clauses
    assert first.saw == "looked at 1 text of `reasoning`, 26 codepoints; found 2 of 2 patterns"
    assert [(span.surface, span.start, span.end) for span in first.evidence] == [
        ("reasoning", 3, 9),
        ("reasoning", 15, 25),
    ]
    assert (second.saw, second.evidence) == ("`depth` is 2", ())
    tools = found.selections[1].alternatives[0].clauses[0]
    assert (tools.causes, tools.saw) == (
        ("the subcall has no tools",),
        "`tool.name` has nothing to look at; found 0 of 1 pattern",
    )


def test_the_condition_is_shown_part_by_part(write: Write) -> None:
    found = explained(write(pack(DETECTION)), {"reasoning": "refund", "depth": 2})
    condition = found.condition
    assert (condition.word, condition.truth.value) == ("and", "match")
    assert [(part.word, part.truth.value) for part in condition.parts] == [("promise", "match"), ("not", "match")]
    (inner,) = condition.parts[1].parts
    assert [(inner.word, inner.truth.value)] == [("or", "no_match")]
    assert [(part.word, part.truth.value) for part in inner.parts] == [
        ("exception", "no_match"),
        ("keywords_only", "no_match"),
    ]
    assert found.finding.status.value == "match"


@pytest.mark.parametrize(
    ("record", "status", "why"),
    [
        ({"reasoning": "refund"}, "match", "that is the `action` of level medium"),
        (
            {"reasoning": "hay"},
            "no_match",
            "everything that decides was looked at, and the condition does not hold",
        ),
        ({"reasoning.state": "encrypted"}, "unknown", "that is the `on_unknown` of level medium"),
        (
            {"kind": "tool"},
            "not_applicable",
            "the subcall does not have what the rule is about; this is no evidence that all is well",
        ),
    ],
)
def test_the_finding_is_the_one_of_a_run(record: dict[str, Any], status: str, why: str, write: Write) -> None:
    found = explained(write(pack(DETECTION)), record)
    assert (found.finding.status.value, found.why) == (status, why)


def test_what_is_missing_is_said_with_its_cause(write: Write) -> None:
    found = explained(write(pack(DETECTION)), {"reasoning": {"state": "encrypted"}, "usage.cost": None})
    assert found.selections[0].alternatives[0].clauses[0].causes == ("the reasoning is encrypted",)
    assert found.selections[1].alternatives[1].clauses[1].causes == ("the price of this model is not known",)


def test_other_kinds_of_clauses(write: Write) -> None:
    detection = (
        "a: {output|exists: true, output|contains|fieldref: task, role: plan, usage.reported: true}\n"
        "unused: {error|exists: true}\ncondition: a"
    )
    found = explained(write(pack(detection)), {"output": "do it now", "task": "do it", "role": "plan"})
    assert [clause.saw for clause in found.selections[0].alternatives[0].clauses] == [
        "there is something in `output`",
        "looked at 1 text of `output`, 9 codepoints; looked at 1 text of `task`, 5 codepoints",
        "`role` is 'plan'",
        "`usage.reported` is true",
    ]
    assert [(selection.name, selection.used) for selection in found.selections] == [("a", True), ("unused", False)]


FILTERS = """\
filter_set: known
version: 1.0.0
filters:
  - title: Drills
    id: 5d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11
    name: drills
    reason: A drill, ordered by the safety team.
    author: a reviewer
    date: '2026-11-01'
    expires: '2026-12-01'
    rules: [example]
    detection:
      word: {task|contains: drill}
      condition: word
"""


@pytest.mark.parametrize(
    ("today", "suppressed_by", "why"),
    [
        ("2026-11-22", "drills", "the filter `drills` suppresses it: it stays a match, and only logs"),
        ("2026-12-02", "", "that is the `action` of level medium"),
    ],
)
def test_filters_are_named_with_what_they_say(today: str, suppressed_by: str, why: str, write: Write) -> None:
    write(pack(DETECTION), "a.yaml")
    path = write(FILTERS, "b.yaml").parent
    found = explained(path, {"reasoning": "refund", "task": "This is a drill"}, today=today)
    # `drill` in the task is also one of the rule's own keywords, so the rule says no_match by itself
    assert (found.finding.status.value, found.finding.suppressed_by) == ("no_match", "")
    write(pack("promise: {reasoning|contains: refund}\ncondition: promise"), "a.yaml")
    found = explained(path, {"reasoning": "refund", "task": "This is a drill"}, today=today)
    assert (found.finding.suppressed_by, found.why) == (suppressed_by, why)
    (one,) = found.filters
    assert (one.name, one.status.value, one.is_expired) == ("drills", "match", not suppressed_by)


def test_a_rule_on_trial_and_one_with_an_action_of_its_own(write: Write) -> None:
    text = pack("a: {output|contains: x}\ncondition: a")
    trial = explained(write(text.replace("    level:", "    status: test\n    level:")), {"output": "x"})
    assert trial.why == "the rule is on trial (`status: test`): what it says is recorded, and it never acts"
    own = explained(write(text.replace("    level:", "    action: halt\n    level:")), {"output": "x"})
    assert own.why == "the rule has this `action`"


def test_every_test_of_the_shipped_rules_is_explained_as_it_is_judged() -> None:
    faults: list[Fault] = []
    loaded = read_policy([catalog.find("policy", name) for name in catalog.names("policy")], faults)
    rules, nodes = assemble(loaded), nodes_of(loaded)
    for rule in rules.rules:
        for test in rule.written.tests:
            found = explain(rules, rule, nodes[rule.id], examples.build(test.record))
            assert found.condition.truth.status is found.finding.status
            assert found.finding.status.value == test.expect
            if test.expect == "match":
                shown = {
                    span
                    for one in found.selections
                    for part in one.alternatives
                    for c in part.clauses
                    for span in c.evidence
                }
                assert set(found.finding.evidence) <= shown
