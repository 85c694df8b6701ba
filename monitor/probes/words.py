"""What the parts of a probe speak in: surfaces, modes, formats, tokens, activations, labelled texts.

Pure: numpy only. The rest of the package needs torch (``capture``, ``local_model``) or scikit-learn (``kinds``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Format: TypeAlias = Literal["plain", "chat"]
"""How a text is put before the model: alone (``plain``), or as the assistant's answer in the model's chat template, after
the messages that it answers (``chat``). Activations differ between the two, so a probe and its rates belong to one."""


class Surface(StrEnum):
    """What a token belongs to. ``text`` is a text from a file, of which no more is known."""

    PROMPT = "prompt"
    REASONING = "reasoning"
    OUTPUT = "output"
    TOOL = "tool"
    TEXT = "text"


class Mode(StrEnum):
    """Whose activations were scored (design, section 7).

    ``own``: the model that wrote the text, teacher-forced over the stored token ids, and its recomputed log probabilities
    agree with the recorded ones. ``own_live``: the same model while it wrote. ``reader``: a model that re-reads a text
    that another wrote, or that it cannot be shown to have written; its activations are a function of the text alone.
    """

    OWN = "own"
    OWN_LIVE = "own_live"
    READER = "reader"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Which model's activations these are: what an artefact pins, and loading compares.

    ``weights`` is the SHA-256 of the weights file (of all files, sorted by name, where there are several), ``width`` the
    size of the residual stream, ``layers`` the number of decoder blocks. ``template`` is the SHA-256 of the chat template,
    empty where there is none. ``dtype`` is torch's name without its module, such as ``float32``.
    """

    name: str
    weights: str
    revision: str = ""
    quantisation: str = ""
    dtype: str = "float32"
    width: int = 0
    layers: int = 0
    template: str = ""
    tokenizer: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its id, what it belongs to (None for template and special tokens), and where it stands in the text of
    that surface: codepoints ``start`` to ``end`` (half open). Several tokens may share the codepoint they split.
    """

    id: int
    surface: Surface | None = None
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class TokenText:
    """A text as a model reads it. ``unread`` counts the tokens that were cut off at the cap; they are after the others."""

    tokens: tuple[Token, ...]
    unread: int = 0

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids, in order."""
        return tuple(token.id for token in self.tokens)

    def mask(self, *surfaces: Surface) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which tokens belong to one of ``surfaces``. Shape (tokens,)."""
        return np.array([token.surface in surfaces for token in self.tokens], dtype=bool)


@dataclass(frozen=True, slots=True)
class Activations:
    """The residual stream after the blocks that were asked for, over one text.

    ``layers`` maps k to an array of shape (tokens, width), float32: the output of block k, counted from 1, before any
    final norm; k = 0 is the embedding (what enters block 1). This is the only convention for "layer k" in the project.
    ``logprobs`` are natural logarithms, one for each token, NaN for the first: of that token after those before it. None
    where the model stopped before its last layer.
    """

    text: TokenText
    layers: Mapping[int, Array]
    logprobs: Array | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled text. ``label`` is True for what the probe is to find. Texts of one ``group`` are never split.

    ``context`` is what the text answers, in the format ``chat``. ``tags`` hold what a shift splits by (``set``,
    ``polarity``, ``template`` …).
    """

    text: str
    label: bool
    group: str
    context: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled texts with where they are from. ``sha256`` is of the texts, labels and groups, as ``data.fingerprint``."""

    name: str
    rows: tuple[Labelled, ...]
    licence: str = ""
    source: str = ""
    sha256: str = ""

    @property
    def labels(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Shape (rows,)."""
        return np.array([row.label for row in self.rows], dtype=bool)

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each row."""
        return tuple(row.group for row in self.rows)

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each row."""
        return tuple(row.text for row in self.rows)
