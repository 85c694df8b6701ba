"""Many patterns over one text in linear time, with codepoint spans.

RE2 only: no pattern and no text can make it slow beyond linear. ``re2.Filter`` finds, from the literals that patterns
require, which patterns can match at all; only those are run. Three things about it decide how it is used here:

* Patterns without a required literal are always candidates. That is correct, and only slow; ``needs_no_literal`` tells.
* It holds an automaton of all literals, which fails to compile near 90 KB of them: patterns are put into shards.
* When that automaton runs out of memory on a text it reports "no match", which is the one thing a monitor must not take
  for an answer. So each shard also holds a canary, and each text ends with it: a filter that does not find its own
  canary has not read the text, and then every pattern of the shard is run.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import re2

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

Offsets: TypeAlias = tuple[tuple[int, int], ...]
"""Codepoints, half open. A pattern that matches only the empty text gives one empty span."""

MAX_SPANS = 20
TEXT_CAP = 16 * 1024 * 1024
"""Codepoints of one text that are read; of a longer one the rest is ``unread``, and whoever asks has to say so."""
SHARD_BYTES = 24_000
"""Patterns' bytes in one shard. Alternatives can multiply out to more literals than they have, so well below 50 KB."""

_CANARY = b"\0\0monitor-canary\0"
"""NUL never occurs in a stored text (``canonical.escape_text``), so no text can contain the canary by itself."""


class PatternError(ValueError):
    """RE2 does not take the pattern; the message is RE2's."""


def compile_pattern(pattern: str) -> Any:
    """Compile one pattern. Raises PatternError."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as exc:
        said = exc.args[0] if exc.args else "unknown error"
        raise PatternError(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) from None


def needs_no_literal(pattern: str) -> bool:
    """Whether the pattern must be run on every text, since no literal is required for a match."""
    matcher = re2.Filter()
    matcher.Add(pattern)
    matcher.Compile()
    return bool(matcher.Match("", potential=True))


class PatternEngine:
    r"""A fixed set of patterns, compiled once. Raises PatternError if they cannot be compiled.

    ``cap`` codepoints of a text are read. A match found there is a match of the whole text (what follows the cut is known
    to ``$``, ``\z``, ``\b``); that none is found says nothing of the rest, and ``unread`` says how long that is.
    """

    def __init__(self, patterns: Iterable[str], *, shard_bytes: int = SHARD_BYTES, cap: int = TEXT_CAP) -> None:
        self.cap = cap
        self.patterns = tuple(dict.fromkeys(patterns))
        self._compiled = {pattern: compile_pattern(pattern) for pattern in self.patterns}
        self._shards = [shard for group in _groups(self.patterns, shard_bytes) for shard in _shards(group)]

    def find(self, text: str, wanted: Collection[str]) -> dict[str, Offsets]:
        """The patterns among ``wanted`` that match in ``text``, each with its first ``MAX_SPANS`` spans.

        Raises UnicodeEncodeError for a text with lone surrogates, which no stored text has.
        """
        data, end = self._read(text)
        is_ascii = end == min(len(text), self.cap)
        found: dict[str, Offsets] = {}
        for pattern in self._candidates(data[:end]):
            if pattern in wanted and (offsets := _spans(self._compiled[pattern], data, end, is_ascii=is_ascii)):
                found[pattern] = offsets
        return found

    def unread(self, text: str) -> int:
        """How many codepoints at the end of ``text`` ``find`` does not read."""
        return max(0, len(text) - self.cap)

    def find_slowly(self, text: str, wanted: Collection[str]) -> dict[str, Offsets]:
        """As ``find``, without any filter: what ``find`` is tested against."""
        data, end = self._read(text)
        spans = {pattern: _spans(self._compiled[pattern], data, end, is_ascii=False) for pattern in wanted}
        return {pattern: offsets for pattern, offsets in spans.items() if offsets}

    def _read(self, text: str) -> tuple[bytes, int]:
        """(bytes, how many of them are read). One codepoint more than is read is there, for what looks at the next one."""
        if len(text) <= self.cap:
            data = text.encode()
            return data, len(data)
        data = text[: self.cap].encode()
        return data + text[self.cap].encode(), len(data)

    def _candidates(self, data: bytes) -> Iterator[str]:
        marked = data + _CANARY
        for shard in self._shards:
            yield from shard.candidates(marked)


class _Shard:
    """Some patterns and the canary in one compiled filter."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)
        self._filter = re2.Filter()
        for pattern in (*self._patterns, re2.escape(_CANARY.decode())):
            self._filter.Add(pattern)
        self._filter.Compile()

    def candidates(self, marked: bytes) -> Iterable[str]:
        hits = self._filter.Match(marked, potential=True)
        canary = len(self._patterns)
        if not hits or hits[-1] != canary:
            return self._patterns
        return [self._patterns[index] for index in hits[:-1]]


def _groups(patterns: Sequence[str], shard_bytes: int) -> Iterator[list[str]]:
    group: list[str] = []
    size = 0
    for pattern in patterns:
        length = len(pattern.encode())
        if group and size + length > shard_bytes:
            yield group
            group, size = [], 0
        group.append(pattern)
        size += length
    if group:
        yield group


def _shards(patterns: Sequence[str]) -> list[_Shard]:
    """One shard, or several where the literals of these patterns are too many for one."""
    try:
        return [_Shard(patterns)]
    except re2.error:
        if len(patterns) == 1:
            raise PatternError("the pattern requires too many literals to be filtered for") from None
        half = len(patterns) // 2
        return [*_shards(patterns[:half]), *_shards(patterns[half:])]


def _spans(compiled: Any, data: bytes, end: int, *, is_ascii: bool) -> Offsets:
    """The first spans as codepoints; empty matches count only where there is no other (they are no evidence)."""
    matches = [match.span() for match in islice(compiled.finditer(data, 0, end), MAX_SPANS)]
    spans = [span for span in matches if span[1] > span[0]] or matches[:1]
    return tuple(spans) if is_ascii else tuple(_codepoints(data, spans))


def _codepoints(data: bytes, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Byte spans, in order, as codepoint spans; one pass over the bytes."""
    at_byte = at_codepoint = 0
    for span in spans:
        ends = []
        for offset in span:
            while offset < len(data) and data[offset] & 0xC0 == 0x80:
                offset -= 1  # noqa: PLW2901 - inside a codepoint (only \B and \C get there): step back to its start
            at_codepoint += len(data[at_byte:offset].decode())
            at_byte = offset
            ends.append(at_codepoint)
        yield ends[0], ends[1]
