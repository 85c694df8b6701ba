"""RE2's syntax, as far as it must be known to say of a pattern how long its matches are and whether they look at an end.

Only for patterns that RE2 has compiled: what RE2 refuses is not told apart here. Everything errs to one side, and the tests
hold it to RE2 on random patterns: no match is longer than ``maximum``, none shorter than ``minimum``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Shape:
    r"""What is known of every match of a pattern, whatever the text.

    ``minimum`` and ``maximum`` are codepoints; a ``maximum`` of None is no limit. ``looks_at_end``: it can depend on where
    the text ends (``\z``, ``$``), so that more text can undo a match. ``looks_ahead``: it can depend on the codepoint
    after the match (``\b``, ``\B``, ``$`` at the end of a line). ``cuts_codepoints``: it can begin or end inside one
    (``\C``).
    """

    minimum: int
    maximum: int | None
    looks_at_end: bool
    looks_ahead: bool
    cuts_codepoints: bool


@lru_cache(maxsize=8_192)
def shape(pattern: str) -> Shape:
    """The shape of a pattern that RE2 takes."""
    return _Measure().of(pattern)


def maximum_length(pattern: str) -> int | None:
    """The most codepoints that a match of the pattern can have; None where there is no limit."""
    return shape(pattern).maximum


def has_end(pattern: str) -> bool:
    r"""Whether ``without_ends`` changes the pattern; true of some that have neither ``\z`` nor ``$`` but look so."""
    return "$" in pattern or r"\z" in pattern


def without_ends(pattern: str) -> str:
    r"""The pattern with nothing in the place of every ``\z`` and ``$``: it matches wherever the pattern does, and more.

    Of a pattern that quotes by ``\Q`` nothing is left, which matches everywhere.
    """
    if not has_end(pattern):
        return pattern
    if r"\Q" in pattern:
        return ""
    return "".join("(?:)" if token.kind is _Kind.END else token.text for token in _tokens(pattern))


class _Kind(Enum):
    ONE = auto()
    """One codepoint: a literal, a class, ``.``."""
    BYTE = auto()
    END = auto()
    NEXT = auto()
    r"""``\b`` or ``\B``."""
    BEGIN = auto()
    REPEAT = auto()
    OR = auto()
    OPEN = auto()
    CLOSE = auto()
    FLAGS = auto()


class _Token(NamedTuple):
    kind: _Kind
    text: str
    low: int = 1
    high: int | None = 1


_ESCAPES = {"A": _Kind.BEGIN, "z": _Kind.END, "b": _Kind.NEXT, "B": _Kind.NEXT, "C": _Kind.BYTE}
_SINGLE = {"|": _Kind.OR, ")": _Kind.CLOSE, "^": _Kind.BEGIN, "$": _Kind.END}
_REPEATS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_OCTAL = frozenset("01234567")


def _tokens(pattern: str) -> Iterator[_Token]:
    at = 0
    while at < len(pattern):
        if pattern.startswith("\\Q", at):
            end = pattern.find("\\E", at + 2)
            stop = len(pattern) if end < 0 else end
            yield from (_Token(_Kind.ONE, char) for char in pattern[at + 2 : stop])
            at = stop + 2
            continue
        token = _token(pattern, at)
        yield token
        at += len(token.text)


def _token(pattern: str, at: int) -> _Token:
    char = pattern[at]
    if char == "\\":
        text = pattern[at : _end_of_escape(pattern, at)]
        return _Token(_ESCAPES.get(text[1:], _Kind.ONE), text)
    if char == "[":
        return _Token(_Kind.ONE, pattern[at : _end_of_class(pattern, at)])
    if char == "(":
        return _opening(pattern, at)
    if char in _REPEATS:
        low, high = _REPEATS[char]
        return _Token(_Kind.REPEAT, _lazy(pattern, at, at + 1), low, high)
    if char == "{" and (counted := _counted(pattern, at)):
        return counted
    return _Token(_SINGLE.get(char, _Kind.ONE), char)


def _end_of_escape(pattern: str, at: int) -> int:
    char = pattern[at + 1]
    if char in {"p", "P", "x"} and pattern.startswith("{", at + 2):
        return pattern.index("}", at) + 1
    if char in {"p", "P"}:
        return at + 3
    if char == "x":
        return at + 4
    end = at + 2
    while char in _OCTAL and end < min(len(pattern), at + 4) and pattern[end] in _OCTAL:
        end += 1
    return end


def _end_of_class(pattern: str, at: int) -> int:
    at += 2 if pattern.startswith("[^", at) else 1
    first = True
    while first or pattern[at] != "]":
        first = False
        if pattern[at] == "\\":
            at += 2
        elif pattern.startswith("[:", at) and (closing := pattern.find(":]", at + 2)) >= 0:
            at = closing + 2
        else:
            at += 1
    return at + 1


def _opening(pattern: str, at: int) -> _Token:
    """A group's opening, or flags for the rest of the group they stand in."""
    if not pattern.startswith("(?", at):
        return _Token(_Kind.OPEN, "(")
    end = at + 2
    if pattern[end] in {"P", "<"}:
        return _Token(_Kind.OPEN, pattern[at : pattern.index(">", end) + 1])
    while pattern[end] not in {":", ")"}:
        end += 1
    return _Token(_Kind.OPEN if pattern[end] == ":" else _Kind.FLAGS, pattern[at : end + 1])


def _counted(pattern: str, at: int) -> _Token | None:
    """``{2}``, ``{2,}`` or ``{2,5}``; None for a brace that is itself."""
    end = pattern.find("}", at)
    low, comma, high = pattern[at + 1 : max(end, at + 1)].partition(",")
    if end < 0 or not _is_count(low) or (high and not _is_count(high)):
        return None
    return _Token(
        _Kind.REPEAT, _lazy(pattern, at, end + 1), int(low), int(high) if high else None if comma else int(low)
    )


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and (text == "0" or not text.startswith("0"))


def _lazy(pattern: str, at: int, end: int) -> str:
    return pattern[at : end + 1] if pattern.startswith("?", end) else pattern[at:end]


class _Range(NamedTuple):
    low: int
    high: int | None

    def then(self, other: _Range) -> _Range:
        high = None if self.high is None or other.high is None else self.high + other.high
        return _Range(self.low + other.low, high)

    def either(self, other: _Range) -> _Range:
        high = None if self.high is None or other.high is None else max(self.high, other.high)
        return _Range(min(self.low, other.low), high)

    def times(self, low: int, high: int | None) -> _Range:
        if self.high == 0 or high == 0:
            return _Range(0, 0)
        return _Range(self.low * low, None if self.high is None or high is None else self.high * high)


_EMPTY = _Range(0, 0)
_SIZES = {_Kind.ONE: _Range(1, 1), _Kind.BYTE: _Range(0, 1)}


@dataclass(slots=True)
class _Group:
    """One group while it is read: what stood before ``last`` in this alternative, and the alternatives before it."""

    multiline: bool
    before: _Range = _EMPTY
    last: _Range = _EMPTY
    alternatives: list[_Range] = field(default_factory=list)

    def add(self, part: _Range) -> None:
        self.before, self.last = self.before.then(self.last), part

    def end_alternative(self) -> None:
        self.alternatives.append(self.before.then(self.last))
        self.before = self.last = _EMPTY

    def whole(self) -> _Range:
        self.end_alternative()
        result = self.alternatives[0]
        for other in self.alternatives[1:]:
            result = result.either(other)
        return result


class _Measure:
    """Goes through the tokens of one pattern; groups are on a stack, for RE2 takes a thousand of them in each other."""

    def __init__(self) -> None:
        self._groups = [_Group(multiline=False)]
        self._seen: set[_Kind] = set()
        self._looks_at_line_end = False

    def of(self, pattern: str) -> Shape:
        for token in _tokens(pattern):
            self._take(token)
        whole = self._groups[0].whole()
        return Shape(
            minimum=whole.low,
            maximum=whole.high,
            looks_at_end=_Kind.END in self._seen,
            looks_ahead=_Kind.NEXT in self._seen or self._looks_at_line_end,
            cuts_codepoints=_Kind.BYTE in self._seen,
        )

    def _take(self, token: _Token) -> None:
        group = self._groups[-1]
        if token.kind is _Kind.OPEN:
            self._groups.append(_Group(_multiline(token.text, otherwise=group.multiline)))
        elif token.kind is _Kind.CLOSE:
            whole = self._groups.pop().whole()
            self._groups[-1].add(whole)
        elif token.kind is _Kind.OR:
            group.end_alternative()
        elif token.kind is _Kind.FLAGS:
            group.multiline = _multiline(token.text, otherwise=group.multiline)
        elif token.kind is _Kind.REPEAT:
            group.last = group.last.times(token.low, token.high)
        elif token.kind is _Kind.END and token.text == "$" and group.multiline:
            self._looks_at_line_end = True
            group.add(_EMPTY)
        else:
            self._seen.add(token.kind)
            group.add(_SIZES.get(token.kind, _EMPTY))


def _multiline(flags: str, *, otherwise: bool) -> bool:
    """Whether ``m`` holds after flags such as ``(?i-m:``."""
    if not flags.startswith("(?") or flags[2] in {"P", "<"}:
        return otherwise
    given, _, taken = flags[2:-1].partition("-")
    return "m" in given or (otherwise and "m" not in taken)
