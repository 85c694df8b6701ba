"""Clauses: one test on one field, and what it says of a record.

A clause never guesses. What is missing gives ``ABSENT``, what cannot be read gives ``UNKNOWN`` (unless the part that can
be read settles it already), and only a text or value that was really looked at gives ``NO_MATCH``. A ``negated`` clause
(``neq``) says the opposite of what was looked at, and the same of what was not.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from monitor.policy.folding import folded
from monitor.policy.logic import Truth
from monitor.policy.matching import MAX_SPANS
from monitor.policy.readings import FieldType
from monitor.records import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Set

    from monitor.policy.judges.question import Question
    from monitor.policy.matching import Offsets
    from monitor.policy.readings import Field, Passage, Reading

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "eq": operator.eq,
}


MAX_REFERENCES = 50


class Readings(Protocol):
    """One record, read field by field, and what the patterns found in its texts."""

    def read(self, field: Field) -> Reading:
        """What the field holds."""
        ...

    def hits(self, field: Field) -> Set[str]:
        """The patterns that match in any text of the field, of those that any rule wants there."""
        ...

    def found(self, text: str) -> Mapping[str, Offsets]:
        """The patterns that match in ``text``, each with its spans."""
        ...


def _missing(field: Field, readings: Readings) -> Iterator[tuple[Truth, str]]:
    reading = readings.read(field)
    if reading.gap:
        yield reading.gap, reading.cause


def _answer(*, holds: bool, negated: bool, gap: Truth | None) -> Truth:
    """What a clause says whose test was made on all that could be read: a hit settles it, the lack of one only where
    nothing is missing.
    """
    if holds:
        return Truth.NO_MATCH if negated else Truth.MATCH
    return gap or (Truth.MATCH if negated else Truth.NO_MATCH)


@dataclass(frozen=True, slots=True)
class TextClause:
    """Any (or, with ``every``, all) of ``patterns`` in the texts of a field; ``negated``: none of them."""

    field: Field
    label: str
    patterns: frozenset[str]
    every: bool = False
    negated: bool = False

    def truth(self, readings: Readings) -> Truth:
        """What it says of the record."""
        gap = readings.read(self.field).gap
        if gap is Truth.ABSENT:
            return Truth.ABSENT
        hits = readings.hits(self.field)
        holds = bool(hits) and (self.patterns <= hits if self.every else not self.patterns.isdisjoint(hits))
        return _answer(holds=holds, negated=self.negated, gap=gap)

    def causes(self, readings: Readings) -> Iterator[tuple[Truth, str]]:
        """What is missing of its field, and why."""
        return _missing(self.field, readings)

    def evidence(self, readings: Readings) -> list[Span]:
        """Where the patterns are, in the order of the texts and of the places in them."""
        return [
            _span(passage, start, end, self.label)
            for passage in (() if self.negated else readings.read(self.field).passages)
            if passage.surface
            for start, end in self._offsets(readings.found(passage.text))
        ]

    def _offsets(self, found: Mapping[str, Offsets]) -> list[tuple[int, int]]:
        return sorted({span for pattern, offsets in found.items() if pattern in self.patterns for span in offsets})


@dataclass(frozen=True, slots=True)
class WordClause:
    """A word or phrase that is not a text of the record: compared, never searched for evidence.

    ``matchers`` are compiled patterns.
    """

    field: Field
    label: str
    matchers: tuple[Any, ...]
    every: bool = False
    negated: bool = False

    def truth(self, readings: Readings) -> Truth:
        """What it says of the record."""
        reading = readings.read(self.field)
        if reading.gap:
            return reading.gap
        holds = any(self.matches(str(value)) for value in reading.values)
        return _answer(holds=holds, negated=self.negated, gap=None)

    def matches(self, value: str) -> bool:
        """Whether the clause holds for this value."""
        hits = (matcher.search(value) is not None for matcher in self.matchers)
        return all(hits) if self.every else any(hits)

    def causes(self, readings: Readings) -> Iterator[tuple[Truth, str]]:
        """What is missing of its field, and why."""
        return _missing(self.field, readings)

    def evidence(self, readings: Readings) -> list[Span]:
        """None: a word has no place in a text."""
        return []


@dataclass(frozen=True, slots=True)
class ValueClause:
    """A number, a true/false value, or a word of a field that has few, compared with any of ``values``.

    ``question`` is what a judge is asked, where the field holds its answer; its quotes are the evidence.
    """

    field: Field
    label: str
    comparison: str
    values: tuple[float | bool | str, ...]
    negated: bool = False
    question: Question | None = None

    def truth(self, readings: Readings) -> Truth:
        """What it says of the record."""
        reading = readings.read(self.field)
        if reading.gap is Truth.ABSENT:
            return Truth.ABSENT
        compare = COMPARISONS[self.comparison]
        holds = any(compare(found, value) for found in reading.values for value in self.values)
        return _answer(holds=holds, negated=self.negated, gap=reading.gap)

    def causes(self, readings: Readings) -> Iterator[tuple[Truth, str]]:
        """What is missing of its field, and why."""
        return _missing(self.field, readings)

    def evidence(self, readings: Readings) -> list[Span]:
        """What a judge quoted; nothing for others, for a number has no place in a text."""
        if self.question is None:
            return []
        return [_span(passage, 0, len(passage.text), self.label) for passage in readings.read(self.field).passages]


@dataclass(frozen=True, slots=True)
class ExistsClause:
    """Whether there is anything in a field. Always certain: that something is missing is itself known."""

    field: Field
    label: str
    expected: bool

    def truth(self, readings: Readings) -> Truth:
        """What it says of the record."""
        return Truth.MATCH if readings.read(self.field).present == self.expected else Truth.NO_MATCH

    def causes(self, readings: Readings) -> Iterator[tuple[Truth, str]]:
        """Nothing: it is always certain."""
        return iter(())

    def evidence(self, readings: Readings) -> list[Span]:
        """The whole of what is there."""
        return [
            _span(passage, 0, len(passage.text), self.label)
            for passage in (readings.read(self.field).passages if self.expected else ())
            if passage.surface and passage.text
        ]


@dataclass(frozen=True, slots=True)
class ReferenceClause:
    """A field compared with another field of the same record (``fieldref``).

    Texts and words are compared by ``comparison`` ``eq``, ``contains``, ``startswith`` or ``endswith``, upper and lower
    case alike unless ``cased``; any text of the one with any of the other. An empty text is compared with nothing: every
    text would contain it. Numbers and true/false values are compared by one of ``COMPARISONS``.

    At most ``MAX_REFERENCES`` different texts of the other field are compared with, so that the time stays linear.
    """

    field: Field
    label: str
    comparison: str
    other: Field
    cased: bool = False
    negated: bool = False

    def truth(self, readings: Readings) -> Truth:
        """What it says of the record; of two things missing, what does not apply goes before what is unknown."""
        causes = dict(self.causes(readings))
        if Truth.ABSENT in causes:
            return Truth.ABSENT
        gap = Truth.UNKNOWN if causes else None
        return _answer(holds=self._holds(readings), negated=self.negated, gap=gap)

    def causes(self, readings: Readings) -> Iterator[tuple[Truth, str]]:
        """What is missing of either field, or was not compared with, and why."""
        for reading in (readings.read(self.field), readings.read(self.other)):
            if reading.gap:
                yield reading.gap, reading.cause
        if len(self._folded(readings.read(self.other))) > MAX_REFERENCES:
            yield Truth.UNKNOWN, f"`{self.other.name}` has more than {MAX_REFERENCES} texts; the rest was not compared"

    def _holds(self, readings: Readings) -> bool:
        ours, theirs = readings.read(self.field), readings.read(self.other)
        if self.field.type in {FieldType.TEXT, FieldType.WORD}:
            others = self._folded(theirs)[:MAX_REFERENCES]
            return any(self._fits(text, others) for text in self._folded(ours))
        compare = COMPARISONS[self.comparison]
        return any(compare(one, other) for one in ours.values for other in theirs.values)

    def _fits(self, text: str, others: list[str]) -> bool:
        fits = _FITS[self.comparison]
        return any(fits(text, other) for other in others)

    def _folded(self, reading: Reading) -> list[str]:
        """The different texts of a reading as they are compared, but for empty ones."""
        strings = [passage.text for passage in reading.passages] or [str(value) for value in reading.values]
        return [text for text in dict.fromkeys(map(self._fold, strings)) if text]

    def _fold(self, text: str) -> str:
        return text if self.cased else folded(text)

    def evidence(self, readings: Readings) -> list[Span]:
        """Where the texts of the other field stand, in the order of the texts and of the places in them."""
        others = self._folded(readings.read(self.other))[:MAX_REFERENCES]
        return [
            _span(passage, start, end, self.label)
            for passage in (() if self.negated else readings.read(self.field).passages)
            if passage.surface and passage.text
            for start, end in sorted({place for other in others for place in self._places(passage.text, other)})
        ]

    def _places(self, text: str, other: str) -> Iterator[tuple[int, int]]:
        text = self._fold(text)  # one codepoint for one
        if self.comparison == "contains":
            at = text.find(other)
            for _ in range(MAX_SPANS):
                if at < 0:
                    return
                yield at, at + len(other)
                at = text.find(other, at + len(other))
        elif _FITS[self.comparison](text, other):
            start = len(text) - len(other) if self.comparison == "endswith" else 0
            yield start, start + len(other)


_FITS: dict[str, Callable[[str, str], bool]] = {
    "eq": operator.eq,
    "contains": operator.contains,
    "startswith": str.startswith,
    "endswith": str.endswith,
}


def _span(passage: Passage, start: int, end: int, label: str) -> Span:
    stored_start, stored_end = passage.stored(start, end)
    return Span(surface=passage.surface, start=stored_start, end=stored_end, clause=label)


Clause: TypeAlias = TextClause | WordClause | ValueClause | ExistsClause | ReferenceClause
