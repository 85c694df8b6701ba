"""The tools on rules over the tree and over taint: what lint says, why a rule did not match, and what its tests notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import policy
from monitor.policy.loader import assemble, read_policy
from monitor.policy.over_run import run_examples
from monitor.policy.tools.explain_run import RunStep, explain_run
from monitor.policy.tools.lint import lint
from monitor.policy.tools.lint_runs import LintNote
from monitor.policy.tools.mutation import try_mutants
from monitor.records import Status

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.errors import Fault

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
"""
JOINED = """
  - title: c
    id: 45a9e88a-2172-46e5-9d6a-76815d990803
    name: joined
    level: low
    description: joined
"""
OTHER_PARTS = r"""
  - {title: d, id: 45a9e88a-2172-46e5-9d6a-76815d990804, name: clerk, level: low,
     detection: {a: {role: clerk}, condition: a}}
  - {title: e, id: 45a9e88a-2172-46e5-9d6a-76815d990805, name: secret, level: low,
     detection: {a: {output|re: 'KEY\w+'}, condition: a}}
"""
BOTH = "tests: [{run: [{role: x}], expect: no_match}, {run: [{role: boss}], expect: match}]"


def notes(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "pack.yaml"
    path.write_text(f"{PACK}run_rules:{JOINED}    {text}\n")
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
    path.write_text(f"{PACK}run_rules:{JOINED}    {text}\n")
    rules = policy.load([path])
    steps = []
    for step in run_examples.build(run):
        steps += [RunStep(is_end=False, call=one.call) for _, one in step.subcalls]
        steps += [RunStep(True, one.call, one, name, one.observation) for name, one in run_examples.in_order(step)]
    explained = explain_run(rules, rules.run_rules[0], steps)
    assert explained.status is Status.NO_MATCH
    assert missing in explained.subcalls[-1].missing


def mutated(tmp_path: Path, text: str) -> tuple[set[str], set[str]]:
    """What the rule's tests notice of its changes, and what they do not."""
    path = tmp_path / "pack.yaml"
    path.write_text(f"{PACK}{OTHER_PARTS}run_rules:{JOINED}    {text}\n")
    faults: list[Fault] = []
    files = read_policy([path], faults)
    assert not faults
    (tried,) = (one for one in try_mutants(files, assemble(files)) if one.rule == "joined")
    assert not tried.ignored
    assert all(one.advice and one.line for one in tried.survivors)
    return {one.what for one in tried.tried if one.noticed_by}, {one.what for one in tried.survivors}


PLANE = "A plane took off at noon with nobody aboard"


@pytest.mark.parametrize(
    ("text", "noticed", "missed"),
    [
        (
            "tree: {this: clerk, parent: boss}\n    tests:\n"
            "      - {run: [{id: a, role: boss}, {parent: a, role: clerk}], expect: match}",
            set(),
            {
                "turning `parent` into `ancestor`",
                "asking for both in the run, whether `parent` or not",
                "turning `clerk` of `this` into `any`",
                "turning `boss` of `parent` into `any`",
            },
        ),
        (
            "tree: {this: clerk, parent: boss}\n    tests:\n"
            "      - {run: [{id: a, role: boss}, {parent: a, role: clerk}], expect: match}\n"
            "      - {run: [{id: a, role: boss}, {id: b, parent: a}, {parent: b, role: clerk}], expect: no_match}\n"
            "      - {run: [{id: a}, {parent: a, role: clerk}], expect: no_match}",
            {
                "turning `parent` into `ancestor`",
                "turning `parent` into `child`",
                "asking for both in the run, whether `parent` or not",
                "turning `clerk` of `this` into `any`",
                "turning `boss` of `parent` into `any`",
            },
            set(),
        ),
        (
            "tree: {this: clerk, without-parent: boss}\n    tests:\n"
            "      - {run: [{role: clerk}], expect: match}\n"
            "      - {run: [{id: a, role: boss}, {id: b, parent: a}, {parent: b, role: clerk}], expect: match}",
            {"turning `without-parent` into `parent`", "turning `without-parent` into `without-ancestor`"},
            {
                "leaving `without-parent` out",
                "turning `clerk` of `this` into `any`",
            },
        ),
        (
            "tree: {this: any, ancestor: any, same: [task, role]}\n    tests:\n"
            "      - {run: [{id: a, task: x, role: b}, {parent: a, task: x, role: b}], expect: match}\n"
            "      - {run: [{id: a, task: x, role: b}, {parent: a, task: x, role: c}], expect: no_match}",
            {"dropping `role` from `same`"},
            {"dropping `task` from `same`", "turning `ancestor` into `parent`"},
        ),
        (
            "tree: {this: clerk, parent: any, what: tool.name, unsaid-in: [task, output]}\n    tests:\n"
            "      - {run: [{id: a, task: Call read}, {parent: a, role: clerk, tool.name: send}], expect: match}\n"
            "      - {run: [{id: a, task: Call read}, {parent: a, role: clerk, tool.name: read}], expect: no_match}\n"
            "      - {run: [{id: a, task: Call read}, {parent: a, tool.name: send}], expect: no_match}",
            {
                "dropping `task` from `unsaid-in`",
                "leaving `what` out",
                "turning `clerk` of `this` into `any`",
            },
            {"dropping `output` from `unsaid-in`"},
        ),
        (
            "tree: {this: clerk, share: {field: usage.output_tokens, gte: 0.8, least: 80}}\n    tests:\n"
            "      - run: [{usage.output_tokens: 20}, {role: clerk, usage.output_tokens: 80}]\n        expect: match",
            {"asking for more than `gte` of `share`", "asking for more than `least` of `share`"},
            {
                "leaving `gte` of `share` out",
                "leaving `least` of `share` out",
                "turning `clerk` of `this` into `any`",
            },
        ),
        (
            "taint: {source: clerk, from: [output, reasoning], sink: boss, into: [prompt]}\n    tests:\n"
            f"      - {{run: [{{role: clerk, output: {PLANE}}}, {{role: boss, user: {PLANE}}}], expect: match}}\n"
            f"      - {{run: [{{role: x, output: {PLANE}}}, {{role: boss, user: {PLANE}}}], expect: no_match}}",
            {"turning `clerk` of `source` into `any`", "dropping `output` from `from`", "doubling `least`"},
            {"turning `boss` of `sink` into `any`", "dropping `reasoning` from `from`", "halving `least`"},
        ),
        (
            "taint: {source: secret, from: [found], sink: any, into: [prompt], least: 8}\n    tests:\n"
            "      - {run: [{role: x, output: The key is KEYKAEKOKUEK}, {user: a KEYKAEKOKUEK}], expect: match}\n"
            f"      - {{run: [{{role: x, output: {PLANE} KEYKAEKOKUEK}}, {{user: {PLANE}}}], expect: no_match}}",
            {
                "marking all that is read and written, and not what was `found`",
                "doubling `least`",
            },
            set(),
        ),
    ],
)
def test_mutation_names_what_no_test_notices(tmp_path: Path, text: str, noticed: set[str], missed: set[str]) -> None:
    found, left = mutated(tmp_path, text)
    assert left == missed
    assert noticed <= found
