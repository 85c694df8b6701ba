"""One forward pass over all texts, for everything that the evaluation takes from activations: pooled layers, the embedding,
log probabilities, norms. Kept on disk by content, so that the next evaluation of the same texts reads and does not compute.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from monitor.probes.cache import remembered
from monitor.probes.capture import capture
from monitor.probes.pooling import pool_activations, probed, probed_positions
from monitor.probes.words import Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.probes.local_model import LocalModel
    from monitor.probes.pooling import Pooling
    from monitor.probes.words import Activations, Array, ModelFacts, TokenText


@dataclass(frozen=True, slots=True)
class Survey:
    """What was taken of every text. Only tokens that are probed count (``pooling.probed_positions``).

    ``pooled`` maps a layer to its pooled activations, shape (texts, width). ``embedding`` is the mean of layer 0, shape
    (texts, width). ``logprob`` is the mean natural log probability of the tokens, in nats, ``norm`` maps a layer to the mean
    Euclidean norm of its activations, ``tokens`` counts: each of shape (texts,).
    """

    pooled: Mapping[int, Array]
    embedding: Array
    logprob: Array
    norm: Mapping[int, Array]
    tokens: Array


def survey(
    model: LocalModel,
    texts: Sequence[TokenText],
    *,
    layers: Sequence[int],
    pooling: Pooling,
    surface: Surface = Surface.TEXT,
    on_progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Read every text once.

    Args:
        model: The model.
        texts: As the model reads them.
        layers: Which layers are pooled.
        pooling: How; one that pools scores is stood for by the mean, as when such a probe is fitted.
        surface: Which tokens.
        on_progress: Told how many texts are done, of how many; not called where all is remembered.

    Raises:
        ProbeError: a text has no token of the surface, or does not fit into the model.
    """
    wanted = sorted({0, *layers})
    how = pooling if pooling.of_activations else type(pooling)("mean")

    def reduce(activations: Activations) -> dict[str, Array]:
        found = {f"pooled {k}": pool_activations(probed(activations, k, surface), how) for k in wanted}
        at = probed_positions(activations, surface)
        assert activations.logprobs is not None
        known = activations.logprobs[at]
        norms = [float(np.linalg.norm(activations.layers[k][at], axis=1).mean()) for k in wanted]
        found["embedding"] = probed(activations, 0, surface).mean(axis=0)
        said = float(np.nanmean(known)) if np.isfinite(known).any() else 0.0
        found["numbers"] = np.array([said, len(at), *norms], dtype=np.float32)
        return found

    def make() -> dict[str, Array]:
        rows = capture(model, texts, layers=wanted, reduce=reduce, logprobs=True, on_progress=on_progress)
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    key = {"what": "survey 1", "layers": wanted, "pooling": str(how), "surface": surface.value}
    arrays = remembered({**key, **of_model(model.facts), "texts": digest(texts)}, make)
    numbers = arrays["numbers"]
    return Survey(
        pooled={k: arrays[f"pooled {k}"] for k in layers},
        embedding=arrays["embedding"],
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
        found.update("".join(token.surface.value[0] if token.surface else "-" for token in text.tokens).encode() + b"\n")
    return found.hexdigest()
