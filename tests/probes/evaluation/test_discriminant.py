"""The discriminant in closed form is what its definition says, with few rows and with many."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: make probes")

from monitor.probes.evaluation.refitted import SHRINKAGE, Discriminant


@pytest.mark.parametrize("width", [5, 59, 60, 61, 200])
def test_it_is_the_shrunk_covariance_solved_for_the_difference_of_means(width: int) -> None:
    """On one side of sixty training rows the factor is of dimensions, on the other of rows."""
    dice = np.random.default_rng(width)
    array = (dice.normal(size=(80, width)) * dice.exponential(size=width) + 3).astype(np.float32)
    labels, train, test = dice.random(80) < 0.4, np.arange(60), np.arange(60, 80)
    found = Discriminant([array]).scores(labels, np.arange(80), train, test)
    rows, truth = array[train].astype(np.float64), labels[train]
    spread = np.cov(rows.T, bias=True)
    shrunk = (1 - SHRINKAGE) * spread + SHRINKAGE * np.trace(spread) / width * np.eye(width)
    weights = np.linalg.solve(shrunk, rows[truth].mean(axis=0) - rows[~truth].mean(axis=0))
    expected = array[test] @ weights
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_arrays_that_are_all_the_same_score_nothing() -> None:
    labels = np.arange(20) % 2 == 0
    for width in (3, 40):
        scores = Discriminant([np.ones((20, width), dtype=np.float32)]).scores(
            labels, np.arange(20), np.arange(16), np.arange(16, 20)
        )
        assert not scores.any()
