"""First rules over a run, and one that asks a judge: they load, their tests hold them, and lint has nothing to say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from monitor import policy
from monitor.errors import ConfigError
from monitor.policy.loader import assemble, read_policy
from monitor.policy.tools.mutation import try_mutants
from monitor.policy.tools.scaffold import KINDS, OVER_RUN, WHERE, Answers, scaffold

if TYPE_CHECKING:
    from pathlib import Path

    from tests.policy.conftest import Write

ANSWERS = Answers(
    worry="Reads the ledger: then sends mail",
    field="tool.arguments",
    phrases=("ledger.db", "it's the ledger"),
    level="high",
    other_field="tool.name",
    other_phrases=("send: mail",),
    question="Does the writer hide something?",
    match="ledger.db",
    near_miss="a list",
)


def holds(path: Path) -> None:
    """Nothing for lint to say, tests that pass, and none of the changes that they would not notice."""
    assert [item.problem for item in policy.lint([path])] == []
    assert all(result.passed for result in policy.load([path]).run_tests())
    files = read_policy([path], [])
    assert [one.what for tried in try_mutants(files, assemble(files)) for one in tried.survivors] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_loads_and_its_tests_hold_it(write: Write, kind: str) -> None:
    text = scaffold(replace(ANSWERS, kind=kind), today="2026-11-22")
    path = write(text)
    holds(path)
    rules = policy.load([path])
    rule = (rules.run_rules if kind in OVER_RUN else rules.rules)[-1]
    assert (rule.name, rule.written.status, rule.written.level) == ("reads_the_ledger_then_sends_mail", "test", "high")
    assert [one.written.level for one in rules.rules if one.name != rule.name] == ["informational"] * (
        2 if kind in OVER_RUN else 0
    )


@pytest.mark.parametrize("field", WHERE)
@pytest.mark.parametrize("kind", OVER_RUN)
def test_either_part_may_look_at_any_field(write: Write, kind: str, field: str) -> None:
    holds(write(scaffold(replace(ANSWERS, kind=kind, field=field))))
    holds(write(scaffold(replace(ANSWERS, kind=kind, other_field=field))))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "nothing"}, "there is no kind of first rule `nothing`"),
        ({"other_field": "nowhere"}, "cannot look at `nowhere`"),
        ({"other_phrases": ()}, "at least one phrase"),
        ({"other_field": "tool.arguments", "other_phrases": ("ledger.db",)}, "the two parts cannot be told apart"),
        ({"kind": "judge", "question": ""}, "needs a question"),
    ],
)
def test_answers_that_make_no_rule_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        scaffold(replace(ANSWERS, **{"kind": "sequence", **changed}))
