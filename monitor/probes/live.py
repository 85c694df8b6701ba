"""Generation with a probe listening: a score for each token as it comes, and a threshold that stops the model.

A token's activation exists once the model has read the token, which is in the pass that chooses the next one: the score of
a token is known one pass after its choice, at no pass more. Only where the model stops by the limit of tokens is one more
needed, for the last of them, and it ends at the probed layer.
"""

from __future__ import annotations

import codecs
import inspect
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch

from monitor.errors import ProbeError
from monitor.probes.alignment import decoded, special_ids, token_bytes
from monitor.probes.capture import DeepEnoughError, Tap
from monitor.probes.layers import decoder_blocks, tapped
from monitor.probes.reading import read_chat
from monitor.probes.words import Array
from monitor.records import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from monitor.probes.local_model import LocalModel

Score: TypeAlias = Callable[[Array], Array]
"""From activations, shape (tokens, width), to one score for each token, shape (tokens,)."""


@dataclass(frozen=True, slots=True)
class LiveToken:
    """One token that the model wrote.

    ``text`` is what it adds to the text, empty as long as a codepoint is not whole. ``logprob`` is a natural logarithm,
    before temperature. ``score`` is the probe's; ``smoothed`` its exponential moving average up to here.
    """

    id: int
    text: str
    logprob: float
    score: float
    smoothed: float


@dataclass(frozen=True, slots=True)
class Generated:
    """What was written. ``tokens`` has every token but the one that ends an answer; the last one's score is there too.

    ``stopped`` is ``probe`` (the threshold was reached), ``end`` (the model ended its answer) or ``length``.
    """

    prompt_ids: tuple[int, ...]
    tokens: tuple[LiveToken, ...]
    text: str
    stopped: Literal["probe", "end", "length"]

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the tokens."""
        return tuple(token.id for token in self.tokens)

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Natural logarithms, one for each token."""
        return tuple(token.logprob for token in self.tokens)

    @property
    def scores(self) -> tuple[float, ...]:
        """The probe's scores, one for each token."""
        return tuple(token.score for token in self.tokens)


def generate(
    model: LocalModel,
    prompt: Sequence[Message] | Sequence[int],
    score: Score,
    layer: int,
    *,
    max_new_tokens: int = 256,
    stop_at: float | None = None,
    smoothing: float = 1.0,
    temperature: float = 0.0,
    seed: int = 0,
    on_token: Callable[[LiveToken], object] | None = None,
) -> Generated:
    """Answer a conversation, or go on from token ids, with a probe on ``layer``.

    With ``stop_at`` the model stops at the first token whose smoothed score is at least that; the token is part of what
    was written. ``smoothing`` is the weight of the newest score in the moving average, 1.0 for scores as they are.
    ``temperature`` 0 takes the likeliest token; the same ``seed`` gives the same answer on the same machine.

    Raises:
        ProbeError: the prompt is empty or fills the context, the layer is not in the model, or the probe's score is no
            finite number. Nothing is left on the model then.
    """
    listening = _Listening(model, layer, score, stop_at, smoothing)
    prompt_ids = _prompt_ids(model, prompt)
    room = (model.context_tokens or len(prompt_ids) + max_new_tokens) - len(prompt_ids)
    if room <= 0:
        raise ProbeError(f"a prompt of {len(prompt_ids)} tokens fills the context of {model.facts.name}")
    choose = _Chooser(temperature, seed, model.device)
    tokens: list[LiveToken] = []
    stopped: Literal["probe", "end", "length"] = "length"
    ends, limit = _end_ids(model), min(max_new_tokens, room)
    logits = listening.read(prompt_ids)[1]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    special = special_ids(model)
    for number in range(limit):
        chosen, logprob = choose(logits)
        if chosen in ends:
            stopped = "end"
            break
        value, logits = listening.read([chosen], last=number == limit - 1)
        text = "" if chosen in special else decoder.decode(token_bytes(model, chosen))
        tokens.append(LiveToken(chosen, text, logprob, value, listening.smoothed(value)))
        if on_token:
            on_token(tokens[-1])
        if listening.alarmed:
            stopped = "probe"
            break
    pieces = [b"" if token.id in special else token_bytes(model, token.id) for token in tokens]
    return Generated(tuple(prompt_ids), tuple(tokens), decoded(pieces)[0], stopped)


def _prompt_ids(model: LocalModel, prompt: Sequence[Message] | Sequence[int]) -> list[int]:
    messages = [part for part in prompt if isinstance(part, Message)]
    ids = [part for part in prompt if not isinstance(part, Message)]
    if not prompt or (messages and ids):
        raise ProbeError("a prompt is a sequence of messages or of token ids, and has at least one")
    if not messages:
        return ids
    read = read_chat(model, messages, max_tokens=model.context_tokens or 10**9)
    if read.unread:
        raise ProbeError(
            f"the messages have {len(read.tokens) + read.unread} tokens, more than the context of {model.facts.name}"
        )
    return list(read.ids)


def _end_ids(model: LocalModel) -> frozenset[int]:
    """The tokens that end an answer."""
    config = getattr(model.model, "generation_config", None)
    ends: Any = getattr(config, "eos_token_id", None)
    found = {*ends} if isinstance(ends, (list, tuple)) else {ends}
    return frozenset(int(end) for end in found | {model.tokenizer.eos_token_id} if end is not None)


@dataclass(slots=True)
class _Chooser:
    temperature: float
    seed: int
    device: torch.device
    random: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = torch.Generator(self.device).manual_seed(self.seed)

    def __call__(self, logits: Tensor) -> tuple[int, float]:
        """The next token and its log probability; logits of shape (vocabulary,)."""
        with torch.inference_mode():
            logprobs = logits.float().log_softmax(0)
            if self.temperature <= 0:
                chosen = int(logprobs.argmax())
            else:
                chosen = int(torch.multinomial((logprobs / self.temperature).softmax(0), 1, generator=self.random))
            return chosen, float(logprobs[chosen])


@dataclass(slots=True)
class _Listening:
    """The model with its cache of keys and values, and the probe on its layer."""

    model: LocalModel
    layer: int
    score: Score
    stop_at: float | None
    smoothing: float
    alarmed: bool = False
    _average: float | None = None
    _past: Any = None
    _blocks: Any = None
    _only_last: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.layer <= self.model.facts.layers:
            raise ProbeError(
                f"layer {self.layer} is not in {self.model.facts.name}: expected 0 to {self.model.facts.layers}"
            )
        if not 0 < self.smoothing <= 1:
            raise ProbeError(f"smoothing {self.smoothing:g}: expected the newest score's weight, above 0 and at most 1")
        self._blocks = decoder_blocks(self.model.model)
        if "logits_to_keep" in inspect.signature(self.model.model.forward).parameters:
            self._only_last = {"logits_to_keep": 1}  # of a long prompt's logits all but the last would be for nothing

    def read(self, ids: Sequence[int], *, last: bool = False) -> tuple[float, Tensor]:
        """Read on: the score of the last id, and the logits after it. ``last``: no logits are wanted.

        A prompt's score is never looked at, and so never made (it is NaN).
        """
        first = self._past is None
        tap = Tap(self.layer if last else None)
        logits = torch.empty(0)
        row = torch.tensor([list(ids)], dtype=torch.long, device=self.model.device)
        with self.model.lock, torch.inference_mode(), tapped(self._blocks, [] if first else [self.layer], tap):
            with suppress(DeepEnoughError):
                output = self.model.model(input_ids=row, past_key_values=self._past, use_cache=True, **self._only_last)
                self._past, logits = output.past_key_values, output.logits[0, -1]
            if first:
                return math.nan, logits
            activation = tap.seen[self.layer][0, -1:].float().cpu().numpy()
        return self._scored(activation), logits

    def smoothed(self, value: float) -> float:
        """The moving average with this score in it; sets ``alarmed`` where it reaches the threshold."""
        before = value if self._average is None else self._average
        self._average = self.smoothing * value + (1 - self.smoothing) * before
        self.alarmed = self.stop_at is not None and self._average >= self.stop_at
        return self._average

    def _scored(self, activation: Array) -> float:
        scores = np.asarray(self.score(activation))
        if scores.shape != (1,) or not np.isfinite(scores).all():
            raise ProbeError(
                f"the probe's score of one token is {scores!r}; expected one finite number for each token, shape (tokens,)"
            )
        return float(scores[0])
