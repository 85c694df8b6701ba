"""Stretches that two texts have in common, and how far they reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

K = TypeVar("K")

MAX_PLACES = 32
"""How many places one fingerprint is remembered to stand at."""


def common_start(a: str, i: int, b: str, j: int) -> int:
    """How many codepoints from ``a[i]`` and ``b[j]`` on are equal; compared in growing, then in shrinking pieces."""
    length, piece, most = 0, 64, min(len(a) - i, len(b) - j)
    while length < most and a[i + length : i + length + piece] == b[j + length : j + length + piece]:
        length += piece
        piece *= 2
    length = min(length, most)
    while piece:
        if length + piece <= most and a[i + length : i + length + piece] == b[j + length : j + length + piece]:
            length += piece
        piece //= 2
    return length


def common_end(a: str, b: str) -> int:
    """How many codepoints at the ends of both are equal."""
    length = 0
    while length < min(len(a), len(b)) and a[-1 - length] == b[-1 - length]:
        length += 1
    return length


class Fingerprints(Generic[K]):
    """Texts by fingerprints: of each text one stretch of ``gram`` codepoints every ``step``.

    A stretch of ``least`` = ``gram`` + ``step`` - 1 codepoints holds one of them whole, wherever it begins. So whoever
    looks at every place of another text finds every stretch of at least ``least`` that the two have in common. Winnowing
    (Schleimer, Wilkerson and Aiken 2003) guarantees the same, keeps fewer places of the text that is looked through, and
    needs a hash for each; here the stretch itself is the key, and nothing but equal texts is taken for equal.
    """

    def __init__(self, least: int) -> None:
        self.least = least
        self._step = max(1, least // 2)
        self.gram = least - self._step + 1
        self._places: dict[str, dict[tuple[K, int], str]] = {}
        self._crowded: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def of(self, text: str) -> Iterator[tuple[str, int]]:
        """The fingerprints of a text, each with its place."""
        for place in range(0, len(text) - self.gram + 1, self._step):
            yield text[place : place + self.gram], place

    def add(self, key: K, text: str) -> None:
        """Take in a text."""
        for gram, place in self.of(text):
            places = self._places.setdefault(gram, {})
            if len(places) < MAX_PLACES:
                places[key, place] = text
            else:
                self._crowded[gram] = self._crowded.get(gram, 0) + 1

    def remove(self, key: K, text: str) -> None:
        """Forget a text that was taken in."""
        for gram, place in self.of(text):
            places = self._places.get(gram, {})
            if places.pop((key, place), None) is None and gram in self._crowded:
                self._crowded[gram] -= 1
                if not self._crowded[gram]:
                    del self._crowded[gram]
            if not places:
                self._places.pop(gram, None)

    def common(self, text: str) -> Iterator[tuple[K, int, int, int] | None]:
        """The stretches of at least ``least`` that ``text`` has in common with those that were taken in, as (key, start and
        end in ``text``, start in the other): of one of them no two that lie over each other, so that the time is linear in
        both. None for a place where there may be more than are remembered.
        """
        if not self._places:
            return
        gram, least, places_of = self.gram, self.least, self._places
        reached: dict[K, int] = {}  # by text, how far a stretch of it reaches that was told
        for here in range(len(text) - gram + 1):
            found = places_of.get(text[here : here + gram])
            if found is None:
                continue
            for (key, place), other in found.items():
                if reached.get(key, 0) >= here + gram:
                    continue
                before = common_end(text[max(0, here - least) : here], other[max(0, place - least) : place])
                after = common_start(text, here, other, place)
                if before + after >= least:
                    reached[key] = here + after
                    yield key, here - before, here + after, place - before
            if self._crowded and text[here : here + gram] in self._crowded:
                yield None


def uncovered(start: int, end: int, covered: Iterable[tuple[int, int]], least: int) -> list[tuple[int, int]]:
    """The parts of ``start`` to ``end`` of at least ``least`` codepoints that lie outside of ``covered``, which is in order
    of its starts.
    """
    parts = []
    for begins, ends in covered:
        if begins - start >= least:
            parts.append((start, min(begins, end)))
        start = max(start, ends)
        if start >= end:
            break
    return [part for part in [*parts, (start, end)] if part[1] - part[0] >= least]
