"""Exported files: the same subcalls, and the same results of a scan."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'factored-monitor[audit]'")
files = pytest.importorskip("pyarrow.parquet")

from monitor.audit.rescan import parquet  # noqa: E402
from monitor.audit.rescan.columns import NAMES, found_in  # noqa: E402
from monitor.audit.rescan.parquet import ParquetSource, export  # noqa: E402
from monitor.errors import ConfigError  # noqa: E402
from monitor.records import Event, Judgement, Observation, Outcome, Usage, now  # noqa: E402
from monitor.store import Wanted  # noqa: E402
from tests.audit.rescan.conftest import Bench, fill  # noqa: E402
from tests.store.databases import Database  # noqa: E402

if TYPE_CHECKING:
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
    fill(bench.store, 3)
    path = tmp_path / "traces.parquet"
    export(bench.store, bench.url, path, Wanted())
    table = files.read_table(path)
    rows = table.to_pylist()
    rows[1]["observation"] = "{}"
    files.write_table(arrow.Table.from_pylist(rows, schema=table.schema), path)
    summary = bench.scan(from_file(bench, path))
    assert [one.status for one in bench.rows(summary.scan_id)] == ["done", "failed", "done"]


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
