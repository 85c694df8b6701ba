"""All that a record can be, as far as the clauses of a detection can tell: the ground on which conditions are decided.

A *world* says of each field what is missing, which groups of patterns are in it, or which value it has. Whatever a real
record makes of the clauses, some world makes the same of them; there may be worlds that no record is like, for fields are
taken to be independent of each other. So what holds in every world holds of every record.

A set of worlds is an integer with a bit for each, so that a condition is evaluated in all of them at once.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from monitor.policy import condition as conditions
from monitor.policy.clauses import ExistsClause, TextClause, ValueClause, WordClause
from monitor.policy.logic import AND_ORDER, OR_ORDER, Truth, negate
from monitor.policy.matching import compile_pattern
from monitor.policy.tools.clause_tests import (
    accepts,
    gap_of,
    has_one_value,
    ignores_case,
    is_free,
    normal,
    points_of,
    test_of,
)
from monitor.policy.tools.literals import Containment

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from monitor.policy.clauses import Clause
    from monitor.policy.condition import Condition
    from monitor.policy.detection import Detection, Selection
    from monitor.policy.readings import Field

MAX_WORLDS = 1 << 18
SAMPLED = 1 << 12
Truths: TypeAlias = "dict[Truth, int]"
"""For each truth, the worlds in which it is so."""

_WHOLE, _UNKNOWN, _ABSENT = range(3)
_NOTHING, _SOMETHING, _ALL = range(3)


@dataclass(frozen=True, slots=True)
class _Region:
    """Patterns of one field that stand in the same clauses."""

    clauses: frozenset[int]
    patterns: tuple[str, ...]


class Worlds:
    """The worlds of some detections: all of them, or, beyond ``MAX_WORLDS``, some drawn from all over (``is_sample``).

    What is so in a sampled world can be so; what is so in none of them may still be so elsewhere.
    """

    def __init__(self, detections: Iterable[Detection]) -> None:
        self._sizes: dict[Hashable, int] = {}
        self._masks: dict[tuple[Hashable, int], int] = {}
        self._gaps: dict[Hashable, None] = {}
        self._regions: dict[Field, list[_Region]] = {}
        self._points: dict[Field, list[float | bool | str | None]] = {}
        clauses = dict.fromkeys(
            normal(clause)
            for detection in detections
            for name in conditions.references(detection.condition)
            for clause in detection.selections[name].clauses
        )
        self._clauses = list(clauses)
        self._declare()
        count = math.prod(self._sizes.values())
        self.is_sample = count > MAX_WORLDS
        self._count = SAMPLED if self.is_sample else count
        self._draw() if self.is_sample else self._lay_out()
        self.all = (1 << self._count) - 1
        self._derive_gaps()
        self.all = self._possible()
        """The worlds that are not contradictions in themselves."""

    @property
    def whole(self) -> int:
        """The worlds in which nothing is missing."""
        found = self.all
        for key in self._gaps:
            found &= self._where(("gap", key), _WHOLE)
        return found

    def of_condition(self, detection: Detection) -> Truths:
        """What the detection says, in which worlds."""
        return self._evaluate(detection.condition, detection.selections)

    def of_selection(self, selection: Selection) -> Truths:
        """What the selection says, in which worlds."""
        options = [_first(AND_ORDER, [self._says(normal(one)) for one in part]) for part in selection.alternatives]
        return _first(OR_ORDER, options)

    def _evaluate(self, condition: Condition, selections: dict[str, Selection]) -> Truths:
        if isinstance(condition, conditions.Ref):
            return self.of_selection(selections[condition.name])
        if isinstance(condition, conditions.Not):
            return {negate(truth): mask for truth, mask in self._evaluate(condition.part, selections).items()}
        order = AND_ORDER if isinstance(condition, conditions.And) else OR_ORDER
        return _first(order, [self._evaluate(part, selections) for part in condition.parts])

    # What can vary: declared first, for the number of all combinations must be known before they are laid out.

    def _declare(self) -> None:
        for field in dict.fromkeys(clause.field for clause in self._clauses):
            of_field = [clause for clause in self._clauses if clause.field is field]
            tested = [clause for clause in of_field if not isinstance(clause, ExistsClause)]
            if len(tested) < len(of_field):
                self._sizes["present", field] = 2
            self._declare_texts(field, [clause for clause in tested if isinstance(clause, TextClause)])
            self._declare_values(field, [clause for clause in tested if isinstance(clause, (ValueClause, WordClause))])
            for key in map(gap_of, tested):
                self._gaps[key] = None
                if ("value", key) not in self._sizes:
                    self._sizes["gap", key] = 3
            for clause in tested:
                if is_free(clause):
                    self._sizes["holds", test_of(clause)] = 2

    def _declare_texts(self, field: Field, clauses: Sequence[TextClause]) -> None:
        grouped: dict[frozenset[int], list[str]] = {}
        for pattern in sorted(set().union(*(clause.patterns for clause in clauses))):
            inside = frozenset(index for index, clause in enumerate(clauses) if pattern in clause.patterns)
            grouped.setdefault(inside, []).append(pattern)
        self._regions[field] = [_Region(inside, tuple(patterns)) for inside, patterns in grouped.items()]
        for region in self._regions[field]:
            counted = len(region.patterns) > 1 and any(clauses[index].every for index in region.clauses)
            self._sizes["region", field, region] = 3 if counted else 2

    def _declare_values(self, field: Field, clauses: Sequence[ValueClause | WordClause]) -> None:
        if not clauses or not has_one_value(field):
            return
        points = points_of(field, clauses)
        self._points[field] = points
        self._sizes["value", field] = len(points) + 2  # or unknown, or absent: then there is no value

    def _lay_out(self) -> None:
        """Every combination once."""
        stride = 1
        for key, size in self._sizes.items():
            period = stride * size
            repeated = ((1 << self._count) - 1) // ((1 << period) - 1)
            for value in range(size):
                block = ((1 << stride) - 1) << (stride * value)
                self._masks[key, value] = block * repeated
            stride = period

    def _draw(self) -> None:
        """Some combinations, always the same ones: in the first nothing is missing and nothing found, in others more."""
        chance = random.Random(0)  # noqa: S311 - a sample, no secret
        quiet = [1.0, *(chance.random() for _ in range(self._count - 1))]
        for key, size in self._sizes.items():
            drawn = [0 if chance.random() < most else chance.randrange(size) for most in quiet]
            for value in range(size):
                self._masks[key, value] = int("".join("1" if one == value else "0" for one in reversed(drawn)), 2)

    def _derive_gaps(self) -> None:
        """Where a field has one value, what is missing of it stands among its values."""
        for field, points in self._points.items():
            key = ("value", field)
            unknown, absent = self._where(key, len(points)), self._where(key, len(points) + 1)
            self._masks[("gap", field), _UNKNOWN], self._masks[("gap", field), _ABSENT] = unknown, absent
            self._masks[("gap", field), _WHOLE] = self.all & ~unknown & ~absent

    def _where(self, key: Hashable, value: int) -> int:
        return self._masks[key, value]

    # What cannot be: contradictions between the things that vary in one field.

    def _possible(self) -> int:
        possible = self.all
        for field, regions in self._regions.items():
            possible &= ~self._contradictions_of_texts(field, regions)
        for field, points in self._points.items():
            possible &= ~self._contradictions_of_values(field, points)
        return possible

    def _contradictions_of_texts(self, field: Field, regions: Sequence[_Region]) -> int:
        found = 0
        singles = {region.patterns[0]: region for region in regions if len(region.patterns) == 1}
        contained = Containment(singles)
        for pattern, narrow in singles.items():
            for wide in contained.wider(pattern):
                found |= self._hit(field, narrow) & ~self._hit(field, singles[wide])
        if ("present", field) in self._sizes:
            empty = self._where(("present", field), 0)
            for region in regions:
                if not any(compile_pattern(pattern).search("") for pattern in region.patterns):
                    found |= empty & self._hit(field, region)
        return found

    def _contradictions_of_values(self, field: Field, points: Sequence[float | bool | str | None]) -> int:
        found = 0
        whole = self._where(("gap", field), _WHOLE)
        if ("present", field) in self._sizes:
            is_empty = self._at(field, [index for index, point in enumerate(points) if point == ""])
            found |= whole & (self._where(("present", field), 1) ^ ~is_empty) & self.all
        for clause in self._clauses:
            if clause.field is field and isinstance(clause, WordClause) and is_free(clause) and ignores_case(clause):
                words = [(index, word) for index, word in enumerate(points) if word is not None]
                fits = self._at(field, [index for index, word in words if clause.matches(str(word))])
                others = self._at(field, [i for i, word in enumerate(points) if word is None])
                found |= self._where(("holds", test_of(clause)), 1) & ~fits & ~others
                found |= self._where(("holds", test_of(clause)), 0) & fits
        return found

    def _hit(self, field: Field, region: _Region) -> int:
        return self.all & ~self._where(("region", field, region), _NOTHING)

    def _at(self, field: Field, indices: Iterable[int]) -> int:
        found = 0
        for index in indices:
            found |= self._where(("value", field), index)
        return found

    # What the clauses say.

    def _says(self, clause: Clause) -> Truths:
        if isinstance(clause, ExistsClause):
            there = self._where(("present", clause.field), int(clause.expected)) & self.all
            return {Truth.MATCH: there, Truth.NO_MATCH: self.all & ~there}
        gaps = [self._where(("gap", gap_of(clause)), gap) & self.all for gap in (_WHOLE, _UNKNOWN, _ABSENT)]
        holds = self._holds(clause) & ~gaps[_ABSENT]
        if isinstance(clause, WordClause) or (isinstance(clause, ValueClause) and has_one_value(clause.field)):
            holds &= gaps[_WHOLE]
        settled, other = (Truth.NO_MATCH, Truth.MATCH) if clause.negated else (Truth.MATCH, Truth.NO_MATCH)
        return {
            settled: holds,
            other: gaps[_WHOLE] & ~holds,
            Truth.UNKNOWN: gaps[_UNKNOWN] & ~holds,
            Truth.ABSENT: gaps[_ABSENT],
        }

    def _holds(self, clause: Clause) -> int:
        if isinstance(clause, TextClause):
            return self._found(clause) & self.all
        if is_free(clause):
            return self._where(("holds", test_of(clause)), 1) & self.all
        accepted = (index for index, point in enumerate(self._points[clause.field]) if accepts(clause, point))
        return self._at(clause.field, accepted) & self.all

    def _found(self, clause: TextClause) -> int:
        inside = [region for region in self._regions[clause.field] if set(region.patterns) <= clause.patterns]
        keys: list[Hashable] = [("region", clause.field, region) for region in inside]
        found = self.all if clause.every else 0
        for key in keys:
            if clause.every:
                found &= self._where(key, self._sizes[key] - 1)
            else:
                found |= self.all & ~self._where(key, _NOTHING)
        return found


def _first(order: Sequence[Truth], parts: Sequence[Truths]) -> Truths:
    """``and`` or ``or`` in every world at once: the first truth of ``order`` that any of the parts has there."""
    taken, found = 0, {}
    for truth in order:
        mask = 0
        for part in parts:
            mask |= part.get(truth, 0)
        found[truth] = mask & ~taken
        taken |= mask
    return found
