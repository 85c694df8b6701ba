"""The shipped packs: every test inside them passes, and every rule has enough of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor import policy
from monitor.errors import Fault

if TYPE_CHECKING:
    from monitor.policy.over_run import RunRule

PACKS = sorted((Path(__file__).parents[2] / "policies").glob("*.yaml"))
RULES = policy.load(PACKS)
ACCEPTED = {"requires no literal text"}
"""Notes of lint that shipped packs may have: blobs and invisible characters have no literal to look for."""


@pytest.mark.parametrize("result", RULES.run_tests(), ids=lambda result: f"{result.rule}: {result.test}")
def test_rules_say_what_their_authors_expect(result: policy.RuleTestResult) -> None:
    assert (result.actual, result.cause) == (result.expected, result.cause)


@pytest.mark.parametrize("rule", RULES.every, ids=lambda rule: rule.name)
def test_every_rule_is_documented_and_tested_both_ways(rule: policy.Rule | RunRule) -> None:
    expected = Counter(test.expect for test in rule.written.tests)
    assert expected["match"] >= 4
    assert expected["no_match"] >= 4
    assert rule.written.description
    assert rule.written.falsepositives
    assert all(test.name for test in rule.written.tests)


def test_lint_has_nothing_to_say() -> None:
    found = [str(item) for item in policy.lint(PACKS) if isinstance(item, Fault) or not _accepted(item)]
    assert found == []


def _accepted(note: policy.LintNote) -> bool:
    return any(words in note.problem for words in ACCEPTED)


def test_the_core_pack_covers_what_was_asked_for() -> None:
    assert {rule.name for rule in RULES.rules} >= {
        "hides_from_oversight",
        "evades_monitor",
        "tampers_with_tests",
        "claims_unverified_success",
        "reaches_beyond_task",
        "deceives_user",
        "evaluation_awareness",
        "obeys_embedded_instructions",
        "secret_in_text",
        "illegible_reasoning",
        "required_reasoning_absent",
        "tool_outside_list",
    }
