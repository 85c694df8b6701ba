"""A document in pieces that fit a model's context, and the proof from the record that they are the whole document.

A piece is handed over under a label with its place, in codepoints of the document as ``canonical.escape_text`` gives it
(the same as the document's own, but for NUL, lone surrogates and the escape itself). ``coverage`` trusts no label: it
compares the text that was handed over with the document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.canonical import ESCAPE, escape_text, guard_text
from monitor.errors import RecipeError
from monitor.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from monitor.records import StoredSubcall

    Size = Callable[["Piece"], Awaitable[int]]

BREAKS = (("\n\n",), (". ", ".\n", "! ", "!\n", "? ", "?\n", "。"), ("\n",), (" ",))
"""Where to cut, best first: after a paragraph, a sentence, a line, a word."""
CLOSE_ENOUGH = 32
"""The longest text that fits is looked for to within a part in so many."""
_LABEL, _TO, _OF, _OPEN, _END = "[codepoints ", " to ", " of ", "]\n", "\n[end]"


@dataclass(frozen=True, slots=True)
class Piece:
    """The codepoints from ``start`` to before ``end`` of a document with ``total`` of them."""

    start: int
    end: int
    total: int
    text: str

    def labelled(self) -> str:
        """The piece as a role is handed it, with its place before it and a mark after it."""
        return f"{_LABEL}{self.start}{_TO}{self.end}{_OF}{self.total}{_OPEN}{self.text}{_END}"


async def split(document: str, size: Size, room: int, *, max_pieces: int) -> list[Piece]:
    """Cut ``document`` into pieces in order, so that every codepoint is in exactly one.

    The document is text as the monitor holds it: escaped once, where it came in (as options of a run are). ``size`` gives
    the tokens of a call that is handed a piece; none has more than ``room``. Cuts are made at the end of a paragraph, a
    sentence, a line or a word where the second half of a piece has one, else anywhere.

    Raises RecipeError: the document is empty, not one codepoint fits, or there would be more than ``max_pieces``.
    """
    text = guard_text(document)
    if not text:
        raise RecipeError("the document is empty: there is nothing to read")
    pieces: list[Piece] = []
    start = 0
    while start < len(text):
        if len(pieces) == max_pieces:
            raise RecipeError(
                f"{max_pieces} pieces reach to codepoint {start} of {len(text)}: raise max_pieces, or use a model with a "
                "larger context"
            )
        guess = pieces[-1].end - pieces[-1].start if pieces else room
        piece = await _next(text, start, guess, size, room)
        pieces.append(piece)
        start = piece.end
    return pieces


async def _next(text: str, start: int, guess: int, size: Size, room: int) -> Piece:
    longest = await _longest(text, start, guess, size, room)
    limit = longest
    while limit > start:
        end = _cut(text, start, limit)
        piece = _piece(text, start, end)
        # What is shorter nearly always has fewer tokens, but no tokenizer promises it.
        if end == longest or await size(piece) <= room:
            return piece
        limit = start + (end - start) * 7 // 8
    raise RecipeError(
        f"not one codepoint fits: the role's prompt and its longest answer leave no room for codepoint {start} of the "
        "document; shorten them, or use a model with a larger context"
    )


async def _longest(text: str, start: int, guess: int, size: Size, room: int) -> int:
    """Where the longest text from ``start`` that fits ends, to within ``CLOSE_ENOUGH``; ``start`` where nothing fits."""
    fits, too_far = start, len(text) + 1
    end = min(len(text), start + max(1, guess))
    while True:
        if await size(_piece(text, start, end)) <= room:
            fits = end
        else:
            too_far = end
        if too_far - fits <= max(1, (fits - start) // CLOSE_ENOUGH):
            return fits
        grown = min(len(text), start + (end - start) * 3 // 2 + 1)
        end = grown if too_far > len(text) else (fits + too_far) // 2


def _piece(text: str, start: int, end: int) -> Piece:
    return Piece(start, end, len(text), text[start:end])


def _cut(text: str, start: int, limit: int) -> int:
    """The best place to cut in the second half of what fits; ``limit`` itself where there is none."""
    if limit == len(text):
        return limit
    middle = start + (limit - start) // 2
    for marks in BREAKS:
        ends = [at + len(mark) for mark in marks if (at := text.rfind(mark, middle, limit)) >= 0]
        if ends:
            return max(ends)
    escape = text.rfind(ESCAPE, max(start + 1, limit - 4), limit)
    return limit if escape < 0 else escape  # an escape is five codepoints, which stay together


@dataclass(frozen=True, slots=True)
class Coverage:
    """What of a document was read, as the record shows it; spans are (start, end) in codepoints of the escaped document.

    ``pieces`` are the spans that a judged and released subcall was handed word for word, in order; ``missing`` is what is
    in none of them, ``repeated`` what is in more than one. ``foreign`` are the span ids of subcalls that were handed no
    piece of this document.
    """

    total: int
    pieces: tuple[tuple[int, int], ...]
    missing: tuple[tuple[int, int], ...]
    repeated: tuple[tuple[int, int], ...]
    foreign: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether every codepoint of the document is in exactly one piece, and nothing else was read."""
        return not (self.missing or self.repeated or self.foreign)


def coverage(subcalls: Iterable[StoredSubcall], document: str, *, role: str = "read_piece") -> Coverage:
    """Prove from stored subcalls which parts of ``document`` (as it is outside, not escaped) ``role`` read and answered.

    Only subcalls count that ended ``ok``: judged, and released. A label in a stored message says where to look; what
    counts is that the text after it *is* that part of the document, codepoint for codepoint. So nothing that a document,
    a task or a model says can make a part count that was not handed over.
    """
    text = escape_text(document)
    spans: list[tuple[int, int]] = []
    foreign: list[str] = []
    for subcall in subcalls:
        if subcall.call.role != role or subcall.state != Outcome.OK:
            continue
        span = _span_in(subcall.call.messages[-1].content, text)
        if span is None:
            foreign.append(subcall.call.span_id)
        else:
            spans.append(span)
    spans.sort()
    missing: list[tuple[int, int]] = []
    repeated: list[tuple[int, int]] = []
    reached = 0
    for start, end in spans:
        if start > reached:
            missing.append((reached, start))
        elif start < reached:
            repeated.append((start, min(end, reached)))
        reached = max(reached, end)
    if reached < len(text):
        missing.append((reached, len(text)))
    return Coverage(len(text), tuple(spans), tuple(missing), tuple(repeated), tuple(foreign))


def _span_in(message: str, text: str) -> tuple[int, int] | None:
    """The part of ``text`` that stands in the message after its label; None where no label tells the truth."""
    at = message.find(_LABEL)
    while at >= 0:
        opened = at + len(_LABEL)
        label, _, _ = message[opened : opened + 80].partition(_OPEN)
        place, _, total = label.partition(_OF)
        numbers = [*place.split(_TO), total]
        if len(numbers) == 3 and all(number.isascii() and number.isdigit() for number in numbers):
            start, end, length = map(int, numbers)
            begins = opened + len(label) + len(_OPEN)
            is_whole = length == len(text) and start < end <= length
            if is_whole and message[begins : begins + end - start] == text[start:end]:
                return start, end
        at = message.find(_LABEL, opened)
    return None
