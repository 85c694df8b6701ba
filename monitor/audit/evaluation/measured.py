"""Recall at matched false-positive rates, of each detector and of all together, on the same cases.

Everything that is computed here is ``monitor.probes.evaluation``'s, whose intervals' coverage was measured: the threshold
is set by rank, so that **further** negatives are expected to reach it at the rate that was asked for; intervals are from
drawing whole groups again. Scores that learn nothing from these cases (rules, a finished probe, a judge) are compared over
all cases at once. What they say **together** is a logistic regression over their scores, fitted in grouped folds on the
other cases alone: no case takes part in what it is scored by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monitor.audit.evaluation.detectors import BOTH, Detector
from monitor.errors import ConfigError, ProbeDataError
from monitor.probes.evaluation.added import combined, inner_scores
from monitor.probes.evaluation.base import Given, Scored, as_task
from monitor.probes.evaluation.folds import grouped, run
from monitor.probes.evaluation.metrics import measure, standardised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.audit.evaluation.cases import Cases
    from monitor.probes.evaluation.base import Bools, Estimate, Floats, Task
    from monitor.probes.evaluation.metrics import Recall

RATES = (0.01, 0.05, 0.10)
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Figures:
    """What one detector comes to. ``reached`` are, for each recall, the negatives that its threshold really lets through.

    ``unscored`` and ``largest_tie`` count cases. ``missing`` says why there is no figure.
    """

    name: str
    how: str
    auroc: Estimate | None
    recalls: tuple[Recall, ...] = ()
    reached: tuple[int, ...] = ()
    unscored: int = 0
    largest_tie: int = 0
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Ranking:
    """An order in which cases would be read: by this score, the highest first. Shape (cases,)."""

    name: str
    scores: Floats


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one set of cases. ``rankings`` are those of the detectors that have figures."""

    cases: Cases
    task: Task
    figures: tuple[Figures, ...]
    rankings: tuple[Ranking, ...]

    @property
    def bad(self) -> int:
        """How many cases are bad."""
        return int(self.task.labels.sum())

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(np.unique(self.task.groups))

    @property
    def groups_with_bad(self) -> int:
        """How many groups have a bad case."""
        return len(np.unique(self.task.groups[self.task.labels]))


def measured(
    cases: Cases, detectors: Sequence[Detector], *, rates: Sequence[float] = RATES, seed: int = 0, draws: int = 2000
) -> Measured:
    """Every detector on all cases, and all detectors together where there are two or more.

    Raises:
        ConfigError: there are not two groups, or no case of one of the labels.
    """
    try:
        task = as_task([case.bad for case in cases.cases], [case.group for case in cases.cases])
    except ProbeDataError as exc:
        raise ConfigError(f"{cases.name}: {exc}") from exc
    figures, rankings = [], []
    nothing = np.zeros(len(task), dtype=np.int64)
    for one in detectors:
        scored = Scored(one.name, nothing, one.ranked, learns=False)
        found = measure(task, scored, rates=rates, seed=seed, draws=draws)
        reached = tuple(_reached(task.labels, one.ranked, rate) for rate in rates)
        figures.append(Figures(one.name, one.how, found.auroc, found.recalls, reached, one.unscored, one.largest_tie))
        rankings.append(Ranking(one.name, one.ranked))
    if len(detectors) > 1:
        both, why = _together(task, detectors, seed)
        how = f"logistic regression over {' and '.join(one.name for one in detectors)}, fitted out of fold by groups"
        if both is None:
            figures.append(Figures(BOTH, how, None, missing=why))
        else:
            found = measure(task, both, rates=rates, seed=seed, draws=draws)
            ranked = _ranked(both)
            reached = tuple(_reached(task.labels, ranked, rate) for rate in rates)
            unscored = int((both.fold < 0).sum())
            tie = int(np.unique(ranked, return_counts=True)[1].max())
            figures.append(Figures(BOTH, how, found.auroc, found.recalls, reached, unscored, tie))
            rankings.append(Ranking(BOTH, ranked))
    return Measured(cases, task, tuple(figures), tuple(rankings))


def _ranked(scored: Scored) -> Floats:
    """Scores that folds share; a case of a fold that could not be scored comes last."""
    standard = standardised(scored.scores, scored.fold)
    known = standard[np.isfinite(standard)]
    return np.where(np.isfinite(standard), standard, float(known.min()) - 1 if len(known) else 0.0)


def _together(task: Task, detectors: Sequence[Detector], seed: int) -> tuple[Scored | None, str]:
    """The held-out scores of all detectors together; None, and why, where nothing can be fitted."""
    with_bad, without = (len(np.unique(task.groups[task.labels == label])) for label in (True, False))
    if min(with_bad, without) < 2:
        return None, f"nothing can be fitted out of fold: {with_bad} groups have a bad case, {without} another"
    fold = grouped(task, min(FOLDS, len(np.unique(task.groups))), seed)
    methods = [Given(one.name, one.ranked) for one in detectors]
    outer = [run(method, task, fold) for method in methods]
    inner = [inner_scores(method, task, fold, folds=FOLDS - 1, seed=seed) for method in methods]
    both = combined(BOTH, task, outer, inner)
    return (both, "") if len(both.rows) else (None, "no fold's other cases have both labels")


def threshold(labels: Bools, scores: Floats, rate: float) -> float:
    """The lowest score that is flagged, so that further negatives are expected to reach it at ``rate`` at most: just above
    the m-th highest of n negatives, m = ⌊rate · (n + 1)⌋ (``metrics.recall_at``). Infinite where there are too few.
    """
    negatives = np.sort(scores[~labels])[::-1]
    rank = math.floor(rate * (len(negatives) + 1) + 1e-6)
    return float(np.nextafter(negatives[rank - 1], math.inf)) if 1 <= rank <= len(negatives) else math.inf


def _reached(labels: Bools, scores: Floats, rate: float) -> int:
    return int((scores[~labels] >= threshold(labels, scores, rate)).sum())
