"""AUROC and recall at a false-positive rate, with intervals from drawing groups again.

**Why an interval is stretched.** A bootstrap over groups draws the held-out scores again and takes the fits as given. In
cross-validation that is too narrow: the fold j that is tested in one round trains the model of fold k in another, and what
is particular to the pair (j, k) enters both figures with the same sign. With the variance of a fold's figure as V_main (of
the tested rows, under any fit) plus V_fit (of tested with training rows), the variance of the mean over K folds is
(V_main + 2 V_fit) / K and not (V_main + V_fit) / K: a factor of 1 + s with s = V_fit / (V_main + V_fit). Where labels are
random all of it is V_fit, and the factor is 2; Nadeau and Bengio (Machine Learning 52, 2003) came to nearly the same
one for the resampled t test, (1/K + 1/(K-1)) · K = 2.25 at K = 5. ``fit_share`` measures s from two fits on halves of
the training groups that have no group in common: what of the groups' influence agrees between the two is V_main. The
measured s is used only where the interval at s = 1 excludes chance already, so that it can never make chance look like
something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monitor.probes.evaluation.base import Estimate, Scored, unmeasured
from monitor.probes.evaluation.pairs import Pairs, count_pairs
from monitor.probes.evaluation.resampling import DRAWS, draw_groups, newcombe, of_share, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.evaluation.base import Bools, Floats, Ints, Task

RATES = (0.01, 0.05)
_ENOUGH = 5
"""The least rank of the negative that sets a threshold, for the recall to be more than a guess at one or two rows."""
LEAST_SHARE = 0.5
"""The least s that is used for what learns: with s as measured, 92 of 100 intervals covered where 95 were meant to."""
_CELLS = 20_000_000


@dataclass(frozen=True, slots=True)
class Recall:
    """The share of positives found at a threshold that at most ``rate`` of further negatives are expected to reach.

    ``negatives`` is how many negatives there were, ``rank`` that of the negative which sets the threshold (1 the highest);
    at 0 there are too few for any. ``supported`` says whether the rank is high enough for the figure to mean much.
    """

    rate: float
    recall: Estimate
    negatives: int
    rank: int

    @property
    def supported(self) -> bool:
        """Whether the threshold is set by the fifth highest negative or a lower one."""
        return self.rank >= _ENOUGH


@dataclass(frozen=True, slots=True)
class Metrics:
    """What is said of one method. ``fit_share`` is s of this module's docstring, as it was used."""

    name: str
    auroc: Estimate
    recalls: tuple[Recall, ...]
    rows: int
    positives: int
    groups: int
    fit_share: float


def measure(
    task: Task, scored: Scored, *, draws: int = DRAWS, seed: int = 0, rates: Sequence[float] = RATES
) -> Metrics:
    """AUROC and recalls of one method. Two thousand draws over a thousand groups take well under a second."""
    rows = scored.rows
    pairs = count_pairs(task, scored.fold, scored.scores)
    weights = draw_groups(pairs.columns, draws, seed)
    estimate, share = auroc(task, scored, pairs, weights)
    standard = standardised(scored.scores, scored.fold)
    names = np.unique(task.groups, return_inverse=True)[1]
    groups = pairs.support[0]
    found = [
        _recall(task.labels[rows], names[rows], standard[rows], rate, weights=weights, share=share, groups=groups)
        for rate in rates
    ]
    count = len(np.unique(task.groups[rows]))
    return Metrics(scored.name, estimate, tuple(found), len(rows), int(task.labels[rows].sum()), count, share)


def auroc(task: Task, scored: Scored, pairs: Pairs, weights: Floats) -> tuple[Estimate, float]:
    """The AUROC within folds with its interval, and the s that the interval was stretched by."""
    drawn, value = pairs.drawn(weights), pairs.auroc
    positives, negatives = pairs.support
    groups = min(positives, negatives)
    edges = newcombe(value, positives, negatives) if groups > 1 and not math.isnan(value) else (0.0, 1.0)

    spread = float(np.nanstd(drawn)) if groups > 1 else 0.0
    scale = math.sqrt(pairs.variance) / spread if spread > 0 else 1.0

    def at(share: float) -> Estimate:
        return of_share(value, drawn, edges=edges, groups=groups, stretch=scale * math.sqrt(1 + share))

    if not scored.learns:
        return at(0.0), 0.0
    wide = at(1.0)
    if scored.halves is None or wide.low <= 0.5 <= wide.high or math.isnan(value):
        return wide, 1.0
    share = fit_share(task, scored)
    return at(share), share


def fit_share(task: Task, scored: Scored) -> float:
    """Which part of the variance of a fold's AUROC comes from the fit, 0 to 1; 1 where it cannot be told.

    From fits on half the groups, where V_fit is twice as large: s = h / (2 - h) with h = 1 - c the part that the influence
    values of the groups do not share.
    """
    if scored.halves is None:
        return 1.0
    whole = np.isfinite(scored.halves).all(axis=0)
    fold = np.where(whole, scored.fold, -1)
    first, second = (
        (count_pairs(task, fold, half).influence() for half in scored.halves) if whole.any() else (None, None)
    )
    return share_from(first, second)


def share_from(first: Floats | None, second: Floats | None) -> float:
    """Share s from the influence values under two fits that share no training group; never below ``LEAST_SHARE``."""
    if first is None or second is None:
        return 1.0
    size = math.sqrt(float(first @ first) * float(second @ second))
    if size == 0:
        return 1.0
    half = 1 - min(max(float(first @ second) / size, 0.0), 1.0)
    return max(half / (2 - half), LEAST_SHARE)


def standardised(scores: Floats, fold: Ints) -> Floats:
    """Each fold's scores with mean 0 and standard deviation 1, so that folds can share a threshold. No label is used."""
    found = np.full(len(scores), np.nan)
    for number in np.unique(fold[fold >= 0]):
        rows = fold == number
        spread = float(scores[rows].std())
        found[rows] = (scores[rows] - scores[rows].mean()) / (spread if spread > 0 else 1.0)
    return found


def recall_at(labels: Bools, scores: Floats, rate: float, weights: Floats) -> Floats:
    """Recall at the lowest threshold that at most ``rate`` of further negatives are expected to reach.

    That is just above the m-th highest of n negatives, m = ⌊rate · (n + 1)⌋: a further one lies above it with probability
    m / (n + 1). A threshold that m of the n themselves pass would let through (m + 1) / (n + 1).

    Args:
        labels: shape (rows,).
        scores: shape (rows,); rows with equal scores pass together or not at all.
        rate: the false-positive rate, 0 to 1.
        weights: how often each row counts, shape (draws, rows).

    Returns:
        Shape (draws,); NaN where a draw has no positive, or too few negatives for any threshold (m = 0).
    """
    order = np.argsort(-scores, kind="stable")
    ordered, truth = scores[order], labels[order]
    last = np.append(ordered[1:] != ordered[:-1], True)  # the last row of each set of equal scores
    found = []
    for begin in range(0, len(weights), max(1, _CELLS // max(1, len(labels)))):
        part = weights[begin : begin + max(1, _CELLS // max(1, len(labels)))][:, order]
        passed = np.cumsum(part * ~truth, axis=1)[:, last]
        caught = np.cumsum(part * truth, axis=1)[:, last]
        reach = np.floor(rate * (passed[:, -1:] + 1) + 1e-6)
        best = np.where(passed <= reach - 1, caught, 0).max(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(np.where(reach[:, 0] >= 1, best / caught[:, -1], np.nan))
    return np.concatenate(found).astype(np.float64)


def _recall(
    labels: Bools, column: Ints, scores: Floats, rate: float, *, weights: Floats, share: float, groups: int
) -> Recall:
    negatives = int((~labels).sum())
    rank = math.floor(rate * (negatives + 1) + 1e-6)
    note = "" if rank >= _ENOUGH else _too_few(rate, negatives, rank)
    if not labels.any():
        return Recall(rate, unmeasured("no positive row was scored"), negatives, rank)
    if not rank:
        return Recall(rate, unmeasured(note), negatives, rank)
    value = float(recall_at(labels, scores, rate, np.ones((1, len(labels)), dtype=np.float32))[0])
    drawn = recall_at(labels, scores, rate, weights[:, column])
    edges = wilson(value, groups) if groups else (0.0, 1.0)
    estimate = of_share(value, drawn, edges=edges, groups=groups, stretch=math.sqrt(1 + share), note=note)
    return Recall(rate, estimate, negatives, rank)


def _too_few(rate: float, negatives: int, rank: int) -> str:
    needed = math.ceil(_ENOUGH / rate) - 1
    says = f"the threshold is set by the {rank} highest" if rank else "no threshold can be set"
    return f"{negatives} negatives: at {100 * rate:g} % {says}; at least {needed} would be needed"
