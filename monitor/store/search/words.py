"""The words of a text, the same for the index, for what is searched, and for both databases.

A word is a run of letters, marks and digits, without case and without accents (ä is a, ß is ss); each character of Chinese
and Japanese is a word of its own, for these are written without spaces. Of a longer word the first 64 codepoints count.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import re2

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_WORD = 64  # codepoints
_RUN = re2.compile(r"[\p{L}\p{M}\p{N}]+")
_SINGLE = ((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
           (0xF900, 0xFAFF), (0x20000, 0x3FFFF))  # fmt: skip
_ACCENTS = (0x0300, 0x036F)


class Word(NamedTuple):
    """A word and where it stands: codepoints ``start`` to ``end`` (half open) of the text."""

    text: str
    start: int
    end: int


def words_of(text: str) -> Iterator[Word]:
    """The words of a text in their order."""
    for found in _RUN.finditer(text):
        start, end = found.span()
        run = found.group()
        if run.isascii():
            yield Word(run[:LONGEST_WORD].lower(), start, end)
            continue
        begun = start
        for place in range(start, end):
            if _stands_alone(ord(text[place])):
                if begun < place:
                    yield from _word(text, begun, place)
                yield from _word(text, place, place + 1)
                begun = place + 1
        if begun < end:
            yield from _word(text, begun, end)


def _word(text: str, start: int, end: int) -> Iterator[Word]:
    folded = _folded(text[start:end][:LONGEST_WORD])
    if folded:
        yield Word(folded, start, end)


@lru_cache(maxsize=4096)
def _folded(run: str) -> str:
    apart = unicodedata.normalize("NFKD", run.casefold()).casefold()
    kept = (char for char in apart if not _ACCENTS[0] <= ord(char) <= _ACCENTS[1])
    return "".join(char for char in kept if unicodedata.category(char)[0] in "LMN")[:LONGEST_WORD]


def _stands_alone(code: int) -> bool:
    return code >= _SINGLE[0][0] and any(low <= code <= high for low, high in _SINGLE)
