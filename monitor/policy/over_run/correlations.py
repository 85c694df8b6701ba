"""Correlations: what the subcalls of one group show together, as they are seen one after the other.

Each kind is a ``Group`` with ``add``: one more subcall, of which the rule's parts say ``match`` or ``unknown``; it answers
what the correlation says of this subcall. Everything is kept twice: for what is certain, and for what is possible (unknown
counted as a match). What holds of the certain ones is a match; what holds only of the possible ones is unknown.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Protocol

from monitor.policy.logic import Truth
from monitor.policy.over_run.exact import INFINITE, exact, plus
from monitor.policy.over_run.memory import MAX_ENTRIES, MAX_VALUES, Frontier, Group, Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor.policy.over_run.timeline import Moment, Timeline, Window

MAX_LINKS = 8
"""How many subcalls the evidence of one match names."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One subcall as a group sees it: where it stands, what each part of the rule says of it, and its evidence.

    ``values`` are those of the rule's field; None stands for one that cannot be read.
    """

    moment: Moment
    parts: tuple[Truth, ...]
    link: Link
    values: tuple[str | float | None, ...] = ()

    def holds(self, part: int, *, possibly: bool) -> bool:
        """Whether the part matches, or possibly does."""
        return self.parts[part] is Truth.MATCH or (possibly and self.parts[part] is Truth.UNKNOWN)


class Correlation(Protocol):
    """One group of one correlation."""

    lost: float | None

    def add(self, seen: Seen, timeline: Timeline) -> tuple[Truth, tuple[Link, ...]]:
        """Take in one more subcall; returns what the correlation says of it, and the subcalls that show it."""
        ...

    def completes(self, seen: Seen) -> bool:
        """Whether this subcall could be the one that completes a match."""
        ...


class Ordered(Group):
    """``temporal_ordered``: a subcall for each part, each before the next, the first and the last within one window."""

    def __init__(self, window: Window, parts: int) -> None:
        self._window = window
        self._chains = {possibly: [Frontier() for _ in range(parts - 1)] for possibly in (False, True)}

    def add(self, seen: Seen, timeline: Timeline) -> tuple[Truth, tuple[Link, ...]]:
        """See ``Correlation``. Of all chains that lead here the one that began last decides: it is the shortest."""
        certain = self._links(seen, timeline, possibly=False)
        if certain:
            self._links(seen, timeline, possibly=True)
            return Truth.MATCH, certain
        possible = self._links(seen, timeline, possibly=True)
        return (Truth.UNKNOWN, ()) if possible else (Truth.NO_MATCH, ())

    def completes(self, seen: Seen) -> bool:
        """See ``Correlation``: only the last part does."""
        return seen.holds(len(seen.parts) - 1, possibly=True)

    def _links(self, seen: Seen, timeline: Timeline, *, possibly: bool) -> tuple[Link, ...]:
        frontiers = self._chains[possibly]
        place = self._window.place(seen.moment)
        found: tuple[Link, ...] = ()
        reached: list[tuple[Frontier, float, tuple[Link, ...]]] = []
        for part in range(len(seen.parts)):
            if not seen.holds(part, possibly=possibly):
                continue
            before = frontiers[part - 1].before(seen.moment.began) if part else (place, ())
            if before is None or not self._window.holds(before[0], place):
                continue
            first, links = before
            if part == len(frontiers):
                found = (*links, seen.link)
            else:
                reached.append((frontiers[part], first, (*links, seen.link)))
        for frontier, first, links in reached:
            frontier.add(seen.moment.seen, first, links)
        for frontier in frontiers:
            frontier.forget(timeline)
        return found


class Absent(Group):
    """``absence``: one of the first ``wanted`` parts, and none of the others before it within the window."""

    def __init__(self, window: Window, wanted: int) -> None:
        self._window = window
        self._wanted = wanted
        self._certain, self._possible = Frontier(), Frontier()

    def add(self, seen: Seen, timeline: Timeline) -> tuple[Truth, tuple[Link, ...]]:
        """See ``Correlation``."""
        truth = self._truth(seen)
        place = self._window.place(seen.moment)
        others = range(self._wanted, len(seen.parts))
        if any(seen.holds(part, possibly=True) for part in others):
            self._possible.add(seen.moment.seen, place, ())
        if any(seen.holds(part, possibly=False) for part in others):
            self._certain.add(seen.moment.seen, place, ())
        for frontier in (self._certain, self._possible):
            frontier.forget(timeline)
        return truth, (seen.link,) if truth is Truth.MATCH else ()

    def _truth(self, seen: Seen) -> Truth:
        parts = range(self._wanted)
        if not any(seen.holds(part, possibly=True) for part in parts):
            return Truth.NO_MATCH
        if self._near(self._certain, seen):
            return Truth.NO_MATCH
        is_certain = any(seen.holds(part, possibly=False) for part in parts)
        return Truth.MATCH if is_certain and not self._near(self._possible, seen) else Truth.UNKNOWN

    def _near(self, frontier: Frontier, seen: Seen) -> bool:
        before = frontier.before(seen.moment.began)
        return before is not None and self._window.holds(before[0], self._window.place(seen.moment))


@dataclass(order=True, slots=True)
class _Entry:
    place: float
    number: int
    seen: Seen = field(compare=False)


class _Near(Group):
    """A group that remembers the subcalls within a window of those that may still come, by their places."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._entries: list[_Entry] = []
        self._values_kept = 0

    def add(self, seen: Seen, timeline: Timeline) -> tuple[Truth, tuple[Link, ...]]:
        """See ``Correlation``."""
        insort(self._entries, _Entry(self._window.place(seen.moment), seen.moment.number, seen))
        self._values_kept += len(seen.values)
        answer = self._answer(seen)
        self._forget(timeline)
        return answer

    def _answer(self, seen: Seen) -> tuple[Truth, tuple[Link, ...]]:
        raise NotImplementedError

    def _forget(self, timeline: Timeline) -> None:
        oldest = timeline.next_place(self._window)
        keep = 0
        while keep < len(self._entries) and not self._window.holds(self._entries[keep].place, oldest):
            keep += 1
        surplus = max(len(self._entries) - MAX_ENTRIES, 0)
        left = self._values_kept - sum(len(entry.seen.values) for entry in self._entries[:surplus])
        while left > MAX_VALUES:
            left -= len(self._entries[surplus].seen.values)
            surplus += 1
        if surplus > keep:  # more than may be remembered, and what is lost might have counted
            keep, place = surplus, self._entries[surplus - 1].place
            self.lost = place if self.lost is None else max(self.lost, place)
        self._values_kept -= sum(len(entry.seen.values) for entry in self._entries[:keep])
        del self._entries[:keep]

    def _windows(self, seen: Seen) -> Iterable[Sequence[_Entry]]:
        """The largest windows that ``seen`` lies in."""
        place = self._window.place(seen.moment)
        first = bisect_left(self._entries, True, key=lambda entry: self._window.holds(entry.place, place))
        behind = -1
        for start in range(first, len(self._entries)):
            begins = self._entries[start].place
            if begins > place:
                return
            end = bisect_right(self._entries, False, key=partial(self._is_past, begins))
            if end > behind:  # else it lies in the one before
                yield self._entries[start:end]
            behind = end

    def _is_past(self, begins: float, entry: _Entry) -> bool:
        return not self._window.holds(begins, entry.place)


class Together(_Near):
    """``temporal``: a subcall for each part, in any order, all within one window."""

    def _answer(self, seen: Seen) -> tuple[Truth, tuple[Link, ...]]:
        answer: tuple[Truth, tuple[Link, ...]] = Truth.NO_MATCH, ()
        for window in self._windows(seen):
            members = [entry.seen for entry in window]
            certain = _one_for_each(members, seen, possibly=False)
            if certain:
                return Truth.MATCH, certain
            if _one_for_each(members, seen, possibly=True):
                answer = Truth.UNKNOWN, ()
        return answer


class TogetherEver(Group):
    """``temporal`` in the whole run: the first subcall for each part is all that is needed."""

    def __init__(self, parts: int) -> None:
        self._firsts: dict[bool, list[Seen | None]] = {possibly: [None] * parts for possibly in (False, True)}

    def add(self, seen: Seen, _timeline: Timeline) -> tuple[Truth, tuple[Link, ...]]:
        """See ``Correlation``."""
        links: dict[bool, tuple[Link, ...]] = {}
        for possibly, firsts in self._firsts.items():
            for part, first in enumerate(firsts):
                if first is None and seen.holds(part, possibly=possibly):
                    firsts[part] = seen
            links[possibly] = _one_for_each([one for one in firsts if one], seen, possibly=possibly)
        if links[False]:
            return Truth.MATCH, links[False]
        return (Truth.UNKNOWN, ()) if links[True] else (Truth.NO_MATCH, ())


def _one_for_each(members: Sequence[Seen], newest: Seen, *, possibly: bool) -> tuple[Link, ...]:
    """A subcall for each part, ``newest`` wherever it can be, in the order in which they began; nothing where a part has
    none, or where ``newest`` would not be among them.
    """
    chosen: dict[str, Seen] = {}
    for part in range(len(newest.parts)):
        if newest.holds(part, possibly=possibly):
            found: Seen | None = newest
        else:
            found = next((seen for seen in reversed(members) if seen.holds(part, possibly=possibly)), None)
        if found is None:
            return ()
        chosen[found.link.span_id] = found
    if newest.link.span_id not in chosen:
        return ()
    return tuple(seen.link for seen in sorted(chosen.values(), key=lambda seen: seen.moment.number))


class Measure(Protocol):
    """What is counted: subcalls, different values, or a sum."""

    def __call__(self, members: Iterable[Seen], *, possibly: bool) -> float | Fraction:
        """The measure of these subcalls."""
        ...


def events(members: Iterable[Seen], *, possibly: bool) -> int:
    """``event_count``: subcalls of which any part matches."""
    return sum(_counts(seen, possibly=possibly) for seen in members)


def different_values(members: Iterable[Seen], *, possibly: bool) -> int:
    """``value_count``: different values of the field. One that cannot be read may be another one."""
    values = [value for seen in members if _counts(seen, possibly=possibly) for value in seen.values]
    known = {value for value in values if value is not None}
    return len(known) + (sum(value is None for value in values) if possibly else 0)


def sum_of_values(members: Iterable[Seen], *, possibly: bool) -> Fraction | float:
    """``value_sum``: the exact sum of the field's values, whatever their order. One that cannot be read may be any."""
    values = [value for seen in members if _counts(seen, possibly=possibly) for value in seen.values]
    if INFINITE in values or (possibly and None in values):
        return INFINITE
    return sum((exact(value) for value in values if isinstance(value, (int, float)) and value > 0), Fraction())


def _counts(seen: Seen, *, possibly: bool) -> bool:
    return any(seen.holds(part, possibly=possibly) for part in range(len(seen.parts)))


@dataclass(frozen=True, slots=True)
class Threshold:
    """How much is too much."""

    least: float
    above: bool = False

    def reached(self, measured: float | Fraction) -> bool:
        """Whether it is too much."""
        least = exact(self.least)
        return measured > least if self.above else measured >= least


class Counted(_Near):
    """``event_count``, ``value_count`` and ``value_sum`` within windows."""

    def __init__(self, window: Window, measure: Measure, threshold: Threshold) -> None:
        super().__init__(window)
        self._measure = measure
        self._threshold = threshold

    def _answer(self, seen: Seen) -> tuple[Truth, tuple[Link, ...]]:
        answer: tuple[Truth, tuple[Link, ...]] = Truth.NO_MATCH, ()
        for window in self._windows(seen):
            members = [entry.seen for entry in window]
            if _counts(seen, possibly=False) and self._threshold.reached(self._measure(members, possibly=False)):
                links = tuple(one.link for one in members if _counts(one, possibly=False))
                return Truth.MATCH, links[-MAX_LINKS:]
            if self._threshold.reached(self._measure(members, possibly=True)):
                answer = Truth.UNKNOWN, ()
        return answer


class CountedEver(Group):
    """The same in the whole run: sums so far, and of different values no more than are needed to be too many."""

    def __init__(self, measure: Measure, threshold: Threshold) -> None:
        self._measure = measure
        self._threshold = threshold
        self._sums: dict[bool, float | Fraction] = {False: 0, True: 0}
        self._values: dict[bool, set[str | float]] = {False: set(), True: set()}
        self._links: tuple[Link, ...] = ()

    def add(self, seen: Seen, _timeline: Timeline) -> tuple[Truth, tuple[Link, ...]]:
        """See ``Correlation``."""
        for possibly in (False, True):
            if _counts(seen, possibly=possibly):
                more = self._measure([self._new(seen, possibly=possibly)], possibly=possibly)
                self._sums[possibly] = plus(self._sums[possibly], more)
        if _counts(seen, possibly=False):
            self._links = (*self._links, seen.link)[-MAX_LINKS:]
            if self._threshold.reached(self._sums[False]):
                return Truth.MATCH, self._links
        return (Truth.UNKNOWN if self._threshold.reached(self._sums[True]) else Truth.NO_MATCH), ()

    def _new(self, seen: Seen, *, possibly: bool) -> Seen:
        """The subcall with only those values that were not there before, for ``value_count``."""
        if self._measure is not different_values:
            return seen
        known = self._values[possibly]
        fresh = tuple(value for value in seen.values if value is None or value not in known)
        if not self._threshold.reached(self._sums[possibly]):
            known.update(value for value in fresh if value is not None)
        return replace(seen, values=fresh)
