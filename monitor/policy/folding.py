"""Upper and lower case alike, as RE2's ``(?i)`` has it: Unicode's simple case folding, one codepoint for one.

``str.casefold`` folds fully (``ß`` to ``ss``), and so would find texts that a pattern does not, and move the places in
them.
"""

from __future__ import annotations

from functools import cache

_LIKE = {"\u1fd3": "\u0390", "\u1fe3": "\u03b0", "\ufb05": "\ufb06"}
"""Letters that RE2 takes for one another though neither Python's folding nor its lower case does."""


def folded(text: str) -> str:
    """``text`` with upper and lower case alike; it has as many codepoints as before."""
    return text.lower() if text.isascii() else text.translate(_table())


@cache
def _table() -> dict[int, str]:
    """The letters that folding changes (Unicode 15.0, CaseFolding.txt: C and S)."""
    letters = (chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000)
    return {ord(letter): fold for letter in letters if (fold := _fold(letter)) != letter}


def _fold(letter: str) -> str:
    if letter in _LIKE:
        return _LIKE[letter]
    full = letter.casefold()
    if len(full) == 1:
        return full
    lower = letter.lower()
    return lower if len(lower) == 1 else letter
