r"""JavaScript's regular expressions into trees, as ECMAScript reads them without the flags ``m`` and ``s``.

What RE2 means by the same signs is not what JavaScript means, so everything is written anew:

* ``\s``, ``\S`` and ``.`` know Unicode's spaces and line ends: they become explicit sets. ``\d``, ``\w`` and ``\b``
  are ASCII in both.
* ``^`` and ``$`` stand at the ends of the text only.
* ``\uXXXX``, ``\u{…}``, pairs of halves (``\uD83D\uDE00``), ``\xXX``, ``\cX``, ``\0`` and octal escapes become the
  character; ``\/`` and every other escape without a meaning is the character itself.
* Groups, named or not, only group: nothing refers back to them.
* What JavaScript does not know and other engines do is taken where it can only mean one thing: ``(?i)`` and
  ``(?i:…)`` (case is ignored anyway), ``(?P<name>…)``, and ``\A`` and ``\Z`` for the ends of the text.
* A class may be empty, ``[^]`` is any character.

One difference is kept, and is reported by ``Parsed.halves``: without the flag ``u`` JavaScript reads a character
above U+FFFF as two halves. Here it is one character, as its author meant it.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.policy.importers.charset import (
    DIGIT,
    EVERYTHING,
    HALVES,
    LAST,
    LINE_END,
    SPACE,
    WORD,
    CharSet,
    char_text,
    class_text,
    range_text,
)
from monitor.policy.importers.javascript_escapes import Escapes
from monitor.policy.importers.javascript_halves import halves_matter, joined_halves
from monitor.policy.importers.reasons import Reason, UnreadableError
from monitor.policy.importers.regex_nodes import (
    EDGE,
    EMPTY,
    END,
    NO_EDGE,
    START,
    Chars,
    Look,
    Node,
    alt,
    repeat,
    seq,
)

_SPACE_TEXT = r"\s\v\pZ\x{feff}"
_SETS: dict[str, CharSet] = {"d": DIGIT, "w": WORD, "s": SPACE}
_SETS |= {name.upper(): chars.complement() for name, chars in _SETS.items()}
_SET_TEXTS = {"d": r"\d", "D": r"\D", "w": r"\w", "W": r"\W", "s": f"[{_SPACE_TEXT}]", "S": f"[^{_SPACE_TEXT}]"}
_IN_CLASS = {"d": r"\d", "w": r"\w", "s": _SPACE_TEXT, "D": r"\D", "W": r"\W"}
_ASTRAL = CharSet(((0x10000, LAST),))
_MAX_DEPTH = 100
_NUL_TEXT = "␛0000"
"""How a stored text has NUL (``canonical.escape_text``)."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A pattern as a tree. ``halves``: JavaScript would read some characters of it as halves, and so match less or more."""

    tree: Node
    halves: bool


def parse(pattern: str, *, unicode: bool) -> Parsed:
    """Read a pattern; ``unicode`` is the flag ``u``. Raises UnreadableError."""
    parser = _Parser(pattern, unicode=unicode)
    return Parsed(parser.whole(), parser.halves)


class _Parser(Escapes):
    """Reads one pattern from left to right."""

    def __init__(self, pattern: str, *, unicode: bool) -> None:
        super().__init__(pattern, unicode=unicode)
        self._depth = 0
        self._groups = _count_groups(pattern)
        self.halves = not unicode and any(ord(char) > 0xFFFF for char in pattern) and halves_matter(pattern)

    def whole(self) -> Node:
        tree = self._alternatives()
        if self._at < len(self._text):
            raise self._wrong("a parenthesis is closed that was never opened")
        return tree

    def _alternatives(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UnreadableError(Reason.REGEX_TOO_LARGE, f"more than {_MAX_DEPTH} groups inside each other")
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        self._depth -= 1
        return alt(*parts)

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._next() not in {"", "|", ")"}:
            atom = self._atom()
            parts.append(self._quantified(atom))
        return seq(*joined_halves(parts))

    def _atom(self) -> Node:
        char = self._next()
        self._at += 1
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escape()
        if char == ".":
            return _written(LINE_END.complement())
        if char == "^":
            return START
        if char == "$":
            return END
        if char in "*+?":
            self._at -= 1
            raise self._wrong(f"nothing stands before `{char}`")
        if self._unicode and char in "{}]":
            raise self._wrong(f"`{char}` needs a `\\` with the flag u")
        if char == "{" and _count_at(self._text, self._at - 1):
            raise self._wrong("nothing stands before a count")
        return _char(ord(char))

    def _group(self) -> Node:
        look: tuple[bool, bool] | None = None
        if self._take("?i)"):
            return EMPTY
        if self._take("?"):
            looks = {"=": (True, False), "!": (True, True), "<=": (False, False), "<!": (False, True)}
            opening = next((sign for sign in looks if self._take(sign)), None)
            if opening:
                look = looks[opening]
            elif not (self._take(":") or self._take("i:")):
                self._name()
        inner = self._alternatives()
        if not self._take(")"):
            raise self._wrong("a parenthesis is never closed")
        return Look(inner, *look) if look else inner

    def _name(self) -> None:
        self._take("P")
        end = self._text.find(">", self._at)
        if not self._take("<") or end < 0 or not self._text[self._at : end].replace("$", "_").isidentifier():
            raise self._wrong("JavaScript knows no such group")
        self._at = end + 1

    def _quantified(self, atom: Node) -> Node:
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        count: tuple[int, int | None] | None = simple.get(self._next())
        if count:
            self._at += 1
        elif found := _count_at(self._text, self._at):
            count, self._at = found
        if count is None:
            return atom
        lazy = self._take("?")
        if self._next() in {"*", "+", "?"} or _count_at(self._text, self._at):
            raise self._wrong("a count follows a count")
        if atom in {START, END, EDGE, NO_EDGE} or (isinstance(atom, Look) and (self._unicode or not atom.ahead)):
            raise self._wrong("a place cannot be repeated")
        return repeat(atom, *count, lazy=lazy)

    def _escape(self) -> Node:
        char = self._next()
        if char in _SETS:
            self._at += 1
            return Chars(_SETS[char], _SET_TEXTS[char])
        if char == "b":
            self._at += 1
            return EDGE
        if char == "B":
            self._at += 1
            return NO_EDGE
        if char in {"A", "Z"} and not self._unicode:
            self._at += 1
            return START if char == "A" else END
        if char in {"p", "P"} and self._unicode:
            raise UnreadableError(Reason.REGEX_PROPERTY, "`\\p{…}` names a set of characters by a property")
        digits = self._digits("123456789", 3)
        if digits and (self._unicode or int(digits) <= self._groups):
            raise UnreadableError(Reason.REGEX_BACKREFERENCE, f"`\\{digits}` refers back to a group")
        if char == "k" and "(?<" in self._text:
            raise UnreadableError(Reason.REGEX_BACKREFERENCE, "`\\k<…>` refers back to a group")
        return _char(self._escaped_char())

    def _class(self) -> Node:
        self._in_class = True
        negative = self._take("^")
        items: list[tuple[CharSet, str | None]] = []
        while not self._take("]"):
            if not self._next():
                raise self._wrong("a bracket is never closed")
            items.append(self._class_item())
        self._in_class = False
        chars = CharSet.of(span for item, _ in items for span in item.ranges)
        if not self._unicode and not HALVES - chars and not _ASTRAL & chars:  # all halves: every character above U+FFFF
            chars |= _ASTRAL
            items.append((_ASTRAL, range_text(_ASTRAL)))
        if negative:
            return _written(chars.complement(), _brackets("^", chars, items))
        return _written(chars, _brackets("", chars, items))

    def _class_item(self) -> tuple[CharSet, str | None]:
        """The characters, and how RE2 writes them in brackets (None: only by their numbers)."""
        low = self._class_atom()
        if not (self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in {"]", ""}):
            return low
        self._at += 1
        high = self._class_atom()
        if low[0].size != 1 or high[0].size != 1 or low[1] is None or high[1] is None:
            if self._unicode:
                raise self._wrong("a range needs a character on both sides")
            return low[0] | high[0] | CharSet.chars("-"), None
        first, last = low[0].ranges[0][0], high[0].ranges[0][0]
        if first > last:
            raise self._wrong("a range in brackets runs backwards")
        return CharSet(((first, last),)), f"{char_text(first, in_class=True)}-{char_text(last, in_class=True)}"

    def _class_atom(self) -> tuple[CharSet, str | None]:
        char = self._next()
        self._at += 1
        code = ord(char)
        if char == "\\":
            name = self._next()
            if name in _SETS:
                self._at += 1
                return _SETS[name], _IN_CLASS.get(name)
            if name in {"p", "P"} and self._unicode:
                raise UnreadableError(Reason.REGEX_PROPERTY, "`\\p{…}` names a set of characters by a property")
            if name == "b":
                self._at += 1
                code = 8
            else:
                code = self._escaped_char()
        return CharSet(((code, code),)), char_text(code, in_class=True)


def _char(code: int) -> Chars:
    chars = CharSet(((code, code),))
    return Chars(chars, f"(?:{_NUL_TEXT})" if code == 0 else char_text(code))


def _written(chars: CharSet, text: str | None = None) -> Chars:
    """A set as it was written. NUL stands in a stored text as an escape, and a half of a character nowhere."""
    if text is None or HALVES & chars not in {CharSet(()), HALVES}:
        text = class_text(chars)
    if 0 in chars and chars != EVERYTHING and chars.size < 0x8000:
        text = f"(?:{text}|{_NUL_TEXT})"
    return Chars(chars, text)


def _brackets(sign: str, chars: CharSet, items: list[tuple[CharSet, str | None]]) -> str | None:
    if not items or chars == EVERYTHING or any(text is None for _, text in items):
        return None
    return f"[{sign}{''.join(text for _, text in items if text)}]"


def _count_at(text: str, at: int) -> tuple[tuple[int, int | None], int] | None:
    """The count ``{n}``, ``{n,}`` or ``{n,m}`` at a place, and where it ends."""
    end = text.find("}", at)
    if text[at : at + 1] != "{" or end < 0:
        return None
    least, comma, most = text[at + 1 : end].partition(",")
    if not (least.isascii() and least.isdigit()) or (most and not (most.isascii() and most.isdigit())):
        return None
    if len(least) > 6 or len(most) > 6:
        raise UnreadableError(Reason.REGEX_TOO_LARGE, f"`{text[at : end + 1][:30]}` repeats too often")
    count = (int(least), int(most) if most else None if comma else int(least))
    if count[1] is not None and count[1] < count[0]:
        raise UnreadableError(Reason.REGEX_INVALID, f"`{text[at : end + 1]}` runs backwards")
    return count, end + 1


def _count_groups(pattern: str) -> int:
    """How many groups there are to refer back to."""
    count, at, in_class = 0, 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif char == "[":
            in_class = True
        elif char == "]":
            in_class = False
        elif char == "(" and not in_class:
            named = pattern.startswith("(?<", at) and pattern[at + 3 : at + 4] not in {"=", "!"}
            count += named or not pattern.startswith("(?", at)
        at += 1
    return count
