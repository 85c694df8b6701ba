"""``monitor audit rescan``, ``scans``, ``diff`` and ``monitor export``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from monitor.store import Store
from tests.audit.conftest import rule
from tests.audit.rescan.conftest import fill
from tests.store.databases import Database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]


def address(tmp_path: Path) -> str:
    return os.environ.get("MONITOR_DB", str(tmp_path / "monitor.db"))


@pytest.fixture
def traces(monitor: Monitor, tmp_path: Path) -> str:
    """A run of 14 subcalls, two of which think of hiding something; and two packs."""
    head = "pack: {name}\nversion: 1.0.0\ndescription: x\nrules:\n"
    (tmp_path / "old.yaml").write_text(head.format(name="house") + rule(1, "reasoning|contains: hide it"), "utf-8")
    strict = rule(1, "reasoning|contains: hide it", level="high", action="withhold")
    (tmp_path / "new.yaml").write_text(head.format(name="house") + strict, "utf-8")
    with Store.open(address(tmp_path)) as store:
        return fill(store, 14)


def test_a_scan_its_repetition_the_list_and_a_difference(monitor: Monitor, traces: str) -> None:
    first = monitor("audit", "rescan", "--policy", "./old.yaml")
    assert (first.code, first.err) == (0, "")
    for text in ("14 subcalls looked at", "14 results made now", "verdicts  2 flag, 12 pass", "rule_1: 2 match"):
        assert text in first.out
    shape = monitor("audit", "rescan", "--policy", "./old.yaml", "--json").json
    assert (shape["format"], shape["whole"], shape["evaluated"]) == ("monitor.rescan/1", True, 0)
    assert shape["verdicts"] == {"block": 0, "flag": 2, "unmeasured": 0, "pass": 12}
    assert shape["checks"][0]["match"] == 2
    second = monitor("audit", "rescan", "-p", "./new.yaml", "--run", traces[:8], "--role", "clerk", "--json").json
    assert second["scan"] != shape["scan"]
    listed = monitor("audit", "scans", "--json").json["scans"]
    assert {one["scan"] for one in listed} == {shape["scan"], second["scan"]}
    assert "finished  house" in monitor("audit", "scans").out
    found = monitor("audit", "diff", shape["scan"][:8], second["scan"], "--json")
    assert found.code == 0
    assert (found.json["compared"], found.json["changed"], len(found.json["changes"])) == (14, 2, 2)
    assert found.json["verdicts"] == [{"before": "flag, flag", "after": "block, withhold", "subcalls": 2}]
    assert monitor("audit", "diff", shape["scan"], second["scan"], "--fail-on-change").code == 1
    assert monitor("audit", "diff", shape["scan"], shape["scan"], "--fail-on-change").code == 0
    shown = monitor("audit", "diff", "recorded", "latest", "--each").out
    assert "14 subcalls compared, 14 with another verdict or action" in shown
    assert shown.count("unmeasured, log  →  pass, log") == 13


def test_what_is_not_covered_is_said_and_is_no_success(monitor: Monitor, traces: str, tmp_path: Path) -> None:
    with Database(address(tmp_path)) as database:
        database.lift_triggers("events")
        ((span,),) = database.rows("SELECT min(span_id) FROM events WHERE kind = 'observed'")
        database.execute(f"UPDATE events SET canonical = '{{}}' WHERE span_id = '{span}' AND seq = 1")
    result = monitor("audit", "rescan", "--policy", "./old.yaml")
    assert result.code == 1
    assert f"/{span}: " in result.err
    assert "1 subcall could not be looked at: this scan does not cover everything" in result.err
    again = monitor("audit", "rescan", "--policy", "./old.yaml", "--json")
    assert (again.code, again.json["whole"], again.json["statuses"]["failed"]) == (1, False, 1)
    compared = monitor("audit", "diff", "recorded", "latest")
    assert compared.code == 1
    assert "could not look at 1 subcall: these figures are not of everything" in compared.err


def test_results_go_into_a_store_of_their_own_and_the_scanned_one_is_left_as_it_is(
    monitor: Monitor, traces: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "kept.db")
    shape = monitor("audit", "rescan", "--policy", "./old.yaml", "--out", out, "--json").json
    assert shape["whole"]
    assert monitor("audit", "scans", "--json").json["scans"] == []
    assert [one["scan"] for one in monitor("audit", "scans", "--db", out, "--json").json["scans"]] == [shape["scan"]]
    assert "diff recorded" not in monitor("audit", "rescan", "--policy", "./old.yaml", "--out", out).out
    none = monitor("audit", "rescan", "--policy", "./old.yaml", "--role", "nobody", "--json").json["scan"]
    assert monitor("audit", "diff", "recorded", none).code == 0  # a scan of nothing has nothing to compare
    compared = monitor("audit", "diff", "recorded", "latest", "--db", out, "--json")  # where nothing was recorded
    assert (compared.code, compared.json["compared"], compared.json["changed"]) == (1, 0, 0)
    assert compared.json["problems"] == ["no subcall is judged on both sides, in this store"]
    assert "these figures are not of everything" in monitor("audit", "diff", "recorded", "latest", "--db", out).err


def test_an_exported_file_is_scanned_like_the_store(monitor: Monitor, traces: str) -> None:
    pytest.importorskip("pyarrow")
    done = monitor("export", "--to", "traces.parquet", "--json")
    assert (done.code, done.json["subcalls"], done.json["failed"]) == (0, 14, 0)
    assert "14 subcalls written to traces.parquet" in monitor("export", "--to", "traces.parquet").out
    command = ["audit", "rescan", "--policy", "./old.yaml", "--from", "traces.parquet"]
    assert "say where the results are to be kept: --out" in monitor(*command).err
    shape = monitor(*command, "--out", "kept.db", "--json").json
    assert (shape["whole"], shape["verdicts"]["flag"]) == (True, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rescan"], "say what to check with"),
        (["rescan", "-p", "./old.yaml", "--engine", "spark"], "expected local or ray"),
        (["rescan", "-p", "./old.yaml", "--address", "auto"], "it goes with --engine ray"),
        (["rescan", "-p", "./none.yaml"], "none.yaml"),
        (["diff", "beef", "recorded"], "is no scan of this store"),
        (["rescan", "-p", "./old.yaml", "--from", "old.yaml", "--out", "x.db"], "expected a file of `monitor export`"),
    ],
)
def test_what_is_wrong_is_said(monitor: Monitor, traces: str, arguments: list[str], said: str) -> None:
    if "--from" in arguments:
        pytest.importorskip("pyarrow")
    result = monitor("audit", *arguments)
    assert result.code == 2
    assert said in result.err
