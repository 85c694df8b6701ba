"""Sets of codepoints as sorted ranges: what a class of a regular expression stands for, and how RE2 writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LAST = 0x10FFFF
_SPECIAL = frozenset(r"\.+*?()|[]{}^$")
_SPECIAL_IN_CLASS = frozenset(r"\[]^-")
_NAMED = {0x09: r"\t", 0x0A: r"\n", 0x0B: r"\v", 0x0C: r"\f", 0x0D: r"\r"}

Ranges: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, order=True)
class CharSet:
    """Codepoints as ranges, both ends included: sorted, apart from each other, and not touching."""

    ranges: Ranges

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> CharSet:
        """The union of ``ranges``, which may overlap."""
        joined: list[tuple[int, int]] = []
        for low, high in sorted(ranges):
            if joined and low <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
            else:
                joined.append((low, high))
        return cls(tuple(joined))

    @classmethod
    def chars(cls, text: str) -> CharSet:
        """The characters of ``text``."""
        return cls.of((ord(char), ord(char)) for char in text)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __contains__(self, code: int) -> bool:
        return any(low <= code <= high for low, high in self.ranges)

    def __or__(self, other: CharSet) -> CharSet:
        return CharSet.of((*self.ranges, *other.ranges))

    def __and__(self, other: CharSet) -> CharSet:
        return (self.complement() | other.complement()).complement()

    def __sub__(self, other: CharSet) -> CharSet:
        return self & other.complement()

    def complement(self) -> CharSet:
        """Every other codepoint."""
        return CharSet(tuple(_gaps(self.ranges)))

    @property
    def size(self) -> int:
        """How many codepoints there are."""
        return sum(high - low + 1 for low, high in self.ranges)


def _gaps(ranges: Ranges) -> Iterator[tuple[int, int]]:
    begin = 0
    for low, high in ranges:
        if low > begin:
            yield begin, low - 1
        begin = high + 1
    if begin <= LAST:
        yield begin, LAST


EVERYTHING = CharSet(((0, LAST),))
NOTHING = CharSet(())
DIGIT = CharSet.of([(0x30, 0x39)])
WORD = CharSet.of([(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)])
SPACE = CharSet.chars("\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff") | CharSet.of([(0x2000, 0x200A)])
"""JavaScript's ``\\s``: RE2's has neither the vertical tab nor anything outside of ASCII."""
LINE_END = CharSet.chars("\n\r\u2028\u2029")
HIGH_HALVES = CharSet(((0xD800, 0xDBFF),))
LOW_HALVES = CharSet(((0xDC00, 0xDFFF),))
HALVES = HIGH_HALVES | LOW_HALVES
ASCII_LETTERS = CharSet.of([(0x41, 0x5A), (0x61, 0x7A)])
CASED = CharSet.of((code, code) for code in range(0x20000) if chr(code).lower() != chr(code).upper())
"""Letters with two cases. There are none above U+1FFFF."""


def char_text(code: int, *, in_class: bool = False) -> str:
    """One character as RE2 reads it. Only ASCII comes out where it is not printable."""
    char = chr(code)
    if code in _NAMED:
        return _NAMED[code]
    if char in (_SPECIAL_IN_CLASS if in_class else _SPECIAL):
        return f"\\{char}"
    if char == " " or (char.isprintable() and not char.isspace()):
        return char
    return f"\\x{{{code:x}}}"


def class_text(chars: CharSet) -> str:
    """The set as RE2 writes it: one character, or brackets, negated where that is shorter."""
    if chars.size == 1:
        return char_text(chars.ranges[0][0])
    if chars == EVERYTHING:
        return "(?s:.)"
    if not chars:
        return r"[^\x{0}-\x{10ffff}]"
    other = chars.complement()
    if len(other.ranges) < len(chars.ranges):
        return f"[^{range_text(other)}]"
    return f"[{range_text(chars)}]"


def range_text(chars: CharSet) -> str:
    """What stands between the brackets."""
    return "".join(_range_text(low, high) for low, high in chars.ranges)


def _range_text(low: int, high: int) -> str:
    if low == high:
        return char_text(low, in_class=True)
    dash = "" if high == low + 1 else "-"
    return char_text(low, in_class=True) + dash + char_text(high, in_class=True)
