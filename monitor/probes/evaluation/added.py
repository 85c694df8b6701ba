"""What a probe adds to reading the trace: Δ = AUROC(trace + probe) - AUROC(trace), and what may be concluded from it.

The trace alone is a logistic regression over the scores of the baselines that read the text; trace + probe is the same with
the probe's score as one column more. Either is fitted on **out-of-fold** scores of the training rows (stacked
generalisation, Wolpert, Neural Networks 5, 1992), never on scores of a fit that had seen the row, and both are tested
on the same rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression

from monitor.probes.evaluation.base import Estimate, Scored, Task, silent, unmeasured
from monitor.probes.evaluation.folds import grouped, has_both, run
from monitor.probes.evaluation.metrics import auroc, share_from, standardised
from monitor.probes.evaluation.pairs import count_pairs
from monitor.probes.evaluation.resampling import DRAWS, draw_groups, newcombe, of_difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.probes.evaluation.base import Floats, Ints, Method, Told
    from monitor.probes.evaluation.pairs import Pairs

MARGIN = 0.02
"""The least Δ that would count, in AUROC."""


class Verdict(StrEnum):
    """What may be concluded. ``inconclusive`` unless the data say otherwise."""

    ADDS = "adds"
    NOTHING = "adds nothing measurable"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Added:
    """Δ with its interval. ``delta`` has the 95 % interval; ``bound`` is the upper end of the 90 % one, for equivalence.

    ``trace`` and ``both`` are the two AUROCs, ``columns`` the baselines that make up the trace, ``margin`` the size of an
    effect that would count.
    """

    trace: Estimate
    both: Estimate
    delta: Estimate
    bound: float
    margin: float
    columns: tuple[str, ...]
    verdict: Verdict
    why: str


Inner = dict[int, "tuple[Ints, Floats]"]
"""By outer fold: the rows it trains on, and their out-of-fold scores, standardised, both of shape (rows of it,)."""


def inner_scores(method: Method, task: Task, fold: Ints, *, folds: int, seed: int = 0) -> Inner:
    """Out-of-fold scores of the training rows of every outer fold, from a split of those rows alone."""
    found: Inner = {}
    for number in np.unique(fold[fold >= 0]):
        rows = np.flatnonzero((fold != number) & (fold >= 0))
        part = Task(task.labels[rows], task.groups[rows])
        count = min(folds, len(np.unique(part.groups)))
        if count < 2 or not has_both(part.labels):
            continue
        inner = np.full(len(task), -1, dtype=np.int64)
        inner[rows] = grouped(part, count, seed)
        scored = run(method, task, inner)
        found[int(number)] = rows, np.nan_to_num(standardised(scored.scores, scored.fold)[rows])
    return found


def combined(name: str, task: Task, outer: Sequence[Scored], inner: Sequence[Inner]) -> Scored:
    """The held-out scores of a logistic regression over several methods' scores. One entry each in ``outer`` and ``inner``.

    Each fold's scores are standardised, without a label, so that fits on more and on fewer rows are on one scale.
    """
    fold = outer[0].fold
    columns = np.stack([np.nan_to_num(standardised(one.scores, one.fold)) for one in outer], axis=1)
    halves = _half_columns(outer)
    held, scores = np.full(len(task), -1, dtype=np.int64), np.full(len(task), np.nan)
    by_half = np.full((2, len(task)), np.nan)
    for number in np.unique(fold[fold >= 0]):
        if any(int(number) not in one for one in inner):
            continue
        rows = inner[0][int(number)][0]
        model = LogisticRegression(C=10.0, max_iter=300)
        model.fit(np.stack([one[int(number)][1] for one in inner], axis=1), task.labels[rows])
        test = fold == number
        held[test] = number
        scores[test] = model.decision_function(columns[test])
        if halves is not None:
            for which in (0, 1):
                by_half[which, test] = model.decision_function(halves[which][test])
    return Scored(name, held, scores, learns=True, halves=by_half if halves is not None else None)


def _half_columns(outer: Sequence[Scored]) -> Floats | None:
    """Shape (2, rows, methods), a method that learns nothing being the same in both; None where halves were not scored."""
    if any(one.learns and (one.halves is None or not np.isfinite(one.halves[:, one.rows]).all()) for one in outer):
        return None
    found = []
    for which in (0, 1):
        scores = [one.scores if one.halves is None else one.halves[which] for one in outer]
        found.append([np.nan_to_num(standardised(one, every.fold)) for one, every in zip(scores, outer, strict=True)])
    return np.array(found).transpose(0, 2, 1)


def added(
    probe: Method,
    trace: Sequence[Method],
    task: Task,
    fold: Ints,
    *,
    scored: Mapping[str, Scored],
    folds: int = 4,
    margin: float = MARGIN,
    draws: int = DRAWS,
    seed: int = 0,
    told: Told = silent,
) -> Added:
    """What ``probe`` adds to the methods that make up the trace.

    Args:
        probe: the probe.
        trace: the baselines that read the text; at least one.
        task: labels and groups.
        fold: the outer fold of each row.
        scored: the held-out scores over ``fold`` of every method, by name; the probe's too.
        folds: how many inner folds the training rows of an outer fold are split into.
        margin: the least Δ that would count.
        draws: of the paired bootstrap over groups.
        seed: of inner folds and bootstrap.
        told: told of progress.
    """
    inner: list[Inner] = []
    for number, method in enumerate((*trace, probe), 1):
        inner.append(inner_scores(method, task, fold, folds=folds, seed=seed))
        told("what it adds", number, len(trace) + 1)
    outer = [scored[method.name] for method in (*trace, probe)]
    alone = combined("trace", task, outer[:-1], inner[:-1])
    both = combined("trace + probe", task, outer, inner)
    return compared(task, alone, both, columns=tuple(one.name for one in trace), margin=margin, draws=draws, seed=seed)


def compared(
    task: Task,
    alone: Scored,
    both: Scored,
    *,
    columns: tuple[str, ...],
    margin: float = MARGIN,
    draws: int = DRAWS,
    seed: int = 0,
) -> Added:
    """Δ of two methods that were scored in the same folds, by a paired bootstrap over groups, and the verdict.

    The variance of Δ is that of the difference of the two influence values of each group; the interval is stretched for the
    fits as in ``metrics``, by the factor for random labels unless the interval excludes 0 even so.
    """
    pairs = count_pairs(task, alone.fold, alone.scores), count_pairs(task, both.fold, both.scores)
    if not pairs[0].folds:
        none = unmeasured("no fold has rows of both labels")
        return Added(none, none, none, float("nan"), margin, columns, Verdict.INCONCLUSIVE, none.note)
    weights = draw_groups(pairs[0].columns, draws, seed)
    first, second = auroc(task, alone, pairs[0], weights)[0], auroc(task, both, pairs[1], weights)[0]
    drawn = pairs[1].drawn(weights) - pairs[0].drawn(weights)
    value, groups = pairs[1].auroc - pairs[0].auroc, min(pairs[0].support)

    def at(share: float, level: float) -> Estimate:
        least = _floor(pairs[0], level)
        return of_difference(value, drawn, stretch=math.sqrt(1 + share), level=level, groups=groups, least=least)

    delta, share = at(1.0, 0.95), 1.0
    if not delta.low <= 0 <= delta.high:
        share = _delta_share(task, alone, both)
        delta = at(share, 0.95)
    bound = at(share, 0.90).high
    verdict, why = concluded(delta, bound, margin, first)
    return Added(first, second, delta, bound, margin, columns, verdict, why)


def concluded(delta: Estimate, bound: float, margin: float, trace: Estimate) -> tuple[Verdict, str]:
    """The verdict, and the sentence that says why.

    ``adds nothing measurable`` needs evidence of its own: an upper 95 % bound (the upper end of the 90 % interval, as two
    one-sided tests use it: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987) below the margin. It
    comes first: what is surely above 0 and surely below the margin does not count.
    """
    if not delta.measured:
        return Verdict.INCONCLUSIVE, delta.note
    if bound < margin:
        room = f"; the trace alone leaves {1 - trace.value:.3f} to add" if 1 - trace.value < margin else ""
        return Verdict.NOTHING, f"an effect of {margin:g} or more is excluded: Δ is below {bound:.3f} with 95 %{room}"
    if delta.low > 0:
        return Verdict.ADDS, f"the interval of Δ lies above 0, from {delta.low:.3f} to {delta.high:.3f}"
    return (
        Verdict.INCONCLUSIVE,
        f"Δ may be nothing, and may be {margin:g} or more: its interval is {delta.low:.3f} to {delta.high:.3f}",
    )


def _floor(pairs: Pairs, level: float) -> float:
    """How far an interval of Δ reaches at least: as far as Newcombe's of a method that never errs on as many groups.

    Two methods that agree on every pair differ in no draw, however few the groups were that they were tried on.
    """
    return 1 - newcombe(1.0, *pairs.support, level=level)[0] if min(pairs.support) > 1 else 1.0


def _delta_share(task: Task, alone: Scored, both: Scored) -> float:
    """The part of Δ's variance that comes from the fits, as ``metrics.fit_share``."""
    if alone.halves is None or both.halves is None:
        return 1.0
    found = []
    for which in (0, 1):
        one = count_pairs(task, alone.fold, alone.halves[which])
        two = count_pairs(task, both.fold, both.halves[which])
        found.append(two.influence() - one.influence())
    return share_from(found[0], found[1])
