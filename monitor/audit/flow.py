"""What information reached a subcall, and from where: texts that stand word for word in what a later subcall was handed.

Evidence is text. A message that is equal to an earlier text came from it (``whole``); a stretch of at least ``least``
codepoints that an earlier text has too came from there (``part``). What was said in other words, or in fewer codepoints,
leaves no trace of this kind, and is not claimed to be absent. Time and memory are linear in the text of the run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from monitor.policy.over_run.stretches import common_end, common_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from monitor.records import StoredRun, StoredSubcall

LEAST = 32
"""Codepoints that must be equal, by default: as long as half a line, which two texts seldom share by chance."""
SMALLEST_LEAST = 8
_SOURCES_KEPT = 8  # of each stretch, the earliest texts that have it


class Source(NamedTuple):
    """A text of the run: ``span_id`` said it (the run's own span: it was the task), on ``surface``."""

    span_id: str
    surface: str
    text: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Codepoints ``start`` to ``end`` (half open) of ``surface`` of ``to_span`` come from elsewhere.

    There they are ``from_start`` to ``from_end`` of ``from_surface``. ``how`` is ``whole`` where the whole message is the
    whole text, else ``part``.
    """

    to_span: str
    surface: str
    start: int
    end: int
    from_span: str
    from_surface: str
    from_start: int
    from_end: int
    how: str


class _Index:
    """Earlier texts, by themselves and by stretches: of each text one stretch every ``step`` codepoints.

    A common stretch of ``least`` codepoints holds one of them whole, wherever it begins.
    """

    def __init__(self, least: int) -> None:
        self.least = least
        self._step = max(1, least // 2)
        self._gram = least - self._step + 1
        self._sources: list[Source] = []
        self._whole: dict[str, list[int]] = defaultdict(list)
        self._grams: dict[str, list[tuple[int, int]]] = {}

    def add(self, source: Source) -> None:
        """Take in a text; one that is there already is not taken apart again."""
        if not source.text:
            return
        number, text = len(self._sources), source.text
        self._sources.append(source)
        known = self._whole[text]
        known.append(number)
        if len(known) > 1:
            return
        for place in range(0, len(text) - self._gram + 1, self._step):
            found = self._grams.setdefault(text[place : place + self._gram], [])
            if len(found) < _SOURCES_KEPT:
                found.append((number, place))

    def equal(self, text: str) -> list[Source]:
        """The texts that are equal to this one, the earliest first."""
        return [self._sources[number] for number in self._whole.get(text, ())[:_SOURCES_KEPT]]

    def parts(self, text: str) -> list[tuple[int, int, Source, int]]:
        """Stretches of ``text`` that earlier texts have too: (start, end, source, where in it), in their order."""
        found: list[tuple[int, int, Source, int]] = []
        here, last = 0, len(text) - self._gram
        reached: dict[int, int] = {}  # by source, how far a stretch of it reaches
        while here <= last:
            longest = here + 1
            for number, place in self._grams.get(text[here : here + self._gram], ()):
                if reached.get(number, 0) >= here + self._gram:
                    longest = max(longest, reached[number] - self._gram + 1)
                    continue
                source = self._sources[number]
                before = common_end(
                    text[max(0, here - self.least) : here], source.text[max(0, place - self.least) : place]
                )
                after = common_start(text, here, source.text, place)
                if before + after < self.least:
                    continue
                reached[number] = here + after
                longest = max(longest, here + after - self._gram + 1)
                found.append((here - before, here + after, source, place - before))
            here = longest
        return found


def flows(
    run: StoredRun, subcalls: Sequence[StoredSubcall], order: Iterable[tuple[str, str]], *, least: int = LEAST
) -> list[Flow]:
    """Every flow of the run, in the order in which subcalls were handed it.

    ``order`` is the run's log as (kind, span id): only what was there before a subcall began can have reached it. A message
    of a history that goes on, or is tried again, is looked at once, where it first stands. Where somebody has said the
    whole of it before it is handed over anew, it came from there too.
    """
    by_span = {subcall.call.span_id: subcall for subcall in subcalls}
    index = _Index(least)
    index.add(Source(run.start.span_id, "task", run.start.task))
    looked_at: dict[str, list[tuple[int, int, Source, int, str]]] = {}
    came_from: dict[int, list[tuple[int, int, Source, int, str]]] = {}
    histories = _Histories()
    found: list[Flow] = []
    for kind, span_id in order:
        subcall = by_span.get(span_id)
        if subcall is None:
            continue
        if kind == "started":
            for (surface, text), (number, is_anew) in zip(_handed(subcall), histories.numbers(subcall), strict=True):
                if text not in looked_at or (is_anew and index.equal(text)):
                    looked_at[text] = list(_traced(index, text))
                if is_anew:
                    came_from[number] = looked_at[text]
                found += [
                    Flow(span_id, surface, start, end, source.span_id, source.surface, place, place + end - start, how)
                    for start, end, source, place, how in came_from[number]
                ]
        elif kind == "observed":
            for source in _said(subcall):
                index.add(source)
        elif kind == "decided":
            for decision in subcall.decisions:
                index.add(Source(span_id, "decision", decision.output))
    return found


def _traced(index: _Index, text: str) -> Iterator[tuple[int, int, Source, int, str]]:
    equal = index.equal(text)
    yield from ((0, len(text), source, 0, "whole") for source in equal)
    if not equal:
        yield from ((start, end, source, place, "part") for start, end, source, place in index.parts(text))


class _Histories:
    """Numbers messages by what they say and by all messages before them."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, str, str], int] = {}

    def numbers(self, subcall: StoredSubcall) -> list[tuple[int, bool]]:
        """Of each text that ``_handed`` gives, its number, and whether it is handed over anew: as the end of a history it
        always is, but for a retry.
        """
        call, number = subcall.call, 0
        found: list[tuple[int, bool]] = []
        for place, message in enumerate(call.messages, 1):
            key = (number, message.role, message.content)
            is_end = place == len(call.messages) and not call.retry_of
            is_anew = is_end or key not in self._numbers
            number = self._numbers.setdefault(key, len(self._numbers) + 1)
            found.append((number, is_anew))
        return [*found, (0, True)] if call.kind == "tool" else found


def _handed(subcall: StoredSubcall) -> Iterator[tuple[str, str]]:
    for place, message in enumerate(subcall.call.messages):
        yield f"messages[{place}].content", message.content
    if subcall.call.kind == "tool":
        yield "task", subcall.call.task


def _said(subcall: StoredSubcall) -> Iterator[Source]:
    span_id, seen = subcall.call.span_id, subcall.observation
    if seen is None:
        return
    yield Source(span_id, "output", seen.output)
    yield Source(span_id, "reasoning", seen.reasoning.text)
    yield Source(span_id, "error", seen.error.message if seen.error else "")
    for number, asked in enumerate(seen.tool_calls):
        yield Source(span_id, f"tool_calls[{number}].arguments", asked.arguments)


def reached(span_id: str, by_target: Mapping[str, Sequence[Flow]]) -> dict[str, int]:
    """Every subcall whose text reached this one, with the fewest steps that it took: 1 is straight."""
    steps: dict[str, int] = {}
    waiting = [(span_id, 0)]
    for current, distance in waiting:  # grows while it is walked: breadth first
        for flow in by_target.get(current, ()):
            if flow.from_span not in steps and flow.from_span != span_id:
                steps[flow.from_span] = distance + 1
                waiting.append((flow.from_span, distance + 1))
    return steps
