"""The kinds of probes that learn from labels. A higher score always means: more like label True.

difference_of_means   w = μ₁ - μ₀, the means of both labels (Marks & Tegmark, "The Geometry of Truth", 2023); with
                      ``standardise`` each dimension is divided by its standard deviation first
logistic_regression   scikit-learn's, L2 with inverse strength ``C``
lda                   Fisher's linear discriminant, w = Σ⁻¹(μ₁ - μ₀), with a pooled covariance that is shrunk towards the
                      identity by ``shrinkage``: ``auto`` is Ledoit and Wolf's share
attention             weights over the tokens that are learned, see ``attention``

The first three are linear: a score is w·x + b. What their fit standardises, it standardises by the mean and the deviation
of the rows that it is given, so that nothing of a test part leaks into a fit; and it is folded into w and b, so that a
probe is applied to activations as they are.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast, get_args

import numpy as np

from monitor.errors import ProbeError
from monitor.probes.pooling import Pooling, pool_activations, pool_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from monitor.probes.words import Array

__all__ = ["DEFAULTS", "LINEAR", "Kind", "LinearProbe", "Probe", "fit", "fit_linear"]

Kind: TypeAlias = Literal["difference_of_means", "logistic_regression", "lda", "attention"]
LINEAR = ("difference_of_means", "logistic_regression", "lda")
Vector: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Bools: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

DEFAULTS: dict[str, dict[str, Any]] = {
    "difference_of_means": {"standardise": False},
    "logistic_regression": {"C": 0.01},
    "lda": {"shrinkage": "auto"},
    "attention": {"heads": 1, "epochs": 60, "learning_rate": 0.003, "weight_decay": 0.01},
}


class Probe(Protocol):
    """What scores the activations of one text at one layer."""

    @property
    def kind(self) -> str:
        """The kind, as the sidecar names it."""

    @property
    def pooling(self) -> Pooling:
        """How token scores, or activations, become one score."""

    @property
    def width(self) -> int:
        """The size of the activations that it takes."""

    def token_scores(self, acts: Array) -> Array:
        """The score of each token: (tokens, width) to (tokens,). Raises ProbeError for another shape."""

    def score(self, acts: Array) -> float:
        """The score of the text: from (tokens, width). Raises ProbeError for another shape, or no tokens."""

    def tensors(self) -> dict[str, Array]:
        """All that was learned, float32, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """w·x + b, pooled. ``weights`` has shape (width,), float32; b is ``bias``."""

    kind: str
    pooling: Pooling
    weights: Array
    bias: float

    @classmethod
    def from_tensors(cls, kind: str, pooling: Pooling, tensors: Mapping[str, Array]) -> LinearProbe:
        """The probe again whose ``tensors()`` these are. Raises KeyError for names that are missing."""
        return cls(
            kind, pooling, np.asarray(tensors["weights"], dtype=np.float32), float(tensors["bias"].reshape(-1)[0])
        )

    @property
    def width(self) -> int:
        """The size of the activations."""
        return int(self.weights.shape[0])

    @property
    def direction(self) -> Array:
        """The unit vector along which the score grows, in the space of activations. Shape (width,), float32.

        Raises:
            ProbeError: the probe has no direction, for all of its weights are 0.
        """
        norm = float(np.linalg.norm(self.weights.astype(np.float64)))
        if norm == 0:
            raise ProbeError("the probe has no direction: all of its weights are 0")
        return np.asarray(self.weights / norm, dtype=np.float32)

    def score_pooled(self, pooled: Array) -> Vector:
        """Scores of texts whose activations were pooled before: (rows, width) to (rows,), float64."""
        require_width(pooled, self.width)
        return cast("Vector", pooled.astype(np.float64) @ self.weights.astype(np.float64) + self.bias)

    def token_scores(self, acts: Array) -> Array:
        """See ``Probe``."""
        return np.asarray(self.score_pooled(acts), dtype=np.float32)

    def score(self, acts: Array) -> float:
        """See ``Probe``."""
        require_width(acts, self.width)
        if self.pooling.of_activations:
            return float(self.score_pooled(pool_activations(acts, self.pooling)[None])[0])
        return pool_scores(self.score_pooled(acts), self.pooling)

    def tensors(self) -> dict[str, Array]:
        """See ``Probe``."""
        return {"weights": self.weights, "bias": np.array([self.bias], dtype=np.float32)}


def fit(
    kind: Kind,
    texts: Array | Sequence[Array],
    labels: Bools,
    *,
    pooling: Pooling,
    seed: int = 0,
    hyper: Mapping[str, Any] | None = None,
) -> Probe:
    """Fit a probe of ``kind``.

    Args:
        kind: The kind.
        texts: For a linear kind, one pooled vector for each text: (rows, width). The weights of a probe that pools scores
            (``max``, ``rolling_mean_max``, ``ema``) are fitted on means. For ``attention``: (tokens, width) of each text.
        labels: Shape (rows,), with both classes in it.
        pooling: How the probe pools.
        seed: For what is drawn (the attention probe's batches and first weights).
        hyper: Over ``DEFAULTS[kind]``.

    Raises:
        ProbeError: one class is missing, shapes do not fit, a hyper-parameter is unknown, or a value is not finite.
    """
    if kind == "attention":
        from monitor.probes.attention import fit_attention  # noqa: PLC0415 - the only kind that needs torch

        _require_both(labels, len(texts))
        return fit_attention(list(texts), labels, seed=seed, **with_defaults(kind, hyper))
    return fit_linear(kind, np.asarray(texts), labels, pooling=pooling, hyper=hyper)


def fit_linear(
    kind: str, pooled: Array, labels: Bools, *, pooling: Pooling, hyper: Mapping[str, Any] | None = None
) -> LinearProbe:
    """Fit a linear probe on one vector for each text; as ``fit``."""
    if kind not in _FITS:
        raise ProbeError(f"no linear kind {kind!r}; known: {', '.join(_FITS)}")
    if pooled.ndim != 2 or not np.isfinite(pooled).all():
        raise ProbeError(f"expected finite activations of shape (rows, width), found shape {pooled.shape}")
    _require_both(labels, len(pooled))
    y = np.asarray(labels, dtype=bool)
    with one_thread():
        w, b = _FITS[kind](pooled.astype(np.float64), y, **with_defaults(kind, hyper))
    weights = np.asarray(w, dtype=np.float32)
    if not np.isfinite(weights).all() or not np.isfinite(b):
        raise ProbeError(f"the fit of {kind} gave weights that are not finite; standardise, or regularise more")
    return LinearProbe(kind, pooling, weights, float(np.float32(b)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let linear algebra run on one thread.

    A fit on some thousand rows is too small to share: beside other work, threads that wait for each other made one twenty
    times as slow. And sums are then taken in the same order on any number of cores.
    """
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - comes with scikit-learn, as what it limits

    with threadpool_limits(limits=1):
        yield


def with_defaults(kind: str, hyper: Mapping[str, Any] | None) -> dict[str, Any]:
    """The hyper-parameters of a fit, all of them. Raises ProbeError for unknown ones."""
    known = DEFAULTS[kind]
    for name in hyper or {}:
        if name not in known:
            raise ProbeError(f"{kind} has no hyper-parameter {name!r}; known: {', '.join(known)}")
    return {**known, **(hyper or {})}


def require_width(acts: Array, width: int) -> None:
    """Raise ProbeError unless ``acts`` has the shape (tokens, width)."""
    if acts.ndim != 2 or acts.shape[1] != width:
        raise ProbeError(f"expected activations of shape (tokens, {width}), found {acts.shape}")


def _require_both(labels: Bools, rows: int) -> None:
    y = np.asarray(labels, dtype=bool)
    if len(y) != rows:
        raise ProbeError(f"expected a label for each text, found {len(y)} labels and {rows} texts")
    if not y.any() or y.all():
        raise ProbeError("expected texts of both labels to fit on, found one label only")


def _moments(x: Vector) -> tuple[Vector, Vector]:
    """Mean and standard deviation of each dimension; a deviation of 0 counts as 1. Shapes (width,)."""
    deviation = x.std(axis=0)
    deviation[deviation < 1e-12] = 1.0
    return x.mean(axis=0), deviation


def _unstandardised(w: Vector, b: float, mean: Vector, deviation: Vector) -> tuple[Vector, float]:
    """w·((x - mean) / deviation) + b, as a function of x."""
    folded = w / deviation
    return folded, b - float(folded @ mean)


def _difference_of_means(x: Vector, y: Bools, *, standardise: bool) -> tuple[Vector, float]:
    mean, deviation = _moments(x) if standardise else (np.zeros(x.shape[1]), np.ones(x.shape[1]))
    z = (x - mean) / deviation
    positive, negative = z[y].mean(axis=0), z[~y].mean(axis=0)
    w = positive - negative
    return _unstandardised(w, -float(w @ (positive + negative)) / 2, mean, deviation)


def _logistic_regression(x: Vector, y: Bools, *, C: float) -> tuple[Vector, float]:  # noqa: N803 - scikit-learn's name
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - takes a second; loading a probe needs none

    mean, deviation = _moments(x)
    model = LogisticRegression(C=C, max_iter=5_000, tol=1e-5).fit((x - mean) / deviation, y)
    return _unstandardised(model.coef_[0], float(model.intercept_[0]), mean, deviation)


def _lda(x: Vector, y: Bools, *, shrinkage: float | str | None) -> tuple[Vector, float]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # noqa: PLC0415 - as above

    mean, deviation = _moments(x)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit((x - mean) / deviation, y)
    return _unstandardised(model.coef_[0], float(model.intercept_[0]), mean, deviation)


_FITS: dict[str, Callable[..., tuple[Vector, float]]] = {
    "difference_of_means": _difference_of_means,
    "logistic_regression": _logistic_regression,
    "lda": _lda,
}
assert set(get_args(Kind)) == {*_FITS, "attention"} == set(DEFAULTS)
