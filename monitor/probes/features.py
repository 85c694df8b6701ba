"""The activations of a data set, as probes are fitted on them: read once, pooled, and kept on disk by content.

Both linear poolings are kept for every layer that is asked for: capturing costs a forward pass, the second pooling nothing.
Activations of single tokens are kept only for the layers of probes that need them, for they are many times as large.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.errors import ProbeError
from monitor.probes.pooling import Pooling, pool_activations, probed
from monitor.probes.words import Surface
from monitor.records import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.probes.local_model import LocalModel
    from monitor.probes.words import Activations, Array, Dataset, Format, TokenText

__all__ = ["Features", "Reading", "features", "read_text"]

MAX_TOKEN_BYTES = 3_000_000_000
_POOLED = (Pooling("last"), Pooling("mean"))


@dataclass(frozen=True, slots=True)
class Reading:
    """How texts are put before the model. ``max_tokens`` is the most that is read of one, its context included."""

    surface: Surface = Surface.TEXT
    format: Format = "plain"
    max_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Features:
    """Activations of the rows of a data set, in their order.

    ``pooled`` maps (layer, ``last`` or ``mean``) to an array of shape (rows, width). ``tokens`` maps a layer to one array
    of shape (tokens, width) for each row. ``unread`` counts the rows of which not all was read.
    """

    pooled: Mapping[tuple[int, str], Array]
    tokens: Mapping[int, Sequence[Array]] = field(default_factory=dict)
    unread: int = 0


def read_text(model: LocalModel, text: str, context: str, reading: Reading) -> TokenText:
    """One text as the model reads it: alone; or in its chat template, as what it was asked (``prompt``), thought
    (``reasoning``) or answered (``output``), after the ``context`` as the user's message, empty where there is none.

    Raises:
        ProbeError: the surface has no place in a chat, or the model has no chat template.
    """
    from monitor.probes import reading as readers  # noqa: PLC0415 - imports torch

    if reading.format == "plain":
        return readers.read_plain(model, text, reading.surface, max_tokens=reading.max_tokens)
    said = [Message(role="user", content=context)]
    match reading.surface:
        case Surface.PROMPT:
            if context:
                raise ProbeError("a prompt has no context: nothing comes before what a model is asked")
            return readers.read_chat(model, [Message(role="user", content=text)], max_tokens=reading.max_tokens)
        case Surface.REASONING:
            return readers.read_chat(model, said, reasoning=text, max_tokens=reading.max_tokens)
        case Surface.OUTPUT:
            return readers.read_chat(model, said, output=text, max_tokens=reading.max_tokens)
        case _:
            raise ProbeError(
                f"a text of the surface `{reading.surface}` has no place in a chat; read it in the format plain"
            )


def features(
    model: LocalModel,
    dataset: Dataset,
    reading: Reading,
    *,
    layers: Sequence[int],
    token_layers: Sequence[int] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Features:
    """Capture the activations of a data set, or take them from the cache, where the very same token ids were read before.

    Args:
        model: The model.
        dataset: Its rows.
        reading: How they are read.
        layers: Numbers of the layers to pool.
        token_layers: Numbers of the layers of which single tokens are wanted.
        on_progress: Is told how many texts are done, of how many.

    Raises:
        ProbeError: no token of a text's surface was read, or the activations of single tokens would take too much memory.
    """
    from monitor.probes.cache import remembered  # noqa: PLC0415 - imports safetensors

    texts = [read_text(model, row.text, row.context, reading) for row in dataset.rows]
    wanted, single = sorted(set(layers)), sorted(set(token_layers))
    _require_surface(texts, dataset, reading)
    _require_memory(texts, reading.surface, len(single) * model.facts.width * 4)
    key: dict[str, Any] = {
        "what": "features/1",
        "weights": model.facts.weights,
        "quantisation": model.facts.quantisation,
        "dtype": model.facts.dtype,
        "device": model.device.type,
        "texts": _hash(texts, reading.surface),
        "layers": wanted,
        "tokens": single,
    }
    arrays = remembered(key, lambda: _captured(model, texts, reading.surface, (wanted, single), on_progress))
    pooled = {(layer, str(how)): arrays[f"{layer}.{how}"] for layer in wanted for how in _POOLED}
    tokens = {layer: _parted(arrays[f"{layer}.tokens"], arrays["lengths"]) for layer in single}
    return Features(pooled, tokens, unread=sum(text.unread > 0 for text in texts))


def _captured(
    model: LocalModel,
    texts: Sequence[TokenText],
    surface: Surface,
    which: tuple[Sequence[int], Sequence[int]],
    on_progress: Callable[[int, int], None] | None,
) -> dict[str, Array]:
    from monitor.probes.capture import capture  # noqa: PLC0415 - imports torch

    layers, single = which

    def reduce(activations: Activations) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for layer in layers:
            acts = probed(activations, layer, surface)
            found |= {f"{layer}.{how}": pool_activations(acts, how) for how in _POOLED}
        return found | {f"{layer}.tokens": probed(activations, layer, surface) for layer in single}

    every = sorted({*layers, *single})
    rows = capture(model, texts, layers=every, reduce=reduce, on_progress=on_progress)
    arrays = {
        f"{layer}.{how}": np.stack([row[f"{layer}.{how}"] for row in rows]) for layer in layers for how in _POOLED
    }
    for layer in single:
        arrays[f"{layer}.tokens"] = np.concatenate([row[f"{layer}.tokens"] for row in rows])
        lengths = np.array([len(row[f"{layer}.tokens"]) for row in rows], dtype=np.float32)
        arrays["lengths"] = lengths  # whole numbers below 2^24, which float32 holds exactly
    return arrays


def _parted(tokens: Array, lengths: Array) -> list[Array]:
    return list(np.split(tokens, np.cumsum(lengths.astype(np.int64))[:-1]))


def _hash(texts: Sequence[TokenText], surface: Surface) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(np.array([len(text.tokens), *text.ids], dtype="<i8").tobytes())
        digest.update(text.mask(surface).tobytes())
    return digest.hexdigest()


def _require_surface(texts: Sequence[TokenText], dataset: Dataset, reading: Reading) -> None:
    for number, (text, row) in enumerate(zip(texts, dataset.rows, strict=True), 1):
        if not text.mask(reading.surface).any():
            why = f"; its context alone has {reading.max_tokens} tokens, raise max_tokens" if text.unread else ""
            said = f"text {number} of {len(texts)} ({row.text[:60]!r})"
            raise ProbeError(f"{said} has no token of the surface `{reading.surface}` to probe{why}")


def _require_memory(texts: Sequence[TokenText], surface: Surface, bytes_per_token: int) -> None:
    needed = bytes_per_token * sum(int(text.mask(surface).sum()) for text in texts) if bytes_per_token else 0
    if needed > MAX_TOKEN_BYTES:
        raise ProbeError(
            f"the activations of single tokens would take {needed / 1e9:.1f} GB, of at most {MAX_TOKEN_BYTES / 1e9:g}; "
            "name fewer layers, a lower max_tokens, or only the poolings `last` and `mean`"
        )
