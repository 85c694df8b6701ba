"""The evaluation, stage by stage: from labelled texts and a probe, or the recipe of one, to a report."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from monitor.probes.evaluation import added, nulls, shift, shifting, stages
from monitor.probes.evaluation.base import as_task, silent
from monitor.probes.evaluation.baselines import of_text
from monitor.probes.evaluation.curves import histogram, roc
from monitor.probes.evaluation.effort import FULL, Effort
from monitor.probes.evaluation.folds import grouped
from monitor.probes.evaluation.refitted import PROBE, Refitted
from monitor.probes.evaluation.report import Report, versions
from monitor.probes.evaluation.work import Judged, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.probes.evaluation.base import Told
    from monitor.probes.evaluation.baselines import Evidence


def judge(
    judged: Judged,
    *,
    evidence: Callable[[Sequence[str]], Sequence[Evidence]] | None = None,
    effort: Effort = FULL,
    seed: int = 0,
    told: Told = silent,
) -> Report:
    """Judge a probe.

    Args:
        judged: What, and on what.
        evidence: What rules say of texts; None leaves the rules out of the baselines, and says so.
        effort: How much is spent.
        seed: Of every split and draw.
        told: Told of progress.

    Raises:
        ProbeDataError: the data have too few groups, or one label only.
        ProbeError: the model cannot read a text.
    """
    with threadpool_limits(1, user_api="blas"):  # many small matrices: threads would only wait for one another
        return _judge(judged, evidence, effort, seed, told)


def _judge(
    judged: Judged,
    evidence: Callable[[Sequence[str]], Sequence[Evidence]] | None,
    effort: Effort,
    seed: int,
    told: Told,
) -> Report:
    rows = judged.dataset.rows
    task = as_task(judged.dataset.labels, judged.dataset.groups)
    folds = min(effort.folds, len(np.unique(task.groups)))
    work = Work(judged, effort, seed, told, task, grouped(task, folds, seed), list(judged.notes))
    if effort.name == "quick":
        work.notes.append(
            "quick: fewer folds, draws, permutations and candidates; intervals are the wider ones (s = 1)"
        )
    written = [row.text for row in rows]
    with work.timed("reading activations"):
        surveyed = stages.surveyed(work)
    found = list(evidence(written)) if evidence else []
    if not found:
        work.notes.append("the policy rules were not run, and are no part of the trace")
    trace = of_text(written, surveyed, found)
    probe = stages.probe(work, surveyed)
    with work.timed("asking the model"):
        baselines = [*trace, *stages.of_model(work, surveyed, written)]
    with work.timed("probe and baselines"):
        measured = [stages.measured(work, method) for method in (probe, *baselines)]
    with work.timed("what it adds"):
        options: dict[str, Any] = {"draws": effort.draws, "seed": seed, "told": told}
        delta = added.added(probe, trace, task, work.fold, scored=work.scored, folds=effort.inner, **options)
    with work.timed("null and control task"):
        null = stages.null(work, surveyed)
        memory = probe if probe.learns else stages.stand_in(work, surveyed)
        control = nulls.control_task(memory, task, folds=folds, **options)
    with work.timed("shift suite"):
        shifts, missing = shifting.shifts(work, probe, measured[0])
    with work.timed("filtered and causal"):
        spans = {row: one.spans for row, one in enumerate(found) if one.spans}
        without = stages.without_evidence(work, probe, spans)
        intervened = stages.intervened(work, probe, surveyed)
    return Report(
        subject=stages.subject(work),
        effort=asdict(effort),
        folds=folds,
        seed=seed,
        probe=measured[0],
        baselines=tuple(measured[1:]),
        added=delta,
        null=null,
        control=control,
        shifts=shifts,
        shifts_missing=tuple(missing),
        elsewhere=shift.elsewhere(shifts),
        filtered=without,
        causal=intervened,
        layers=probe.sweep() if isinstance(probe, Refitted) else {},
        chosen=stages.chosen(probe),
        alarms=shift.alarms(shifts),
        notes=tuple(work.notes),
        question=judged.question,
        curves=tuple(
            roc(task, work.scored[one.name]) for one in (probe, *baselines) if work.scored[one.name].rows.size
        ),
        histogram=histogram(task, work.scored[PROBE]),
        seconds=work.seconds,
        versions=versions(),
    )
