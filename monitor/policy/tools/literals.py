"""Patterns that stand for plain text: which text, and what else they find.

Lines without ``re`` become patterns of one shape (``lines.SHAPES``), and are told apart here from regular expressions, for
lint and for the words in which a pattern is shown to a person.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_IGNORING_CASE = "(?i)"


@dataclass(frozen=True, slots=True)
class Literal:
    """A pattern that matches wherever ``text`` stands; ``starts`` and ``ends``: only at the very start or end."""

    text: str
    cased: bool
    starts: bool
    ends: bool

    @property
    def is_whole(self) -> bool:
        """Whether it matches this text and no longer one."""
        return self.starts and self.ends


@lru_cache(maxsize=1 << 16)
def literal_of(pattern: str) -> Literal | None:
    """The plain text that a pattern stands for, or None where it is a regular expression proper."""
    body = pattern.removeprefix(_IGNORING_CASE)
    starts, ends = body.startswith(r"\A"), body.endswith(r"\z") and not body.endswith(r"\\z")
    text = _unescaped(body[2 * starts : len(body) - 2 * ends])
    return None if text is None else Literal(text, body == pattern, starts, ends)


def finds_all_of(wide: str, narrow: str) -> bool:
    """Whether ``wide`` certainly matches every text that ``narrow`` matches. False where it is not known."""
    if wide == narrow:
        return True
    one, other = literal_of(wide), literal_of(narrow)
    if one is None or other is None or (one.cased and not other.cased):
        return False
    if not (one.text.isascii() and other.text.isascii()) and not (one.cased and other.cased):
        return False  # which letters are alike beyond ASCII is RE2's to say
    text, inside = (other.text, one.text) if one.cased else (other.text.lower(), one.text.lower())
    if one.is_whole:
        return other.is_whole and text == inside
    if one.starts:
        return other.starts and text.startswith(inside)
    if one.ends:
        return other.ends and text.endswith(inside)
    return inside in text


class Containment:
    """Of many patterns, which find all that others find: as ``finds_all_of`` says of each two of them, without asking of
    each two.

    Plain texts are laid one after the other, and each is looked for in all of them at once.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(dict.fromkeys(patterns))
        self._wider: dict[str, set[str]] = {}
        self._narrower: dict[str, set[str]] = {}
        literals = {pattern: one for pattern in self.patterns if (one := literal_of(pattern)) is not None}
        # Where every letter counts, texts are compared as they are; upper and lower case are alike within ASCII only.
        self._lay_out({pattern: one.text.lower() for pattern, one in literals.items() if one.text.isascii()})
        self._lay_out({pattern: one.text for pattern, one in literals.items() if one.cased})

    def wider(self, pattern: str) -> list[str]:
        """The others that find all that ``pattern`` finds, in order."""
        return sorted(self._wider.get(pattern, ()))

    def narrower(self, pattern: str) -> list[str]:
        """The others all of whose finds ``pattern`` finds, in order."""
        return sorted(self._narrower.get(pattern, ()))

    def _lay_out(self, texts: dict[str, str]) -> None:
        patterns, starts = list(texts), [0]
        for text in texts.values():
            starts.append(starts[-1] + len(text) + 1)
        whole = "".join(f"{text}\0" for text in texts.values())
        for wide, text in texts.items():
            at = whole.find(text)
            while 0 <= at < len(whole):
                index = bisect_right(starts, at) - 1
                narrow = patterns[index]
                if narrow != wide and finds_all_of(wide, narrow):
                    self._wider.setdefault(narrow, set()).add(wide)
                    self._narrower.setdefault(wide, set()).add(narrow)
                at = whole.find(text, starts[index + 1])


def stands_for(pattern: str, written: str) -> bool:
    """Whether ``pattern`` was made from the value ``written`` (in the form in which texts are stored)."""
    literal = literal_of(pattern)
    return (
        pattern == written
        or (literal is not None and literal.text == written)
        or (pattern.startswith("(?") and pattern.endswith(f":{written})"))
    )


def shown(pattern: str) -> str:
    """The pattern as its author may have written it."""
    literal = literal_of(pattern)
    if literal is not None:
        return literal.text
    head, colon, rest = pattern.partition(":")
    is_flagged = colon and head.startswith("(?") and set(head[2:]) <= set("ims") and rest.endswith(")")
    return rest[:-1] if is_flagged else pattern


def _unescaped(body: str) -> str | None:
    """The text that an escaped one was made from, or None where anything in it means more than itself."""
    text: list[str] = []
    escaped = False
    for char in body:
        if escaped:
            if char.isalnum() or not char.isascii():
                return None
            text.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char.isalnum() or char == "_" or not char.isascii():
            text.append(char)
        else:
            return None
    return None if escaped else "".join(text)
