"""Mutation coverage: what a rule's tests would not notice, and nothing that is no change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.policy.condition import render
from monitor.policy.loader import assemble, read_policy
from monitor.policy.tools.mutants import mutants
from monitor.policy.tools.mutation import share, try_mutants
from monitor.policy.tools.places import nodes_of
from tests.policy.packs import pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.errors import Fault
    from monitor.policy.tools.mutants import Mutant
    from monitor.policy.tools.mutation import RuleMutation
    from tests.policy.conftest import Write


def tried(path: Path, *, values: bool = False, progress: Callable[[int, int], None] | None = None) -> RuleMutation:
    faults: list[Fault] = []
    loaded = read_policy([path], faults)
    assert faults == []
    (result,) = try_mutants(loaded, assemble(loaded), values=values, progress=progress)
    return result


def changes(path: Path, *, values: bool = False) -> list[Mutant]:
    faults: list[Fault] = []
    loaded = read_policy([path], faults)
    (rule,) = assemble(loaded).rules
    detection = nodes_of(loaded)[rule.id].get("detection")
    assert detection is not None
    return list(mutants(rule.detection, detection, values=values))


DETECTION = """\
promise:
  output|contains: [refund was made, refund is on its way]
  depth|lt: 3
refunded:
  tool.name: issue_refund
condition: promise and not refunded
"""
MATCH = "- record: {output: The refund was made.}\n  expect: match\n"
TOOL = "- record: {output: The refund was made., tool.name: issue_refund}\n  expect: no_match\n"


def test_every_part_is_changed_once(write: Write) -> None:
    found = changes(write(pack(DETECTION)), values=True)
    assert [(one.mark.line, one.kind, one.what) for one in found] == [
        (10, "clause", "dropping `promise: output|contains`"),
        (10, "value", "dropping `refund is on its way` from `promise: output|contains`"),
        (10, "value", "dropping `refund was made` from `promise: output|contains`"),
        (11, "clause", "dropping `promise: depth|lt`"),
        (11, "comparison", "turning `lt` of `promise: depth|lt` into `lte`"),
        (14, "selection", "dropping `promise` from the condition"),
        (14, "selection", "dropping `refunded` from the condition"),
        (14, "not", "taking the `not` away before `refunded`"),
    ]
    conditions = [render(one.detection.condition) for one in found[-3:]]
    assert conditions == ["not refunded", "promise", "(promise and refunded)"]


def test_the_test_that_notices_a_change_is_named_and_so_is_the_one_that_is_missing(write: Write) -> None:
    found = tried(write(pack(DETECTION, tests=MATCH + TOOL)), values=True)
    assert {one.what: one.noticed_by for one in found.tried if one.noticed_by} == {
        "dropping `refund was made` from `promise: output|contains`": ("test 1",),
        "dropping `promise` from the condition": ("test 1",),  # without tools `not refunded` alone is not applicable
        "dropping `refunded` from the condition": ("test 2",),
        "taking the `not` away before `refunded`": ("test 1", "test 2"),
    }
    assert [(one.line, one.what, one.advice) for one in found.survivors] == [
        (
            10,
            "dropping `promise: output|contains`",
            "add a near miss in which all else holds and `promise: output|contains` does not (`expect: no_match`).",
        ),
        (
            10,
            "dropping `refund is on its way` from `promise: output|contains`",
            "add a record that matches thanks to `refund is on its way` alone (`expect: match`).",
        ),
        (
            11,
            "dropping `promise: depth|lt`",
            "add a near miss in which all else holds and `promise: depth|lt` does not (`expect: no_match`).",
        ),
        (
            11,
            "turning `lt` of `promise: depth|lt` into `lte`",
            "add a record that stands exactly at the limit of `promise: depth|lt`.",
        ),
    ]
    assert (found.killed, len(found.tried), share([found])) == (4, 8, 50.0)


def test_tests_that_follow_the_advice_notice_everything(write: Write) -> None:
    more = (
        "- record: {output: No refund.}\n  expect: no_match\n"
        "- record: {output: The refund is on its way.}\n  expect: match\n"
        "- record: {output: The refund was made., depth: 3}\n  expect: no_match\n"
    )
    found = tried(write(pack(DETECTION, tests=MATCH + TOOL + more)), values=True)
    assert found.survivors == ()
    assert share([found]) == 100.0


def test_a_dropped_exception_asks_for_a_record_in_which_it_holds(write: Write) -> None:
    found = tried(write(pack(DETECTION, tests=MATCH)))
    (advice,) = [one.advice for one in found.survivors if one.what == "dropping `refunded` from the condition"]
    assert advice == "add a near miss in which all else holds, and `refunded` as well (`expect: no_match`)."


@pytest.mark.parametrize(
    "detection",
    [
        "a: {output|contains: foo}\nb: {output|contains: foo}\ncondition: a or b",
        "a: {output|contains: foo}\nb: {output|contains: foo bar}\ncondition: a or b",
        "a: {output|contains: foo}\nb: {output|contains: [foo, foo bar]}\ncondition: a and b",
    ],
)
def test_what_certainly_changes_nothing_is_not_counted(detection: str, write: Write) -> None:
    """In each, one of the two can go without any record being judged otherwise."""
    found = tried(write(pack(detection, tests="- record: {output: foo}\n  expect: match\n")))
    assert (found.equivalent, len(found.tried)) == (
        (2, 0) if "foo bar" not in detection or " and " in detection else (1, 1)
    )


def test_lists_of_maps_and_of_phrases(write: Write) -> None:
    detection = "a:\n  - output|contains: foo\n  - {task|contains: bar, depth: 1}\nb: [one, two]\ncondition: a or b"
    found = [(one.mark.line, one.what) for one in changes(write(pack(detection)), values=True)]
    assert found == [
        (10, "dropping `a: output|contains`"),
        (11, "dropping `a: task|contains`"),
        (11, "dropping `a: depth`"),
        (12, "dropping `one` from `b: keywords`"),
        (12, "dropping `two` from `b: keywords`"),
        (13, "dropping `a` from the condition"),
        (13, "dropping `b` from the condition"),
    ]


def test_every_not_is_taken_away_by_itself(write: Write) -> None:
    detection = "a: {output|contains: x}\nb: {task|contains: x}\ncondition: not (a and not b) or not b"
    found = [render(one.detection.condition) for one in changes(write(pack(detection))) if one.kind == "not"]
    assert found == [
        "((a and not b) or not b)",
        "(not (a and b) or not b)",
        "(not (a and not b) or b)",
    ]


def test_all_becomes_any_and_words_and_numbers_are_dropped(write: Write) -> None:
    detection = (
        "a: {'output|contains|all': [foo, bar]}\nb: {role: [plan, sum]}\nc: {depth: [1, 2]}\nd: {trust: trusted}\n"
        "condition: a and b and c and d"
    )
    found = [one.what for one in changes(write(pack(detection)), values=True) if one.kind in {"all", "value"}]
    assert found == [
        "leaving `all` out of `a: output|contains|all`",
        "dropping `bar` from `a: output|contains|all`",
        "dropping `foo` from `a: output|contains|all`",
        "dropping `plan` from `b: role`",
        "dropping `sum` from `b: role`",
        "dropping `1` from `c: depth`",
        "dropping `2` from `c: depth`",
    ]


def test_a_test_that_fails_already_notices_nothing(write: Write) -> None:
    wrong = "- name: wrong\n  record: {output: hello}\n  expect: match\n"
    found = tried(write(pack(DETECTION, tests=MATCH + wrong)))
    assert found.ignored == ("wrong",)
    assert all("wrong" not in one.noticed_by for one in found.tried)


def test_a_selection_that_the_condition_does_not_use_is_left_alone(write: Write) -> None:
    assert changes(write(pack("a: {output|contains: x}\nb: {depth: 1, task: y}\ncondition: a"))) == []
    assert tried(write(pack("a: {output|contains: x}\ncondition: a"))).tried == ()
    assert share([]) is None


def test_progress_is_told(write: Write) -> None:
    told: list[tuple[int, int]] = []
    tried(write(pack(DETECTION)), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 1)]


FILTERS = """\
filter_set: known
version: 1.0.0
filters:
  - title: Drills
    id: 5d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11
    name: drills
    reason: Ordered.
    author: a reviewer
    date: '2020-01-01'
    expires: '2999-01-01'
    rules: [example]
    detection:
      word: {task|contains: drill, role: tester}
      condition: word
    tests:
      - {record: {task: a drill, role: tester}, expect: match}
      - {record: {task: a drill}, expect: no_match}
"""


def test_filters_are_changed_as_well(write: Write) -> None:
    """A filter that suppresses too much is worse than a rule that finds too much."""
    write(pack(DETECTION, tests=MATCH), "a.yaml")
    folder = write(FILTERS, "b.yaml").parent
    faults: list[Fault] = []
    loaded = read_policy([folder], faults)
    assert faults == []
    _, found = try_mutants(loaded, assemble(loaded))
    assert (found.rule, found.pack) == ("drills", "known")
    assert [(one.what, one.noticed_by) for one in found.tried] == [
        ("dropping `word: task|contains`", ()),
        ("dropping `word: role`", ("test 2",)),
    ]
