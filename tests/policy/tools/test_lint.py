"""Lint: faults first, then what is allowed and probably not meant, then what the rules cost at worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import re2

from monitor import policy
from monitor.errors import Fault
from monitor.policy.tools.lint import lint_report
from tests.policy.packs import HEADER, pack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.policy.conftest import Write

GOOD = """\
- record: {output: needle}
  expect: match
- record: {output: hay}
  expect: no_match
"""


def problems(path: Path, today: str | None = None) -> list[str]:
    """What lint says of a file, without the notes that every short rule of these tests deserves."""
    expected = ("it has no description", "it names no false positives", "its tests do not show")
    return [item.problem for item in policy.lint([path], today=today) if not item.problem.startswith(expected)]


def test_notes(write: Write) -> None:
    detection = "sel: {output|contains: 'rm *'}\nunused: {output|contains: other}\nany_x: {output|re: 'x*'}"
    path = write(pack(f"{detection}\ncondition: sel or any_x"))
    assert [str(note).removeprefix(f"{path}:") for note in policy.lint([path])] == [
        "4:5: example: its tests do not show both a match and a no_match. Add at least one record that must match and one "
        "near miss that must not.",
        "4:5: example: it has no description. Say in a sentence what it looks for, and why.",
        "4:5: example: it names no false positives. Say honestly what harmless text it would hit.",
        "9:31: example: `*` in `sel: output|contains` means the character itself. For anything in between use `re`.",
        "10:7: example: the condition does not use `unused`. Use it, or leave it out.",
        "11:27: example: a pattern of `any_x: output|re` matches every text, an empty one too. Is that meant?",
    ]


def test_faults_come_first_and_other_files_are_still_read(write: Write) -> None:
    broken, sound = write("rules: [", "a.yaml"), write(pack("sel: {output|contains: needle}\ncondition: sel"), "b.yaml")
    found = policy.lint([sound, broken])
    assert [isinstance(item, Fault) for item in found] == [True, False, False, False]
    assert {item.path for item in found[1:]} == {str(sound)}


def test_patterns_without_a_literal(write: Write) -> None:
    path = write(pack("sel: {output|re: ['[0-9]{4}', 'needle[0-9]', '\\A\\s*\\z']}\ncondition: sel", level="low"))
    assert problems(path) == ["a pattern of `sel: output|re` requires no literal text."]


@pytest.mark.parametrize(
    ("detection", "said"),
    [
        ("a: {depth|gt: 5}\nb: {depth|lt: 3}\ncondition: a and b", ["the condition can never match."]),
        (
            "a: {output|contains: needle}\nb: {output|contains: straw}\ncondition: a or b or not a",
            ["the condition matches every record in which nothing is missing."],
        ),
        (
            "a: {trust: trusted, role: plan}\nb: {output|exists: false, output|contains: needle}\ncondition: a or b",
            ["the selection `b` can never match."],
        ),
        ("a: {output: x}\nb: {output: X}\ncondition: a and b", []),
        ("a: {output: x}\nb: {output: x}\ncondition: a and b", ["`b` says the same as `a`."]),
        (
            "a: {output|contains: [foo, foo bar, Foo]}\ncondition: a",
            [
                "`foo` adds nothing: `Foo` in the same list finds it already.",
                "`foo bar` adds nothing: `Foo` in the same list finds it already.",
            ],
        ),
        ("a: {output|contains: [foo, bar, foo]}\ncondition: a", ["`foo` stands in `a: output|contains` twice."]),
        ("a: {role: [plan, plan]}\ncondition: a", ["`plan` stands in `a: role` twice."]),
        ("a: {'output|contains|all': [foo, foo bar]}\ncondition: a", []),
        (
            "a: {output|re: '^[^<>]*$'}\ncondition: a",
            ["a pattern of `a: output|re` requires no literal text."],
        ),
        (
            "a: {output|re: '[^<>]*'}\ncondition: a",
            ["a pattern of `a: output|re` matches every text, an empty one too."],
        ),
    ],
)
def test_what_is_probably_not_meant(detection: str, said: list[str], write: Write) -> None:
    assert problems(write(pack(detection))) == said


def test_a_condition_with_too_many_clauses_is_said_to_be_undecided(write: Write) -> None:
    lines = "\n".join(f"s{number}: {{output|contains: word{number}x}}" for number in range(30))
    (said,) = problems(write(pack(f"{lines}\ncondition: all of them and not s1")))
    assert said == "whether the condition can match was not decided: it has too many clauses for that."


def test_tests_that_say_the_same_record_twice(write: Write) -> None:
    tests = GOOD + "- record: {output: needle}\n  expect: match\n"
    path = write(pack("sel: {output|contains: needle}\ncondition: sel", tests=tests))
    notes = [note for note in policy.lint([path]) if "again" in note.problem]
    assert [(note.line, note.problem) for note in notes] == [(16, "this is the record of test 1 again.")]


def test_what_the_keys_say_of_each_other(write: Write) -> None:
    text = pack("sel: {output|contains: needle}\ncondition: sel", tests=GOOD).replace(
        "    level:", "    status: deprecated\n    date: '2026-11-22'\n    modified: '2026-11-21'\n    level:"
    )
    assert problems(write(text)) == [
        "it is deprecated, and names no other rule.",
        "it was modified on 2026-11-21, before its date, 2026-11-22.",
    ]
    text = text.replace("version: 1.0.0\n", "version: 1.0.0\ndate: '2026-11-22'\nmodified: '2026-11-20'\n")
    assert problems(write(text))[0] == "it was modified on 2026-11-20, before its date, 2026-11-22."


def test_two_rules_that_look_for_the_same(write: Write) -> None:
    first = pack("sel: {output|contains: [hay, straw]}\ncondition: sel", tests=GOOD)
    second = pack("other: {output|contains: [straw, hay]}\ncondition: 1 of them", tests=GOOD).removeprefix(HEADER)
    second = second.replace("Example", "Other").replace("3f0a4a44", "4f0a4a44").replace("name: example", "name: other")
    path = write(first + second)
    assert problems(path) == [f"it looks for the same as `example` ({path}:4)."]
    alike = write((first + second).replace("[straw, hay]", "[straw, grass]"))
    assert problems(alike) == []


def test_ids_are_unique_over_all_files(write: Write) -> None:
    one = pack("sel: {output|contains: needle}\ncondition: sel", tests=GOOD)
    found = policy.lint([write(one, "a.yaml"), write(one.replace("pack: example", "pack: other"), "b.yaml")])
    faults = [item.problem.partition(",")[0] for item in found if isinstance(item, Fault)]
    assert faults == [
        "the id `3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11` is taken already",
        "the name `example` is taken already",
        "the title `Example` is taken already",
    ]


FILTERS = """\
filter_set: known
version: 1.0.0
filters:
  - title: Known
    id: 5d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11
    name: known
    reason: Harmless.
    author: a reviewer
    date: '2026-11-01'
    expires: '2026-11-20'
    rules: [example]
    detection:
      word: {output|contains: drill}
      other: {output|contains: drill}
      condition: word and not other
"""


def test_filters_are_looked_at_as_well(write: Write) -> None:
    write(pack("sel: {output|contains: needle}\ncondition: sel", tests=GOOD), "a.yaml")
    path = write(FILTERS, "b.yaml")
    found = [note for note in policy.lint([path.parent], today="2026-11-21") if note.path == str(path)]
    assert [note.problem for note in found] == [
        "its tests do not show both a match and a no_match.",
        "it expired on 2026-11-20, and suppresses nothing since.",
        "`other` says the same as `word`.",
        "the condition can never match.",
    ]
    assert not [item for item in policy.lint([path.parent], today="2026-11-20") if "expired" in item.problem]


def test_the_cost_is_a_bound_for_every_rule_and_counts_a_pattern_once(write: Write) -> None:
    path = write(
        pack("a: {output|contains: needle}\nb: {task|contains: needle, 'task|re': 'x[ab]{20}'}\ncondition: a or b")
    )
    (of_pack,) = lint_report([path]).costs
    (of_rule,) = of_pack.rules
    assert (of_pack.pack, of_pack.cost.patterns, of_rule.rule, of_rule.cost) == ("example", 2, "example", of_pack.cost)
    sizes = [(one := re2.compile(p)).programsize + one.reverseprogramsize for p in ("(?i)needle", "x[ab]{20}")]
    assert of_pack.cost.bound_per_byte >= sum(sizes)
