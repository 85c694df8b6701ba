"""What activation probes say of a subcall, as it is stored beside the trace's findings."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from monitor.records.trace import Span
from monitor.records.words import Frozen

ProbeMode: TypeAlias = Literal["own", "own_live", "reader", ""]
"""Whose activations were scored: the model's that wrote the text, re-run over its very tokens (``own``) or as it wrote
(``own_live``); or another's that read the text afterwards (``reader``), which knows nothing that is not in the text."""


class TokenScores(Frozen):
    """The scores of single tokens: token i is codepoints ``starts[i]`` to ``ends[i]`` (half open) of the text ``surface``.

    The three tuples have the same length. Tokens of the template, and those that were not read, are not among them.
    """

    surface: str
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()


class ProbeScore(Frozen):
    """What one probe that is attached to a subcall says of it.

    ``score`` is the probe's own, without a unit; ``fpr`` is the share of harmless texts that score at least as high, where
    that was calibrated on text of this kind. Either is None where it could not be had, and then ``cause`` says why.
    ``threshold`` is the score at which the probe speaks, ``rate`` the share of harmless texts that reach it, with the
    interval ``rate_low`` to ``rate_high`` (95 %).

    ``surface`` is what was read, ``mode`` whose activations they are. ``applies`` is false where there was nothing to read,
    or the probe is not for such a subcall. ``unread`` counts tokens beyond the cap. ``evidence`` are the places that
    carried the score. ``artefact`` is the SHA-256 of the probe's sidecar, which names everything else.
    """

    probe: str
    score: float | None = Field(default=None, allow_inf_nan=False)
    fpr: float | None = Field(default=None, ge=0, le=1)
    mode: ProbeMode = ""
    surface: str = ""
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    rate: float | None = Field(default=None, ge=0, le=1)
    rate_low: float | None = Field(default=None, ge=0, le=1)
    rate_high: float | None = Field(default=None, ge=0, le=1)
    applies: bool = True
    unread: int = 0
    evidence: tuple[Span, ...] = ()
    tokens: TokenScores | None = None
    artefact: str = ""
    cause: str = ""


class ProbeRef(Frozen):
    """A probe as a run used it. ``ref`` loads it again: its shipped name or an absolute path.

    ``model`` and ``weights`` (SHA-256) are those of the model whose activations it scores. ``forced`` lists the alarms of
    its evaluation in spite of which it was attached.
    """

    name: str
    ref: str
    artefact: str
    model: str = ""
    weights: str = ""
    forced: tuple[str, ...] = ()
