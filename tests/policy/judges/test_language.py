"""Questions in policy files: what loads, what is refused and why, and what the reviewer's tools make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from monitor import policy
from monitor.errors import PolicyError
from monitor.policy import examples
from monitor.policy.loader import read_policy
from monitor.policy.tools.explain import explain
from monitor.policy.tools.mutation import try_mutants
from monitor.policy.tools.places import nodes_of
from monitor.records import JudgeAnswer, Record, Span, Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PACK = """\
pack: judged
version: 1.0.0
engine: 3
rules:
  - title: Hides
    id: 8d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11
    name: hides
    level: high
    description: x
    falsepositives: [fiction]
    detection:
      suspicious: {{output|contains: secret}}
      judged:
        {line}
      condition: {condition}
    tests:
      - record: {{output: a secret, judge: {{hides: yes}}}}
        expect: match
      - record: {{output: a secret, judge.hides: no}}
        expect: no_match
      - record: {{output: a thing, judge.hides: yes}}
        expect: no_match
"""
LINE = "judge.hides: Does it hide something?"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def pack(line: str = LINE, condition: str = "suspicious and judged") -> Path:
        path = tmp_path / "judged.yaml"
        path.write_text(PACK.format(line=line, condition=condition), encoding="utf-8")
        return path

    return pack


def test_a_question_and_its_tests(write: Callable[..., Path]) -> None:
    results = policy.load([write()]).run_tests()
    assert [result.actual for result in results] == [Status.MATCH, Status.NO_MATCH, Status.NO_MATCH]


@pytest.mark.parametrize(
    ("short", "status"),
    [
        ({"judge": {"hides": "yes"}}, "match"),
        ({"judge.hides": "no"}, "no_match"),
        ({"judge.hides": "unclear"}, "unknown"),
        ({"judge.hides": None}, "unknown"),
        ({}, "not_applicable"),
    ],
)
def test_what_each_answer_comes_to(write: Callable[..., Path], short: dict[str, Any], status: str) -> None:
    (found,) = policy.load([write()]).findings(examples.build({"output": "a secret", **short}))
    assert found.status == status


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("judge.hides|contains: x?", "takes no modifiers"),
        ("judge.Hides: x?", "names no question"),
        ("judge.hides: 3", "expected a question, found the number 3"),
        ("judge.hides: ''", "expected a question"),
        ("judge.hides: {reads: output}", "the question is missing"),
        ("judge.hides: {question: x?, of: output}", "has no `of`"),
        ("judge.hides: {question: x?, reads: role}", "cannot read text"),
        ("judge.hides: {question: x?, reads: []}", "`reads` is empty"),
        (f"judge.hides: {'x' * 1001}?", "at most 1,000"),
        ("{judge.a: a?, judge.b: b?, judge.c: c?, judge.d: d?, judge.e: e?}", "5 questions"),
    ],
)
def test_faults_say_what_is_wrong(write: Callable[..., Path], line: str, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy.load([write(line)])
    assert problem in str(caught.value)


def test_a_filter_cannot_ask_a_judge(write: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "filter.yaml"
    path.write_text(
        """filter_set: f
version: 1.0.0
filters:
  - title: T
    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a11
    name: t
    reason: r
    author: a
    date: 2026-01-01
    expires: 2099-01-01
    rules: [hides]
    detection: {harmless: {judge.harmless: Is it harmless?}, condition: harmless}
""",
        encoding="utf-8",
    )
    with pytest.raises(PolicyError, match="a filter cannot ask a judge"):
        policy.load([write(), path])


def test_the_hash_of_a_rule_covers_its_question_and_what_is_read(write: Callable[..., Path]) -> None:
    lines = (LINE, "judge.hides: Does it hide anything?", f"judge.hides: {{question: {LINE[13:]}, reads: output}}")
    assert len({policy.load([write(line)]).rules[0].rule_hash for line in lines}) == 3


def test_an_answer_to_another_question_of_that_name_does_not_count(write: Callable[..., Path]) -> None:
    record = examples.build({"output": "a secret"})
    answer = JudgeAnswer(judge="hides", question_hash="0" * 64, answer="no")
    asked = Record(call=record.call, observation=record.observation, answers=(answer,))
    rules = policy.load([write()])
    assert [one.name for one in rules.questions(asked)] == ["hides"]
    assert rules.findings(asked)[0].status is Status.NOT_APPLICABLE


def test_explain_shows_the_question_the_answer_and_the_quotes(write: Callable[..., Path]) -> None:
    rules = policy.load([path := write()])
    record = examples.build({"output": "a secret"})
    answer = JudgeAnswer(judge="hides", answer="yes", evidence=(Span(surface="output", start=2, end=8),))
    record = Record(call=record.call, observation=record.observation, answers=(answer,))
    (node,) = nodes_of(read_policy([path], [])).values()
    found = explain(rules, rules.rules[0], node, record)
    clause = next(one for one in found.selections if one.name == "judged").alternatives[0].clauses[0]
    assert "Does it hide something? the judge answers yes" in clause.saw
    assert [(span.surface, span.start, span.end) for span in clause.evidence] == [("output", 2, 8)]
    assert any(span.clause.startswith("judged") for span in found.finding.evidence)


def test_mutation_coverage_sees_a_question_that_no_test_needs(write: Callable[..., Path]) -> None:
    path = write()
    whole = path.read_text(encoding="utf-8")
    assert not _survivors(path)
    path.write_text(
        whole.replace("judge.hides: no}", "judge.hides: yes}").replace("a secret, judge.hides", "a s, judge.hides")
    )
    assert any("judged" in one for one in _survivors(path))


def _survivors(path: Path) -> list[str]:
    loaded, rules = read_policy([path], []), policy.load([path])
    return [mutant.what for found in try_mutants(loaded, rules) for mutant in found.survivors]


@pytest.mark.parametrize(
    ("line", "condition", "said"),
    [
        (LINE, "suspicious or judged", "asked of every subcall"),
        (LINE, "judged and not suspicious", "asked of every subcall"),
        ("judge.hides: Say whether it hides something", "suspicious and judged", "is no question"),
    ],
)
def test_lint_notes(write: Callable[..., Path], line: str, condition: str, said: str) -> None:
    assert any(said in str(note) for note in policy.lint([write(line, condition)]))


def test_lint_has_nothing_to_say_of_a_good_one(write: Callable[..., Path]) -> None:
    assert policy.lint([write()]) == []
