"""The attention-pooling probe: it learns which tokens to look at, and what to read there.

With x_t the activations of token t, standardised by the training tokens' mean and deviation, and for each head h a query
q_h and a value v_h (both of the width):

    a_{h,t} = softmax over t of q_h·x_t        score = b + Σ_h Σ_t a_{h,t} (v_h·x_t)

A single-layer form of the probes of Kramár et al., "Building Production-Ready Probes for Gemini" (2026). With q = 0 it is a
linear probe on the mean. Fitted with torch, by Adam on the logistic loss; what was learned is applied by numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.errors import ProbeError
from monitor.probes.kinds import require_width
from monitor.probes.pooling import Pooling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.probes.words import Array

__all__ = ["AttentionProbe", "fit_attention"]

_BATCH = 64  # texts


@dataclass(frozen=True, slots=True, eq=False)
class AttentionProbe:
    """``queries`` and ``values``: (heads, width), float32, for activations as they are; ``offsets``: (heads,)."""

    queries: Array
    values: Array
    offsets: Array
    bias: float

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array]) -> AttentionProbe:
        """The probe again whose ``tensors()`` these are. Raises KeyError for names that are missing."""
        queries, values, offsets = (np.asarray(tensors[name], np.float32) for name in ("queries", "values", "offsets"))
        return cls(queries, values, offsets, float(tensors["bias"].reshape(-1)[0]))

    @property
    def kind(self) -> str:
        """Always ``attention``."""
        return "attention"

    @property
    def pooling(self) -> Pooling:
        """Its own."""
        return Pooling("attention")

    @property
    def width(self) -> int:
        """The size of the activations."""
        return int(self.queries.shape[1])

    def weights(self, acts: Array) -> Array:
        """How much each head looks at each token: (heads, tokens), each row summing to 1."""
        require_width(acts, self.width)
        logits = self.queries.astype(np.float64) @ acts.astype(np.float64).T
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), dtype=np.float32)

    def token_scores(self, acts: Array) -> Array:
        """What each token adds, times the number of tokens: their mean is the text's score. Shape (tokens,)."""
        shares = self._shares(acts)
        return np.asarray(shares * len(shares) + self.bias, dtype=np.float32)

    def score(self, acts: Array) -> float:
        """See ``kinds.Probe``."""
        return float(self._shares(acts).sum() + self.bias)

    def _shares(self, acts: Array) -> np.ndarray[Any, np.dtype[np.float64]]:
        if len(acts) == 0:
            raise ProbeError("a text without tokens cannot be pooled")
        read = self.values.astype(np.float64) @ acts.astype(np.float64).T + self.offsets.astype(np.float64)[:, None]
        shares: np.ndarray[Any, np.dtype[np.float64]] = (self.weights(acts) * read).sum(axis=0)
        return shares

    def tensors(self) -> dict[str, Array]:
        """See ``kinds.Probe``."""
        bias = np.array([self.bias], dtype=np.float32)
        return {"queries": self.queries, "values": self.values, "offsets": self.offsets, "bias": bias}


def fit_attention(
    texts: Sequence[Array],
    labels: np.ndarray[Any, np.dtype[np.bool_]],
    *,
    seed: int = 0,
    heads: int = 1,
    epochs: int = 60,
    learning_rate: float = 0.003,
    weight_decay: float = 0.01,
) -> AttentionProbe:
    """Fit on the activations of texts, (tokens, width) each; the same seed gives the same probe on one machine.

    Raises:
        ProbeError: there is a text without tokens, or the fit gave weights that are not finite.
    """
    import torch  # noqa: PLC0415 - takes seconds; only this kind needs it

    if any(len(text) == 0 for text in texts):
        raise ProbeError("a text without tokens cannot be pooled")
    every = np.concatenate(texts).astype(np.float64)
    mean, deviation = every.mean(axis=0), every.std(axis=0)
    deviation[deviation < 1e-12] = 1.0
    inputs = [torch.tensor((text - mean) / deviation, dtype=torch.float32) for text in texts]
    targets = torch.tensor(np.asarray(labels), dtype=torch.float32)
    width, drawn = every.shape[1], torch.Generator().manual_seed(seed)
    queries = torch.zeros(heads, width)
    values = (torch.randn(heads, width, generator=drawn) * 0.01).requires_grad_()
    if heads > 1:  # heads that begin alike stay alike
        queries = torch.randn(heads, width, generator=drawn) * 0.01
    queries.requires_grad_()
    bias = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.AdamW([queries, values, bias], lr=learning_rate, weight_decay=weight_decay)
    for _ in range(epochs):
        order = torch.randperm(len(inputs), generator=drawn)
        for start in range(0, len(inputs), _BATCH):
            rows = order[start : start + _BATCH].tolist()
            scores = _scores([inputs[row] for row in rows], queries, values) + bias
            loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, targets[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
            optimiser.step()
    return _folded(queries.detach().double().numpy(), values.detach().double().numpy(), bias.item(), mean, deviation)


def _scores(batch: list[Any], queries: Any, values: Any) -> Any:
    """Scores of a batch of (tokens, width), without the bias."""
    import torch  # noqa: PLC0415 - as above

    padded = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)
    lengths = torch.tensor([len(text) for text in batch])
    is_padding = torch.arange(padded.shape[1])[None, :] >= lengths[:, None]
    logits = (padded @ queries.T).masked_fill(is_padding[:, :, None], float("-inf"))
    return (torch.softmax(logits, dim=1) * (padded @ values.T)).sum(dim=(1, 2))


def _folded(queries: Any, values: Any, bias: float, mean: Any, deviation: Any) -> AttentionProbe:
    """The probe of activations as they are. What a query's share of the mean adds is the same for all tokens: no matter."""
    parts = (queries / deviation, values / deviation, -(values / deviation) @ mean)
    q, v, offsets = (np.asarray(part, dtype=np.float32) for part in parts)
    if not all(np.isfinite(part).all() for part in (q, v, offsets)):
        raise ProbeError("the fit of the attention probe gave weights that are not finite; use a lower learning rate")
    return AttentionProbe(q, v, offsets, float(np.float32(bias)))
