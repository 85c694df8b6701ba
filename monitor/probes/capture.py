"""Activations of many texts: batches by length, a forward pass that ends at the deepest layer, one text's arrays at a time.

What a batch holds is reduced text by text and dropped, so that memory does not grow with their number beyond what
``reduce`` returns. A text's activations do not depend on the texts beside it, up to rounding: padding is on the right and
masked, so that positions count from the text's first token. In float32 the differences stay below 1e-4 of the largest
activation in the layer.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from monitor.errors import ProbeError
from monitor.probes.layers import decoder_blocks, tapped
from monitor.probes.words import Activations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from monitor.probes.local_model import LocalModel
    from monitor.probes.words import Array, TokenText

T = TypeVar("T")

_LOGITS = 1 << 26
"""The most logits that a batch may have, where log probabilities are wanted and more than one text is in it: 256 MiB."""


class DeepEnoughError(Exception):
    """Raised by our own hook in the deepest layer that is wanted: no block after it is run."""


@dataclass(slots=True)
class Tap:
    """What the hooks saw in one pass. ``deepest`` ends the pass; None lets it run to the logits."""

    deepest: int | None
    seen: dict[int, Tensor] = field(default_factory=dict)

    def __call__(self, k: int, stream: Tensor) -> None:
        """Take layer k's stream; raises DeepEnoughError in the deepest."""
        self.seen[k] = stream
        if k == self.deepest:
            raise DeepEnoughError


def capture(
    model: LocalModel,
    texts: Sequence[TokenText],
    *,
    layers: Sequence[int],
    reduce: Callable[[Activations], T],
    logprobs: bool = False,
    batch_tokens: int = 4096,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[T]:
    """Return what ``reduce`` makes of each text's activations, in the order of ``texts``.

    ``layers`` are numbers (see ``layers.resolve_layer``). A batch has at most ``batch_tokens`` tokens, padding counted, or
    one text; where a CUDA device has no room for it, it is halved, and so are those after it. With ``logprobs`` the pass
    runs to the end, and each text has the log probabilities of its tokens. An array that ``reduce`` returns (or a
    list, tuple or dict of arrays) is copied where it is a view, lest it keep a whole text's activations alive.
    ``on_progress`` is told how many texts are done, of how many.

    Raises:
        ProbeError: a layer is not in the model, a text is longer than its context, or one text alone does not fit.
    """
    _check(model, texts, layers)
    results: dict[int, T] = {}
    pending = _batches([len(text.tokens) for text in texts], _most(model, batch_tokens, logprobs=logprobs))
    while pending:
        batch = pending.pop()
        for index, activations in zip(batch, _tried(model, [texts[i] for i in batch], layers, logprobs), strict=False):
            results[index] = _owned(reduce(activations))
        left = [index for index in batch if index not in results]
        if left:  # no room: what is pending is cut in two as well, for it would not fit either
            if len(left) == 1:
                raise ProbeError(
                    f"a text of {len(texts[left[0]].tokens)} tokens does not fit into the memory of {model.device}; read "
                    "texts with a lower max_tokens, or load the model in bfloat16"
                )
            pending = [half for whole in [*pending, left] for half in _halves(whole)]
        elif on_progress:
            on_progress(len(results), len(texts))
    return [results[index] for index in range(len(texts))]


def capture_one(model: LocalModel, text: TokenText, *, layers: Sequence[int], logprobs: bool = False) -> Activations:
    """The activations of one text. Raises ProbeError, as ``capture``."""
    return capture(model, [text], layers=layers, reduce=lambda activations: activations, logprobs=logprobs)[0]


def _check(model: LocalModel, texts: Sequence[TokenText], layers: Sequence[int]) -> None:
    for k in layers:
        if not 0 <= k <= model.facts.layers:
            raise ProbeError(
                f"layer {k} is not in {model.facts.name}: expected 0 (the embedding) to {model.facts.layers}"
            )
    longest = max((len(text.tokens) for text in texts), default=0)
    if model.context_tokens and longest > model.context_tokens:
        raise ProbeError(
            f"a text of {longest} tokens is longer than the context of {model.facts.name}, {model.context_tokens}; "
            "read it with a lower max_tokens"
        )


def _most(model: LocalModel, batch_tokens: int, *, logprobs: bool) -> int:
    """The most tokens of a batch, given that logits take far more room than activations."""
    if not logprobs:
        return batch_tokens
    return min(batch_tokens, max(1, _LOGITS // int(model.model.config.get_text_config().vocab_size)))


def _batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Indices by length, shortest first, so that what is taken from the end is the largest and fails first."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batches and lengths[index] * (len(batches[-1]) + 1) <= most:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _halves(batch: list[int]) -> Iterator[list[int]]:
    middle = (len(batch) + 1) // 2
    yield from (half for half in (batch[:middle], batch[middle:]) if half)


def _tried(model: LocalModel, texts: list[TokenText], layers: Sequence[int], logprobs: bool) -> Iterator[Activations]:
    """The activations of a batch, or nothing where the device has no room for it."""
    made = None
    with suppress(torch.OutOfMemoryError):
        made = _forward(model, texts, layers, logprobs=logprobs)
    if made is None:
        torch.cuda.empty_cache()
        return
    streams, found = made
    for row, text in enumerate(texts):
        tokens = len(text.tokens)
        kept = {k: stream[row, :tokens].copy() for k, stream in streams.items()}
        yield Activations(text=text, layers=kept, logprobs=found[row][:tokens].copy() if found is not None else None)


def _forward(
    model: LocalModel, texts: list[TokenText], layers: Sequence[int], *, logprobs: bool
) -> tuple[dict[int, Array], Array | None]:
    """One pass: arrays of shape (texts, tokens, width) for each layer, and of shape (texts, tokens)."""
    longest = max(len(text.tokens) for text in texts)
    wanted = sorted(set(layers))
    if longest == 0 or not (wanted or logprobs):
        streams = {k: np.zeros((len(texts), longest, model.facts.width), dtype=np.float32) for k in wanted}
        return streams, np.full((len(texts), longest), np.nan, dtype=np.float32) if logprobs else None
    ids, mask = padded([text.ids for text in texts], model.device)
    tap = Tap(None if logprobs else wanted[-1])
    with model.lock, torch.inference_mode(), tapped(decoder_blocks(model.model), wanted, tap):
        found = None
        with suppress(DeepEnoughError):
            output = model.model(input_ids=ids, attention_mask=mask, use_cache=False)
            found = token_logprobs(output.logits, ids)
        return {k: tap.seen[k].float().cpu().numpy() for k in wanted}, found


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and attention mask of shape (rows, tokens); padding is on the right, and what its id is makes no difference."""
    longest = max(len(row) for row in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[number, : len(row)] = 1
    return ids.to(device), mask.to(device)


def token_logprobs(logits: Tensor, ids: Tensor) -> Array:
    """Natural logarithms of shape (rows, tokens): of each token after those before it; NaN for the first of a row."""
    rows: list[Any] = []
    for row_logits, row_ids in zip(logits, ids, strict=True):  # row by row: float32 logits of a batch would double it
        chosen = row_logits[:-1].float()
        picked = chosen.gather(1, row_ids[1:, None])[:, 0] - chosen.logsumexp(dim=1)
        rows.append(np.concatenate([[np.nan], picked.cpu().numpy()]))
    return np.asarray(rows, dtype=np.float32)


def _owned(result: Any) -> Any:
    """The same, with copies in the place of arrays that are views of larger ones."""
    if isinstance(result, np.ndarray):
        return result.copy() if result.base is not None else result
    if type(result) in {list, tuple}:
        return type(result)(_owned(item) for item in result)
    if type(result) is dict:
        return {key: _owned(value) for key, value in result.items()}
    return result
