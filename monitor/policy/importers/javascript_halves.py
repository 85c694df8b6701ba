"""Halves of characters: what JavaScript without the flag ``u`` reads above U+FFFF, and no stored text has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.policy.importers.charset import HALVES, HIGH_HALVES, LOW_HALVES, CharSet
from monitor.policy.importers.reasons import Reason, UnreadableError
from monitor.policy.importers.regex_nodes import EMPTY, Chars, Node, Seq

if TYPE_CHECKING:
    from collections.abc import Iterator


def halves_matter(pattern: str) -> bool:
    """Whether a character above U+FFFF stands in brackets or before a count, where its halves are taken apart."""
    in_class, escaped = False, False
    for index, char in enumerate(pattern):
        if ord(char) > 0xFFFF and (in_class or pattern[index + 1 : index + 2] in {"*", "+", "?", "{"}):
            return True
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            in_class = char == "[" or (in_class and char != "]")
    return False


def joined_halves(parts: list[Node]) -> Iterator[Node]:
    """High halves followed by low halves are the characters that they make up; halves by themselves are in no text."""
    index = 0
    while index < len(parts):
        part = parts[index]
        following = parts[index + 1] if index + 1 < len(parts) else EMPTY
        if _only(part, HIGH_HALVES) and _only(following, LOW_HALVES):
            assert isinstance(part, Chars)
            assert isinstance(following, Chars)
            yield Chars.exactly(_products(part.chars, following.chars))
            index += 2
            continue
        for inner in [part] if isinstance(part, Chars) else _chars_in(part):
            if HALVES & inner.chars not in {CharSet(()), HALVES}:
                raise UnreadableError(Reason.REGEX_HALVES, "it looks for halves of characters (U+D800 to U+DFFF)")
        yield part
        index += 1


def _chars_in(node: Node) -> Iterator[Chars]:
    if isinstance(node, Chars):
        yield node
    elif isinstance(node, Seq):
        for part in node.parts:
            yield from _chars_in(part)
    elif hasattr(node, "part"):
        yield from _chars_in(node.part)


def _only(node: Node, halves: CharSet) -> bool:
    return isinstance(node, Chars) and bool(node.chars) and not node.chars - halves


def _products(high: CharSet, low: CharSet) -> CharSet:
    return CharSet.of(
        (0x10000 + ((first - 0xD800) << 10) + (begin - 0xDC00), 0x10000 + ((first - 0xD800) << 10) + (end - 0xDC00))
        for first_low, first_high in high.ranges
        for first in range(first_low, first_high + 1)
        for begin, end in low.ranges
    )
