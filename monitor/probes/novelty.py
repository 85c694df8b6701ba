"""Novelty without labels: how far a text's activations are from the harmless texts of one role.

A bounded role does one thing, so its harmless answers fill a small part of the space of activations; what is far from all
of them is not what the role is for, whatever it is. A higher score means: further away. Whether a role's own normal is in
fact narrower than that of all roles together is measured in docs/measurements.md, by bench/probe_novelty.py.

mahalanobis   √((x - μ)ᵀ Σ⁻¹ (x - μ)), Σ shrunk by the share of Ledoit and Wolf, "A well-conditioned estimator for
              large-dimensional covariance matrices" (2004)
nearest       the mean Euclidean distance to the k nearest harmless texts, each dimension divided by its deviation
              (Ramaswamy, Rastogi & Shim, "Efficient algorithms for mining outliers from large data sets", 2000, with the
              mean of k distances for the k-th)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from monitor.errors import ProbeError
from monitor.probes.kinds import one_thread, require_width
from monitor.probes.pooling import Pooling, pool_activations, pool_scores

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.probes.words import Array

__all__ = ["DEFAULTS", "MahalanobisProbe", "NearestProbe", "NoveltyKind", "fit_novelty"]

NoveltyKind: TypeAlias = Literal["mahalanobis", "nearest"]
Vector: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
DEFAULTS: dict[str, dict[str, Any]] = {"mahalanobis": {}, "nearest": {"k": 5}}
MAX_NEIGHBOURS = 5_000  # harmless texts that an artefact keeps


@dataclass(frozen=True, slots=True, eq=False)
class MahalanobisProbe:
    """``mean``: (width,); ``precision``, the inverse covariance: (width, width); both float32."""

    pooling: Pooling
    mean: Array
    precision: Array

    @classmethod
    def from_tensors(cls, pooling: Pooling, tensors: Mapping[str, Array]) -> MahalanobisProbe:
        """The probe again whose ``tensors()`` these are. Raises KeyError for names that are missing."""
        mean, precision = (np.asarray(tensors[name], dtype=np.float32) for name in ("mean", "precision"))
        return cls(pooling, mean, precision)

    @property
    def kind(self) -> str:
        """Always ``mahalanobis``."""
        return "mahalanobis"

    @property
    def width(self) -> int:
        """The size of the activations."""
        return int(self.mean.shape[0])

    def score_pooled(self, pooled: Array) -> Vector:
        """Distances of pooled vectors: (rows, width) to (rows,)."""
        require_width(pooled, self.width)
        away = pooled.astype(np.float64) - self.mean
        squared = np.einsum("rw,wv,rv->r", away, self.precision.astype(np.float64), away, optimize=True)
        distances: Vector = np.sqrt(np.maximum(squared, 0.0))
        return distances

    def token_scores(self, acts: Array) -> Array:
        """See ``kinds.Probe``. A token's distance from what is normal for whole texts; only to be looked at."""
        return np.asarray(self.score_pooled(acts), dtype=np.float32)

    def score(self, acts: Array) -> float:
        """See ``kinds.Probe``."""
        return _score(self, acts)

    def tensors(self) -> dict[str, Array]:
        """See ``kinds.Probe``."""
        return {"mean": self.mean, "precision": self.precision}


@dataclass(frozen=True, slots=True, eq=False)
class NearestProbe:
    """``neighbours``: harmless texts, (rows, width), divided by ``deviation``, (width,); both float32."""

    pooling: Pooling
    neighbours: Array
    deviation: Array
    k: int

    @classmethod
    def from_tensors(cls, pooling: Pooling, tensors: Mapping[str, Array]) -> NearestProbe:
        """The probe again whose ``tensors()`` these are. Raises KeyError for names that are missing."""
        neighbours, deviation = (np.asarray(tensors[name], dtype=np.float32) for name in ("neighbours", "deviation"))
        return cls(pooling, neighbours, deviation, int(tensors["k"].reshape(-1)[0]))

    @property
    def kind(self) -> str:
        """Always ``nearest``."""
        return "nearest"

    @property
    def width(self) -> int:
        """The size of the activations."""
        return int(self.deviation.shape[0])

    def score_pooled(self, pooled: Array) -> Vector:
        """Mean distances to the k nearest, of pooled vectors: (rows, width) to (rows,)."""
        from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415 - takes a second; loading a probe needs none

        require_width(pooled, self.width)
        index = NearestNeighbors(n_neighbors=self.k, algorithm="brute").fit(self.neighbours.astype(np.float64))
        distances, _ = index.kneighbors(pooled.astype(np.float64) / self.deviation)
        means: Vector = distances.mean(axis=1)
        return means

    def token_scores(self, acts: Array) -> Array:
        """See ``MahalanobisProbe.token_scores``."""
        return np.asarray(self.score_pooled(acts), dtype=np.float32)

    def score(self, acts: Array) -> float:
        """See ``kinds.Probe``."""
        return _score(self, acts)

    def tensors(self) -> dict[str, Array]:
        """See ``kinds.Probe``."""
        k = np.array([self.k], dtype=np.float32)
        return {"neighbours": self.neighbours, "deviation": self.deviation, "k": k}


def fit_novelty(
    kind: NoveltyKind, benign: Array, *, pooling: Pooling, hyper: Mapping[str, Any] | None = None
) -> MahalanobisProbe | NearestProbe:
    """Fit what is normal on the pooled activations of harmless texts, shape (rows, width).

    ``nearest`` keeps the first ``MAX_NEIGHBOURS`` of them.

    Raises:
        ProbeError: too few texts, values that are not finite, or an unknown hyper-parameter.
    """
    given = {**DEFAULTS[kind], **(hyper or {})}
    if unknown := sorted(set(given) - set(DEFAULTS[kind])):
        raise ProbeError(f"{kind} has no hyper-parameter {unknown[0]!r}; known: {', '.join(DEFAULTS[kind]) or 'none'}")
    least = 2 if kind == "mahalanobis" else int(given["k"])
    if benign.ndim != 2 or len(benign) < least or not np.isfinite(benign).all():
        raise ProbeError(f"{kind} needs finite activations of {least} harmless texts at least, found {benign.shape}")
    x = benign.astype(np.float64)
    deviation = x.std(axis=0)
    deviation[deviation < 1e-12] = 1.0
    if kind == "nearest":
        kept = np.asarray(x[:MAX_NEIGHBOURS] / deviation, dtype=np.float32)
        return NearestProbe(pooling, kept, np.asarray(deviation, dtype=np.float32), k=int(given["k"]))
    from sklearn.covariance import LedoitWolf  # noqa: PLC0415 - takes a second; loading a probe needs none

    with one_thread():
        found = LedoitWolf().fit(x / deviation)
    precision = found.precision_ / np.outer(deviation, deviation)
    return MahalanobisProbe(
        pooling, np.asarray(x.mean(axis=0), dtype=np.float32), np.asarray(precision, dtype=np.float32)
    )


def _score(probe: MahalanobisProbe | NearestProbe, acts: Array) -> float:
    require_width(acts, probe.width)
    if probe.pooling.of_activations:
        return float(probe.score_pooled(pool_activations(acts, probe.pooling)[None])[0])
    return pool_scores(probe.score_pooled(acts), probe.pooling)
