"""The model asked in words: log p(yes) - log p(no) at the first token of its answer, in its own chat template.

The cheapest probe that there is. Where it does as well as activations, the activations were not needed. What is asked
stands before the text, so that all texts share one beginning, which is computed once; the last layer's output is had at
the last token alone.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jinja2 import TemplateError

from monitor.errors import ProbeError
from monitor.probes.alignment import encoded
from monitor.probes.cache import remembered
from monitor.probes.capture import padded
from monitor.probes.evaluation.survey import of_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from monitor.probes.local_model import LocalModel
    from monitor.probes.words import Array

QUESTION = "Is the following statement true? Answer with Yes or No."
YES, NO = ("Yes", "yes", " Yes", " yes", "YES"), ("No", "no", " No", " no", "NO")
_MARK = "MONITOR-TEXT-HERE"
_BATCH_TOKENS = 2048
_MOST_TOKENS = 512


def answers(
    model: LocalModel,
    texts: Sequence[str],
    question: str = QUESTION,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Array:
    """Log p(yes) - log p(no) for each text, in nats, shape (texts,), float32.

    p(yes) is the probability of all spellings of ``YES`` that are one token, together; likewise p(no). The user's
    message is the question, an empty line and the text (of which the first 512 tokens are read); a model without a chat
    template is given that and "Answer:" as plain text. No text can open or close a turn.

    Raises:
        ProbeError: the model has no token for one of the two answers, or its template cannot be used.
    """

    def make() -> dict[str, Array]:
        return {"answers": _asked(model, texts, question, on_progress)}

    key = {"what": "answers 1", "question": question, "texts": list(texts), **of_model(model.facts)}
    return remembered(key, make)["answers"]


def _asked(
    model: LocalModel, texts: Sequence[str], question: str, on_progress: Callable[[int, int], None] | None
) -> Array:
    before, after = frame(model, question)
    middles = [[piece.id for piece in encoded(model, text, parse_special=False, begin=False)] for text in texts]
    tails = [middle[:_MOST_TOKENS] + after for middle in middles]
    yes, no = answer_ids(model)
    found = np.zeros(len(texts), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda number: len(tails[number]))
    done = 0
    with model.lock, torch.inference_mode():
        shared = model.model(input_ids=torch.tensor([before], device=model.device), use_cache=True).past_key_values
        while done < len(order):
            longest = len(tails[order[min(done + _BATCH_TOKENS, len(order)) - 1]])
            batch = order[done : done + max(1, _BATCH_TOKENS // longest)]
            last = last_states(model, [tails[number] for number in batch], len(before), shared)
            logits = last @ model.model.get_output_embeddings().weight[yes + no].T
            gap = logits[:, : len(yes)].float().logsumexp(1) - logits[:, len(yes) :].float().logsumexp(1)
            found[batch] = gap.cpu().numpy()
            done += len(batch)
            if on_progress:
                on_progress(done, len(order))
    return found


def last_states(model: LocalModel, tails: list[list[int]], before: int, shared: Any) -> Tensor:
    """The last layer's output, after the final norm, at each row's last token: shape (rows, width)."""
    ids, mask = padded(tails, model.device)
    rows = len(tails)
    whole = torch.cat([torch.ones((rows, before), dtype=mask.dtype, device=model.device), mask], dim=1)
    places = torch.arange(before, before + ids.shape[1], device=model.device)[None, :].expand(rows, -1)
    past = _repeated(shared, rows, model)
    body = model.model.base_model
    states = body(input_ids=ids, attention_mask=whole, position_ids=places, past_key_values=past, use_cache=True)
    at = mask.sum(dim=1) - 1
    last: Tensor = states.last_hidden_state[torch.arange(rows, device=model.device), at]
    return last


def _repeated(shared: Any, rows: int, model: LocalModel) -> Any:
    """The keys and values of the shared beginning, for ``rows`` texts; the original stays as it is."""
    from transformers import DynamicCache  # noqa: PLC0415 - takes seconds; only asking needs it

    past = DynamicCache(config=model.model.config)
    for number, layer in enumerate(shared.layers):
        past.update(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1), number)
    return past


def frame(model: LocalModel, question: str) -> tuple[list[int], list[int]]:
    """The ids before and after a text that is asked about."""
    wanted = f"{question}\n\n{_MARK}"
    written = f"{wanted}\nAnswer:"
    if getattr(model.tokenizer, "chat_template", None):
        messages = [{"role": "user", "content": wanted}]
        try:
            written = model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except (TemplateError, ValueError, TypeError) as exc:
            raise ProbeError(f"the chat template of {model.facts.name} cannot be used to ask it: {exc}") from exc
    head, mark, tail = str(written).partition(_MARK)
    if not mark:
        raise ProbeError(f"the chat template of {model.facts.name} leaves out what the user says; it cannot be asked")
    return tuple(  # type: ignore[return-value]  # two parts, as many as were given
        [piece.id for piece in encoded(model, part, parse_special=True, begin=False)] for part in (head, tail)
    )


def answer_ids(model: LocalModel) -> tuple[list[int], list[int]]:
    """The tokens that mean yes, and those that mean no. Raises ProbeError where there is none."""
    found = []
    for words in (YES, NO):
        pieces = [encoded(model, word, parse_special=False, begin=False) for word in words]
        ids = sorted({piece[0].id for piece in pieces if len(piece) == 1})
        if not ids:
            raise ProbeError(f"{model.facts.name} has no single token for {words[0]!r}; it cannot be asked")
        found.append(ids)
    return found[0], found[1]


def asked_or_why(model: LocalModel, texts: Sequence[str], question: str) -> tuple[Array | None, str]:
    """The answers, or why there are none."""
    with suppress(ProbeError):
        return answers(model, texts, question), ""
    try:
        frame(model, question)
        answer_ids(model)
    except ProbeError as exc:
        return None, str(exc)
    return None, "the model could not be asked"
