"""What is scanned: a store's subcalls up to some place in its log, or those of an exported file.

A source is a small value that travels to other processes; ``open`` there gives the subcalls part by part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from monitor.store import Store
from monitor.store.scanning import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from monitor.store import Extent, Found, Wanted

PART_LEAVES = 1_024
"""Leaves of the log in one part: some hundreds of subcalls, which is what a worker that dies costs."""


class Opened(Protocol):
    """A source as one process reads it."""

    def part(self, number: int) -> Iterator[Found]:
        """The wanted subcalls of a part, in the order of the log. Raises StoreError."""
        ...

    def is_wanted(self, found: Found) -> bool:
        """Whether a result of this subcall is asked for: a source by runs has others as well."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class Source(Protocol):
    """What is scanned. It is pickled, and opened in each process that reads."""

    @property
    def parts(self) -> int:
        """How many parts it has, numbered from 0."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a scan's header says of it: ``tree_size``, the hashes of its first and last leaf, what was erased."""
        ...

    @property
    def selection(self) -> Mapping[str, Any]:
        """Which of its subcalls are wanted."""
        ...

    @property
    def pending(self) -> int:
        """How many wanted subcalls it cannot read, for they have no place in the log yet."""
        ...

    def leaves(self, number: int) -> tuple[int, int]:
        """The leaves, from and to (exclusive), at which subcalls of this part start."""
        ...

    def as_it_was(self, header: Mapping[str, Any]) -> Source:
        """The source as a scan with this header began on it."""
        ...

    def by_runs(self) -> Source:
        """The same subcalls by whole runs, for rules over a run. Raises StoreError and ConfigError."""
        ...

    def open(self, *, whole: bool) -> Opened:
        """Open it for reading; with ``whole`` all that a probe reads as well. Raises StoreError and ConfigError."""
        ...


@dataclass(frozen=True, slots=True)
class StoreSource:
    """A store, a SQLite file or a PostgreSQL database, as it was when ``extent`` was taken.

    ``url`` may hold a password, and is never shown.
    """

    url: str
    extent: Extent
    wanted: Wanted = EVERYTHING
    busy_seconds: float = 30.0
    part_leaves: int = PART_LEAVES

    @classmethod
    def of(
        cls, url: str, store: Store, wanted: Wanted, *, busy_seconds: float = 30.0, part_leaves: int = PART_LEAVES
    ) -> StoreSource:
        """The store as it is now. Raises StoreError."""
        return cls(url, store.extent(wanted), wanted, busy_seconds, part_leaves)

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-(self.extent.end - self.extent.first) // self.part_leaves)

    @property
    def facts(self) -> Mapping[str, Any]:
        """How far the log went, and what tells it from others."""
        return {**facts_of(self.extent), "part_leaves": self.part_leaves, "parts": self.parts}

    @property
    def selection(self) -> Mapping[str, Any]:
        """Which subcalls are wanted."""
        return selection_of(self.wanted)

    @property
    def pending(self) -> int:
        """Wanted subcalls without a leaf."""
        return self.extent.pending

    def leaves(self, number: int) -> tuple[int, int]:
        """Where the part begins and ends."""
        first = self.extent.first + number * self.part_leaves
        return first, min(first + self.part_leaves, self.extent.end)

    def as_it_was(self, header: Mapping[str, Any]) -> StoreSource:
        """The store up to where a scan with this header goes."""
        names = ("first", "end", "tree_size", "last_leaf")
        extent = self.extent._replace(**{name: header[name] for name in names})
        return replace(self, extent=extent, part_leaves=int(header["part_leaves"]))

    def by_runs(self) -> Source:
        """The store by whole runs. Raises StoreError."""
        from monitor.audit.rescan.by_run import RunSource  # noqa: PLC0415 - it stands on this module

        return RunSource.of(self.url, self.extent, self.wanted, self.busy_seconds)

    def open(self, *, whole: bool) -> Opened:
        """Open the store for reading."""
        return _OpenedStore(self, whole=whole)


class _OpenedStore:
    def __init__(self, source: StoreSource, *, whole: bool) -> None:
        self._source = source
        self._store = Store.open(source.url, busy_seconds=source.busy_seconds, create=False)
        self._bulk = self._store.bulk(source.wanted, source.extent.tree_size, whole=whole)

    def part(self, number: int) -> Iterator[Found]:
        return self._bulk.read(*self._source.leaves(number))

    def is_wanted(self, found: Found) -> bool:
        return True

    def close(self) -> None:
        self._store.close()


def facts_of(extent: Extent) -> dict[str, Any]:
    """What a header says of an extent."""
    return {
        "first": extent.first,
        "end": extent.end,
        "tree_size": extent.tree_size,
        "first_leaf": extent.first_leaf,
        "last_leaf": extent.last_leaf,
        "erased": extent.erased,
    }


def selection_of(wanted: Wanted) -> dict[str, Any]:
    """What a header says of a selection."""
    return {
        "run": wanted.run_id,
        "since": wanted.since,
        "until": wanted.until,
        "roles": sorted(wanted.roles),
        "recipes": sorted(wanted.recipes),
    }
