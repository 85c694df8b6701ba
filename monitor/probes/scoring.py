"""A stored subcall under a probe: which of its texts is read, by which model, and what its tokens score.

A probe of the format ``plain`` reads one text of the subcall alone. It is always a ``reader``, also where its model wrote
that text: what the model knew while it wrote came from a context that is not there. A probe of the format ``chat`` reads
the whole conversation. Where its model wrote the answer and the ids are stored, those very ids are read again (``own``,
see ``own``); else the conversation is put into the model's own template (``reader``).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.errors import ProbeError
from monitor.probes.applying import Applied
from monitor.probes.calibration import Rate
from monitor.probes.capture import capture_one
from monitor.probes.local_model import LocalModel
from monitor.probes.own import teacher_force
from monitor.probes.reading import read_plain
from monitor.probes.sidecar_file import read_sidecar
from monitor.probes.words import Mode, Surface
from monitor.records import ProbeScore, Span, TokenScores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from monitor.probes.applying import TokenScore
    from monitor.probes.words import Activations, Format
    from monitor.records import Call, Observation, StoredSubcall

ROLE = "role "
"""A calibration whose set has this before a role's name holds for subcalls of that role only."""
MOST_EVIDENCE = 5
_DIGITS = 5  # of a stored score


class _Read(NamedTuple):
    """What was read of a subcall: its activations, whose they are, and which text of the record they are of.

    ``place`` is that text's name in the record, empty where the tokens are of several texts.
    """

    activations: Activations
    mode: Mode
    surface: Surface
    place: str
    cause: str = ""


class Scorer:
    """One probe with the model whose activations it scores. Not for several threads at once."""

    def __init__(self, applied: Applied, sha256: str) -> None:
        self._applied = applied
        self._sidecar = applied.artefact.sidecar
        self._sha256 = sha256

    @classmethod
    def load(cls, folder: Path, sha256: str, models: Mapping[str, str]) -> Scorer:
        """Load the artefact in ``folder`` (whose sidecar has the hash ``sha256``) and the model that it names.

        ``models`` says where models are that are not the embedded one: a folder or a GGUF file for a name.

        Raises:
            ArtefactError: the artefact is damaged, or is not of the model that is here under that name.
            ProbeError: the model cannot be loaded.
        """
        pinned = read_sidecar(folder).model
        return cls(Applied.load(folder, _model(models.get(pinned.name, pinned.name), pinned.dtype)), sha256)

    @property
    def name(self) -> str:
        """The probe's name."""
        return self._sidecar.name

    @property
    def format(self) -> Format:
        """How the probe's texts are read."""
        return self._sidecar.format

    def text(self, subcall: StoredSubcall) -> str:
        """The text of a subcall that came back, as the probe reads it."""
        assert subcall.observation is not None
        return _text(Surface(self._sidecar.surface), subcall.call, subcall.observation)[2]

    def score(self, call: Call, observation: Observation) -> ProbeScore:
        """What the probe says of the subcall. Raises ProbeError where the text cannot be read."""
        said: dict[str, Any] = {"probe": self._sidecar.name, "artefact": self._sha256}
        if self._sidecar.role and call.role != self._sidecar.role:
            return ProbeScore(**said, applies=False, cause=f"it is for the role {self._sidecar.role}")
        surface, place, text = _text(Surface(self._sidecar.surface), call, observation)
        if not text.strip():
            return ProbeScore(**said, applies=False, cause=f"there is no {surface.value}")
        read = self._read(call, observation, surface, place, text)
        if not read.activations.text.mask(surface).any():
            raise ProbeError(f"no token of the {surface.value} was read")
        found = self._applied.of(read.activations, surface)
        if not math.isfinite(found.score):
            raise ProbeError("its score is not a number")
        value = _short(found.score)
        rate = self._rate(value, surface, call.role, read.mode)
        return ProbeScore(
            **said,
            score=value,
            fpr=rate.value,
            mode=read.mode.value,
            surface=surface.value,
            unread=found.unread,
            evidence=_evidence(found.tokens, read.place, last=self._sidecar.pooling == "last"),
            tokens=_token_scores(found.tokens, read.place),
            cause="; ".join(filter(None, [read.cause, rate.cause])),
            **self._speaks_at(rate),
        )

    def _read(self, call: Call, observation: Observation, surface: Surface, place: str, text: str) -> _Read:
        model, layers = self._applied.model, [self._applied.layer]
        if self._sidecar.format == "plain":
            found = read_plain(model, text, surface, max_tokens=self._sidecar.max_tokens)
            return _Read(capture_one(model, found, layers=layers), Mode.READER, surface, place)
        forced = teacher_force(model, call, observation, layers, max_tokens=self._sidecar.max_tokens)
        is_one_text = surface in {Surface.REASONING, Surface.OUTPUT}
        return _Read(forced.activations, forced.mode, surface, place if is_one_text else "", forced.cause)

    def _rate(self, score: float, surface: Surface, role: str, mode: Mode) -> Rate:
        """The rate by the calibrations that hold for role and mode: the role's own, or else those of no role."""
        every = self._sidecar.calibrations
        own = [one for one in every if one.name == ROLE + role]
        of_role = own or [one for one in every if not one.name.startswith(ROLE)]
        among = [one for one in of_role if one.mode in {"", mode.value}]
        if every and not among:
            known = ", ".join(f"{one.name}{f' ({one.mode})' if one.mode else ''}" for one in of_role or every)
            return Rate(cause=f"calibrated on {known}, and this is {ROLE}{role} ({mode.value})")
        return self._applied.rate(score, surface, among=among)

    def _speaks_at(self, rate: Rate) -> dict[str, float]:
        """The threshold at which the probe speaks: that of the first rate that its calibration was asked for."""
        found = next((one for one in self._sidecar.calibrations if one.name == rate.calibration), None)
        if rate.value is None or found is None or not found.rates:
            return {}
        at = found.rates[0]
        return {"threshold": at.threshold, "rate": at.rate, "rate_low": at.low, "rate_high": at.high}


@lru_cache(maxsize=2)
def _model(source: str, dtype: str) -> LocalModel:
    """The model of that name or path, shared by all probes of the process."""
    return LocalModel.load(source, dtype=dtype)  # type: ignore[arg-type]  # what is no dtype is refused there


def _text(surface: Surface, call: Call, observation: Observation) -> tuple[Surface, str, str]:
    """The text that a probe for ``surface`` reads: what it is, its name in the record, and the text.

    A probe for texts from files reads what the subcall thought, or what it answered where it did not say what it thought.
    """
    reasoning, output = observation.reasoning.text, observation.output
    if surface is Surface.TEXT:
        surface = Surface.REASONING if reasoning.strip() else Surface.OUTPUT
    if surface is Surface.REASONING:
        return surface, "reasoning", reasoning
    if surface is Surface.OUTPUT:
        return surface, "output", output
    if surface is Surface.PROMPT:
        return surface, "task", call.task
    results = [(f"messages[{i}].content", m.content) for i, m in enumerate(call.messages) if m.role == "tool"]
    return surface, *(results[-1] if results else ("", ""))


def _token_scores(tokens: Sequence[TokenScore], place: str) -> TokenScores | None:
    if not place:
        return None
    return TokenScores(
        surface=place,
        starts=tuple(token.start for token in tokens),
        ends=tuple(token.end for token in tokens),
        scores=tuple(_short(token.score) for token in tokens),
    )


def _evidence(tokens: Sequence[TokenScore], place: str, *, last: bool) -> tuple[Span, ...]:
    """The places that carried the score: the last token where that alone is pooled, else the highest ones, in order."""
    if not place:
        return ()
    highest = sorted(tokens, key=lambda token: -token.score)[:MOST_EVIDENCE]
    spans: list[Span] = []
    for token in [tokens[-1]] if last else sorted(highest, key=lambda token: token.start):
        if spans and token.start <= spans[-1].end:
            spans[-1] = spans[-1].model_copy(update={"end": max(token.end, spans[-1].end)})
        else:
            spans.append(Span(surface=place, start=token.start, end=token.end))
    return tuple(spans)


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}") + 0.0  # no negative zero
