"""Exported files: the same subcalls, and the same results of a scan."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'factored-monitor[audit]'")
files = pytest.importorskip("pyarrow.parquet")

from monitor.audit.rescan import parquet  # noqa: E402
from monitor.audit.rescan.columns import GROUPS_KEY, METADATA_KEY, NAMES, found_in  # noqa: E402
from monitor.audit.rescan.parquet import ROWS_IN_GROUP, ParquetSource, export  # noqa: E402
from monitor.errors import ConfigError  # noqa: E402
from monitor.records import Event, Judgement, Observation, Outcome, Usage, now  # noqa: E402
from monitor.store import Wanted  # noqa: E402
from tests.audit.rescan.conftest import Bench, fill  # noqa: E402
from tests.store.databases import Database  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.audit.rescan.job import Job


def from_file(bench: Bench, path: Path, wanted: Wanted = Wanted()) -> Job:  # noqa: B008 - it is frozen
    return replace(bench.job(), source=ParquetSource.of(path, wanted))


def test_a_scan_of_the_file_has_the_results_of_a_scan_of_the_store(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROWS_IN_GROUP", 7)
    fill(bench.store, 20)
    fill(bench.store, 5, seed=1, role="judge")
    done = export(bench.store, bench.url, tmp_path / "traces.parquet", Wanted())
    assert (done.subcalls, done.failed, done.pending) == (25, 0, 0)
    assert [path.name for path in tmp_path.glob("*.parquet*")] == ["traces.parquet"]
    summary = bench.scan(from_file(bench, done.path))
    assert (summary.is_whole, summary.header["parts"]) == (True, 4)
    assert bench.rows(summary.scan_id) == bench.rows(bench.scan(fresh=True).scan_id)
    for wanted in (Wanted(roles=frozenset({"judge"})), Wanted(until="2020"), Wanted(recipes=frozenset({"answer"}))):
        some, of_store = bench.scan(from_file(bench, done.path, wanted)), bench.scan(bench.job(wanted=wanted))
        assert bench.rows(some.scan_id) == bench.rows(of_store.scan_id)


def test_everything_of_a_subcall_is_in_its_row(bench: Bench, tmp_path: Path) -> None:
    run_id = fill(bench.store, 1)
    call = bench.store.subcalls(run_id)[0].call.model_copy(update={"span_id": "ab" * 8, "temperature": -0.0})
    seen = Observation(outcome=Outcome.FAILED, raw="␛0000", seconds=float("inf"), usage=Usage(calls=2**70), at=now())
    judged = bench.store.subcalls(run_id)[0].judgement
    assert isinstance(judged, Judgement)
    bench.store.append_sync(*(Event.of(run_id, call.span_id, payload) for payload in (call, seen, judged)))
    bench.store.sequence()
    export(bench.store, bench.url, tmp_path / "traces.parquet", Wanted())
    table = files.read_table(tmp_path / "traces.parquet")
    assert tuple(table.column_names) == NAMES
    for row, stored in zip(table.to_pylist(), bench.store.subcalls(run_id), strict=True):
        found = found_in(row)
        assert repr(found.call) == repr(stored.call)
        assert repr(found.observation) == repr(stored.observation)
        assert repr(found.judgement) == repr(stored.judgement)
        assert (row["task"], row["recipe"], row["verdict"]) == (stored.call.task, "answer", "unmeasured")


def test_what_cannot_be_read_back_says_so_in_its_row_and_in_a_scan(bench: Bench, tmp_path: Path) -> None:
    run_id = fill(bench.store, 4)
    span = bench.store.subcalls(run_id)[2].call.span_id
    with Database(bench.url) as database:
        database.lift_triggers("events")
        database.execute(f"UPDATE events SET canonical = '{{}}' WHERE span_id = '{span}' AND seq = 1")
    done = export(bench.store, bench.url, tmp_path / "traces.parquet", Wanted())
    assert (done.subcalls, done.failed) == (4, 1)
    summary = bench.scan(from_file(bench, done.path))
    assert ([one.span_id for one in summary.failures], summary.is_whole) == ([span], False)


def test_a_row_that_was_damaged_is_a_failed_result(bench: Bench, tmp_path: Path) -> None:
    """In a file of an earlier version, which has no digests."""
    fill(bench.store, 3)
    path = tmp_path / "traces.parquet"
    export(bench.store, bench.url, path, Wanted())

    def damage(rows: list[dict[str, Any]]) -> None:
        rows[1]["observation"] = "{}"

    rewrite(path, damage, has_digests=False)
    summary = bench.scan(from_file(bench, path))
    assert [one.status for one in bench.rows(summary.scan_id)] == ["done", "failed", "done"]


def edit(rows: list[dict[str, Any]]) -> None:
    rows[1]["output"] += " and more"


EDITS: dict[str, Callable[[list[dict[str, Any]]], object]] = {
    "edited": edit,
    "dropped": lambda rows: rows.pop(1),
    "doubled": lambda rows: rows.append(rows[1]),
    "swapped": lambda rows: rows.reverse(),
}


@pytest.mark.parametrize("how", EDITS)
def test_a_part_that_is_not_what_was_exported_is_no_result(bench: Bench, tmp_path: Path, how: str) -> None:
    """Which of its rows it is cannot be told, so none of them counts as looked at."""
    fill(bench.store, 4)
    path = tmp_path / "traces.parquet"
    export(bench.store, bench.url, path, Wanted())
    rewrite(path, EDITS[how])
    summary = bench.scan(from_file(bench, path))
    assert (summary.is_whole, summary.of_status("done")) == (False, 0)
    assert {one.problem for one in summary.failures} == {
        "its part of the file is not what was exported: a row of it was edited, added or dropped"
    }


def test_a_file_that_lost_a_part_or_was_written_anew_is_refused(bench: Bench, tmp_path: Path) -> None:
    fill(bench.store, ROWS_IN_GROUP + 3)
    path = tmp_path / "traces.parquet"
    export(bench.store, bench.url, path, Wanted())
    assert bench.scan(from_file(bench, path)).is_whole
    rewrite(path, lambda rows: rows.clear() if len(rows) < ROWS_IN_GROUP else None)
    with pytest.raises(ConfigError, match="expected the 2 row groups that were exported, found 1"):
        ParquetSource.of(path, Wanted())


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], object], *, has_digests: bool = True) -> None:
    """Write the file anew, with the same metadata and each row group changed; one without rows is left out."""
    file = files.ParquetFile(path)
    groups = [file.read_row_group(number) for number in range(file.num_row_groups)]
    digests = file.metadata.metadata[GROUPS_KEY]
    file.close()
    metadata = {METADATA_KEY: groups[0].schema.metadata[METADATA_KEY]}
    with files.ParquetWriter(path, groups[0].schema.with_metadata(metadata)) as writer:
        for group in groups:
            rows = group.to_pylist()
            change(rows)
            if rows:
                writer.write_table(arrow.Table.from_pylist(rows, schema=groups[0].schema))
        if has_digests:
            writer.add_key_value_metadata({GROUPS_KEY: digests})


def test_another_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    files.write_table(arrow.table({"x": [1]}), path)
    with pytest.raises(ConfigError, match="expected a file of `monitor export`"):
        ParquetSource.of(path, Wanted())
    path.write_text(json.dumps({}), encoding="utf-8")
    with pytest.raises(ConfigError, match="expected a file of `monitor export`"):
        ParquetSource.of(path, Wanted())
    with pytest.raises(ConfigError, match="found none that can be read"):
        ParquetSource.of(tmp_path / "missing.parquet", Wanted())
