"""Groups drawn again, and intervals from it that hold for cross-validated figures too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from monitor.probes.evaluation.base import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.probes.evaluation.base import Floats

LEVEL = 0.95
DRAWS = 2000


def draw_groups(groups: int, draws: int = DRAWS, seed: int = 0) -> Floats:
    """How often each group is drawn when as many are drawn with replacement as there are. Shape (draws, groups),
    float32.
    """
    dice = np.random.default_rng(seed)
    drawn = dice.integers(0, groups, (draws, groups)) + groups * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * groups).reshape(draws, groups).astype(np.float32)


def small_sample(groups: int, level: float = LEVEL) -> float:
    """By how much an interval from ``groups`` groups is widened: Student's quantile with groups - 1 degrees of freedom
    by the normal one, and √(groups / (groups - 1)) for the mean that was estimated as well. Infinite for fewer than two
    groups.
    """
    if groups < 2:
        return float("inf")
    tail = (1 + level) / 2
    return float(stats.t.ppf(tail, groups - 1) / stats.norm.ppf(tail)) * math.sqrt(groups / (groups - 1))


def of_share(
    value: float,
    drawn: Floats,
    *,
    edges: tuple[float, float],
    groups: int,
    stretch: float = 1.0,
    level: float = LEVEL,
    note: str = "",
) -> Estimate:
    """An interval for a figure between 0 and 1 from draws of it, on the scale of arcsin √share, where its variance is
    steady.

    Args:
        value: the figure; NaN gives an estimate without one.
        drawn: the figure in each draw, shape (draws,); NaN where a draw had none.
        edges: a score interval (``newcombe``, ``wilson``) with groups as the sample. An end that lies nearer to the value
            is moved out to it where the value is so near to 0 or 1 that draws hardly vary.
        groups: how many groups the figure rests on: the smaller of those with a positive and those with a negative row.
        stretch: what the spread is multiplied by, besides the widening for few groups.
        level: 0.95 for the 2.5th to the 97.5th percentile.
        note: what limits the figure.
    """
    if math.isnan(value):
        return Estimate(value, value, value, level, note or "no positive and negative row to compare")
    kept = drawn[np.isfinite(drawn)]
    if len(kept) < 2 or groups < 2:
        return Estimate(value, 0.0, 1.0, level, note or "too few groups for an interval")
    angles = np.arcsin(np.sqrt(np.clip(kept, 0, 1)))
    tails = np.quantile(angles - angles.mean(), [(1 - level) / 2, (1 + level) / 2])
    reach = tails * stretch * small_sample(groups, level)
    middle = math.asin(math.sqrt(min(max(value, 0.0), 1.0)))
    low, high = (math.sin(min(max(middle + float(one), 0.0), math.pi / 2)) ** 2 for one in reach)
    near = float(stats.norm.ppf((1 + level) / 2)) ** 2 / groups
    if min(value, 1 - value) <= near:
        low, high = min(low, edges[0]), max(high, edges[1])
    return Estimate(value, low, high, level, note)


def of_difference(
    value: float, drawn: Floats, *, stretch: float = 1.0, level: float = LEVEL, groups: int, least: float = 0.0
) -> Estimate:
    """An interval for a difference from paired draws of it: quantiles about their mean, widened as in ``of_share``.

    ``least`` is how far the interval reaches on each side at least, for figures that do not vary in any draw.
    """
    kept = drawn[np.isfinite(drawn)]
    if math.isnan(value) or len(kept) < 2 or groups < 2:
        return Estimate(value, -1.0, 1.0, level, "too few groups for an interval")
    tails = np.quantile(kept - kept.mean(), [(1 - level) / 2, (1 + level) / 2])
    spread = tails * stretch * small_sample(groups, level)
    return Estimate(value, value + min(float(spread[0]), -least), value + max(float(spread[1]), least), level)


def newcombe(value: float, positives: int, negatives: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Newcombe's method 5 for an AUROC (Statistics in Medicine 25, 2006, 559-573), a score interval as Wilson's.

    The ends are the θ with |value - θ| = z √V(θ), where V is Hanley and McNeil's variance with exponential scores,
    θ(1-θ)(1 + (N-1)((1-θ)/(2-θ) + θ/(1+θ))) / (positives · negatives) and N the mean of the two counts. At value 1 it is
    about z²/(2N) wide, and not of no width.
    """
    normal = float(stats.norm.ppf((1 + level) / 2))
    mean = (positives + negatives) / 2

    def beyond(theta: float) -> float:
        inner = 1 + (mean - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return abs(value - theta) - normal * math.sqrt(max(theta * (1 - theta) * inner, 0) / (positives * negatives))

    return _root(beyond, 0.0, value), _root(beyond, 1.0, value)


def wilson(value: float, trials: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval (Journal of the American Statistical Association 22, 1927, 209-212) of a share of
    ``trials``.
    """
    normal = float(stats.norm.ppf((1 + level) / 2))
    middle = value + normal**2 / (2 * trials)
    half = normal * math.sqrt(value * (1 - value) / trials + normal**2 / (4 * trials**2))
    whole = 1 + normal**2 / trials
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def by_lot(read: int, bad: int, count: int, *, level: float = LEVEL) -> tuple[int, int]:
    """How many of ``bad`` are among ``read`` drawn from ``count`` without replacement: the middle ``level`` of what chance
    gives (hypergeometric).
    """
    low, high = stats.hypergeom.ppf([(1 - level) / 2, (1 + level) / 2], count, bad, read)
    return int(low), int(high)


def _root(beyond: Callable[[float], float], outer: float, inner: float) -> float:
    """Where ``beyond`` changes its sign between a far end and the value itself; the value where it does not."""
    for _ in range(60):
        middle = (outer + inner) / 2
        if beyond(middle) > 0:
            outer = middle
        else:
            inner = middle
    return (outer + inner) / 2
