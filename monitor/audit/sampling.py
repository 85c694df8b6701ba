"""Samples that anybody can draw again: the same seed over the same store gives the same ones, in whatever order."""

from __future__ import annotations

import hashlib
import heapq
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Sampler(Generic[_Item]):
    """Keeps ``size`` of the items that are offered, each equally likely, in memory for those alone.

    Which ones is decided by SHA-256 of the seed and the item's key, so a store that grows keeps most of its sample, and two
    commands with one seed show the same items.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._kept: list[tuple[int, str, _Item]] = []  # a heap, the first to be dropped in front

    def offer(self, key: str, item: _Item) -> None:
        """Take the item with this key, which no other has, into account."""
        rank = -int.from_bytes(hashlib.sha256(f"{self._seed}\0{key}".encode()).digest())
        if len(self._kept) < self._size:
            heapq.heappush(self._kept, (rank, key, item))
        elif self._kept and rank > self._kept[0][0]:
            heapq.heapreplace(self._kept, (rank, key, item))

    def items(self) -> tuple[_Item, ...]:
        """What is kept, in the order of the draw: the first ``n`` of them are the sample of size ``n``."""
        return tuple(item for _, _, item in sorted(self._kept, key=lambda kept: -kept[0]))
