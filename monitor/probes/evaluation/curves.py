"""What plots show: ROC curves and histograms, from scores that were standardised in each fold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_curve

from monitor.probes.evaluation.metrics import standardised
from monitor.probes.evaluation.report import Curve

if TYPE_CHECKING:
    from monitor.probes.evaluation.base import Scored, Task

_POINTS = 200
_BINS = 40


def roc(task: Task, scored: Scored) -> Curve:
    """The ROC curve over all folds, at most 200 points."""
    rows = scored.rows
    labels = task.labels[rows]
    if not labels.any() or labels.all():
        return Curve(scored.name, (), ())
    false, true, _ = roc_curve(labels, standardised(scored.scores, scored.fold)[rows])
    at = np.unique(np.linspace(0, len(false) - 1, min(_POINTS, len(false))).round().astype(int))
    return Curve(scored.name, tuple(np.round(false[at], 4).tolist()), tuple(np.round(true[at], 4).tolist()))


def histogram(task: Task, scored: Scored) -> dict[str, tuple[float, ...]]:
    """``edges`` (one more than the counts), and counts of ``positive`` and ``negative`` rows, of standardised scores."""
    rows = scored.rows
    values = np.clip(standardised(scored.scores, scored.fold)[rows], -4, 4)
    edges = np.linspace(-4, 4, _BINS + 1)
    labels = task.labels[rows]
    return {
        "edges": tuple(np.round(edges, 3).tolist()),
        "positive": tuple(np.histogram(values[labels], edges)[0].tolist()),
        "negative": tuple(np.histogram(values[~labels], edges)[0].tolist()),
    }
