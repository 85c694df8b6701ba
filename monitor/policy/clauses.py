"""Clauses: one test on one field, and what it says of a record.

A clause never guesses. What is missing gives ``ABSENT``, what cannot be read gives ``UNKNOWN`` (unless the part that can
be read matches already), and only a text or value that was really looked at gives ``NO_MATCH``.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from monitor.policy.logic import Truth
from monitor.records import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set

    from monitor.policy.fields import Field, Reading
    from monitor.policy.matching import Offsets

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "eq": operator.eq,
}


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


@dataclass(frozen=True, slots=True)
class TextClause:
    """Any (or, with ``every``, all) of ``patterns`` in the texts of a field."""

    field: Field
    label: str
    patterns: frozenset[str]
    every: bool = False

    def truth(self, readings: Readings) -> Truth:
        """What it says of the record."""
        gap = readings.read(self.field).gap
        if gap is Truth.ABSENT:
            return Truth.ABSENT
        hits = readings.hits(self.field)
        if hits and (self.patterns <= hits if self.every else not self.patterns.isdisjoint(hits)):
            return Truth.MATCH
        return gap or Truth.NO_MATCH

    def evidence(self, readings: Readings) -> list[Span]:
        """Where the patterns are, in the order of the texts and of the places in them."""
        return [
            Span(surface=passage.surface, start=start, end=end, clause=self.label)
            for passage in readings.read(self.field).passages
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

    def truth(self, readings: Readings) -> Truth:
        """What it says of the record."""
        reading = readings.read(self.field)
        if reading.gap:
            return reading.gap
        return Truth.MATCH if self.matches(str(reading.value)) else Truth.NO_MATCH

    def matches(self, value: str) -> bool:
        """Whether the clause holds for this value."""
        hits = (matcher.search(value) is not None for matcher in self.matchers)
        return all(hits) if self.every else any(hits)

    def evidence(self, readings: Readings) -> list[Span]:
        """None: a word has no place in a text."""
        return []


@dataclass(frozen=True, slots=True)
class ValueClause:
    """A number, a true/false value, or a word of a field that has few, compared with any of ``values``."""

    field: Field
    label: str
    comparison: str
    values: tuple[float | bool | str, ...]

    def truth(self, readings: Readings) -> Truth:
        """What it says of the record."""
        reading = readings.read(self.field)
        if reading.gap:
            return reading.gap
        compare = COMPARISONS[self.comparison]
        return Truth.MATCH if any(compare(reading.value, value) for value in self.values) else Truth.NO_MATCH

    def evidence(self, readings: Readings) -> list[Span]:
        """None: a number has no place in a text."""
        return []


@dataclass(frozen=True, slots=True)
class ExistsClause:
    """Whether there is anything in a field. Always certain: that something is missing is itself known."""

    field: Field
    label: str
    expected: bool

    def truth(self, readings: Readings) -> Truth:
        """What it says of the record."""
        return Truth.MATCH if readings.read(self.field).present == self.expected else Truth.NO_MATCH

    def evidence(self, readings: Readings) -> list[Span]:
        """The whole of what is there."""
        return [
            Span(surface=passage.surface, start=0, end=len(passage.text), clause=self.label)
            for passage in (readings.read(self.field).passages if self.expected else ())
            if passage.surface and passage.text
        ]


Clause: TypeAlias = TextClause | WordClause | ValueClause | ExistsClause
