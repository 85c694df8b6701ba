"""Which codepoints of a reply, word for word, are the stored reasoning and the stored output.

The stored texts are taken from the reply in one of the ways that ``monitor.orchestrate.replies`` knows: the provider's own
reasoning before the answer, tags ``<think>…</think>``, or a field ``reasoning`` in an answer that is a JSON object, whose
other fields are stored as canonical JSON. They are stored escaped (``monitor.canonical.escape_text``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from monitor.canonical import escape_text, unescape_text
from monitor.errors import ProbeError
from monitor.probes.json_spans import leaves
from monitor.probes.words import Surface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.json_spans import Leaf

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"

Place: TypeAlias = "tuple[Surface, int, int]"
"""A surface, and the codepoints (half open) of its stored text."""


@dataclass(slots=True)
class _Part:
    """A text, and for each of its codepoints the number of the reply's codepoint that it is."""

    text: str
    at: Sequence[int]

    def cut(self, start: int, end: int) -> _Part:
        return _Part(self.text[start:end], self.at[start:end])

    def stripped(self) -> _Part:
        start = len(self.text) - len(self.text.lstrip())
        return self.cut(start, max(start, len(self.text.rstrip())))


def places(decoded: str, *, reasoning: str, output: str, raw: str = "") -> list[Place | None]:
    """For each codepoint of ``decoded``, where it stands in the stored texts; None for tags and JSON's punctuation.

    ``decoded`` is what the token ids say; ``raw`` the reply word for word, empty where it is the output.

    Raises:
        ProbeError: the stored texts are not in ``decoded``.
    """
    found: list[Place | None] = [None] * len(decoded)
    whole = _unescaped(raw or output)
    start = decoded.rfind(whole)
    if start < 0:
        raise ProbeError("the stored token ids do not say what the stored text says")
    reply = _Part(whole, range(start, start + len(whole)))
    thoughts, rest = _split_think(reply)
    thought = _unescaped(reasoning)
    if thought and "\n".join(part.text for part in thoughts) == thought:
        _put_thoughts(found, thoughts, reasoning)
    elif thought and (before := decoded.rfind(thought, 0, start)) >= 0:
        _put(found, _Part(thought, range(before, before + len(thought))), Surface.REASONING)
    for part in (reply, rest):
        if part.text == _unescaped(output):
            _put(found, part, Surface.OUTPUT)
            return found
    _put_json(found, rest, reasoning, output)
    return found


def _unescaped(stored: str) -> str:
    try:
        return unescape_text(stored)
    except ValueError:
        return stored


def _put(found: list[Place | None], part: _Part, surface: Surface, shift: int = 0) -> int:
    """Place a part of the reply; ``shift`` is where it begins in the stored text. Returns where it ends there."""
    for char, number in zip(part.text, part.at, strict=True):
        width = len(escape_text(char))
        found[number] = (surface, shift, shift + width)
        shift += width
    return shift


def _put_thoughts(found: list[Place | None], thoughts: Sequence[_Part], reasoning: str) -> None:
    shift = 0
    for part in thoughts:
        shift = _put(found, part, Surface.REASONING, shift) + 1  # the line break between two thoughts
    assert shift == len(reasoning) + 1


def _split_think(reply: _Part) -> tuple[list[_Part], _Part]:
    """As ``monitor.orchestrate.replies.split_think``: the thoughts that are not blank, and the rest, trimmed."""
    thoughts: list[_Part] = []
    rest: list[_Part] = []
    while reply.text:
        opened, closed = reply.text.find(THINK_OPEN), reply.text.find(THINK_CLOSE)
        if opened < 0:
            end = closed if closed >= 0 else len(reply.text)
            (thoughts if closed >= 0 else rest).append(reply.cut(0, end))
            reply = reply.cut(end + len(THINK_CLOSE), len(reply.text))
            continue
        rest.append(reply.cut(0, opened))
        reply = reply.cut(opened + len(THINK_OPEN), len(reply.text))
        closed = reply.text.find(THINK_CLOSE)
        end = closed if closed >= 0 else len(reply.text)
        thoughts.append(reply.cut(0, end))
        reply = reply.cut(end + len(THINK_CLOSE), len(reply.text))
    joined = _Part("".join(part.text for part in rest), [number for part in rest for number in part.at])
    return [part.stripped() for part in thoughts if part.text.strip()], joined.stripped()


def _put_json(found: list[Place | None], reply: _Part, reasoning: str, output: str) -> None:
    """Place the keys and values of the stored output, and the field ``reasoning``, in a reply that is a JSON object."""
    try:
        written, stored = leaves(reply.text), leaves(output)
    except ValueError:
        raise ProbeError("the stored output is in no way that is known the one of the stored reply") from None
    for (is_key, path), leaf in written.items():
        if path == ("reasoning",) and not is_key and leaf.value == _unescaped(reasoning):
            for number, (start, end) in enumerate(_widths(reasoning, leaf)):
                _mark(found, reply, leaf.spans[number], (Surface.REASONING, start, end))
        same = stored.get((is_key, tuple(escape_text(part) if isinstance(part, str) else part for part in path)))
        if same is None:
            continue
        if not isinstance(leaf.value, str):
            _mark(found, reply, leaf.spans[0], (Surface.OUTPUT, *same.spans[0]))
        elif isinstance(same.value, str) and escape_text(leaf.value) == same.value:
            for number, (start, end) in enumerate(_widths(same.value, leaf)):
                place = (Surface.OUTPUT, same.spans[start][0], same.spans[end - 1][1])
                _mark(found, reply, leaf.spans[number], place)


def _widths(stored: str, leaf: Leaf) -> list[tuple[int, int]]:
    """For each codepoint of a string the codepoints that it takes in its stored form."""
    spans, at = [], 0
    for char in leaf.value:
        spans.append((at, at + len(escape_text(char))))
        at = spans[-1][1]
    assert at == len(stored)
    return spans


def _mark(found: list[Place | None], reply: _Part, span: tuple[int, int], place: Place) -> None:
    for number in reply.at[span[0] : span[1]]:
        found[number] = place
