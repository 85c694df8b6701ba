"""A text as a model reads it: exact ids, and for each of them which text it belongs to and where it stands there.

The spelling of a special token inside of a text (``<|im_end|>``) is read as the text that it is: no text can close its own
turn or open another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.probes.alignment import encoded
from monitor.probes.words import Surface, Token, TokenText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.local_model import LocalModel

PLAIN_TOKENS = 1024
CHAT_TOKENS = 4096


def read_plain(
    model: LocalModel, text: str, surface: Surface = Surface.TEXT, *, max_tokens: int = PLAIN_TOKENS
) -> TokenText:
    """A text alone, with the special tokens that the tokenizer puts around any text (surface None)."""
    pieces = encoded(model, text, parse_special=False, begin=True)
    tokens = [
        Token(piece.id) if piece.special else Token(piece.id, surface, piece.start, piece.end) for piece in pieces
    ]
    return capped(model, tokens, max_tokens)


def capped(model: LocalModel, tokens: Sequence[Token], max_tokens: int) -> TokenText:
    """The first tokens, as many as were asked for and as the model's context has room for; the rest is counted."""
    most = min(max_tokens, model.context_tokens or max_tokens)
    return TokenText(tokens=tuple(tokens[:most]), unread=max(0, len(tokens) - most))
