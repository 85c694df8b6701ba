"""Whether a condition can match at all, whether it can do anything else, and whether two detections say the same.

Decided over every combination of what the clauses can say (``worlds``), with the logic that rules are evaluated with. "Can
never match" and "says the same" are certain; what is possible here may still be impossible in a record, where fields
depend on each other (``written`` has all of ``output``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from monitor.policy import condition as conditions
from monitor.policy.logic import Truth
from monitor.policy.tools.clause_tests import normal
from monitor.policy.tools.worlds import Worlds

if TYPE_CHECKING:
    from collections.abc import Hashable

    from monitor.policy.condition import Condition
    from monitor.policy.detection import Detection, Selection


@dataclass(frozen=True, slots=True)
class Prospects:
    """What a detection can say. ``never`` names the selections that can never match; a condition may be fine with that.

    ``always`` is that it matches every record in which nothing is missing.
    """

    can_match: bool
    always: bool
    never: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """How a second detection differs from a first: whether it matches more, matches less, or is certain of other things
    (``other``: the difference is between unknown, not applicable and no_match only).
    """

    more: bool
    less: bool
    other: bool

    @property
    def is_none(self) -> bool:
        """Whether both say the same of every record."""
        return not (self.more or self.less or self.other)


def prospects(detection: Detection) -> Prospects | None:
    """What the detection can say; None where its clauses are too many to decide it."""
    worlds = Worlds([detection])
    matches, whole = worlds.of_condition(detection).get(Truth.MATCH, 0) & worlds.all, worlds.whole
    can_match, always = bool(matches), not whole & ~matches
    if worlds.is_sample and (not can_match or always):
        return None
    used = conditions.references(detection.condition)
    never = tuple(name for name in detection.selections if name in used and _never(detection, name))
    return Prospects(can_match=can_match, always=always, never=never)


def _never(detection: Detection, name: str) -> bool:
    """Whether a selection can certainly never match."""
    worlds = Worlds([replace(detection, condition=conditions.Ref(name))])
    return not (worlds.is_sample or worlds.of_selection(detection.selections[name]).get(Truth.MATCH, 0) & worlds.all)


def difference(first: Detection, second: Detection) -> Difference | None:
    """What the second detection says otherwise than the first; None where that cannot be decided."""
    worlds = Worlds([first, second])
    before, after = worlds.of_condition(first), worlds.of_condition(second)
    ours, theirs = (part.get(Truth.MATCH, 0) & worlds.all for part in (before, after))
    statuses = [
        [sum(mask & worlds.all for truth, mask in part.items() if truth.status is status) for status in _STATUSES]
        for part in (before, after)
    ]
    more, less = bool(theirs & ~ours), bool(ours & ~theirs)
    found = Difference(more, less, other=statuses[0] != statuses[1] and not (more or less))
    return None if worlds.is_sample and found.is_none else found


_STATUSES = tuple(dict.fromkeys(truth.status for truth in Truth))


def shape(detection: Detection) -> Hashable:
    """The detection without names and places: two rules of one shape look for the same."""
    return _shape(detection.condition, detection)


def shape_of(selection: Selection) -> Hashable:
    """The selection without its name and place."""
    return frozenset(frozenset(_normal(clause) for clause in part) for part in selection.alternatives)


def _shape(condition: Condition, detection: Detection) -> Hashable:
    if isinstance(condition, conditions.Ref):
        return shape_of(detection.selections[condition.name])
    if isinstance(condition, conditions.Not):
        return "not", _shape(condition.part, detection)
    word = "and" if isinstance(condition, conditions.And) else "or"
    return word, frozenset(_shape(part, detection) for part in condition.parts)


def _normal(clause: Any) -> Hashable:
    """Compiled patterns are compared by identity, so by their text here."""
    made: Any = normal(clause)
    matchers = getattr(made, "matchers", None)
    return (
        made
        if matchers is None
        else (made.field, tuple(sorted(one.pattern for one in matchers)), made.every, made.negated)
    )
