"""The tools on rules over the tree and over taint: what lint says, and why a rule did not match."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import policy
from monitor.policy.over_run import run_examples
from monitor.policy.tools.explain_run import RunStep, explain_run
from monitor.policy.tools.lint import lint
from monitor.policy.tools.lint_runs import LintNote
from monitor.records import Status

if TYPE_CHECKING:
    from pathlib import Path

PACK = """
pack: t
version: 1.0.0
engine: 3
rules:
  - {title: a, id: 45a9e88a-2172-46e5-9d6a-76815d990801, name: boss, level: low, description: a boss,
     detection: {a: {role: boss}, condition: a},
     tests: [{record: {role: boss}, expect: match}, {record: {role: x}, expect: no_match}]}
  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: gone, level: low, description: gone, status: unsupported,
     detection: {a: {role: gone}, condition: a}}
run_rules:
  - title: c
    id: 45a9e88a-2172-46e5-9d6a-76815d990803
    name: joined
    level: low
    description: joined
"""
BOTH = "tests: [{run: [{role: x}], expect: no_match}, {run: [{role: boss}], expect: match}]"


def notes(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "pack.yaml"
    path.write_text(f"{PACK}    {text}\n")
    return [one.problem for one in lint([path]) if isinstance(one, LintNote) and one.rule == "joined"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tree: {this: boss, parent: gone}", "`gone` is marked as unsupported and says nothing: it can never match"),
        ("tree: {this: boss, without-parent: gone}", "nothing is left out for it"),
        ("tree: {this: boss, ancestor: any, same: [task, task]}", "a field stands there twice"),
        ("taint: {source: boss, sink: any, into: [prompt], least: 10}", "in common by chance"),
        ("taint: {source: boss, sink: any, into: [prompt]}", "do not show that the order matters"),
        ("tree: {this: boss, parent: any}", "do not show both"),
    ],
)
def test_lint_names_what_is_probably_not_meant(tmp_path: Path, text: str, problem: str) -> None:
    assert any(problem in note for note in notes(tmp_path, text))


def test_a_small_least_is_no_note_where_the_rule_says_what_it_found(tmp_path: Path) -> None:
    text = f"taint: {{source: boss, from: [found], sink: any, into: [prompt], least: 10}}\n    {BOTH}"
    assert not any("by chance" in note for note in notes(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "run", "missing"),
    [
        ("tree: {this: boss, parent: any}", [{"role": "boss"}], "no parent that is `any` was judged until now"),
        ("tree: {this: any, child: boss}", [{"role": "boss"}], "has it as its child was judged until now"),
        ("tree: {this: boss, without-sibling: any}", [{"role": "x"}, {"role": "boss"}], "a sibling that is `any` was"),
        (
            "tree: {this: boss, parent: any, what: role, unsaid-in: [output]}",
            [{"id": "a", "output": "boss"}, {"parent": "a", "role": "boss"}],
            "or one said its `role` in `output`",
        ),
        (
            "tree: {this: boss, share: {field: usage.output_tokens, gte: 0.5, least: 9}}",
            [{"role": "boss", "usage.output_tokens": 3}],
            "no branch that it is in has spent 50% of the run's `usage.output_tokens`",
        ),
        ("taint: {source: any, sink: boss, into: [prompt]}", [{"role": "boss"}], "no 24 codepoints in a row"),
        ("taint: {source: boss, sink: any, into: [prompt]}", [{"role": "boss"}], "no 24 codepoints in a row"),
    ],
)
def test_explain_says_what_is_missing(tmp_path: Path, text: str, run: list[object], missing: str) -> None:
    path = tmp_path / "pack.yaml"
    path.write_text(f"{PACK}    {text}\n")
    rules = policy.load([path])
    steps = []
    for step in run_examples.build(run):
        steps += [RunStep(is_end=False, call=one.call) for _, one in step.subcalls]
        steps += [RunStep(True, one.call, one, name, one.observation) for name, one in run_examples.in_order(step)]
    explained = explain_run(rules, rules.run_rules[0], steps)
    assert explained.status is Status.NO_MATCH
    assert missing in explained.subcalls[-1].missing
