"""The Merkle tree of RFC 9162, section 2.1: roots, inclusion proofs and consistency proofs over leaf hashes.

Pure: hashes (32 bytes each) in, hashes out. The tree's head of no leaves is SHA-256 of nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
_LEAF, _NODE = b"\x00", b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 || entry)."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(_NODE + left + right).digest()


class Frontier:
    """The roots of the complete subtrees of a tree that grows at its end, the largest first: all that its next root needs.

    There is one for each bit that is set in ``size``.
    """

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        """Raises ValueError unless there are as many peaks as bits that are set in ``size``, each of 32 bytes."""
        if size < 0 or len(peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in peaks):
            raise ValueError(f"{len(peaks)} subtrees do not make a tree of {size} leaves")
        self.size = size
        self.peaks = list(peaks)

    @classmethod
    def read(cls, size: int, packed: bytes) -> Self:
        """The frontier that ``packed`` wrote. Raises ValueError."""
        starts = range(0, len(packed), HASH_BYTES)
        return cls(size, [packed[start : start + HASH_BYTES] for start in starts])

    @property
    def packed(self) -> bytes:
        """All peaks, one after the other."""
        return b"".join(self.peaks)

    def add(self, leaf: bytes) -> None:
        """Add one leaf by its hash."""
        current, size = leaf, self.size
        while size & 1:
            current = node_hash(self.peaks.pop(), current)
            size >>= 1
        self.peaks.append(current)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        if not self.peaks:
            return EMPTY_ROOT
        current = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            current = node_hash(peak, current)
        return current


class Tree:
    """A whole tree in memory, for proofs. A node without a sibling stands for itself one level up."""

    def __init__(self, leaves: Iterable[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            above = [node_hash(below[place], below[place + 1]) for place in range(0, len(below) - 1, 2)]
            self._levels.append(above + below[len(below) & ~1 :])

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0])

    def root(self) -> bytes:
        """The root."""
        return self._levels[-1][0] if self.size else EMPTY_ROOT

    def beginning(self, size: int) -> bytes:
        """The root of the tree of the first ``size`` leaves."""
        frontier = Frontier()
        for leaf in self._levels[0][:size]:
            frontier.add(leaf)
        return frontier.root()

    def inclusion(self, index: int) -> list[bytes]:
        """The proof that the leaf at ``index`` is in the tree. Raises ValueError if there is no such leaf."""
        if not 0 <= index < self.size:
            raise ValueError(f"leaf {index} is not in a tree of {self.size}")
        path = []
        for level in self._levels[:-1]:
            if (sibling := index ^ 1) < len(level):
                path.append(level[sibling])
            index >>= 1
        return path

    def consistency(self, first: int) -> list[bytes]:
        """The proof that the tree of the first ``first`` leaves is a beginning of this one.

        Raises ValueError if there are fewer leaves.
        """
        if not 0 <= first <= self.size:
            raise ValueError(f"a tree of {self.size} leaves cannot have grown out of one of {first}")
        if first in {0, self.size}:
            return []
        return self._part(first, 0, self.size, whole=True)

    def _part(self, first: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        """SUBPROOF(m, D[n], b) of RFC 9162 for the leaves ``start`` to ``end``."""
        if first == end - start:
            return [] if whole else [self._range(start, end)]
        split = 1 << ((end - start - 1).bit_length() - 1)
        if first <= split:
            return [*self._part(first, start, start + split, whole=whole), self._range(start + split, end)]
        return [*self._part(first - split, start + split, end, whole=False), self._range(start, start + split)]

    def _range(self, start: int, end: int) -> bytes:
        """The root of the subtree over ``start`` to ``end``: a node that is there, whatever it spans."""
        level = (end - start - 1).bit_length()
        return self._levels[level][start >> level]
