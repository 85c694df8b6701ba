"""Where in the text of a JSON value each key, string, number and word stands, down to the codepoint of a string."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

Path: TypeAlias = "tuple[str | int, ...]"
_BLANKS = " \t\n\r"
_ENDS = ",]}" + _BLANKS
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value without parts, or a key. ``spans`` are codepoints of the text (half open): one for each codepoint of a
    string or key; exactly one for a number, true, false or null.
    """

    value: Any
    spans: tuple[tuple[int, int], ...]


def leaves(text: str) -> dict[tuple[bool, Path], Leaf]:
    """The leaves by (is it a key, path). Of keys that are there twice the last one counts, as in ``json.loads``.

    Raises:
        ValueError: the text is not JSON, or nested too deeply.
    """
    found: dict[tuple[bool, Path], Leaf] = {}
    try:
        json.loads(text)
        _value(text, _skip(text, 0), (), found)
    except RecursionError as exc:
        raise ValueError("nested too deeply to read") from exc
    return found


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    return at


def _value(text: str, at: int, path: Path, found: dict[tuple[bool, Path], Leaf]) -> int:
    """Read the value that begins at ``at``; returns where it ends."""
    if text[at] in "{[":
        return _container(text, at, path, found)
    if text[at] == '"':
        found[False, path], end = _string(text, at)
        return end
    end = at
    while end < len(text) and text[end] not in _ENDS:
        end += 1
    found[False, path] = Leaf(json.loads(text[at:end]), ((at, end),))
    return end


def _container(text: str, at: int, path: Path, found: dict[tuple[bool, Path], Leaf]) -> int:
    is_object, number = text[at] == "{", 0
    at = _skip(text, at + 1)
    while text[at] not in "}]":
        inner: Path = (*path, number)
        if is_object:
            key, at = _string(text, at)
            inner = (*path, key.value)
            found[True, inner] = key
            at = _skip(text, _skip(text, at) + 1)  # the colon
        at = _skip(text, _value(text, at, inner, found))
        if text[at] == ",":
            at = _skip(text, at + 1)
        number += 1
    return at + 1


def _string(text: str, at: int) -> tuple[Leaf, int]:
    chars: list[str] = []
    spans: list[tuple[int, int]] = []
    at += 1
    while text[at] != '"':
        start = at
        if text[at] != "\\":
            char, at = text[at], at + 1
        elif text[at + 1] != "u":
            char, at = _SHORT.get(text[at + 1], text[at + 1]), at + 2
        else:
            char, at = chr(int(text[at + 2 : at + 6], 16)), at + 6
            if "\ud800" <= char < "\udc00" and text.startswith("\\u", at):
                low = int(text[at + 2 : at + 6], 16)
                if 0xDC00 <= low < 0xE000:  # a pair: one codepoint
                    char, at = chr(0x10000 + ((ord(char) - 0xD800) << 10) + low - 0xDC00), at + 6
        chars.append(char)
        spans.append((start, at))
    return Leaf("".join(chars), tuple(spans)), at + 1
