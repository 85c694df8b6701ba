"""One record as rules read it: each field once, each text searched once for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from monitor.policy.logic import Truth

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from monitor.policy.matching import Offsets, PatternEngine
    from monitor.policy.readings import Field, Reading
    from monitor.records import Record


class Heard(NamedTuple):
    """The searched fields in which nothing is missing, those that the record does not have (with the cause), and every
    pattern that matches in any text.
    """

    whole: Set[Field]
    absent: Mapping[Field, str]
    patterns: Set[str]


class RecordReadings:
    """One record, each field read once and each text searched once."""

    def __init__(self, record: Record, wanted: Mapping[Field, set[str]], engine: PatternEngine) -> None:
        self.record = record
        self._engine = engine
        self._read: dict[Field, Reading] = {}
        self._wanted_in: dict[str, set[str]] = {}
        self._found: dict[str, Mapping[str, Offsets]] = {}
        self._hits: dict[Field, Set[str]] = {}
        for field, patterns in wanted.items():
            reading = self._read[field] = self._capped(field.read(record))
            for _, text, _ in reading.passages:
                known = self._wanted_in.get(text)
                self._wanted_in[text] = patterns if known is None or known is patterns else known | patterns

    def _capped(self, reading: Reading) -> Reading:
        """The reading, unknown where a text is longer than is read: then only what is found is certain."""
        cap = self._engine.cap
        for passage in reading.passages:
            if len(passage.text) > cap and reading.gap is None:
                cause = f"only the first {cap:,} of {len(passage.text):,} codepoints were read"
                return reading._replace(gap=Truth.UNKNOWN, cause=cause)
        return reading

    def read(self, field: Field) -> Reading:
        """What the field holds."""
        reading = self._read.get(field)
        if reading is None:
            reading = self._read[field] = self._capped(field.read(self.record))
        return reading

    def heard(self) -> Heard:
        """What can be said of all searched fields together, before any rule is looked at.

        Where a text cannot be searched nothing counts as read: each rule that reads it then fails by itself.
        """
        try:
            found = [self.found(text) for text in self._wanted_in]
        except Exception:  # noqa: BLE001 - it is raised again for each rule that asks for that text
            return Heard(frozenset(), {}, frozenset())
        read = self._read.items()
        return Heard(
            frozenset([field for field, reading in read if reading.gap is None]),
            {field: reading.cause for field, reading in read if reading.gap is Truth.ABSENT},
            set().union(*found),
        )

    def hits(self, field: Field) -> Set[str]:
        """The patterns that match in any text of the field, of those that any rule wants there."""
        hits = self._hits.get(field)
        if hits is None:
            found = [self.found(passage.text) for passage in self.read(field).passages]
            hits = self._hits[field] = set().union(*found)
        return hits

    def found(self, text: str) -> Mapping[str, Offsets]:
        """The patterns that match in ``text``, of those that any rule wants there."""
        found = self._found.get(text)
        if found is None:
            found = self._found[text] = self._engine.find(text, self._wanted_in[text])
        return found
