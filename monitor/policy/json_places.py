"""JSON text as its scalars, each with its path and the place where it stands in the text.

Evidence points into the stored text, and a value of a tool's arguments stands there with JSON's escapes. So this reads
JSON as ``json.loads`` does (constants such as NaN included), and keeps places. A key that stands twice is read twice: what
a lenient parser drops is not dropped here.
"""

from __future__ import annotations

from json.decoder import scanstring  # type: ignore[attr-defined]  # C's string scanner; typeshed leaves it out
from typing import TYPE_CHECKING, NamedTuple

from monitor.canonical import escape_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_DEPTH = 64
_SPACE = " \t\n\r"
_NUMBER = frozenset("+-.0123456789eE")
_CONSTANTS: dict[str, float | bool | None] = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": float("nan"),
    "-Infinity": float("-inf"),
    "Infinity": float("inf"),
}


class Scalar(NamedTuple):
    """One scalar: the keys on the way to it (lists add none), its text, where that stands, and its value.

    ``text`` is the decoded string, or the literal as it is written; ``places`` has the offset in the JSON text of each of
    its codepoints and of its end. ``value`` is None for a string and for ``null``.
    """

    path: tuple[str, ...]
    text: str
    places: Sequence[int]
    value: float | bool | None
    is_string: bool


def scalars(text: str) -> list[Scalar]:
    """Every scalar of the JSON value that ``text`` is, in the order of the text.

    Raises:
        ValueError: it is no JSON, or nested deeper than ``MAX_DEPTH``.
    """
    reader = _Reader(text)
    found = list(reader.value((), 0))
    if reader.skip() != len(text):
        raise ValueError(f"something follows the JSON value at {reader.at}")
    return found


class _Reader:
    """Goes through the text once; ``at`` is where it is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def skip(self) -> int:
        """Skip white space; return where that ends."""
        text, at = self._text, self.at
        while at < len(text) and text[at] in _SPACE:
            at += 1
        self.at = at
        return at

    def value(self, path: tuple[str, ...], depth: int) -> Iterator[Scalar]:
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
        opening = self._text[self.skip() : self.at + 1]
        if opening == "{":
            yield from self._items("}", path, depth)
        elif opening == "[":
            yield from self._items("]", path, depth)
        elif opening == '"':
            string, places = self._string()
            yield Scalar(path, string, places, None, is_string=True)
        else:
            yield self._literal(path)

    def _items(self, closing: str, path: tuple[str, ...], depth: int) -> Iterator[Scalar]:
        self.at += 1
        if self._accept(closing):
            return
        while True:
            inner = path
            if closing == "}":
                self._expect('"', step=False)
                key, _ = self._string()
                self._expect(":")
                inner = (*path, key)
            yield from self.value(inner, depth + 1)
            if self._accept(closing):
                return
            self._expect(",")

    def _accept(self, char: str) -> bool:
        if self._text[self.skip() : self.at + 1] != char:
            return False
        self.at += 1
        return True

    def _expect(self, char: str, *, step: bool = True) -> None:
        if self._text[self.skip() : self.at + 1] != char:
            raise ValueError(f"expected {char} at {self.at}")
        self.at += step

    def _string(self) -> tuple[str, Sequence[int]]:
        """The string that begins here, as stored texts are (escapes for NUL and halves of characters), with places."""
        start = self.at + 1
        string, self.at = scanstring(self._text, start, False)
        end = self.at - 1
        if "\\" not in self._text[start:end]:
            return string, range(start, end + 1)
        return self._with_places(start, end)

    def _with_places(self, start: int, end: int) -> tuple[str, Sequence[int]]:
        parts: list[str] = []
        places: list[int] = []
        at = start
        while at < end:
            length = self._escape_length(at, end)
            char = self._text[at] if length == 1 else escape_text(scanstring(f'{self._text[at : at + length]}"', 0)[0])
            parts.append(char)
            places += [at] * len(char)
            at += length
        return "".join(parts), [*places, end]

    def _escape_length(self, at: int, end: int) -> int:
        """How many codepoints of the text write the character at ``at``: two escapes may be the halves of one."""
        if self._text[at] != "\\":
            return 1
        if self._text[at + 1] != "u":
            return 2
        is_high = self._text[at + 2 : at + 4].lower() in {"d8", "d9", "da", "db"}
        follows = self._text[at + 6 : at + 8] == "\\u" and at + 12 <= end
        is_low = follows and self._text[at + 8 : at + 10].lower() in {"dc", "dd", "de", "df"}
        return 12 if is_high and is_low else 6

    def _literal(self, path: tuple[str, ...]) -> Scalar:
        start = self.at
        for word, constant in _CONSTANTS.items():
            if self._text.startswith(word, start):
                return self._end_literal(path, start, start + len(word), constant)
        end = start
        while end < len(self._text) and self._text[end] in _NUMBER:
            end += 1
        if end == start:
            raise ValueError(f"expected a value at {start}")
        return self._end_literal(path, start, end, float(self._text[start:end]))

    def _end_literal(self, path: tuple[str, ...], start: int, end: int, value: float | bool | None) -> Scalar:
        self.at = end
        return Scalar(path, self._text[start:end], range(start, end + 1), value, is_string=False)
