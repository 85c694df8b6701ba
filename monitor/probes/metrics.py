"""How well scores tell labels apart, with intervals from drawing whole groups again.

A bootstrap over texts would count twins as news about the world. The intervals are percentile intervals (Efron &
Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13) over groups: those of one group come and go together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from monitor.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Estimate", "auroc", "bootstrap", "recall_at"]

Vector: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Metric: TypeAlias = "Callable[[Vector, Vector, Vector], float]"
ROUNDS = 2_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


def auroc(scores: Vector, labels: Vector, weights: Vector | None = None) -> float:
    """The chance that a text of label True scores higher than one of label False, ties counting half (Mann-Whitney).

    ``weights`` (default: 1) say how often each text counts. NaN where a label is missing.
    """
    w = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    values, at = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
    y = np.asarray(labels, dtype=bool)
    positive = np.bincount(at, weights=w * y, minlength=len(values))
    negative = np.bincount(at, weights=w * ~y, minlength=len(values))
    below = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")


def recall_at(rate: float) -> Metric:
    """The metric: the largest share of label True at a threshold that at most ``rate`` of label False reaches."""

    def recall(scores: Vector, labels: Vector, weights: Vector | None = None) -> float:
        w = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
        values, at = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
        y = np.asarray(labels, dtype=bool)
        positive = np.bincount(at, weights=w * y, minlength=len(values))[::-1].cumsum()
        negative = np.bincount(at, weights=w * ~y, minlength=len(values))[::-1].cumsum()
        if not positive[-1] or not negative[-1]:
            return float("nan")
        allowed = positive[negative <= rate * negative[-1] + 1e-9]
        return float(allowed[-1] / positive[-1]) if len(allowed) else 0.0

    return recall


def bootstrap(
    metric: Metric, scores: Vector, labels: Vector, groups: Sequence[str], *, rounds: int = ROUNDS, seed: int = 0
) -> Estimate:
    """``metric`` with its 95 % interval: ``rounds`` times as many groups as there are, drawn with replacement.

    Rounds in which a label is missing are left out.

    Raises:
        ProbeError: a label is missing, or there are fewer than two groups.
    """
    _, at = np.unique(np.asarray(groups), return_inverse=True)
    count = int(at.max()) + 1 if len(at) else 0
    value = metric(scores, labels, np.ones(len(scores)))
    if count < 2 or np.isnan(value):
        raise ProbeError(f"an interval needs texts of both labels in two groups at least, found {count} groups")
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=rounds)
    found = np.array([metric(scores, labels, times[at]) for times in drawn])
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return Estimate(value, float(low), float(high))
