"""The stage of shifts: those that the data allow, and negations written by rule where they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from monitor.probes.candidates import score_rows
from monitor.probes.evaluation import shift
from monitor.probes.evaluation.base import Given, Scored, Task
from monitor.probes.evaluation.metrics import Metrics, measure
from monitor.probes.evaluation.negating import negations
from monitor.probes.evaluation.refitted import PROBE, Refitted
from monitor.probes.features import features

if TYPE_CHECKING:
    from monitor.probes.evaluation.work import Work


def shifts(work: Work, probe: Refitted | Given, measured: Metrics) -> tuple[tuple[shift.Shift, ...], list[str]]:
    """The shift suite, and which kinds of shift the data do not allow."""
    rows, draws = work.judged.dataset.rows, work.effort.draws
    tags = [row.tags for row in rows]
    more = (_negated(work, probe),) if work.judged.negate else ()
    if isinstance(probe, Given):
        trained = work.judged.trained_on
        whole = shift.Shift(shift.SET, trained, work.judged.dataset.name, measured.rows, measured.auroc)
        parts = shift.parts(work.task, work.scored[PROBE], tags, trained=trained, draws=draws)
        return (whole, *parts, *more), ["a finished probe is tried on these texts as it is; nothing of it is fitted"]
    lengths = np.array([len(row.text) for row in rows], dtype=np.int64)
    tried, missing = shift.sides(tags, lengths, work.task)
    if more:
        missing = [line for line in missing if not line.startswith(shift.NEGATION)]
    whole_scores = work.scored[PROBE]
    found = shift.shifted(probe, work.task, work.fold, tried, whole=whole_scores, draws=draws, told=work.told)
    return (*found, *more), missing


def _negated(work: Work, probe: Refitted | Given) -> shift.Shift:
    """Negations that are written by rule, each scored by a fit that never saw its group, or by the finished probe."""
    judged = work.judged
    twins, origins = negations(judged.dataset)
    layers = sorted({one.layer for one in judged.candidates} or {judged.fixed.layer if judged.fixed else 0})
    read = features(
        judged.model,
        twins,
        judged.reading,
        layers=layers,
        token_layers=layers
        if isinstance(probe, Refitted) and any(one.needs_tokens for one in probe.candidates)
        else (),
        on_progress=lambda done, total: work.told("reading negations", done, total),
    )
    fold, scores = work.fold[origins], np.full(len(origins), np.nan)
    for number in np.unique(fold):
        rows = np.flatnonzero(fold == number)
        if isinstance(probe, Refitted):
            train = np.flatnonzero((work.fold != number) & (work.fold >= 0))
            fitted, best = probe.fitted(work.task.labels, work.task.groups, train)
            scores[rows] = score_rows(fitted, best.layer, read, rows)
        else:
            assert judged.fixed is not None
            pairs = [(twins.rows[row].text, twins.rows[row].context) for row in rows]
            scores[rows] = [one.score for one in judged.fixed.score_many(pairs)]
    task = Task(np.asarray(twins.labels), work.task.groups[origins])
    scored = Scored(PROBE, fold, scores, learns=probe.learns)
    figure = measure(task, scored, draws=work.effort.draws, seed=work.seed).auroc
    return shift.Shift(shift.NEGATION, judged.trained_on or judged.dataset.name, twins.name, len(twins.rows), figure)
