"""A source by whole runs, which rules over a run need: each part has some runs, and every run is in one part.

What such a rule says of a subcall depends on what came before it in its run. So a worker is handed a run as a whole, also
those of its subcalls of which no result is asked for, and follows it in the order of its log.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from monitor.audit.rescan.sources import facts_of, selection_of
from monitor.store import Store, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from monitor.audit.rescan.sources import Opened
    from monitor.store import Bulk, Extent, Found, RunExtent

SUBCALLS_IN_PART = 256
"""About how many subcalls a part has; a longer run is a part by itself."""
_LOOSE = 4  # so many times as many subcalls as are wanted may be read, to read them in one go


class Runs(NamedTuple):
    """The runs of one part, in the order of the log, and the leaves from its first start to past its last."""

    run_ids: tuple[str, ...]
    first: int
    end: int
    subcalls: int


def parts_of(extents: Iterable[RunExtent], most: int = SUBCALLS_IN_PART) -> tuple[Runs, ...]:
    """The runs in parts: neighbours together, as long as they are short."""
    parts: list[Runs] = []
    for one in extents:
        last = parts[-1] if parts else None
        if last is not None and last.subcalls + one.subcalls <= most:
            end = max(last.end, one.last + 1)
            parts[-1] = Runs((*last.run_ids, one.run_id), last.first, end, last.subcalls + one.subcalls)
        else:
            parts.append(Runs((one.run_id,), one.first, one.last + 1, one.subcalls))
    return tuple(parts)


def is_among(wanted: Wanted, found: Found) -> bool:
    """Whether a result is asked for, of a subcall of a run that has such ones. What cannot be told is wanted."""
    if found.call is None:
        return True
    at = found.call.at
    if (wanted.since is not None and at < wanted.since) or (wanted.until is not None and at >= wanted.until):
        return False
    return not wanted.roles or found.call.role in wanted.roles


class Step(NamedTuple):
    """One thing that happens in a run: a subcall begins, or it is judged."""

    is_end: bool
    found: Found


def in_order(run: Iterable[Found]) -> Iterator[Step]:
    """A run, handed over in the order of its starts, in the order of its log. In memory is what is in flight together.

    A subcall that was never judged ends with the run.
    """
    in_flight: list[tuple[float, int, Found]] = []
    for number, found in enumerate(run):
        while in_flight and in_flight[0][0] < found.leaf_index:
            yield Step(is_end=True, found=heapq.heappop(in_flight)[2])
        yield Step(is_end=False, found=found)
        judged = float("inf") if found.judged_leaf is None else found.judged_leaf
        heapq.heappush(in_flight, (judged, number, found))
    while in_flight:
        yield Step(is_end=True, found=heapq.heappop(in_flight)[2])


def run_after_run(found: Iterable[Found], run_ids: Sequence[str]) -> Iterator[Found]:
    """Subcalls in the order of the log, as those of one run after the other; others are left out."""
    kept: dict[str, list[Found]] = {run_id: [] for run_id in run_ids}
    for one in found:
        if one.run_id in kept:
            kept[one.run_id].append(one)
    for some in kept.values():
        yield from some


@dataclass(frozen=True, slots=True)
class RunSource:
    """A store by whole runs, as it was when ``extent`` was taken. ``url`` may hold a password, and is never shown."""

    url: str
    extent: Extent
    wanted: Wanted
    busy_seconds: float
    runs: tuple[Runs, ...] = field(repr=False)

    @classmethod
    def of(cls, url: str, extent: Extent, wanted: Wanted, busy_seconds: float) -> Self:
        """The store as it was. Raises StoreError."""
        with Store.open(url, busy_seconds=busy_seconds, create=False) as store:
            return cls(url, extent, wanted, busy_seconds, parts_of(store.run_extents(wanted, extent.tree_size)))

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self.runs)

    @property
    def facts(self) -> Mapping[str, Any]:
        """How far the log went, and what tells it from others."""
        return {**facts_of(self.extent), "part_leaves": 0, "parts": self.parts, "by_run": True}

    @property
    def selection(self) -> Mapping[str, Any]:
        """Which subcalls are wanted."""
        return selection_of(self.wanted)

    @property
    def pending(self) -> int:
        """Wanted subcalls without a leaf."""
        return self.extent.pending

    def leaves(self, number: int) -> tuple[int, int]:
        """From where to where the runs of the part reach; others may lie there, too."""
        return self.runs[number].first, self.runs[number].end

    def as_it_was(self, header: Mapping[str, Any]) -> Self:
        """The store up to where a scan with this header goes. Raises StoreError."""
        names = ("first", "end", "tree_size", "last_leaf")
        extent = self.extent._replace(**{name: header[name] for name in names})
        return self if extent == self.extent else self.of(self.url, extent, self.wanted, self.busy_seconds)

    def by_runs(self) -> Self:
        """The same."""
        return self

    def open(self, *, whole: bool) -> Opened:
        """Open the store for reading."""
        return _OpenedRuns(self, whole=whole)


class _OpenedRuns:
    def __init__(self, source: RunSource, *, whole: bool) -> None:
        self._source = source
        self._whole = whole
        self._store = Store.open(source.url, busy_seconds=source.busy_seconds, create=False)
        self._every = self._bulk(Wanted())

    def _bulk(self, wanted: Wanted) -> Bulk:
        return self._store.bulk(wanted, self._source.extent.tree_size, whole=self._whole)

    def part(self, number: int) -> Iterator[Found]:
        """Run after run; near ones are read together."""
        runs = self._source.runs[number]
        if len(runs.run_ids) > 1 and runs.end - runs.first <= _LOOSE * 3 * runs.subcalls:
            yield from run_after_run(self._every.read(runs.first, runs.end), runs.run_ids)
            return
        for run_id in runs.run_ids:
            yield from self._bulk(Wanted(run_id=run_id)).read(runs.first, runs.end)

    def is_wanted(self, found: Found) -> bool:
        """Whether a result of it is asked for."""
        return is_among(self._source.wanted, found)

    def close(self) -> None:
        self._store.close()
