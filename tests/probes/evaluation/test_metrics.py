"""AUROC, recall and their intervals, against what is known of made-up rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from monitor.errors import ProbeDataError
from monitor.probes.evaluation.base import Given, Scored, Task, as_task
from monitor.probes.evaluation.folds import grouped, run, ungrouped
from monitor.probes.evaluation.metrics import measure, recall_at
from monitor.probes.evaluation.pairs import count_pairs
from monitor.probes.evaluation.resampling import draw_groups, newcombe, wilson
from tests.probes.evaluation.worlds import Ridge, pairs_world


def test_the_auroc_of_one_fold_is_scikit_learns() -> None:
    """Ties included, whatever the groups."""
    dice = np.random.default_rng(0)
    task = Task(dice.random(300) < 0.3, dice.integers(0, 40, 300))
    scores = dice.integers(0, 9, 300).astype(float) + task.labels
    pairs = count_pairs(task, np.zeros(300, dtype=np.int64), scores)
    assert pairs.auroc == pytest.approx(roc_auc_score(task.labels, scores), abs=1e-12)


def test_a_draw_is_the_auroc_of_the_rows_as_often_as_their_group_was_drawn() -> None:
    dice = np.random.default_rng(1)
    task = Task(dice.random(120) < 0.5, dice.integers(0, 20, 120))
    scores = dice.normal(size=120)
    weights = draw_groups(20, 5, seed=3)
    drawn = count_pairs(task, np.zeros(120, dtype=np.int64), scores).drawn(weights)
    by_hand = [roc_auc_score(task.labels, scores, sample_weight=row[task.groups]) for row in weights]
    assert drawn == pytest.approx(by_hand, abs=1e-5)


def test_rows_of_different_folds_are_never_compared() -> None:
    """Each fold is ranked perfectly; their scores are not on one scale."""
    task = Task(np.array([True, False, True, False]), np.arange(4))
    fold = np.array([0, 0, 1, 1])
    assert count_pairs(task, fold, np.array([2.0, 1.0, -7.0, -8.0])).auroc == 1.0


def test_pooling_over_folds_falls_below_chance_and_averaging_within_folds_does_not() -> None:
    """The trap that `pairs` describes, shown: labels by chance, folds whose shares of positives differ."""
    pooled, within = [], []
    for seed in range(150):
        dice = np.random.default_rng(seed)
        task = Task(dice.permutation(np.arange(40) % 2 == 0), np.arange(40))
        fold = dice.permutation(np.arange(40) % 10)
        intercept = np.array([task.labels[fold != fold[row]].mean() for row in range(40)])
        scores = intercept + 1e-3 * dice.normal(size=40)
        pooled.append(roc_auc_score(task.labels, scores))
        within.append(count_pairs(task, fold, scores).auroc)
    assert float(np.mean(pooled)) < 0.4
    assert float(np.mean(within)) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("groups", [30, 150])
def test_the_interval_covers_chance_where_labels_are_random(groups: int) -> None:
    """95 of 100 are expected; a plain bootstrap of cross-validated scores has about 80."""
    covered = plain = 0
    for seed in range(100):
        task, features = pairs_world(seed, groups, 40, 0.0)
        scored = run(Ridge(features), task, grouped(task, 5, seed), halves=True)
        found = measure(task, scored, draws=300, seed=seed).auroc
        covered += found.low <= 0.5 <= found.high
        taken_as_given = Scored("", scored.fold, scored.scores, learns=False)
        narrow = measure(task, taken_as_given, draws=300, seed=seed).auroc
        plain += narrow.low <= 0.5 <= narrow.high
    assert 89 <= covered <= 99
    assert plain < covered


def test_the_interval_covers_the_true_auroc_and_is_not_stretched_more_than_need_be() -> None:
    """One direction in 20 tells the labels apart. The truth is what the folds' own fits do on 4,000 new rows."""
    covered, shares = 0, []
    for seed in range(60):
        task, features = pairs_world(seed, 150, 20, 1.5)
        fold = grouped(task, 5, seed)
        found = measure(task, run(Ridge(features), task, fold, halves=True), draws=300, seed=seed)
        fresh, new = pairs_world(1000 + seed, 2000, 20, 1.5)
        whole = Task(np.append(task.labels, fresh.labels), np.append(task.groups, fresh.groups + 1000))
        later = np.arange(len(task), len(whole))
        ridge = Ridge(np.concatenate([features, new]))
        each = [ridge.scores(whole.labels, whole.groups, np.flatnonzero(fold != k), later) for k in range(5)]
        truth = float(np.mean([roc_auc_score(fresh.labels, one) for one in each]))
        covered += found.auroc.low <= truth <= found.auroc.high
        shares.append(found.fit_share)
    assert covered >= 52
    assert float(np.mean(shares)) == pytest.approx(0.5, abs=0.1)


def test_a_perfect_method_on_few_groups_is_not_known_to_be_perfect() -> None:
    task = as_task([True, False] * 15, np.repeat(np.arange(15), 2))
    found = measure(task, run(Given("", task.labels.astype(float)), task, grouped(task, 5)))
    assert found.auroc.value == 1.0
    assert 0.8 < found.auroc.low < 0.95
    assert found.auroc.high == 1.0


def test_newcombe_has_a_width_at_the_end() -> None:
    low, high = newcombe(1.0, 50, 50)
    assert low == pytest.approx(1 - 1.96**2 / 100, abs=0.005)
    assert high == 1.0
    assert newcombe(0.0, 50, 50) == pytest.approx((0.0, 1 - low), abs=1e-6)


def test_wilson_is_the_audits() -> None:
    from monitor.audit.intervals import wilson as theirs

    expected = theirs(7, 20)
    assert wilson(7 / 20, 20) == pytest.approx((expected.low, expected.high))


def test_recall_is_at_the_threshold_that_new_negatives_are_expected_to_reach() -> None:
    """Of 99 negatives the highest sets the threshold at 1 %: one more lies above it once in a hundred times."""
    labels = np.array([False] * 99 + [True] * 4)
    scores = np.append(np.arange(99.0), [98.5, 98.0, 97.5, 500.0])
    ones = np.ones((1, len(labels)))
    assert recall_at(labels, scores, 0.01, ones) == pytest.approx([0.5])
    assert recall_at(labels, scores, 0.02, ones) == pytest.approx([1.0])
    assert math.isnan(recall_at(labels[1:], scores[1:], 0.01, ones[:, 1:])[0])


def test_too_few_negatives_for_a_rate_are_said() -> None:
    task = as_task([True, False] * 40, np.repeat(np.arange(40), 2))
    one, five = measure(task, run(Given("", task.labels.astype(float)), task, grouped(task, 5))).recalls
    assert not one.recall.measured
    assert "at least 499 would be needed" in one.recall.note
    assert (five.negatives, five.rank, five.supported) == (40, 2, False)
    assert five.recall.value == 1.0
    assert five.recall.low < 0.95


def test_two_thousand_draws_over_three_thousand_rows_are_quick() -> None:
    """No time is asserted; that it ends at all with a sensible interval is."""
    task, features = pairs_world(0, 1500, 30, 1.0)
    found = measure(task, run(Ridge(features), task, grouped(task, 5)), draws=2000)
    assert found.auroc.low < found.auroc.value < found.auroc.high


def test_groups_are_never_split_unless_asked() -> None:
    task, _ = pairs_world(0, 50, 2, 0.0)
    fold = grouped(task, 5)
    assert all(len(set(fold[task.groups == group])) == 1 for group in range(50))
    assert any(len(set(ungrouped(task, 5)[task.groups == group])) == 2 for group in range(50))


def test_data_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(ProbeDataError, match="at least two groups"):
        as_task([True, False], ["a", "a"])
    with pytest.raises(ProbeDataError, match="both labels"):
        as_task([True, True], ["a", "b"])
    with pytest.raises(ProbeDataError, match="at least 5 groups"):
        grouped(as_task([True, False], ["a", "b"]), 5)
