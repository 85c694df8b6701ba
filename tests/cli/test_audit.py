"""``monitor audit``: what it prints, writes and exits with."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import re2

from monitor.audit.tabular import to_csv, to_objects, unique, write_parquet
from monitor.cli import main
from monitor.cli.audit_ask import _value
from monitor.errors import MissingExtraError
from monitor.store import Store
from monitor.store.asking import Answer, grant
from monitor.store.location import is_postgres
from tests.audit import known

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def record(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    address = new_database()
    with Store.open(address) as store:
        known.fill(store)
    if is_postgres(address):
        grant(address)
    monkeypatch.setenv("MONITOR_DB", address)
    monkeypatch.chdir(tmp_path)
    return address


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    """The JSON that a command prints, which exits so."""
    capsys.readouterr()
    assert main(["audit", *words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_query_in_every_format(record: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sql = "SELECT role, count(*) AS n FROM subcalls WHERE role <> :role GROUP BY role ORDER BY role"
    found = said(capsys, "query", sql, "-P", "role=agent")
    expected = [{"role": "judge", "n": 3}, {"role": "planner", "n": 1}, {"role": "worker", "n": 2}]
    assert (found["format"], found["columns"], found["rows"], found["is_cut"]) == (
        "monitor.query/1",
        ["role", "n"],
        expected,
        False,
    )
    assert main(["audit", "query", sql, "-P", "role=agent", "-f", "csv"]) == 0
    assert capsys.readouterr().out == "role,n\r\njudge,3\r\nplanner,1\r\nworker,2\r\n"
    assert main(["audit", "query", sql, "-P", "role=agent"]) == 0
    printed = capsys.readouterr()
    assert [line.split() for line in printed.out.splitlines()][:2] == [["role", "n"], ["judge", "3"]]
    assert printed.err == "3 rows\n"
    assert main(["audit", "query", sql, "-P", "role=agent", "-f", "json", "-o", "out.json"]) == 0
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["rows"] == expected


def test_an_answer_that_is_cut_says_so(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "query", "SELECT * FROM subcalls", "--rows", "2", code=1)
    assert (len(found["rows"]), found["is_cut"]) == (2, True)
    assert main(["audit", "ask", "slowest-subcalls", "--rows", "2"]) == 1
    assert "there are more rows: the answer was cut after 2" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "true", '"x"', "[1]"])
def test_what_is_no_number_of_json_is_a_text(record: str, capsys: pytest.CaptureFixture[str], text: str) -> None:
    sql = "SELECT count(*) AS n FROM runs WHERE :x = 'NaN' OR :x = '' || :x"
    assert said(capsys, "query", sql, "-P", f"x={text}")["rows"][0]["n"] > 0
    assert _value(text) == text


def test_a_number_is_passed_or_refused(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT count(*) AS n FROM runs WHERE leaf_index < :x"
    assert said(capsys, "query", sql, "-P", f"x={2**63 - 1}")["rows"][0]["n"] > 0
    assert main(["audit", "query", sql, "-P", f"x={2**63}"]) == (0 if is_postgres(record) else 2)
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert is_postgres(record) or "beyond the 64 bits" in told.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["query", "DELETE FROM runs"], "refused|is wrong"),
        (["query", "SELECT 1 AS x", "-P", "x"], "expected NAME=VALUE"),
        (["query", "SELECT :x AS x", "-P", "x=1", "-P", "x=2"], "given twice"),
        (["query", "SELECT 1 AS x", "-f", "parquet"], "name a file with --out"),
        (["query", "SELECT 1 AS x", "-o", "x"], "a table is for the terminal"),
        (["query", "SELECT 1 AS x", "-f", "csv", "-o", "no/where"], "cannot be written"),
        (["ask", "verdict"], "there is no saved query 'verdict'"),
        (["ask", "retries", "-P", "rum=x"], "no parameter 'rum'"),
        (["search", "a OR"], "expected words beside OR"),
        (["search"], "expected what to search"),
        (["search", "a", "--surface", "thoughts"], "no such text"),
        (["search", "a", "--since", "yesterday"], "expected a date or time"),
        (["search", "a", "--since", "0001-01-01T00:00+14:00"], "expected a date or time"),
        (["ask", "human-decisions", "-P", "since=yesterday"], "since=yesterday: expected a date or time"),
        (["report", "--since", "2026-12-01", "--until", "2026-11-01"], "expected a time after --since 2026-12-01"),
        (["rescan", "-p", "core", "--since", "2026-12-01", "--until", "2026-12-01"], "nothing is in this period"),
        (["tree", "aaaa", "-w", "colour: red"], "colour"),
    ],
)
def test_what_is_wrong_is_told(record: str, capsys: pytest.CaptureFixture[str], words: list[str], problem: str) -> None:
    capsys.readouterr()
    assert main(["audit", *words]) == 2
    assert re2.search(problem, capsys.readouterr().err)


def test_saved_queries_are_listed_shown_and_asked(
    record: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    listed = said(capsys, "ask")["queries"]
    assert len(listed) >= 20
    assert all(one["description"].endswith(".") for one in listed)
    assert main(["audit", "ask", "human-decisions", "--show"]) == 0
    assert "-- :since  time, default '': only decisions at or after this time" in capsys.readouterr().out
    assert said(capsys, "ask", "human-decisions", "-P", "since=2026-11-01T10:02")["rows"][0]["decided_by"] == "bob"
    (tmp_path / "mine").mkdir()
    mine = "-- description: Roles.\n\nSELECT DISTINCT role FROM subcalls ORDER BY role\n"
    (tmp_path / "mine" / "roles.sql").write_text(mine, encoding="utf-8")
    (tmp_path / "monitor.toml").write_text('queries = "mine"\n', encoding="utf-8")
    assert [row["role"] for row in said(capsys, "ask", "roles")["rows"]] == ["agent", "judge", "planner", "worker"]
    assert any(one["name"] == "roles" for one in said(capsys, "ask")["queries"])


def test_the_search_shows_the_words_in_their_place(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "search", "vault code", "--role", "worker", "--run", "aaaa"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "aaaaaaaa/a2a2a2a2  output  worker  2026-11-01T10:00",
        "  The vault code is 7431, tell nobody.",
    ]
    assert printed.err == "1 place\n"
    found = said(capsys, "search", "code", "--surface", "reasoning", "-n", "1")
    assert (found["total"], found["unindexed"], found["hits"][0]["marks"]) == (1, 0, [[18, 22]])
    assert said(capsys, "search", "--rebuild")["indexed"] > 30


def test_a_time_is_one_time_however_it_is_written(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    every = said(capsys, "search", "task")["total"]
    for before in ("2026-11-01T11:00:00+02:00", "2026-11-01 09:00", "2026-11-01"):
        assert said(capsys, "search", "task", "--since", before)["total"] == every > 0
    late = said(capsys, "search", "task", "--since", "2026-11-02 09:00")["total"]
    assert 0 < late < every
    assert said(capsys, "search", "task", "--since", "2026-11-02T01:00-08:00")["total"] == late
    for since in ("2026-11-01T11:02+01:00", "2026-11-01 10:02"):
        assert said(capsys, "ask", "human-decisions", "-P", f"since={since}")["rows"][0]["decided_by"] == "bob"


def test_the_tree_tells_what_reached_a_subcall(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "tree", "aaaa", "-w", "role: judge", "-w", "reasoning.state: encrypted")
    (judge,) = found["subcalls"]
    assert (judge["span_id"], judge["ancestors"], judge["spend"]["subcalls"]) == (known.A4, [], 2)
    assert [(flow["from_role"], flow["how"], flow["crosses_trust"]) for flow in judge["flows"]] == [
        ("worker", "part", True),
        ("worker", "whole", True),
    ]
    assert judge["reached_by"] == [{"span_id": known.A2, "steps": 1}, {"span_id": known.A3, "steps": 1}]
    assert main(["audit", "tree", "aaaa", "-s", "a4a4", "-w", "reasoning|contains: hide"]) == 0
    assert "a4a4a4a4: cannot be told: the reasoning is encrypted" in capsys.readouterr().err
    assert main(["audit", "tree", "bbbb"]) == 0
    assert "1 not back" in capsys.readouterr().out


@pytest.mark.sqlite("roles are a server's")
def test_a_file_has_no_roles(record: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "a SQLite file has no roles" in said(capsys, "grant", code=2)["error"]["message"]


# ---------------------------------------------------------------------------------------------------------- formats


HOSTILE = Answer(
    ("a", "b", "a"),
    [("=HYPERLINK(1)", 1, None), ("-2", 2.5, b"\x00\xff"), ('say "x",\r\n+1', None, "@a"), ("\tb", True, "\u202eevil")],
)


def test_csv_is_read_back_and_is_no_formula() -> None:
    read = list(csv.reader(io.StringIO(to_csv(HOSTILE), newline="")))
    assert read[0] == ["a", "b", "a"]
    assert [row[0] for row in read[1:]] == ["'=HYPERLINK(1)", "'-2", 'say "x",\r\n+1', "'\tb"]
    assert [row[2] for row in read[1:]] == ["", "00ff", "'@a", "\u202eevil"]
    exact = list(csv.reader(io.StringIO(to_csv(HOSTILE, exact=True), newline="")))
    assert [row[0] for row in exact[1:]] == ["=HYPERLINK(1)", "-2", 'say "x",\r\n+1', "\tb"]


def test_columns_of_one_name_stay_apart() -> None:
    assert unique(("a", "a", "a:1", "a")) == ["a", "a:1", "a:1:1", "a:2"]
    assert to_objects(HOSTILE)[1] == {"a": "-2", "b": 2.5, "a:1": "00ff"}


def test_parquet_is_read_back_with_its_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    answer = Answer(
        ("whole", "real", "text", "none", "mixed", "large", "raw"),
        [(1, 1, "a", None, 1, 2**70, b"a"), (None, 2.5, None, None, "x", 1, None)],
    )
    write_parquet(answer, tmp_path / "x.parquet")
    table = parquet.read_table(tmp_path / "x.parquet")
    assert [str(field.type) for field in table.schema] == [
        "int64",
        "double",
        "string",
        "null",
        "string",
        "double",
        "binary",
    ]
    assert table.to_pylist() == [
        {"whole": 1, "real": 1.0, "text": "a", "none": None, "mixed": "1", "large": 2.0**70, "raw": b"a"},
        {"whole": None, "real": 2.5, "text": None, "none": None, "mixed": "x", "large": 1.0, "raw": None},
    ]
    write_parquet(Answer(("x",), []), tmp_path / "empty.parquet")
    assert parquet.read_table(tmp_path / "empty.parquet").num_rows == 0


def test_without_pyarrow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"factored-monitor\[audit\]"):
        write_parquet(HOSTILE, tmp_path / "x.parquet")
