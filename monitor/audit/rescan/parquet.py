"""Subcalls in a Parquet file: exported from a store in bounded memory, and scanned like one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.audit.rescan.by_run import Runs, is_among, parts_of, run_after_run
from monitor.audit.rescan.columns import (
    FORMAT,
    FORMAT_BEFORE,
    GROUPS_KEY,
    METADATA_KEY,
    digest_of,
    found_in,
    place_of,
    pyarrow,
    row_of,
    schema,
)
from monitor.audit.rescan.sources import StoreSource, selection_of
from monitor.errors import ConfigError
from monitor.store import Found, RunExtent, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from monitor.store import Store

ROWS_IN_GROUP = 256
"""Subcalls in one row group of the file: what is in memory at once, and one part of a scan."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: ``failed`` of the ``subcalls`` could not be read back, and their rows say so."""

    path: Path
    subcalls: int
    failed: int
    tree_size: int
    pending: int


def export(
    store: Store,
    url: str,
    path: Path,
    wanted: Wanted,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write the wanted subcalls of a store to ``path``, which is there once all are.

    Raises:
        ConfigError: the file cannot be written; and MissingExtraError.
        StoreError: the store cannot be read.
    """
    arrow = pyarrow()
    source = StoreSource.of(url, store, wanted)
    facts = {"format": FORMAT, "selection": selection_of(wanted), **source.facts}
    columns = schema().with_metadata({METADATA_KEY: json.dumps(facts, sort_keys=True).encode()})
    bulk = store.bulk(wanted, source.extent.tree_size, whole=True)
    recipes: dict[str, str] = {}
    counts = [0, 0]

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(source.parts):
            progress(number, source.parts)
            for found in bulk.read(*source.leaves(number)):
                if found.run_id not in recipes:
                    recipes.clear()  # runs come one after the other, more or less
                    recipes[found.run_id] = bulk.recipe(found.run_id)
                counts[0] += 1
                counts[1] += found.call is None
                yield row_of(found, recipes[found.run_id])
        progress(source.parts, source.parts)

    scratch = path.with_name(f".{path.name}.part")
    try:
        with arrow.parquet.ParquetWriter(scratch, columns, compression="zstd") as writer:
            every, digests = rows(), []
            while some := list(islice(every, ROWS_IN_GROUP)):
                table = arrow.Table.from_pylist(some, schema=columns)
                writer.write_table(table)
                digests.append(digest_of(table.to_pylist()))
            writer.add_key_value_metadata({GROUPS_KEY: json.dumps(digests).encode()})
        scratch.replace(path)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be written ({exc.strerror or exc}); name another place") from exc
    finally:
        scratch.unlink(missing_ok=True)
    return Exported(path, counts[0], counts[1], source.extent.tree_size, source.pending)


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """A file of ``export`` as a source. ``ranges`` are the leaves of each row group, ``digests`` what they were when they
    were exported; a file of an earlier version has none.
    """

    path: str
    facts: Mapping[str, Any]
    ranges: tuple[tuple[int, int], ...] = field(repr=False)
    wanted: Wanted
    pending: int = 0
    digests: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, path: Path, wanted: Wanted) -> ParquetSource:
        """The file at ``path``. Raises ConfigError: it is none, not of an export, or has not the parts that it had."""
        file = _opened(path)
        try:
            facts = json.loads((file.schema_arrow.metadata or {})[METADATA_KEY])
            is_before = facts.pop("format") == FORMAT_BEFORE
            is_ours = file.schema_arrow.equals(schema(before=is_before))
        except (KeyError, ValueError):
            is_ours = False
        if not is_ours:
            raise ConfigError(f"{path}: expected a file of `monitor export`, found another Parquet file")
        selection = facts.pop("selection")
        if any(selection.values()):
            facts["exported"] = selection
        ranges = tuple(_range_of(file.metadata.row_group(number)) for number in range(file.num_row_groups))
        digests = tuple(json.loads((file.metadata.metadata or {}).get(GROUPS_KEY, b"[]")))
        if digests and len(digests) != len(ranges):
            raise ConfigError(
                f"{path}: expected the {len(digests)} row groups that were exported, found {len(ranges)}: something was "
                "added, dropped or written anew. Export it again"
            )
        facts |= {"parts": len(ranges), "part_leaves": 0}
        return cls(str(path.absolute()), facts, ranges, wanted, digests=digests)

    @property
    def parts(self) -> int:
        """How many row groups there are."""
        return len(self.ranges)

    @property
    def selection(self) -> Mapping[str, Any]:
        """Which subcalls are wanted."""
        return selection_of(self.wanted)

    def leaves(self, number: int) -> tuple[int, int]:
        """Where the row group begins and ends."""
        return self.ranges[number]

    def as_it_was(self, header: Mapping[str, Any]) -> ParquetSource:
        """The same: a file does not grow."""
        del header
        return self

    def by_runs(self) -> ParquetRuns:
        """The file by whole runs. Raises ConfigError: it does not say in which order subcalls were judged."""
        return ParquetRuns.of(self)

    def open(self, *, whole: bool) -> _OpenedFile:
        """Open the file for reading; all of it is always there."""
        del whole
        return _OpenedFile(self)


class _OpenedFile:
    def __init__(self, source: ParquetSource) -> None:
        self._file = _opened(Path(source.path))
        self._wanted, self._digests = source.wanted, source.digests

    def part(self, number: int) -> Iterator[Found]:
        rows = self._file.read_row_group(number).to_pylist()
        is_whole = not self._digests or digest_of(rows) == self._digests[number]
        for row in rows:
            if self._is_wanted(row):
                try:
                    found = found_in(row)
                except (ValueError, KeyError, TypeError) as exc:
                    problem = f"its row cannot be read back ({type(exc).__name__})"
                    found = Found(*place_of(row), problem=problem)
                if not is_whole and found.call is not None:
                    problem = "its part of the file is not what was exported: a row of it was edited, added or dropped"
                    found = Found(*place_of(row), problem=problem)
                yield found

    def is_wanted(self, found: Found) -> bool:
        return True

    def close(self) -> None:
        self._file.close()

    def _is_wanted(self, row: Mapping[str, Any]) -> bool:
        """As a scan of the store: what cannot be told is wanted."""
        wanted, at = self._wanted, row["started_at"]
        return (
            wanted.run_id in {None, row["run_id"]}
            and (wanted.since is None or at is None or at >= wanted.since)
            and (wanted.until is None or at is None or at < wanted.until)
            and (not wanted.roles or row["role"] is None or row["role"] in wanted.roles)
            and wanted.has_recipe(row["recipe"] or None)
        )


@dataclass(frozen=True, slots=True)
class ParquetRuns:
    """The same file by whole runs: ``runs`` are those of each part, ``groups`` the row groups that they reach over."""

    file: ParquetSource
    runs: tuple[Runs, ...] = field(repr=False)
    groups: tuple[tuple[int, int], ...] = field(repr=False)

    @classmethod
    def of(cls, source: ParquetSource) -> ParquetRuns:
        """Look where in the file each run is. Raises ConfigError."""
        file = _opened(Path(source.path))
        if "judged_leaf" not in file.schema_arrow.names:
            raise ConfigError(
                f"{source.path}: rules over a run need to know where in the log subcalls were judged, which this file of "
                "an earlier version does not say: export it again, or leave those rules out"
            )
        if source.facts.get("exported"):
            raise ConfigError(
                f"{source.path}: rules over a run need every subcall of a run, and this file has a selection of them: "
                "export it without --run, --since, --until, --role and --recipe, or leave those rules out"
            )
        reach: dict[str, list[int]] = {}
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number, columns=["run_id", "leaf_index", "started_at", "recipe"]).to_pylist()
            for row in rows:
                leaf = row["leaf_index"]
                if row["run_id"] in reach:
                    reach[row["run_id"]][1:] = [leaf, reach[row["run_id"]][2] + 1, reach[row["run_id"]][3], number]
                elif source.wanted.run_id in {None, row["run_id"]} and source.wanted.has_recipe(row["recipe"] or None):
                    reach[row["run_id"]] = [leaf, leaf, 1, number, number]
        file.close()
        runs = parts_of(RunExtent(run_id, *some[:3]) for run_id, some in reach.items())
        groups = tuple(
            (min(reach[one][3] for one in part.run_ids), max(reach[one][4] for one in part.run_ids)) for part in runs
        )
        return cls(source, runs, groups)

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self.runs)

    @property
    def facts(self) -> Mapping[str, Any]:
        """As those of the file."""
        return {**self.file.facts, "parts": self.parts, "by_run": True}

    @property
    def selection(self) -> Mapping[str, Any]:
        """Which subcalls are wanted."""
        return self.file.selection

    @property
    def pending(self) -> int:
        """A file has no pending ones."""
        return self.file.pending

    def leaves(self, number: int) -> tuple[int, int]:
        """From where to where the runs of the part reach."""
        return self.runs[number].first, self.runs[number].end

    def as_it_was(self, header: Mapping[str, Any]) -> ParquetRuns:
        """The same: a file does not grow."""
        del header
        return self

    def by_runs(self) -> ParquetRuns:
        """The same."""
        return self

    def open(self, *, whole: bool) -> _OpenedFileRuns:
        """Open the file for reading; all of it is always there."""
        del whole
        return _OpenedFileRuns(self)


class _OpenedFileRuns:
    def __init__(self, source: ParquetRuns) -> None:
        self._source = source
        self._file = _OpenedFile(replace(source.file, wanted=Wanted()))

    def part(self, number: int) -> Iterator[Found]:
        first, last = self._source.groups[number]
        every = (found for group in range(first, last + 1) for found in self._file.part(group))
        run_ids = self._source.runs[number].run_ids
        if len(run_ids) == 1:
            yield from (found for found in every if found.run_id == run_ids[0])
        else:
            yield from run_after_run(every, run_ids)

    def is_wanted(self, found: Found) -> bool:
        return is_among(self._source.file.wanted, found)

    def close(self) -> None:
        self._file.close()


def _opened(path: Path) -> Any:
    arrow = pyarrow()
    try:
        return arrow.parquet.ParquetFile(path)
    except (OSError, arrow.ArrowInvalid) as exc:
        raise ConfigError(f"{path}: expected a file of `monitor export`, found none that can be read ({exc})") from exc


def _range_of(group: Any) -> tuple[int, int]:
    """The leaves from the first subcall of a row group to its last."""
    statistics = group.column(0).statistics
    return int(statistics.min), int(statistics.max) + 1
