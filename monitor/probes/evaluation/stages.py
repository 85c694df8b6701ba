"""The stages of an evaluation, each from what those before it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.errors import ProbeDataError, ProbeError
from monitor.probes.evaluation import causal, filtered, nulls
from monitor.probes.evaluation.base import Given
from monitor.probes.evaluation.baselines import asking, discriminant, groups_at_most, of_activations
from monitor.probes.evaluation.effort import shortlist
from monitor.probes.evaluation.folds import run
from monitor.probes.evaluation.metrics import Metrics, measure
from monitor.probes.evaluation.refitted import PROBE, Discriminant, Refitted
from monitor.probes.evaluation.report import Subject
from monitor.probes.evaluation.survey import Survey, survey
from monitor.probes.features import Features, features, read_text
from monitor.probes.kinds import LinearProbe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.applying import Applied
    from monitor.probes.evaluation.base import Bools, Floats, Method
    from monitor.probes.evaluation.work import Judged, Work
    from monitor.probes.kinds import Probe
    from monitor.probes.words import Dataset


def subject(work: Work) -> Subject:
    """What is judged, for the report."""
    judged, task = work.judged, work.task
    if judged.fixed is not None:
        kept = judged.fixed.artefact.sidecar
        recipe = f"{kept.kind}, {kept.pooling}, layer {kept.layer}, as trained"
    else:
        kinds = ", ".join(dict.fromkeys(one.kind for one in judged.candidates))
        layers = ", ".join(str(layer) for layer in sorted({one.layer for one in judged.candidates}))
        recipe = f"{kinds}; layers {layers}; chosen in each fit"
    return Subject(
        name=judged.name,
        finds=judged.finds,
        model=judged.model.facts.name,
        weights=judged.model.facts.weights,
        recipe=recipe,
        refitted=judged.fixed is None,
        surface=judged.reading.surface.value,
        format=judged.reading.format,
        data=tuple(_described(part) for part in judged.parts or (judged.dataset,)),
        sha256=judged.dataset.sha256,
        rows=len(task),
        positives=int(task.labels.sum()),
        groups=len(np.unique(task.groups)),
    )


def _described(part: Dataset) -> dict[str, Any]:
    pinned: dict[str, Any] = {"name": part.name, "texts": len(part.rows), "groups": len(set(part.groups))}
    return pinned | {"licence": part.licence, "source": part.source, "sha256": part.sha256}


def surveyed(work: Work) -> Survey:
    """Read every text once."""
    judged = work.judged
    if judged.candidates:
        layers = sorted({one.layer for one in judged.candidates})
    else:
        assert judged.fixed is not None
        layers = [judged.fixed.layer]
    read = [read_text(judged.model, row.text, row.context, judged.reading) for row in judged.dataset.rows]
    cut = sum(text.unread > 0 for text in read)
    if cut:
        work.notes.append(f"{cut:,} texts were longer than {judged.reading.max_tokens} tokens, and read in part")
    return survey(
        judged.model,
        read,
        layers=layers,
        surface=judged.reading.surface,
        on_progress=lambda done, total: work.told("reading activations", done, total),
    )


def probe(work: Work, surveyed: Survey) -> Refitted | Given:
    """The probe as a method: its recipe, refitted in each fold; or the scores of the finished one."""
    judged = work.judged
    if judged.fixed is not None:
        scores = _fixed_scores(judged.fixed, judged, surveyed)
        return Given(PROBE, scores)
    chosen = shortlist(judged.candidates, work.effort.candidates)
    if len(chosen) < len(judged.candidates):
        work.notes.append(
            f"{len(chosen)} of the recipe's {len(judged.candidates)} candidates were compared: "
            "one kind, pooling and set of hyper-parameters at each of these layers; only the layer is chosen in each fit"
        )
    found = surveyed.features
    single = sorted({one.layer for one in chosen if one.needs_tokens})
    if single:
        with_tokens = features(judged.model, judged.dataset, judged.reading, layers=single, token_layers=single)
        found = Features(found.pooled, with_tokens.tokens)
    return Refitted(found, chosen, folds=work.effort.inner, seed=work.seed)


def _fixed_scores(fixed: Applied, judged: Judged, surveyed: Survey) -> Floats:
    probe = fixed.artefact.probe
    if isinstance(probe, LinearProbe) and probe.pooling.of_activations:
        return probe.score_pooled(surveyed.features.pooled[fixed.layer, probe.pooling.name])
    pairs = [(row.text, row.context) for row in judged.dataset.rows]
    return np.array([one.score for one in fixed.score_many(pairs)], dtype=np.float64)


def of_model(work: Work, surveyed: Survey, written: Sequence[str]) -> list[Method]:
    """Baselines that need the model."""
    judged, limit = work.judged, work.effort.asked
    rows = groups_at_most(work.task, limit, work.seed)
    if len(rows) < len(work.task):
        work.notes.append(
            f"the model was asked about {len(rows):,} of {len(work.task):,} texts, whole groups by chance"
        )
    try:
        asked = asking(
            judged.model,
            written,
            rows,
            judged.question,
            on_progress=lambda done, total: work.told("asking the model", done, total),
        )
    except ProbeError as exc:
        work.notes.append(f"the model was not asked: {exc}")
        return of_activations(surveyed)
    return [*of_activations(surveyed), asked]


def measured(work: Work, method: Method) -> Metrics:
    """Run a method over the folds, keep its scores for what comes later, and measure them."""
    only: Bools | None = np.isfinite(method.values) if isinstance(method, Given) else None
    if isinstance(method, Given) and only is not None and not only.any():
        raise ProbeError(f"{method.name} gave no score")
    work.scored[method.name] = run(
        method,
        work.task,
        work.fold,
        test_on=only,
        halves=work.effort.halves,
        on_fold=lambda done, total: work.told(f"{method.name}", done, total),
        seed=work.seed,
    )
    return measure(work.task, work.scored[method.name], draws=work.effort.draws, seed=work.seed)


def stand_in(work: Work, surveyed: Survey) -> Discriminant:
    """The discriminant with the poolings that the probe may have."""
    judged = work.judged
    fixed = [] if judged.fixed is None else [judged.fixed.artefact.probe.pooling]
    tried = shortlist(judged.candidates, work.effort.candidates)
    poolings = {str(one) for one in (*fixed, *(candidate.pooling for candidate in tried))}
    return discriminant(surveyed, poolings, folds=work.effort.inner, seed=work.seed)


def null(work: Work, surveyed: Survey) -> nulls.PermutationNull:
    """The permutation null of the discriminant that stands in for the probe."""
    method = stand_in(work, surveyed)
    observed = run(method, work.task, work.fold)
    return nulls.permutation_null(
        method, work.task, work.fold, observed=observed, rounds=work.effort.permutations, seed=work.seed, told=work.told
    )


def without_evidence(
    work: Work, probe: Refitted | Given, spans: dict[int, tuple[tuple[int, int], ...]]
) -> filtered.Filtered:
    """Scores without the evidence of rules, each by the probe of the fold that the text was held out in."""

    def probe_of(row: int) -> tuple[Probe, int]:
        if isinstance(probe, Given):
            assert work.judged.fixed is not None
            return work.judged.fixed.artefact.probe, work.judged.fixed.layer
        train = np.flatnonzero((work.fold != work.fold[row]) & (work.fold >= 0))
        fitted, candidate = probe.fitted(work.task.labels, work.task.groups, train)
        return fitted, candidate.layer

    return filtered.filtered(
        work.judged.model,
        work.judged.dataset,
        work.task,
        work.scored[PROBE],
        spans=spans,
        probe_of=probe_of,
        reading=work.judged.reading,
        draws=work.effort.draws,
        seed=work.seed,
    )


def intervened(work: Work, probe: Refitted | Given, surveyed: Survey) -> causal.Causal | None:
    """With the probe of the first fold, on texts of that fold, one of each group."""
    judged, task = work.judged, work.task
    held = np.flatnonzero(work.fold == 0)
    if isinstance(probe, Given):
        assert judged.fixed is not None
        fitted, layer = judged.fixed.artefact.probe, judged.fixed.layer
    else:
        train = np.flatnonzero(work.fold > 0)
        try:
            fitted, candidate = probe.fitted(task.labels, task.groups, train)
        except (ProbeDataError, ProbeError) as exc:
            work.notes.append(f"no causal check: {exc}")
            return None
        layer = candidate.layer
    if not isinstance(fitted, LinearProbe):
        work.notes.append(f"no causal check: a probe of the kind {fitted.kind} has no direction")
        return None
    _, first = np.unique(task.groups[held], return_index=True)
    rows = np.random.default_rng(work.seed).permutation(held[first])[: work.effort.causal_texts]
    how = fitted.pooling.name if fitted.pooling.of_activations else "mean"
    try:
        spread = float((surveyed.features.pooled[layer, how] @ fitted.direction).std())
        return causal.causal(
            judged.model,
            [judged.dataset.rows[row].text for row in rows],
            direction=fitted.direction,
            layer=layer,
            deviation=spread,
            question=judged.question,
            randoms=work.effort.randoms,
            seed=work.seed,
            told=work.told,
        )
    except ProbeError as exc:
        work.notes.append(f"no causal check: {exc}")
        return None


def chosen(probe: Refitted | Given) -> tuple[str, ...]:
    """What was chosen in the fits of the probe, each with how often, the most frequent first."""
    if isinstance(probe, Given):
        return ()
    counts: dict[str, int] = {}
    for _, one in probe.fits.values():
        hyper = ", ".join(f"{name} {value}" for name, value in one.all_hyper.items())
        said = f"layer {one.layer}, {one.kind} ({hyper}), {one.pooling}"
        counts[said] = counts.get(said, 0) + 1
    return tuple(f"{said}: {count}" for said, count in sorted(counts.items(), key=lambda item: -item[1]))
