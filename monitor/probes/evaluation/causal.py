"""Whether the model uses what the probe reads: its direction taken out of the residual stream, or pushed along, while the
model is asked the question in words, and what becomes of its next token.

A probe can read what the model itself never reads again. So the same is done with random directions of the same length, and
the probe's effect is reported beside theirs. Only tokens after the shared beginning are touched: the text, and what
follows.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from monitor.errors import ProbeError
from monitor.probes.alignment import encoded, token_bytes
from monitor.probes.evaluation.asking import answer_ids, frame, last_states
from monitor.probes.evaluation.base import Estimate, silent
from monitor.probes.evaluation.resampling import draw_groups, of_difference
from monitor.probes.layers import decoder_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from monitor.probes.evaluation.base import Floats, Told
    from monitor.probes.local_model import LocalModel
    from monitor.probes.words import Array

PUSH = 4.0
"""How far a text is pushed: this many standard deviations of the projections of texts onto the probe's direction."""
OUT, UP, DOWN = "taken out", "pushed up", "pushed down"
_MOST_TOKENS = 256
_TOP = 5


@dataclass(frozen=True, slots=True)
class Effect:
    """What one intervention does, over texts. ``shift`` is the change of log p(yes) - log p(no), in nats; ``kl`` is the
    Kullback-Leibler divergence of the next token's distribution from the untouched one, in nats. ``random_*`` are the means
    of the same over random directions, ``p_*`` how often one of those does at least as much, (k + 1) / (n + 1).
    """

    name: str
    shift: Estimate
    kl: Estimate
    random_shift: tuple[float, ...]
    random_kl: tuple[float, ...]
    p_shift: float
    p_kl: float


@dataclass(frozen=True, slots=True)
class Causal:
    """The causal check. ``push`` is the length of the vector that was added, ``top`` the likeliest next tokens,
    untouched and after each intervention, over all texts.
    """

    layer: int
    texts: int
    question: str
    push: float
    effects: tuple[Effect, ...]
    top: dict[str, tuple[str, ...]]
    note: str = ""

    @property
    def reading(self) -> str:
        """One sentence."""
        if not self.effects:
            return self.note
        strong = [effect.name for effect in self.effects if effect.p_shift <= 0.1 or effect.p_kl <= 0.1]
        if strong:
            return f"the model's answer moves more than with random directions: {', '.join(strong)}"
        return "no more happens to the model's answer than with random directions of the same length"


def causal(
    model: LocalModel,
    texts: Sequence[str],
    *,
    direction: Array,
    layer: int,
    deviation: float,
    question: str,
    randoms: int = 16,
    seed: int = 0,
    told: Told = silent,
) -> Causal:
    """Intervene at ``layer`` while the model is asked ``question`` about each text.

    Args:
        model: The model that the probe reads.
        texts: Texts that the probe was not fitted on, best of as many groups; they count as independent.
        direction: The probe's, shape (width,); its length makes no difference.
        layer: Where, as everywhere: after block k.
        deviation: Standard deviation of texts' projections onto the unit direction.
        question: What the model is asked.
        randoms: How many random directions stand beside it.
        seed: Of the random directions.
        told: Told of progress.

    Raises:
        ProbeError: the direction is 0, or the model cannot be asked.
    """
    unit = np.asarray(direction, dtype=np.float64)
    if not np.linalg.norm(unit) > 0:
        raise ProbeError("the probe has no direction: all of its weights are 0")
    dice = np.random.default_rng(seed)
    drawn = dice.normal(size=(randoms, len(unit)))
    vectors = [_unit(model, one) for one in (unit, *drawn)]
    asked = _Asked.of(model, texts, question)
    base = asked.distributions(layer, None)
    push = PUSH * deviation
    total, done = 2 * len(vectors) + 1, 0
    found: dict[str, list[tuple[Floats, Floats]]] = {}
    top = {"untouched": asked.likeliest(base)}
    for name, change_of in _changes(push).items():
        mirrored = name == DOWN  # a random direction pushed down is a random direction pushed up
        for number, vector in enumerate(vectors[:1] if mirrored else vectors):
            after = asked.distributions(layer, change_of(vector))
            found.setdefault(name, []).append(asked.compared(base, after))
            if number == 0:
                top[name] = asked.likeliest(after)
            done += 1
            told("causal check", done, total)
    found[DOWN] += found[UP][1:]
    effects = tuple(_effect(name, each, seed) for name, each in found.items())
    return Causal(layer, len(texts), question, push, effects, top)


def _unit(model: LocalModel, vector: Floats) -> Tensor:
    return torch.tensor(vector / np.linalg.norm(vector), dtype=model.model.dtype, device=model.device)


def _changes(push: float) -> dict[str, Callable[[Tensor], Callable[[Tensor], Tensor]]]:
    return {
        OUT: lambda vector: lambda stream: stream - (stream @ vector)[..., None] * vector,
        UP: lambda vector: lambda stream: stream + push * vector,
        DOWN: lambda vector: lambda stream: stream - push * vector,
    }


def _effect(name: str, each: Sequence[tuple[Floats, Floats]], seed: int) -> Effect:
    shifts, divergences = zip(*each, strict=True)
    random_shift = tuple(float(one.mean()) for one in shifts[1:])
    random_kl = tuple(float(one.mean()) for one in divergences[1:])
    mean_shift, mean_kl = _mean(shifts[0], seed), _mean(divergences[0], seed)
    count = len(random_kl) + 1
    p_shift = (sum(abs(one) >= abs(mean_shift.value) for one in random_shift) + 1) / count
    p_kl = (sum(one >= mean_kl.value for one in random_kl) + 1) / count
    return Effect(name, mean_shift, mean_kl, random_shift, random_kl, p_shift, p_kl)


def _mean(values: Floats, seed: int) -> Estimate:
    weights = draw_groups(len(values), 1000, seed)
    found = of_difference(float(values.mean()), weights @ values / len(values), groups=len(values))
    return found if len(values) > 1 else Estimate(found.value, -math.inf, math.inf, note="one text")


@contextmanager
def changed(model: LocalModel, layer: int, change: Callable[[Tensor], Tensor] | None) -> Iterator[None]:
    """While this is entered, the residual stream after block ``layer`` is what ``change`` makes of it. The hook is gone
    when it is left, however that is.
    """
    if change is None:
        yield
        return
    blocks = decoder_blocks(model.model)

    def after(_module: Any, _args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    def before(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    handle = (
        blocks[layer - 1].register_forward_hook(after)
        if layer
        else blocks[0].register_forward_pre_hook(before, with_kwargs=True)
    )
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Texts that a model is asked about; what stands before them is computed once, untouched."""

    model: LocalModel
    tails: list[list[int]]
    before: int
    shared: Any
    yes: list[int]
    no: list[int]

    @classmethod
    def of(cls, model: LocalModel, texts: Sequence[str], question: str) -> _Asked:
        head, after = frame(model, question)
        pieces = [encoded(model, text, parse_special=False, begin=False)[:_MOST_TOKENS] for text in texts]
        tails = [[piece.id for piece in text] + after for text in pieces]
        with model.lock, torch.inference_mode():
            ids = torch.tensor([head], device=model.device)
            shared = model.model.base_model(input_ids=ids, use_cache=True).past_key_values
        return cls(model, tails, len(head), shared, *answer_ids(model))

    def distributions(self, layer: int, change: Callable[[Tensor], Tensor] | None) -> Tensor:
        """Log probabilities of the next token, shape (texts, vocabulary)."""
        with self.model.lock, torch.inference_mode(), changed(self.model, layer, change):
            last = last_states(self.model, self.tails, self.before, self.shared)
            logits = self.model.model.get_output_embeddings()(last).float()
            return torch.log_softmax(logits, dim=1)

    def compared(self, base: Tensor, after: Tensor) -> tuple[Floats, Floats]:
        """The change of log p(yes) - log p(no) and the divergence from the untouched, of each text."""

        def gap(logs: Tensor) -> Tensor:
            return logs[:, self.yes].logsumexp(1) - logs[:, self.no].logsumexp(1)

        divergence = (base.exp() * (base - after)).sum(dim=1)
        shift = gap(after) - gap(base)
        return shift.double().cpu().numpy(), divergence.double().cpu().numpy()

    def likeliest(self, logs: Tensor) -> tuple[str, ...]:
        """The tokens that are likeliest on average over the texts, with their mean probability."""
        mean = logs.exp().mean(dim=0)
        values, ids = mean.topk(_TOP)
        names = [token_bytes(self.model, int(token)).decode("utf-8", "replace") for token in ids]
        return tuple(f"{name!r} {float(value):.3f}" for name, value in zip(names, values, strict=True))
