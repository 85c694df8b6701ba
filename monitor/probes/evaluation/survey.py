"""One forward pass over all texts, for everything that the evaluation takes from activations: pooled layers, the embedding,
log probabilities, norms. Kept on disk by content, so that the next evaluation of the same texts reads and does not compute.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.probes.cache import remembered
from monitor.probes.capture import capture
from monitor.probes.features import Features
from monitor.probes.pooling import Pooling, pool_activations, probed, probed_positions
from monitor.probes.words import Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.probes.local_model import LocalModel
    from monitor.probes.words import Activations, Array, ModelFacts, TokenText


_POOLED = (Pooling("last"), Pooling("mean"))


@dataclass(frozen=True, slots=True)
class Survey:
    """What was taken of every text. Only tokens that are probed count (``pooling.probed_positions``).

    ``features`` has the pooled activations, layer 0 among them. ``logprob`` is the mean natural log probability of a text's
    tokens, in nats, ``norm`` maps a layer to the mean Euclidean norm of its activations, ``tokens`` counts: each of shape
    (texts,).
    """

    features: Features
    logprob: Array
    norm: Mapping[int, Array]
    tokens: Array

    @property
    def embedding(self) -> Array:
        """The mean of layer 0, shape (texts, width)."""
        return self.features.pooled[0, "mean"]


def survey(
    model: LocalModel,
    texts: Sequence[TokenText],
    *,
    layers: Sequence[int],
    surface: Surface = Surface.TEXT,
    on_progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Read every text once.

    Args:
        model: The model.
        texts: As the model reads them.
        layers: Which layers are pooled; layer 0 always is.
        surface: Which tokens.
        on_progress: Told how many texts are done, of how many; not called where all is remembered.

    Raises:
        ProbeError: a text has no token of the surface, or does not fit into the model.
    """
    wanted = sorted({0, *layers})

    def reduce(activations: Activations) -> dict[str, Array]:
        at = probed_positions(activations, surface)
        found: dict[str, Array] = {}
        norms = []
        for k in wanted:
            acts = probed(activations, k, surface)
            found |= {f"{k} {how}": pool_activations(acts, how) for how in _POOLED}
            norms.append(float(np.linalg.norm(acts, axis=1).mean()))
        assert activations.logprobs is not None
        known = activations.logprobs[at]
        said = float(np.nanmean(known)) if np.isfinite(known).any() else 0.0
        return {**found, "numbers": np.array([said, len(at), *norms], dtype=np.float32)}

    def make() -> dict[str, Array]:
        rows = capture(model, texts, layers=wanted, reduce=reduce, logprobs=True, on_progress=on_progress)
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    key: dict[str, Any] = {"what": "survey 1", "layers": wanted, "surface": surface.value, "device": model.device.type}
    arrays = remembered({**key, **of_model(model.facts), "texts": digest(texts)}, make)
    numbers = arrays["numbers"]
    return Survey(
        Features({(k, str(how)): arrays[f"{k} {how}"] for k in wanted for how in _POOLED}),
        logprob=numbers[:, 0],
        norm={k: numbers[:, 2 + place] for place, k in enumerate(wanted)},
        tokens=numbers[:, 1],
    )


def of_model(facts: ModelFacts) -> dict[str, str]:
    """What of a model its activations depend on, for a key of the cache."""
    return {f"model {name}": str(value) for name, value in asdict(facts).items() if name != "name"}


def digest(texts: Sequence[TokenText]) -> str:
    """SHA-256 (hex) of the ids of the texts, and of what each token belongs to, in order."""
    found = hashlib.sha256()
    for text in texts:
        found.update(np.array(text.ids, dtype=np.int64).tobytes())
        found.update(
            "".join(token.surface.value[0] if token.surface else "-" for token in text.tokens).encode() + b"\n"
        )
    return found.hexdigest()
