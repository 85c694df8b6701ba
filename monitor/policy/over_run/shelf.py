"""Bounded memory that says what it lost: what was longest without news goes first, and never silently."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

V = TypeVar("V")

MAX_THINGS = 10_000
"""How many things one memory of a rule holds at a time."""
MAX_WEIGHT = 4_000_000
"""How many codepoints of texts it holds at a time."""


class Shelf(Generic[V]):
    """Things by key, each with the number of the subcall that had the last news of it, and a weight.

    ``lost`` is the highest such number among those that were dropped, -1 where none was: what is only about subcalls that
    began later is all there.
    """

    def __init__(self, most: int = MAX_THINGS, heaviest: int = MAX_WEIGHT) -> None:
        self._most = most
        self._heaviest = heaviest
        self._things: OrderedDict[Hashable, tuple[V, int, int]] = OrderedDict()
        self._weight = 0
        self.lost = -1
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._things)

    def get(self, key: Hashable) -> V | None:
        """The thing, which is then the last to go; None where it is not there (any more)."""
        known = self._things.get(key)
        if known is None:
            return None
        self._things.move_to_end(key)
        return known[0]

    def put(self, key: Hashable, thing: V, number: int, weight: int = 0) -> list[V]:
        """Keep the thing, in the place of any that was there; returns what had to go for it."""
        before = self._things.pop(key, None)
        if before is not None:
            number = max(number, before[1])
            self._weight -= before[2]
        self._things[key] = thing, number, weight
        self._weight += weight
        gone: list[V] = []
        while len(self._things) > self._most or (self._weight > self._heaviest and len(self._things) > 1):
            _, (old, last, heavy) = self._things.popitem(last=False)
            self._weight -= heavy
            self.lost = max(self.lost, last)
            self.dropped += 1
            gone.append(old)
        return gone

    def pop(self, key: Hashable) -> V | None:
        """Take the thing away: it is needed no longer, and not lost."""
        known = self._things.pop(key, None)
        if known is None:
            return None
        self._weight -= known[2]
        return known[0]
