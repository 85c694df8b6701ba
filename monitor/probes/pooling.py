"""From the tokens of a text to one number: which tokens, and how they are pooled.

With s_0 … s_{n-1} the scores of the n tokens that are probed:

last                  s_{n-1}
mean                  (s_0 + … + s_{n-1}) / n
max                   the largest s_t
rolling_mean_max(w)   the largest mean of w tokens in a row; of all n tokens where n < w
ema(h)                the largest e_t, where e_0 = s_0 and e_t = α s_t + (1-α) e_{t-1}, α = 1 - 2^(-1/h): a token's weight
                      is halved with every h tokens after it

``last`` and ``mean`` are linear: for a linear probe, pooling activations and then scoring gives the same as scoring tokens
and then pooling, so activations are pooled, once for all probes. The other three only exist for scores. Rolling means and
exponential averages of token scores are how probes were made fit for long texts in Cunningham et al., "Constitutional
Classifiers++" (2026), and Kramár et al., "Building Production-Ready Probes for Gemini" (2026).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
import re2

from monitor.errors import ProbeError

if TYPE_CHECKING:
    from monitor.probes.words import Activations, Array, Surface

__all__ = ["Pooling", "PoolingName", "pool_activations", "pool_scores", "probed", "probed_positions"]

PoolingName: TypeAlias = Literal["last", "mean", "max", "rolling_mean_max", "ema", "attention"]
_LINEAR = {"last", "mean"}
_WRITTEN = re2.compile(
    r"(last|mean|max|attention|rolling_mean_max\(([0-9]{1,6})\)|ema\(([0-9]{1,6}(?:\.[0-9]{1,6})?)\))"
)


@dataclass(frozen=True, slots=True)
class Pooling:
    """How tokens are pooled. ``window`` (tokens) is for ``rolling_mean_max``, ``halflife`` (tokens) for ``ema``.

    ``attention`` is the pooling of the attention probe, which learns its own weights.
    """

    name: PoolingName = "last"
    window: int = 0
    halflife: float = 0.0

    def __post_init__(self) -> None:
        if self.name == "rolling_mean_max" and self.window < 1:
            raise ProbeError(f"rolling_mean_max needs a window of 1 token or more, found {self.window}")
        if self.name == "ema" and not self.halflife > 0:
            raise ProbeError(f"ema needs a half-life of more than 0 tokens, found {self.halflife}")

    @classmethod
    def parse(cls, written: str) -> Pooling:
        """Read ``last``, ``mean``, ``max``, ``rolling_mean_max(8)``, ``ema(4)`` or ``attention``. Raises ProbeError."""
        found = _WRITTEN.fullmatch(written.replace(" ", ""))
        if not found:
            raise ProbeError(
                f"no pooling {written[:80]!r}; known: last, mean, max, rolling_mean_max(WINDOW), ema(HALFLIFE), attention"
            )
        name = cast("PoolingName", found[1].partition("(")[0])
        return cls(name, window=int(found[2] or 0), halflife=float(found[3] or 0))

    @property
    def of_activations(self) -> bool:
        """Whether it pools activations, so that one vector stands for a text."""
        return self.name in _LINEAR

    def __str__(self) -> str:
        if self.name == "rolling_mean_max":
            return f"{self.name}({self.window})"
        return f"{self.name}({self.halflife:g})" if self.name == "ema" else self.name


def probed_positions(activations: Activations, surface: Surface) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Which tokens of the text are probed: those of ``surface``, without the very first token that the model reads.

    A model's first token is an attention sink: its activations are a hundred times as large as all others and say nothing
    of the text (Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023), so that its score would be
    the maximum of every text or of none. It is probed only where it is the only one. Shape (probed,), ascending.
    """
    positions = np.flatnonzero(activations.text.mask(surface))
    return positions[1:] if len(positions) > 1 and positions[0] == 0 else positions


def probed(activations: Activations, layer: int, surface: Surface) -> Array:
    """The activations that are probed, shape (probed, width).

    Raises:
        ProbeError: no token of the text belongs to ``surface``, or the layer was not captured.
    """
    if layer not in activations.layers:
        raise ProbeError(f"layer {layer} was not captured; there are: {sorted(activations.layers)}")
    positions = probed_positions(activations, surface)
    if not len(positions):
        raise ProbeError(f"the text has no token of the surface `{surface}`")
    found: Array = activations.layers[layer][positions]
    return found


def pool_activations(acts: Array, pooling: Pooling) -> Array:
    """Pool the activations of one text, shape (tokens, width), to one vector, shape (width,), float32.

    Raises:
        ProbeError: there are no tokens, or the pooling is not one of activations.
    """
    _require_tokens(acts)
    if pooling.name == "last":
        return np.asarray(acts[-1], dtype=np.float32)
    if pooling.name == "mean":
        return np.asarray(acts.mean(axis=0, dtype=np.float64), dtype=np.float32)
    raise ProbeError(f"{pooling} pools scores of tokens, not activations")


def pool_scores(scores: np.ndarray[Any, np.dtype[Any]], pooling: Pooling) -> float:
    """Pool the scores of one text's tokens, shape (tokens,), to one.

    Raises:
        ProbeError: there are no tokens, or the pooling is the attention probe's own.
    """
    _require_tokens(scores)
    s = np.asarray(scores, dtype=np.float64)
    match pooling.name:
        case "last":
            return float(s[-1])
        case "mean":
            return float(s.mean())
        case "max":
            return float(s.max())
        case "rolling_mean_max":
            window = min(pooling.window, len(s))
            sums = np.cumsum(np.concatenate(([0.0], s)))
            return float((sums[window:] - sums[:-window]).max() / window)
        case "ema":
            return _largest_average(s, pooling.halflife)
        case _:
            raise ProbeError("the attention probe pools by weights of its own, not by a rule")


def _largest_average(scores: np.ndarray[Any, np.dtype[np.float64]], halflife: float) -> float:
    keep = 2.0 ** (-1.0 / halflife)
    average = largest = float(scores[0])
    for score in scores[1:]:
        average = (1 - keep) * float(score) + keep * average
        largest = max(largest, average)
    return largest


def _require_tokens(values: np.ndarray[Any, np.dtype[Any]]) -> None:
    if len(values) == 0:
        raise ProbeError("a text without tokens cannot be pooled")
