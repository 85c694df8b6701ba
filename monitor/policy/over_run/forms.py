"""A text in the forms in which it is compared, each with the way back to the codepoints that are stored.

``plain``: letters of either case alike, Unicode forms alike (NFKD), white space and invisible characters left out, and of a
run of one ASCII character three. Besides, once: the strings of a JSON text without their escapes, and what stands there in
base64 (of either alphabet, also broken into lines) or in hex.
"""

from __future__ import annotations

import base64
import unicodedata
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import re2

from monitor.policy.json_places import scalars
from monitor.policy.letters import in_order, is_unseen, normal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from monitor.policy.json_places import Scalar

_MOST_ALIKE = 3
_RUNS = re2.compile("|".join(re2.escape(chr(point)) + "{4,}" for point in range(33, 127)))
_BASE64 = r"[A-Za-z0-9+/_-]{%d,}(?:\r?\n[A-Za-z0-9+/_-]{16,})*(?:\r?\n[A-Za-z0-9+/_-]{1,15})?"
_LINE = 16
"""How many characters a line of base64 has at least, when there are several; the last may be shorter."""
_HEX = r"[0-9A-Fa-f]{%d,}"
_LONGEST_REPEAT = 1000  # RE2's own limit


class _Letters(dict[int, str]):
    """Each codepoint as it is compared."""

    def __missing__(self, point: int) -> str:
        letter = chr(point)
        if letter.isspace() or (is_unseen(letter) and unicodedata.category(letter) not in {"Co", "Cn"}):
            plain = ""
        else:
            folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", letter).casefold())
            plain = "".join(part for part in folded if not part.isspace())
        self[point] = plain
        return plain


_LETTERS = _Letters()


def plain(text: str) -> str:
    """The text as it is compared."""
    return str(_RUNS.sub(lambda run: run[0][:_MOST_ALIKE], normal("NFD", text.translate(_LETTERS))))


def _places(text: str) -> list[int]:
    """For each codepoint of ``plain(text)`` the place in ``text`` where it comes from."""
    parts = [(part, place) for place, letter in enumerate(text) for part in _LETTERS[ord(letter)]]
    places: list[int] = []
    last, alike = "", 0
    for part, place in parts if text.isascii() else in_order(parts):
        alike = alike + 1 if part == last else 1
        last = part
        if alike <= _MOST_ALIKE or not "!" <= part <= "~":
            places.append(place)
    return places


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a text: ``text`` is how it is compared, ``raw`` what it is made from. ``how`` is "" for itself."""

    text: str
    raw: str
    back: Callable[[int, int], tuple[int, int]]
    how: str = ""

    @property
    def weight(self) -> int:
        """How much memory it takes, in codepoints."""
        return len(self.text) + len(self.raw)

    def stored(self, start: int, end: int) -> tuple[int, int]:
        """Where ``text[start:end]`` stands in the stored text."""
        places = _places(self.raw)[start:end]  # of marks that were brought into order not the first is the first
        return self.back(min(places), max(places) + 1)


def forms(text: str, least: int) -> Iterator[Form]:
    """The forms of a stored text, the text itself first. Forms of fewer than ``least`` codepoints are left out."""
    written: list[tuple[str, Callable[[int, int], tuple[int, int]], str]] = [(text, _as_it_is, "")]
    written += [(one.text, through(one.places), "JSON") for one in strings(text, least)]
    for raw, back, how in written:
        yield from _form(raw, back, how, least)
        for decoded, inner, coding in _decoded(raw, least):
            yield from _form(decoded, _both(inner, back), coding, least)


def strings(text: str, least: int) -> Iterator[Scalar]:
    """The strings of a JSON text with escapes, without them."""
    if "\\" in text and text.lstrip()[:1] in {"{", "[", '"'}:
        yield from (one for one in scalars(text) or () if one.is_string and len(one.text) >= least)


def shown(text: str, start: int, end: int) -> str:
    """What stands in a text from ``start`` to ``end``: within a string of a JSON text with escapes, without them."""
    if "\\" in text[start:end]:
        for one in strings(text, 1):
            if one.places[0] <= start and end <= one.places[-1]:
                return one.text[bisect_right(one.places, start) - 1 : bisect_left(one.places, end)]
    return text[start:end]


def _form(raw: str, back: Callable[[int, int], tuple[int, int]], how: str, least: int) -> Iterator[Form]:
    compared = plain(raw)
    if len(compared) >= least:
        yield Form(compared, raw, back, how)


def _as_it_is(start: int, end: int) -> tuple[int, int]:
    return start, end


def through(places: Sequence[int]) -> Callable[[int, int], tuple[int, int]]:
    """The way back from codepoints of a text to where they stand in the stored one."""
    return lambda start, end: (places[start], places[end])


def _both(
    inner: Callable[[int, int], tuple[int, int]], outer: Callable[[int, int], tuple[int, int]]
) -> Callable[[int, int], tuple[int, int]]:
    return lambda start, end: outer(*inner(start, end))


@cache
def _pattern(form: str, least: int) -> Any:
    """A pattern of at least so many characters, compiled once: there are no more than there are different ``least``."""
    return re2.compile(form % min(least, _LONGEST_REPEAT))


def _decoded(text: str, least: int) -> Iterator[tuple[str, Callable[[int, int], tuple[int, int]], str]]:
    """What stands in the text in base64 or hex, wherever in a run of such characters it begins."""
    shortest = -(-least * 4 // 3)
    for run in _pattern(_BASE64, min(shortest, _LINE)).finditer(text):
        body = run[0].replace("\r", "").replace("\n", "")
        if len(body) < shortest:
            continue
        places = [run.start() + at for at, letter in enumerate(run[0]) if letter not in "\r\n"]
        body = body.replace("-", "+").replace("_", "/")
        for shift in range(4):
            whole = len(body) - shift
            used = body[shift : shift + whole - (whole % 4 == 1)]
            found = base64.b64decode(used + "=" * (-len(used) % 4))
            for piece, back in _texts_of(found, places, shift, 3, 4):
                yield piece, back, "base64"
    for run in _pattern(_HEX, 2 * least).finditer(text):
        places = list(range(run.start(), run.end()))
        for shift in range(2):
            used = run[0][shift : shift + (len(run[0]) - shift) // 2 * 2]
            for piece, back in _texts_of(bytes.fromhex(used), places, shift, 1, 2):
                yield piece, back, "hex"


def _texts_of(
    found: bytes, places: Sequence[int], shift: int, few: int, many: int
) -> Iterator[tuple[str, Callable[[int, int], tuple[int, int]]]]:
    """The texts in bytes that may be text in part, each with the way back: ``few`` bytes stand in ``many`` characters."""
    text = found.decode("utf-8", "surrogateescape")

    def way_back(shifted: int) -> Callable[[int, int], tuple[int, int]]:
        def back(start: int, end: int) -> tuple[int, int]:
            first = len(text[: shifted + start].encode("utf-8", "surrogateescape"))
            last = len(text[: shifted + end].encode("utf-8", "surrogateescape")) - 1
            begins = shift + first // few * many + (first % few if few > 1 else 0)
            ends = shift + last // few * many + (last % few + 1 if few > 1 else 1)
            return places[begins], places[ends] + 1

        return back

    at = 0
    for piece in text.translate(_BREAKS).split("\x00"):
        yield piece, way_back(at)
        at += len(piece) + 1


class _Breaks(dict[int, str]):
    """Bytes that are no text, and characters that no text has, end a text."""

    def __missing__(self, point: int) -> str:
        letter = chr(point)
        is_text = letter in "\t\n\r" or unicodedata.category(letter) not in {"Cc", "Cs", "Cn", "Co"}
        self[point] = found = letter if is_text else "\x00"
        return found


_BREAKS = _Breaks()
