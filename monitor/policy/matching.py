r"""Many patterns over one text in linear time, with codepoint spans.

RE2 only: no pattern and no text can make it slow beyond linear. ``re2.Filter`` finds, from the literals that patterns
require, which patterns can match at all, and tries those; only what it found is run again for its places. Three things
about it decide how it is used here:

* Patterns without a required literal are always tried. That is correct, and only slow; ``needs_no_literal`` tells.
* It holds an automaton of all literals, which fails to compile near 90 KB of them: patterns are put into shards, as few
  as will do, since every shard reads the whole text.
* When that automaton runs out of memory on a text it reports "no match", which is the one thing a monitor must not take
  for an answer. So each shard also holds a canary, and each text ends with it: a filter that does not find its own
  canary has not read the text, and then every pattern of the shard is run.

With the canary behind it the text does not end where it ended, so the filter holds the patterns without ``\z`` and ``$``
(``regex_syntax.without_ends``). All that it says is that a pattern may match: what is found is found in the text itself.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import re2

from monitor.policy.regex_syntax import has_end, without_ends

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

Offsets: TypeAlias = tuple[tuple[int, int], ...]
"""Codepoints, half open. A pattern that matches only the empty text gives one empty span."""

MAX_SPANS = 20
TEXT_CAP = 16 * 1024 * 1024
"""Codepoints of one text that are read; of a longer one the rest is ``unread``, and whoever asks has to say so."""
MAX_PROGRAM = 50_000
"""Instructions, which are steps for each byte of a text at worst (``policy/cost.py``): a pattern with more is refused. The
largest of 197 patterns of Agent Threat Rules has 9,153, and a plain phrase about one for each character.
"""
SHARD_BYTES = 400_000
"""Patterns' bytes in one shard. Where they require too many literals for one, the shard is halved until they do not."""

_CANARY = b"\n\0\0monitor-canary\0"
"""NUL never occurs in a stored text (``canonical.escape_text``), so no text can contain the canary by itself. The line
break is for ``\\b`` and ``$``, to which it is what the end of the text is.
"""
_EVERYWHERE = ""
"""A pattern that the filter always finds: whatever stands for it there is always run."""


class PatternError(ValueError):
    """RE2 does not take the pattern; the message is RE2's."""


def _options() -> Any:
    """Groups capture nothing: their places are not asked for, and finding them is slow."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    return options


def compile_pattern(pattern: str) -> Any:
    """Compile one pattern. Raises PatternError, also for one whose program is larger than ``MAX_PROGRAM``."""
    try:
        compiled = re2.compile(pattern, _options())
    except re2.error as exc:
        said = exc.args[0] if exc.args else "unknown error"
        raise PatternError(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) from None
    if compiled.programsize > MAX_PROGRAM:
        raise PatternError(f"pattern too large: {compiled.programsize:,} steps for a byte of text")
    return compiled


def needs_no_literal(pattern: str) -> bool:
    """Whether the pattern must be run on every text, since no literal is required for a match."""
    matcher = re2.Filter()
    matcher.Add(pattern)
    matcher.Compile()
    return bool(matcher.Match("", potential=True))


@lru_cache(maxsize=8)
def engine_of(patterns: tuple[str, ...], cap: int) -> PatternEngine:
    """The engine of these patterns, which is made once: it never changes and may be shared. Raises PatternError."""
    return PatternEngine(patterns, cap=cap)


class PatternEngine:
    r"""A fixed set of patterns, compiled once. Raises PatternError if they cannot be compiled.

    ``cap`` codepoints of a text are read. A match found there is a match of the whole text (what follows the cut is known
    to ``$``, ``\z``, ``\b``); that none is found says nothing of the rest, and ``unread`` says how long that is.
    """

    def __init__(self, patterns: Iterable[str], *, shard_bytes: int = SHARD_BYTES, cap: int = TEXT_CAP) -> None:
        self.cap = cap
        self.patterns = tuple(dict.fromkeys(patterns))
        self._shards = [shard for group in _groups(self.patterns, shard_bytes) for shard in _shards(group)]
        self._compiled = {pattern: shard.compiled[pattern] for shard in self._shards for pattern in shard.compiled}

    def find(self, text: str, wanted: Collection[str]) -> dict[str, Offsets]:
        """The patterns among ``wanted`` that match in ``text``, each with its first ``MAX_SPANS`` spans.

        Raises UnicodeEncodeError for a text with lone surrogates, which no stored text has.
        """
        data, end = self._read(text)
        places = None if end == min(len(text), self.cap) else Codepoints(data)
        found: dict[str, Offsets] = {}
        for pattern in self.candidates(data, wanted):
            if pattern in wanted and (offsets := _spans(self._compiled[pattern], data, end, places)):
                found[pattern] = offsets
        return found

    def unread(self, text: str) -> int:
        """How many codepoints at the end of ``text`` ``find`` does not read."""
        return max(0, len(text) - self.cap)

    def candidates(self, data: bytes, wanted: Collection[str]) -> Iterator[str]:
        """Every pattern that matches in these bytes, with others that may not, and some that nobody wants."""
        marked = data + _CANARY
        tried = 2 * len(wanted) >= len(self.patterns)  # the filter tries patterns faster, but also those not wanted
        for shard in self._shards:
            yield from shard.candidates(marked, tried=tried)

    def compiled(self, pattern: str) -> Any:
        """One of the patterns, compiled."""
        return self._compiled[pattern]

    def find_slowly(self, text: str, wanted: Collection[str]) -> dict[str, Offsets]:
        """As ``find``, without any filter: what ``find`` is tested against."""
        data, end = self._read(text)
        spans = {pattern: _spans(self._compiled[pattern], data, end, Codepoints(data)) for pattern in wanted}
        return {pattern: offsets for pattern, offsets in spans.items() if offsets}

    def _read(self, text: str) -> tuple[bytes, int]:
        """(bytes, how many of them are read). One codepoint more than is read is there, for what looks at the next one."""
        if len(text) <= self.cap:
            data = text.encode()
            return data, len(data)
        data = text[: self.cap].encode()
        return data + text[self.cap].encode(), len(data)


class _Shard:
    """Some patterns and the canary in one compiled filter. Raises PatternError, or re2.error for too many literals."""

    def __init__(self, patterns: Sequence[str], *, filtered: bool = True) -> None:
        self._patterns = tuple(patterns)
        self._filter = re2.Filter()
        apart = {pattern: compile_pattern(pattern) for pattern in self._patterns if not filtered or has_end(pattern)}
        held = [without_ends(pattern) if filtered else _EVERYWHERE for pattern in self._patterns]
        options = _options()
        for pattern in (*held, re2.escape(_CANARY.decode())):
            self._filter.Add(pattern, options)
        self._filter.Compile()
        shared = {pattern: self._filter.re(index) for index, pattern in enumerate(self._patterns)}
        self.compiled: dict[str, Any] = shared | apart

    def candidates(self, marked: bytes, *, tried: bool) -> Iterable[str]:
        """The patterns that may match in a text that is followed by the canary."""
        hits = self._filter.Match(marked, potential=not tried)
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
            return [_Shard(patterns, filtered=False)]
        half = len(patterns) // 2
        return [*_shards(patterns[:half]), *_shards(patterns[half:])]


def _spans(compiled: Any, data: bytes, end: int, places: Codepoints | None) -> Offsets:
    """The first spans as codepoints (as they are, where bytes are codepoints and there are no ``places``); empty matches
    count only where there is no other (they are no evidence).
    """
    matches = [match.span() for match in islice(compiled.finditer(data, 0, end), MAX_SPANS)]
    spans = [span for span in matches if span[1] > span[0]] or matches[:1]
    return tuple(spans) if places is None else tuple([(places.at(first), places.at(last)) for first, last in spans])


class Codepoints:
    """The codepoints of one UTF-8 text by their bytes, for any number of offsets in any order: each byte is counted once,
    and at most ``_BLOCK`` of them again for each offset.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._before = [0]

    def at(self, offset: int) -> int:
        """The codepoint that begins at this byte; for a byte inside of one, that one."""
        data, before = self._data, self._before
        while offset < len(data) and data[offset] & 0xC0 == 0x80:  # only \B and \C get there
            offset -= 1
        block = offset // _BLOCK
        while len(before) <= block:
            start = (len(before) - 1) * _BLOCK
            before.append(before[-1] + _beginning(data[start : start + _BLOCK]))
        return before[block] + _beginning(data[block * _BLOCK : offset])


_BLOCK = 1_024
_INSIDE = bytes(range(0x80, 0xC0))


def _beginning(data: bytes) -> int:
    """How many codepoints begin in these bytes."""
    return len(data.translate(None, _INSIDE))
