"""Samples that anybody can draw again: the same seed over the same store gives the same ones, in whatever order.

By rule and at random a sample is a draw, and what is labelled in it speaks for all that it was drawn from. By score it is
the top of a list: that is where most is found for the reading, and no rate of anything follows from it.
"""

from __future__ import annotations

import hashlib
import heapq
from enum import StrEnum
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class SampleBy(StrEnum):
    """How a sample is chosen: ``rule`` is so many findings of each rule, ``random`` of all, ``score`` the highest."""

    RULE = "rule"
    RANDOM = "random"
    SCORE = "score"


class Sampler(Generic[_Item]):
    """Keeps ``size`` of the items that are offered, each equally likely, in memory for those alone.

    Which ones is decided by SHA-256 of the seed and the item's key, so a store that grows keeps most of its sample, and two
    commands with one seed show the same items.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._kept: list[tuple[int, str, _Item]] = []  # a heap, the first to be dropped in front
        self._ranked: list[tuple[tuple[float, int], str, _Item]] = []  # as above, by score

    def offer(self, key: str, item: _Item) -> None:
        """Take the item with this key, which no other has, into account."""
        rank = -int.from_bytes(hashlib.sha256(f"{self._seed}\0{key}".encode()).digest())
        if len(self._kept) < self._size:
            heapq.heappush(self._kept, (rank, key, item))
        elif self._kept and rank > self._kept[0][0]:
            heapq.heapreplace(self._kept, (rank, key, item))

    def offer_ranked(self, score: float, key: str, item: _Item) -> None:
        """Take the item into account by its score: the highest are kept, and of equal ones those that the seed draws."""
        rank = -int.from_bytes(hashlib.sha256(f"{self._seed}\0{key}".encode()).digest())
        entry = ((score, rank), key, item)
        if len(self._ranked) < self._size:
            heapq.heappush(self._ranked, entry)
        elif self._ranked and entry[0] > self._ranked[0][0]:
            heapq.heapreplace(self._ranked, entry)

    def ranked(self) -> tuple[_Item, ...]:
        """What ``offer_ranked`` kept, the highest score first."""
        return tuple(item for _, _, item in sorted(self._ranked, key=lambda kept: kept[0], reverse=True))

    def items(self) -> tuple[_Item, ...]:
        """What is kept, in the order of the draw: the first ``n`` of them are the sample of size ``n``."""
        return tuple(item for _, _, item in sorted(self._kept, key=lambda kept: -kept[0]))
