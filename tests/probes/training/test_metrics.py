"""AUROC and recall against slow definitions, and whether the intervals hold what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import ProbeError
from monitor.probes.metrics import auroc, bootstrap, recall_at

ROWS = st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25)


@given(ROWS)
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, bool, int]]) -> None:
    repeated = [(score, label) for score, label, times in rows for _ in range(times)]
    pairs = [(p > n) + (p == n) / 2 for p, yes in repeated if yes for n, no in repeated if not no]
    scores, labels, times = (np.array(column) for column in zip(*rows, strict=True))
    found = auroc(scores, labels, times)
    assert np.isnan(found) if not pairs else found == pytest.approx(sum(pairs) / len(pairs))


@given(ROWS, st.sampled_from([0.0, 0.01, 0.2, 0.5, 1.0]))
def test_recall_is_the_best_of_all_thresholds_that_keep_the_rate(
    rows: list[tuple[int, bool, int]], rate: float
) -> None:
    repeated = [(score, label) for score, label, times in rows for _ in range(times)]
    positive, negative = [s for s, label in repeated if label], [s for s, label in repeated if not label]
    scores, labels, times = (np.array(column) for column in zip(*rows, strict=True))
    found = recall_at(rate)(scores, labels, times)
    if not positive or not negative:
        assert np.isnan(found)
        return
    thresholds = [10, *(score for score, _ in repeated)]
    kept = [t for t in thresholds if sum(s >= t for s in negative) <= rate * len(negative)]
    assert found == pytest.approx(max(sum(s >= t for s in positive) / len(positive) for t in kept))


def test_the_interval_of_noise_covers_one_half() -> None:
    """In 89 to 99 of 100 draws: 95 % of them, give or take what a hundred draws vary."""
    covered = 0
    for seed in range(100):
        drawn = np.random.default_rng(seed)
        groups = [f"g{n // 4}" for n in range(200)]
        scores = drawn.normal(size=200) + np.repeat(drawn.normal(size=50), 4)
        labels = np.repeat(drawn.random(50) < 0.5, 4)  # a whole group has one label: texts are no news after the first
        found = bootstrap(auroc, scores, labels, groups, rounds=300, seed=seed)
        covered += found.low <= 0.5 <= found.high
    assert 89 <= covered <= 99


def test_whole_groups_are_drawn() -> None:
    """Each text ten times over under one group changes nothing; under ten groups it would narrow the interval."""
    drawn = np.random.default_rng(0)
    scores, labels = drawn.normal(size=60), np.arange(60) % 2 == 0
    groups = [str(n) for n in range(60)]
    one = bootstrap(auroc, scores, labels, groups, rounds=500)
    many = bootstrap(auroc, np.repeat(scores, 10), np.repeat(labels, 10), list(np.repeat(groups, 10)), rounds=500)
    assert (one.value, one.low, one.high) == pytest.approx((many.value, many.low, many.high))


def test_without_both_labels_or_with_one_group_there_is_no_interval() -> None:
    with pytest.raises(ProbeError, match="both labels"):
        bootstrap(auroc, np.arange(4), np.ones(4, dtype=bool), list("abcd"))
    with pytest.raises(ProbeError, match="found 1 groups"):
        bootstrap(auroc, np.arange(4), np.arange(4) < 2, list("aaaa"))
