"""A probe on a model: a text in, its score, the scores of its tokens and its false-positive rate out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import ProbeError
from monitor.probes import artefact
from monitor.probes.calibration import Rate, rate_of
from monitor.probes.features import Reading, read_text
from monitor.probes.pooling import probed, probed_positions
from monitor.probes.words import Surface

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from monitor.probes.artefact import Artefact
    from monitor.probes.local_model import LocalModel
    from monitor.probes.sidecar import Calibration
    from monitor.probes.words import Activations, TokenText

__all__ = ["Applied", "Scored", "TokenScore"]


@dataclass(frozen=True, slots=True)
class TokenScore:
    """The score of one token, and where it stands: codepoints of its surface's text, half open."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Scored:
    """What a probe says of one text. ``unread`` counts the tokens that were cut off at the cap, and are in no score."""

    score: float
    tokens: tuple[TokenScore, ...]
    rate: Rate
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """An artefact with the model that it was made for."""

    artefact: Artefact
    model: LocalModel

    @classmethod
    def load(cls, path: Path, model: LocalModel, *, allow: Collection[str] = ()) -> Applied:
        """Load a probe for a model.

        Args:
            path: Its folder, or the sidecar in it.
            model: The model whose activations are scored.
            allow: What of the model may differ; see ``artefact.load``. No rate is known then.

        Raises:
            ArtefactError: it is damaged, unsafe or of another model.
        """
        return cls(artefact.load(path, model.facts, allow=allow), model)

    @property
    def reading(self) -> Reading:
        """How its texts were read when it was trained."""
        sidecar = self.artefact.sidecar
        return Reading(Surface(sidecar.surface), sidecar.format, sidecar.max_tokens)

    @property
    def layer(self) -> int:
        """The layer that it reads."""
        return self.artefact.sidecar.layer

    def of(self, activations: Activations, surface: Surface, *, calibration: str = "") -> Scored:
        """Score the tokens of ``surface`` in activations of the probe's layer, read in the probe's format.

        ``calibration`` picks one set of harmless texts; see ``calibration.rate_of``.

        Raises:
            ProbeError: no token of the surface was read, or the layer was not captured.
        """
        probe = self.artefact.probe
        acts = probed(activations, self.layer, surface)
        score = probe.score(acts)
        positions = probed_positions(activations, surface)
        tokens = tuple(
            TokenScore(token.start, token.end, float(value))
            for token, value in zip(
                (activations.text.tokens[at] for at in positions), probe.token_scores(acts), strict=True
            )
        )
        return Scored(score, tokens, self.rate(score, surface, name=calibration), activations.text.unread)

    def rate(
        self, score: float, surface: Surface, *, name: str = "", among: Sequence[Calibration] | None = None
    ) -> Rate:
        """The false-positive rate of a score on ``surface``; see ``calibration.rate_of``.

        ``among`` are the calibrations that hold for the text, where not all of the probe's do.
        """
        sidecar = self.artefact.sidecar
        return rate_of(
            score,
            sidecar.calibrations if among is None else among,
            surface=surface,
            format=sidecar.format,
            name=name,
            differs=self.artefact.differs,
        )

    def read(self, text: str, *, context: str = "", surface: Surface | None = None) -> TokenText:
        """A text as the probe's texts are read; ``surface`` says what it is, where that is another than the probe's."""
        reading = self.reading
        return read_text(
            self.model, text, context, Reading(surface or reading.surface, reading.format, reading.max_tokens)
        )

    def score(self, text: str, *, context: str = "", surface: Surface | None = None, calibration: str = "") -> Scored:
        """Score one text. Raises ProbeError, as ``of``."""
        return self.score_many([(text, context)], surface=surface, calibration=calibration)[0]

    def score_many(
        self,
        texts: Sequence[tuple[str, str]],
        *,
        surface: Surface | None = None,
        calibration: str = "",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Scored]:
        """Score texts with their contexts, in batches.

        Raises:
            ProbeError: as ``of``; a text without any token is named by its number.
        """
        from monitor.probes.capture import capture  # noqa: PLC0415 - imports torch

        where = surface or self.reading.surface
        read = [self.read(text, context=context, surface=where) for text, context in texts]
        for number, text in enumerate(read, 1):
            if not text.mask(where).any():
                raise ProbeError(f"text {number} of {len(read)} has no token of the surface `{where}` to score")
        return capture(
            self.model,
            read,
            layers=[self.layer],
            reduce=lambda activations: self.of(activations, where, calibration=calibration),
            on_progress=on_progress,
        )
