"""Intervals against known values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.audit.evaluation.intervals import over_groups, rule_of_three, wilson


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(5, 10, 0.2366, 0.7634), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval(hits: int, count: int, low: float, high: float) -> None:
    """The last is Newcombe's example (Stat. Med. 17, 1998, table I)."""
    found = wilson(hits, count)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_the_share_lies_in_its_interval(counted: tuple[int, int]) -> None:
    hits, count = counted
    found = wilson(hits, count)
    assert found is not None
    assert 0 <= found.low <= hits / count <= found.high <= 1


def test_nothing_counted_has_no_interval() -> None:
    assert (wilson(0, 0), rule_of_three(0), over_groups([])) == (None, None, None)


def test_the_rule_of_three() -> None:
    assert (rule_of_three(600), rule_of_three(2)) == (0.005, 1.0)


def test_drawing_groups_again_is_wider_where_hits_come_together() -> None:
    together = over_groups([(10, 10), *[(0, 10)] * 9])
    spread = over_groups([(1, 10)] * 10)
    assert together is not None
    assert spread is not None
    assert (spread.low, spread.high) == (0.1, 0.1)
    assert together.low == 0
    assert together.high >= 0.3


def test_drawing_again_gives_the_same_interval_for_the_same_seed() -> None:
    groups = [(1, 3), (0, 9), (4, 5)]
    assert over_groups(groups, seed=1) == over_groups(groups, seed=1)


@pytest.mark.parametrize("groups", [[(1, 5)], [(0, 5), (0, 7)]])
def test_where_it_says_nothing_there_is_none(groups: list[tuple[int, int]]) -> None:
    assert over_groups(groups) is None
