"""Splits keep groups whole, and refuse where they cannot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import ProbeDataError
from monitor.probes.splits import grouped_folds, hold_out, hold_out_groups

GROUPS = [f"g{number % 20}" for number in range(80)]
LABELS = [bool(number // 20 % 2) for number in range(80)]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh")), min_size=12, max_size=60), st.integers(0, 5))
def test_no_group_is_ever_on_both_sides(rows: list[tuple[bool, str]], seed: int) -> None:
    labels, groups = [label for label, _ in rows], [group for _, group in rows]
    try:
        splits = [*grouped_folds(labels, groups, folds=3, seed=seed), hold_out(labels, groups, share=0.3, seed=seed)]
    except ProbeDataError:
        return
    for split in splits:
        assert {groups[row] for row in split.train} & {groups[row] for row in split.test} == set()
        assert sorted([*split.train, *split.test]) == list(range(len(rows)))


def test_each_row_is_tested_once_and_the_same_seed_gives_the_same_folds() -> None:
    folds = grouped_folds(LABELS, GROUPS, folds=5, seed=3)
    assert sorted(row for split in folds for row in split.test) == list(range(80))
    again, others = grouped_folds(LABELS, GROUPS, seed=3), grouped_folds(LABELS, GROUPS, seed=4)
    assert all(np.array_equal(one.test, two.test) for one, two in zip(folds, again, strict=True))
    assert not all(np.array_equal(one.test, two.test) for one, two in zip(folds, others, strict=True))


def test_a_share_of_the_groups_is_held_out() -> None:
    split = hold_out(LABELS, GROUPS, share=0.25, seed=1)
    assert len({GROUPS[row] for row in split.test}) == 5
    assert np.array_equal(split.test, hold_out(LABELS, GROUPS, share=0.25, seed=1).test)


def test_named_groups_are_held_out() -> None:
    split = hold_out_groups(LABELS, GROUPS, ["g0", "g7"])
    assert {GROUPS[row] for row in split.test} == {"g0", "g7"}
    with pytest.raises(ProbeDataError, match="no text has the group 'g99'"):
        hold_out_groups(LABELS, GROUPS, ["g99"])


@pytest.mark.parametrize("split", [grouped_folds, hold_out, lambda y, g: hold_out_groups(y, g, ["g0"])])
def test_a_text_without_a_group_is_an_error(split: object) -> None:
    with pytest.raises(ProbeDataError, match="1 of 80 texts have no group"):
        split(LABELS, ["", *GROUPS[1:]])  # type: ignore[operator]  # three functions of different types


def test_a_split_that_leaves_a_part_without_a_label_is_an_error() -> None:
    with pytest.raises(ProbeDataError, match="leaves the test part without positive texts"):
        hold_out_groups([True, False, True, False], ["a", "b", "a", "a"], ["b"])
    with pytest.raises(ProbeDataError, match=r"leaves the .* part without"):
        hold_out([True] * 4 + [False] * 4, ["a"] * 4 + ["b"] * 4, share=0.5)
    with pytest.raises(ProbeDataError, match=r"fold . of 2 leaves the .* part without"):
        grouped_folds([True] * 4 + [False] * 4, ["a"] * 4 + ["b"] * 4, folds=2)
    with pytest.raises(ProbeDataError, match="found 2 positive and 6 negative texts"):
        grouped_folds([True] * 2 + [False] * 6, list("abcdefgh"), folds=3)


def test_too_few_groups_and_shares_that_are_none_are_errors() -> None:
    with pytest.raises(ProbeDataError, match="expected 5 groups at least, found 2"):
        grouped_folds(LABELS, ["a", "b"] * 40)
    with pytest.raises(ProbeDataError, match="between 0 and 1, found 1"):
        hold_out(LABELS, GROUPS, share=1.0)
    with pytest.raises(ProbeDataError, match="found 3 groups and 80 texts"):
        hold_out(LABELS, ["a", "b", "c"])
