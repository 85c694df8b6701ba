"""Characters as texts are compared and shown: which of them nobody sees, and Unicode's normal forms in linear time."""

from __future__ import annotations

import unicodedata
from typing import Any, Literal

import re2

_FEW = 32
_MARKS = re2.compile(rf"\p{{M}}{{{_FEW},}}")
_CONTROLS = {"Cc", "Cf", "Zl", "Zp", "Co", "Cn"}
_BLANK = (
    *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
    *range(0x180B, 0x1810),
    *range(0xFE00, 0xFE10),
    *range(0xE0000, 0xE1000),
)
"""Beside the controls what Unicode calls ``Default_Ignorable_Code_Point``, and the blank of Braille: joiners, fillers, and
the selectors of variants, in which whole messages can stand.
"""
_UNSEEN = frozenset(map(chr, _BLANK))


def is_unseen(letter: str) -> bool:
    """Whether nobody sees the character: a control, a format, or one that is blank and no white space."""
    return letter in _UNSEEN or unicodedata.category(letter) in _CONTROLS


def normal(form: Literal["NFD", "NFKC"], text: str) -> str:
    """The text in a normal form. Python's own takes a time that grows with the square of a run of marks, which whoever
    wrote the text chooses: long runs are brought into order before.
    """
    if text.isascii():
        return text
    return unicodedata.normalize(form, _MARKS.sub(lambda run: _sorted(run[0], form), text))


def _sorted(run: str, form: str) -> str:
    apart = "".join(unicodedata.normalize("NFKD" if form == "NFKC" else "NFD", letter) for letter in run)
    return "".join(letter for letter, _ in in_order([(letter, 0) for letter in apart]))


def in_order(letters: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Decomposed characters in Unicode's canonical order, each with the number that it came with."""
    result: list[tuple[str, int]] = []
    marks: list[tuple[str, int]] = []
    for one in letters:
        if unicodedata.combining(one[0]):
            marks.append(one)
        else:
            result += _by_class(marks)
            result.append(one)
            marks = []
    return result + _by_class(marks)


def _by_class(marks: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return sorted(marks, key=lambda one: unicodedata.combining(one[0])) if len(marks) > 1 else marks
