"""JSON text as its scalars, each with its path and the place where it stands in the text.

Evidence points into the stored text, and a value of a tool's arguments stands there with JSON's escapes. So this reads
JSON as ``json.loads`` does (constants such as NaN included), and keeps places. A key that stands twice is read twice: what
a lenient parser drops is not dropped here.
"""

from __future__ import annotations

from array import array
from json.decoder import scanstring  # type: ignore[attr-defined]  # C's string scanner; typeshed leaves it out
from typing import TYPE_CHECKING, NamedTuple

from monitor.canonical import escape_text

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 64
MAX_SCALARS = 20_000
_SPACE = " \t\n\r"
NUMBER = frozenset("+-.0123456789eE")
"""The characters of a number."""
_ESCAPES = {f"\\{char}": value for char, value in zip('nrtbf"\\/', '\n\r\t\b\f"\\/', strict=True)}
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


def scalars(text: str) -> tuple[Scalar, ...] | None:
    """Every scalar of the JSON value that ``text`` is, in the order of the text. None where it is no JSON, nested deeper
    than ``MAX_DEPTH``, or of more than ``MAX_SCALARS``.
    """
    reader = _Reader(text)
    try:
        return reader.whole()
    except ValueError:
        return None


class _Reader:
    """Goes through the text once; ``at`` is where it is, ``found`` what it found."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self.found: list[Scalar] = []

    def whole(self) -> tuple[Scalar, ...]:
        """The scalars of the one value that the text is. Raises ValueError for any other text."""
        self.value((), 0)
        if self.skip() != len(self._text):
            raise ValueError(f"something follows the JSON value at {self.at}")
        return tuple(self.found)

    def skip(self) -> int:
        """Skip white space; return where that ends."""
        text, at = self._text, self.at
        while at < len(text) and text[at] in _SPACE:
            at += 1
        self.at = at
        return at

    def value(self, path: tuple[str, ...], depth: int) -> None:
        """Read the value that begins here."""
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
        opening = self._text[self.skip() : self.at + 1]
        if opening == "{":
            self._items("}", path, depth)
        elif opening == "[":
            self._items("]", path, depth)
        elif opening == '"':
            string, places = self._string()
            self._add(Scalar(path, string, places, None, is_string=True))
        else:
            self._literal(path)

    def _add(self, scalar: Scalar) -> None:
        if len(self.found) == MAX_SCALARS:
            raise ValueError(f"more than {MAX_SCALARS:,} values")
        self.found.append(scalar)

    def _items(self, closing: str, path: tuple[str, ...], depth: int) -> None:
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
            self.value(inner, depth + 1)
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
        text = self._text
        parts: list[str] = []
        places = array("I")
        at = start
        while at < end:
            char = text[at]
            if char != "\\":
                escape = text.find("\\", at, end)
                after = end if escape < 0 else escape
                parts.append(text[at:after])
                places.extend(range(at, after))
            else:
                after = at + self._escape_length(at, end)
                char = _ESCAPES.get(text[at:after]) or escape_text(scanstring(f'{text[at:after]}"', 0)[0])
                parts.append(char)
                for _ in char:
                    places.append(at)
            at = after
        places.append(end)
        return "".join(parts), places

    def _escape_length(self, at: int, end: int) -> int:
        """How many codepoints of the text write the character at ``at``: two escapes may be the halves of one."""
        text = self._text
        if text[at + 1] != "u":
            return 2
        is_high = text[at + 2 : at + 4].lower() in {"d8", "d9", "da", "db"}
        follows = is_high and text[at + 6 : at + 8] == "\\u" and at + 12 <= end
        return 12 if follows and text[at + 8 : at + 10].lower() in {"dc", "dd", "de", "df"} else 6

    def _literal(self, path: tuple[str, ...]) -> None:
        text, start = self._text, self.at
        end = start
        while end < len(text) and text[end] in NUMBER:
            end += 1
        if end == start or text.startswith("-I", start):
            word = next((word for word in _CONSTANTS if text.startswith(word, start)), "")
            end = start + len(word)
        if end == start:
            raise ValueError(f"expected a value at {start}")
        literal = text[start:end]
        value = _CONSTANTS[literal] if literal in _CONSTANTS else float(literal)
        self.at = end
        self._add(Scalar(path, literal, range(start, end + 1), value, is_string=False))
