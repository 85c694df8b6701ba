"""Correlations by their definition: every combination of subcalls is looked at, nothing is forgotten, nothing is fast."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, pairwise, product
from typing import TYPE_CHECKING

from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MATCH, UNKNOWN, NO_MATCH, ABSENT = Status.MATCH, Status.UNKNOWN, Status.NO_MATCH, Status.NOT_APPLICABLE


@dataclass(frozen=True)
class Sub:
    """One subcall: its name and group, what each part says of it, its value, and when it begins (seconds)."""

    name: str
    group: str
    parts: tuple[Status, ...]
    value: int | None
    at: float


@dataclass(frozen=True)
class Placed:
    """A subcall in a schedule: the how-manieth to begin, and the places of its beginning and of its judgement."""

    sub: Sub
    number: int
    began: int
    seen: int

    def before(self, other: Placed) -> bool:
        """Whether it was judged before the other began."""
        return self.seen < other.began

    def holds(self, part: int, *, possibly: bool) -> bool:
        """Whether the part matches, or may."""
        return self.sub.parts[part] is MATCH or (possibly and self.sub.parts[part] is UNKNOWN)

    def counts(self, *, possibly: bool) -> bool:
        """Whether any part does."""
        return any(self.holds(part, possibly=possibly) for part in range(len(self.sub.parts)))


def near(subcalls: int | None, seconds: float | None) -> Callable[[Sequence[Placed]], bool]:
    """The window of a rule."""

    def holds(some: Sequence[Placed]) -> bool:
        numbers, times = [one.number for one in some], [one.sub.at for one in some]
        if subcalls is not None:
            return max(numbers) - min(numbers) < subcalls
        return seconds is None or max(times) - min(times) <= seconds

    return holds


def says(
    kind: str, wanted: int, fits: Callable[[Sequence[Placed]], bool], least: float, seen: Sequence[Placed]
) -> Status:
    """What the correlation says of the last of ``seen``, which are those that were judged so far."""
    last = seen[-1]
    if all(part is ABSENT for part in last.sub.parts):
        return ABSENT
    group = [one for one in seen if one.sub.group == last.sub.group]
    if kind == "absence":
        return _absence(wanted, fits, group)

    def found(*, possibly: bool) -> bool:
        if kind == "temporal_ordered":
            return _ordered(fits, group, possibly=possibly)
        if kind == "temporal":
            return _together(fits, group, possibly=possibly)
        return _counted(kind, fits, least, group, possibly=possibly)

    return MATCH if found(possibly=False) else UNKNOWN if found(possibly=True) else NO_MATCH


def _ordered(fits: Callable[[Sequence[Placed]], bool], group: Sequence[Placed], *, possibly: bool) -> bool:
    last = group[-1]
    parts = range(len(last.sub.parts))
    return any(
        chain[-1] is last
        and all(one.holds(part, possibly=possibly) for part, one in zip(parts, chain, strict=True))
        and all(one.before(other) for one, other in pairwise(chain))
        and fits(chain)
        for chain in product(group, repeat=len(parts))
    )


def _together(fits: Callable[[Sequence[Placed]], bool], group: Sequence[Placed], *, possibly: bool) -> bool:
    last = group[-1]
    parts = range(len(last.sub.parts))
    return any(
        last in chosen
        and all(one.holds(part, possibly=possibly) for part, one in zip(parts, chosen, strict=True))
        and fits(chosen)
        for chosen in product(group, repeat=len(parts))
    )


def _absence(wanted: int, fits: Callable[[Sequence[Placed]], bool], group: Sequence[Placed]) -> Status:
    last = group[-1]
    parts, others = range(wanted), range(wanted, len(last.sub.parts))

    def came(*, possibly: bool) -> bool:
        return any(
            one.before(last) and fits([one, last]) and any(one.holds(part, possibly=possibly) for part in others)
            for one in group
        )

    possible = any(last.holds(part, possibly=True) for part in parts) and not came(possibly=False)
    certain = any(last.holds(part, possibly=False) for part in parts) and not came(possibly=True)
    return MATCH if certain else UNKNOWN if possible else NO_MATCH


def _counted(
    kind: str, fits: Callable[[Sequence[Placed]], bool], least: float, group: Sequence[Placed], *, possibly: bool
) -> bool:
    last = group[-1]
    members = [one for one in group if one.counts(possibly=possibly)]
    if last not in members:
        return False
    return any(
        last in some and fits(some) and _measure(kind, some, possibly=possibly) >= least
        for size in range(1, len(members) + 1)
        for some in combinations(members, size)
    )


def _measure(kind: str, some: Sequence[Placed], *, possibly: bool) -> float | Fraction:
    values = [one.sub.value for one in some]
    if kind == "event_count":
        return len(some)
    known = [value for value in values if value is not None]
    if kind == "value_count":
        return len(set(known)) + (len(values) - len(known) if possibly else 0)
    return float("inf") if possibly and len(known) < len(values) else sum(map(Fraction, known), Fraction())
