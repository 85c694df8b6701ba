"""Candidates for a probe, fitted and compared on features: for training, and for judging how a probe was trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from monitor.errors import ProbeError
from monitor.probes import kinds, novelty
from monitor.probes.kinds import LinearProbe
from monitor.probes.metrics import auroc
from monitor.probes.novelty import MahalanobisProbe, NearestProbe
from monitor.probes.splits import grouped_folds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.probes.features import Features
    from monitor.probes.kinds import Probe
    from monitor.probes.pooling import Pooling
    from monitor.probes.sidecar import KindName
    from monitor.probes.splits import Indices

__all__ = ["Candidate", "Choice", "choose", "fit_candidate", "score_rows"]

Bools: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
Vector: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a probe might be."""

    layer: int
    kind: KindName
    pooling: Pooling
    hyper: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_tokens(self) -> bool:
        """Whether it needs the activations of single tokens."""
        return self.kind == "attention" or not self.pooling.of_activations

    @property
    def all_hyper(self) -> dict[str, Any]:
        """Its hyper-parameters with the defaults."""
        return {**(kinds.DEFAULTS | novelty.DEFAULTS)[self.kind], **self.hyper}


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate with its mean AUROC over the folds, and that of each; None where there was nothing to choose by."""

    candidate: Candidate
    auroc: float | None
    folds: tuple[float, ...] = ()


def fit_candidate(candidate: Candidate, found: Features, labels: Bools, rows: Indices, *, seed: int = 0) -> Probe:
    """Fit a candidate on ``rows``; kinds of novelty take those of label False alone.

    Raises:
        ProbeError: as ``kinds.fit`` and ``novelty.fit_novelty``.
    """
    if candidate.kind == "attention":
        texts = [found.tokens[candidate.layer][row] for row in rows]
        return kinds.fit("attention", texts, labels[rows], pooling=candidate.pooling, seed=seed, hyper=candidate.hyper)
    vectors = found.pooled[candidate.layer, candidate.pooling.name if candidate.pooling.of_activations else "mean"]
    if candidate.kind == "mahalanobis" or candidate.kind == "nearest":  # noqa: PLR1714 - mypy narrows no set
        benign = rows[~labels[rows]]
        return novelty.fit_novelty(candidate.kind, vectors[benign], pooling=candidate.pooling, hyper=candidate.hyper)
    return kinds.fit(candidate.kind, vectors[rows], labels[rows], pooling=candidate.pooling, hyper=candidate.hyper)


def score_rows(probe: Probe, layer: int, found: Features, rows: Indices) -> Vector:
    """The scores of ``rows``, shape (rows,)."""
    if probe.pooling.of_activations and isinstance(probe, (LinearProbe, MahalanobisProbe, NearestProbe)):
        return probe.score_pooled(found.pooled[layer, probe.pooling.name][rows])
    return np.array([probe.score(found.tokens[layer][row]) for row in rows], dtype=np.float64)


def choose(
    found: Features,
    labels: Bools,
    groups: Sequence[str],
    candidates: Sequence[Candidate],
    *,
    rows: Indices,
    folds: int = 5,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Choice]:
    """Compare candidates within ``rows`` by grouped folds; the best first, of equals the first that was named.

    A single candidate is not compared where there is no label to judge it by.

    Raises:
        ProbeDataError: the groups allow no folds.
        ProbeError: there are several candidates, and no texts of label True to choose by; or a fit failed.
    """
    y = labels[rows]
    if not y.any():
        if len(candidates) != 1:
            raise ProbeError(
                f"{len(candidates)} candidates, and no texts of label True to choose by: name one layer and kind"
            )
        return [Choice(candidates[0], None)]
    parts = grouped_folds(y, [groups[row] for row in rows], folds=folds, seed=seed)
    choices = []
    for number, candidate in enumerate(candidates):
        scored = []
        for part in parts:
            probe = fit_candidate(candidate, found, labels, rows[part.train], seed=seed)
            test = rows[part.test]
            scored.append(auroc(score_rows(probe, candidate.layer, found, test), labels[test]))
        choices.append(Choice(candidate, float(np.mean(scored)), tuple(scored)))
        if on_progress:
            on_progress(number + 1, len(candidates))
    return sorted(choices, key=lambda choice: -(choice.auroc or 0.0))
