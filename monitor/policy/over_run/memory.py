"""What a rule over a run remembers, in bounded memory: groups, and within one of them what came before what."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from monitor.policy.over_run.timeline import Timeline
    from monitor.records import Span

MAX_GROUPS = 10_000
"""How many groups one rule remembers at a time."""
MAX_ENTRIES = 10_000
"""How many subcalls one group remembers at a time, for windows in seconds, which may hold any number."""
MAX_VALUES = 100_000
"""How many values of a field these may have together."""

_FEW = 16

S = TypeVar("S", bound="Group")


class Link(NamedTuple):
    """One subcall that has a part in a match, and the evidence for it."""

    span_id: str
    evidence: tuple[Span, ...]


class Group:
    """What is remembered of one group. ``lost`` is the last place about which something was forgotten, if anything was."""

    lost: float | None = None

    def completes(self, _seen: Any) -> bool:
        """Whether this subcall could be the one that completes a match; by default any that has a part in one."""
        return True


class Groups(Generic[S]):
    """The groups of one rule, of which those that were longest without news are forgotten first.

    Forgetting is never silent: a group that comes (again) after something was forgotten knows up to which place.
    """

    def __init__(self, make: Callable[[], S], most: int = MAX_GROUPS) -> None:
        self._make = make
        self._most = most
        self._groups: OrderedDict[Hashable, tuple[S, float]] = OrderedDict()
        self.forgotten = 0
        self._lost: float | None = None

    def __len__(self) -> int:
        return len(self._groups)

    def at(self, key: Hashable, place: float) -> S:
        """The group ``key``, which has news at ``place``."""
        known = self._groups.pop(key, None)
        if known is None:
            group = self._make()
            group.lost = self._lost
            last = place
            if len(self._groups) >= self._most:
                _, (_, at) = self._groups.popitem(last=False)
                self.forgotten += 1
                self._lost = at if self._lost is None else max(self._lost, at)
        else:
            group, last = known
        self._groups[key] = group, max(last, place)
        return group


class Frontier:
    """Of subcalls that were seen, the one nearest to the present that came before a given one.

    Subcalls are added as they are seen. One that stands at an earlier place than another that was seen before it can never
    be the nearest: what is kept grows in both, and of what no subcall in flight can tell apart only the last is needed.
    """

    def __init__(self) -> None:
        self._seen: list[int] = []
        self._kept: list[tuple[float, tuple[Link, ...]]] = []
        self._most = _FEW

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, seen: int, place: float, links: tuple[Link, ...]) -> None:
        """One more, seen after all others."""
        if not self._kept or place > self._kept[-1][0]:
            self._seen.append(seen)
            self._kept.append((place, links))

    def before(self, began: int) -> tuple[float, tuple[Link, ...]] | None:
        """(place, links) of the nearest that was seen before ``began``."""
        index = bisect_left(self._seen, began) - 1
        return self._kept[index] if index >= 0 else None

    def forget(self, timeline: Timeline) -> None:
        """Keep what subcalls in flight, and those that are yet to begin, can still ask for."""
        surplus = bisect_left(self._seen, timeline.next_began) - 1
        if surplus > 0:
            del self._seen[:surplus], self._kept[:surplus]
        if len(self._seen) > self._most:
            asked = {bisect_left(self._seen, began) - 1 for began in timeline.in_flight}
            needed = sorted({*asked, len(self._seen) - 1} - {-1})
            self._seen = [self._seen[index] for index in needed]
            self._kept = [self._kept[index] for index in needed]
            self._most = max(_FEW, 2 * len(needed))  # so that looking through all of them is seldom
