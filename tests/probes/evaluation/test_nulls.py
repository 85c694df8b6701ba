"""The permutation null and the control task."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.probes.evaluation.base import Task
from monitor.probes.evaluation.folds import grouped, run
from monitor.probes.evaluation.nulls import control_labels, control_task, permutation_null, permuted
from tests.probes.evaluation.worlds import Ridge, pairs_world


def test_labels_by_chance_keep_how_many_a_group_has() -> None:
    """Within groups of one true and one false row they are shuffled; labels of whole groups move between groups."""
    mixed = Task(np.tile([True, False], 50), np.repeat(np.arange(50), 2))
    shuffled = permuted(mixed, 0)
    assert (np.bincount(mixed.groups, shuffled) == 1).all()
    assert 0.2 < float((shuffled == mixed.labels).mean()) < 0.8
    whole = Task(np.repeat(np.arange(50) < 10, 2), np.repeat(np.arange(50), 2))
    moved = permuted(whole, 0)
    counts = np.bincount(whole.groups, moved)
    assert set(counts) == {0, 2}
    assert (counts == 2).sum() == 10
    assert (moved != whole.labels).any()


def test_groups_swap_labels_with_groups_of_their_size_only() -> None:
    task = Task(np.array([True, True, True, False, False]), np.array([0, 0, 0, 1, 2]))
    assert all(permuted(task, seed)[:3].all() for seed in range(5))


def test_p_is_small_where_there_is_something_and_spread_out_where_not() -> None:
    task, features = pairs_world(0, 60, 10, 1.5)
    fold = grouped(task, 5)
    found = permutation_null(Ridge(features), task, fold, observed=run(Ridge(features), task, fold), rounds=39)
    assert found.p == found.least_p == pytest.approx(1 / 40)
    values = []
    for seed in range(60):
        task, features = pairs_world(seed, 20, 10, 0.0)
        fold = grouped(task, 5, seed)
        ridge = Ridge(features)
        values.append(permutation_null(ridge, task, fold, observed=run(ridge, task, fold), rounds=9).p)
    assert float(np.mean(values)) == pytest.approx(0.55, abs=0.12)
    assert float(np.mean(np.array(values) <= 0.1)) < 0.25


def test_what_can_memorise_groups_has_no_selectivity() -> None:
    """Features that only say which group a row is of: the control task is learnt, and the real one is not."""
    task, _ = pairs_world(0, 60, 2, 0.0)
    names = np.eye(60)[task.groups]
    found = control_task(Ridge(names), task, folds=5, draws=300)
    assert found.control.value > 0.9
    assert found.selectivity.high < 0
    assert found.shared == 1.0


def test_what_knows_the_label_and_no_group_is_selective() -> None:
    task, features = pairs_world(0, 100, 3, 4.0, half=0.0)
    found = control_task(Ridge(features), task, folds=5, rounds=2, draws=300)
    assert found.selectivity.low > 0.2
    assert found.accuracies[0] > 0.9


def test_without_groups_of_two_there_is_no_control_task() -> None:
    task = Task(np.arange(40) % 2 == 0, np.arange(40))
    found = control_task(Ridge(np.zeros((40, 1))), task, folds=5)
    assert not found.selectivity.measured
    assert "one row" in found.note


def test_control_labels_are_one_for_each_group_and_half_of_them_true() -> None:
    task, _ = pairs_world(0, 60, 2, 0.0)
    counts = np.bincount(task.groups, control_labels(task, 0))
    assert set(counts) == {0, 2}
    assert (counts == 2).sum() == 30
