"""Is this the model that wrote the text? Teacher forcing over the stored token ids, and the log probabilities beside.

Only where the record has the ids of prompt and answer and their log probabilities, and this model finds the same log
probabilities within a tolerance, are its activations the writer's own. Otherwise it is a reader, and the cause says why.

The tolerance is for what two engines make of the same weights. llama.cpp rounds activations to eight bits before it
multiplies quantised weights, transformers does not: on 24 answers of the embedded model, 2,331 tokens, the mean absolute
difference was 0.04 nats (0.11 in the worst answer) and the largest 0.54. A record with one id changed, or with another
prompt, differs by more (tests/probes/capture/test_own.py). Agreement proves the more the longer the answer is: a few tokens
that any model would have been sure of prove little.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monitor.errors import ProbeError
from monitor.probes.capture import capture_one
from monitor.probes.reading import CHAT_TOKENS, read_chat, read_ids
from monitor.probes.words import Mode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.local_model import LocalModel
    from monitor.probes.words import Activations, TokenText
    from monitor.records import Call, Observation, TokenEvidence

MEAN_NATS = 0.15
LARGEST_NATS = 1.0


@dataclass(frozen=True, slots=True)
class Forced:
    """Activations over a stored answer, and whose they are.

    ``mode`` is OWN or READER; for READER ``cause`` says why, in words. ``mean_difference`` and ``largest_difference`` are
    of the absolute differences between recomputed and recorded log probabilities of the answer's tokens, in nats; None
    where nothing could be compared. Over which ids the activations are: for OWN the stored ones, for READER those that
    this model makes of the stored messages and texts in its own chat template.
    """

    activations: Activations
    mode: Mode
    cause: str = ""
    mean_difference: float | None = None
    largest_difference: float | None = None


def teacher_force(
    model: LocalModel,
    call: Call,
    observation: Observation,
    layers: Sequence[int],
    *,
    mean_nats: float = MEAN_NATS,
    largest_nats: float = LARGEST_NATS,
    max_tokens: int = CHAT_TOKENS,
) -> Forced:
    """Run a stored subcall through the model: its own ids where the model can be shown to have written them.

    Raises:
        ProbeError: a layer is not in the model, or the model has no chat template to read the texts with, or the template
            refuses the messages.
    """
    text, cause = _stored(model, call, observation, max_tokens)
    differences: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
    if text is not None and observation.tokens is not None:
        activations = capture_one(model, text, layers=layers, logprobs=True)
        differences = _differences(activations, observation.tokens)
        cause = _disagreement(differences, mean_nats, largest_nats)
        if not cause:
            return Forced(activations, Mode.OWN, "", float(differences.mean()), float(differences.max()))
    read = read_chat(
        model, call.messages, reasoning=observation.reasoning.text, output=observation.output, max_tokens=max_tokens
    )
    return Forced(
        activations=capture_one(model, read, layers=layers),
        mode=Mode.READER,
        cause=cause,
        mean_difference=None if differences is None else float(differences.mean()),
        largest_difference=None if differences is None else float(differences.max()),
    )


def _stored(model: LocalModel, call: Call, observation: Observation, max_tokens: int) -> tuple[TokenText | None, str]:
    """The stored ids as a text, or None and why they cannot be forced."""
    evidence = observation.tokens
    if evidence is None:
        return None, "the record has no token ids"
    missing = [
        name
        for name, numbers in (
            ("token ids of the prompt", evidence.prompt_ids),
            ("token ids of the answer", evidence.output_ids),
            ("log probabilities", evidence.logprobs),
        )
        if not numbers
    ]
    if missing:
        return None, f"the record has no {' and no '.join(missing)}"
    if len(evidence.logprobs) != len(evidence.output_ids):
        ids, logprobs = len(evidence.output_ids), len(evidence.logprobs)
        return None, f"the record has {ids} token ids of the answer and {logprobs} log probabilities"
    try:
        text = read_ids(
            model,
            evidence.prompt_ids,
            evidence.output_ids,
            reasoning=observation.reasoning.text,
            output=observation.output,
            raw=observation.raw,
            messages=call.messages,
            max_tokens=max_tokens,
        )
    except ProbeError as exc:
        return None, str(exc)
    if text.unread:
        return (
            None,
            f"prompt and answer have {len(text.tokens) + text.unread} tokens, and only {len(text.tokens)} are read",
        )
    return text, ""


def _differences(activations: Activations, evidence: TokenEvidence) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Absolute differences in nats, one for each token of the answer. Shape (answer's tokens,)."""
    assert activations.logprobs is not None
    recomputed = activations.logprobs[len(evidence.prompt_ids) :].astype(np.float64)
    recorded = np.asarray(evidence.logprobs, dtype=np.float64)
    return np.abs(recomputed - recorded)


def _disagreement(
    differences: np.ndarray[tuple[int], np.dtype[np.float64]], mean_nats: float, largest_nats: float
) -> str:
    mean, largest = float(differences.mean()), float(differences.max())
    if mean <= mean_nats and largest <= largest_nats:  # False where either is no number
        return ""
    return (
        f"recomputed log probabilities differ from the recorded ones by {mean:.2f} nats in the mean and {largest:.2f} at "
        f"most; the writer's own would by {mean_nats:g} and {largest_nats:g} at most"
    )
