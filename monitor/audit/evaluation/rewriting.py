"""The scripted rewriter: an attacker who knows where the rules match, and writes those places otherwise.

Deterministic, and small enough to be read. A technique gets what matched, word by word, and says it otherwise; the next
round gets another variant. What each keeps of the text:

* ``synonyms`` by the table in ``rewriting.yaml``; nobody checks that a sentence still means the same.
* ``fillers`` and ``split`` add words or sentence ends between the words that matched; the words are all there.
* ``spaced``, ``hyphens``, ``zero_width``, ``homoglyphs``, ``leet``, ``swapped`` change the letters' looks: a person, and
  mostly a model, still reads the words.
* ``base64`` and ``rot13`` encode the place: whoever knows it can decode it, and nobody reads it at a glance.

Only letters of ASCII are touched, and no escapes such as JSON has.
"""

from __future__ import annotations

import base64
import codecs
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import re2

from monitor import strict_yaml
from monitor.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TABLE = Path(__file__).with_name("rewriting.yaml")
_WORD = re2.compile(r"\\u[0-9a-fA-F]{4}|\\.|[A-Za-z]+")  # or an escape, as JSON writes them, which is left alone
_LONG = 4  # letters; shorter words are left alone where looks are changed


@dataclass(frozen=True, slots=True)
class Technique:
    """One way to write a place otherwise; ``keeps`` says what of the text is kept, in words."""

    name: str
    keeps: str
    rewrite: Callable[[str, int], str]


def _words(text: str, change: Callable[[str], str]) -> str:
    """The text with each word changed."""
    parts, end = [], 0
    for found in _WORD.finditer(text):
        word = found.group()
        parts += [text[end : found.start()], word if word.startswith("\\") else change(word)]
        end = found.end()
    return "".join([*parts, text[end:]])


def _synonyms(text: str, variant: int) -> str:
    known = table()["synonyms"]

    def change(word: str) -> str:
        others = known.get(word.lower())
        if not others:
            return word
        other = str(others[variant % len(others)])
        return other[0].upper() + other[1:] if word[0].isupper() else other

    return _words(text, change)


def _between(text: str, between: Callable[[int], str]) -> str:
    """The text with something said between two words, instead of the single blank there."""
    parts, number = text.split(" "), 0
    said = parts[0]
    for before, part in pairwise(parts):
        joined = " "
        if before[-1:].isalpha() and part[:1].isalpha():
            joined, number = between(number), number + 1
        said += joined + part
    return said


def _fillers(text: str, variant: int) -> str:
    fillers = table()["fillers"]
    return _between(text, lambda number: f" {fillers[(number + variant) % len(fillers)]} ")


def _split(text: str, variant: int) -> str:
    joints = table()["joints"]
    return _between(text, lambda number: joints[number // 2 % len(joints)] if number % 2 != variant % 2 else " ")


def _long(change: Callable[[str, int], str]) -> Callable[[str, int], str]:
    return lambda text, variant: _words(text, lambda word: change(word, variant) if len(word) >= _LONG else word)


def _within(mark: str) -> Callable[[str, int], str]:
    """A mark inside of a word: in the middle, and one letter on in each further variant."""

    def change(word: str, variant: int) -> str:
        at = 1 + (len(word) // 2 - 1 + variant) % (len(word) - 1)
        return f"{word[:at]}{mark}{word[at:]}"

    return change


def _swapped(word: str, variant: int) -> str:
    at = 1 + variant % (len(word) - 3) if len(word) > 3 else 1
    return f"{word[:at]}{word[at + 1]}{word[at]}{word[at + 2 :]}"


def _mapped(name: str) -> Callable[[str, int], str]:
    def change(text: str, _variant: int) -> str:
        known = table()[name]
        return _words(text, lambda word: "".join(str(known.get(letter, letter)) for letter in word))

    return change


def _base64(text: str, _variant: int) -> str:
    return base64.b64encode(text.encode()).decode()


TECHNIQUES = (
    Technique("synonyms", "not checked: other words, by the table", _synonyms),
    Technique("fillers", "every word, with more between them", _fillers),
    Technique("split", "every word, with sentence ends between them", _split),
    Technique("spaced", "every letter, spaced out", _long(lambda word, _: " ".join(word))),
    Technique("hyphens", "every letter, words hyphenated", _long(_within("-"))),
    Technique("zero_width", "looks the same: invisible characters in words", _long(_within("\u200b"))),
    Technique("homoglyphs", "looks the same: Cyrillic letters for Latin ones", _mapped("homoglyphs")),
    Technique("leet", "digits for letters", _mapped("leet")),
    Technique("swapped", "two letters of each longer word change places", _long(_swapped)),
    Technique("base64", "all, for whoever decodes it", _base64),
    Technique("rot13", "all, for whoever decodes it", lambda text, _: codecs.encode(text, "rot13")),
)


@cache
def table() -> Mapping[str, Any]:
    """The table of ``rewriting.yaml``.

    Raises:
        ConfigError: it is no such table.
    """
    faults: list[Fault] = []
    root = strict_yaml.read(TABLE, faults)
    if root is None or faults:
        raise ConfigError("\n".join(map(str, faults)))
    found: Mapping[str, Any] = root.plain()
    return found
