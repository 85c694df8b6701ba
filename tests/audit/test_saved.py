"""Saved queries: each on a record whose answers are known, on both databases; and how their files are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.audit.saved import find_query, read_query, saved_queries
from monitor.errors import CatalogError, ConfigError, FileFaultsError
from monitor.records import Exceeded, Limits, Outcome, ProbeScore, Status, Usage, Verdict, VerdictValue
from monitor.store import Store
from monitor.store.asking import ask, grant
from monitor.store.location import is_postgres
from tests.audit import known
from tests.audit.known_answers import ANSWERS
from tests.audit.known_report import REPORT
from tests.store.events import judged, observed, run_ended, run_started, started

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.audit.saved import SavedQuery, Value

NAMES = {
    **{getattr(known, name): name for name in ("A", "B", "A1", "A2", "A3", "A4", "A5", "A6", "B1", "B2", "B3")},
    **{getattr(known, name).rule_hash[:12]: name for name in ("LEAK", "QUIET", "TRIAL")},
}


@pytest.fixture
def record(new_database: Callable[[], str]) -> str:
    """The address of the record that is known."""
    address = new_database()
    with Store.open(address) as store:
        known.fill(store)
    if is_postgres(address):
        grant(address)
    return address


def answer(address: str, query: SavedQuery, given: dict[str, str] | None = None) -> list[tuple[object, ...]]:
    sql = query.sql_on_postgres if is_postgres(address) else query.sql
    values: dict[str, Value] = query.values(given or {})
    return [tuple(NAMES.get(str(cell), cell) for cell in row) for row in ask(address, sql, values).rows]


def test_every_query_answers_what_is_known(record: str) -> None:
    """One test for all of them: to make the record takes longer than to ask it."""
    queries = saved_queries()
    assert queries.keys() == (ANSWERS | REPORT).keys()
    assert len(queries) >= 20
    assert {name: answer(record, query) for name, query in queries.items()} == ANSWERS | REPORT


def test_every_query_answers_nothing_on_an_empty_store(new_database: Callable[[], str]) -> None:
    address = new_database()
    Store.open(address).close()
    if is_postgres(address):
        grant(address)
    assert {name for name, query in saved_queries().items() if answer(address, query)} == set()


def test_nothing_is_left_out_where_filters_speak_prices_are_missing_or_nothing_was_done(
    new_database: Callable[[], str],
) -> None:
    """A filtered match hides no hot probe, an unknown price is not 0, a limit of 0 and a run of no subcall count."""
    address = new_database()
    over = (Exceeded(owner="run", limit="tool_calls", allowed=0, used=0, needed=1),)
    busy, idle = run_started(known.A, limits=Limits(tool_calls=0)), run_started(known.B)
    first, second = started(known.A), started(known.A)
    hot = (ProbeScore(probe="deceit", score=0.9, threshold=0.5, fpr=0.01, mode="reader", surface="output"),)
    harmless = known.finding(known.LEAK, Status.MATCH, suppressed_by="known-codes")
    unmeasured = Verdict(value=VerdictValue.UNMEASURED)
    with Store.open(address) as store:
        store.append_sync(busy, first, observed(first, usage=Usage(calls=1, cost=0.5)))
        store.append_sync(judged(first, findings=(harmless,), probes=hot))
        store.append_sync(second, observed(second, usage=Usage(calls=1)), judged(second))
        store.append_sync(run_ended(busy, outcome=Outcome.BUDGET_EXCEEDED, exceeded=over, usage=Usage(calls=2)))
        store.append_sync(idle, run_ended(idle, verdict=unmeasured))
    if is_postgres(address):
        grant(address)
    queries = saved_queries()
    assert [row[1] for row in answer(address, queries["clean-rules-hot-probe"])] == [first.span_id]
    assert answer(address, queries["runs-without-checks"]) == [("B", "answer", "ok", "unmeasured", 0, 0, 0)]
    spent = answer(address, queries["spend-by-branch"])
    assert sorted((row[7] is None, row[9]) for row in spent) == [(False, 0), (True, 1)]
    ((_, subcalls, *_, cost, _, unknown),) = answer(address, queries["report-spend-by-role"])
    assert (subcalls, cost, unknown) == (2, 0.5, 1)
    assert answer(address, queries["report-budgets"]) == [("tool_calls", 1, 1, 0, 0, 0, None)]


def test_parameters_narrow_the_answer(record: str) -> None:
    verdicts = saved_queries()["verdicts-by-role-and-model"]
    assert [row[0] for row in answer(record, verdicts, {"run": "bbbb"})] == ["agent"]
    assert [row[0] for row in answer(record, verdicts, {"since": "2026-11-02"})] == ["agent"]
    assert len(answer(record, saved_queries()["slowest-subcalls"], {"limit": "2"})) == 2
    flows = saved_queries()["untrusted-to-trusted"]
    assert {row[1] for row in answer(record, flows, {"codepoints": "40"})} == {"A3"}
    assert answer(record, saved_queries()["rules-by-precision"], {"at_least": "4"}) == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [({"rum": "x"}, "no parameter 'rum' .did you mean 'run'"), ({"limit": "many"}, "expected an integer")],
)
def test_a_wrong_parameter_is_told(given: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        saved_queries()["slowest-subcalls"].values(given)


def test_a_query_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.sql").write_text(
        "-- description: mine\n-- parameters:\n--   least: {type: number, required: true, about: a limit}\n\n"
        "SELECT :least AS x\n",
        encoding="utf-8",
    )
    (tmp_path / "mine.postgresql.sql").write_text("SELECT CAST(:least AS integer) AS x\n", encoding="utf-8")
    mine = saved_queries(tmp_path)["mine"]
    assert (mine.sql, mine.sql_on_postgres) == ("SELECT :least AS x", "SELECT CAST(:least AS integer) AS x")
    assert mine.values({"least": "0.5"}) == {"least": 0.5}
    for wrong, problem in (({}, "--param least=VALUE is needed: a limit"), ({"least": "nan"}, "expected a number")):
        with pytest.raises(ConfigError, match=problem):
            mine.values(wrong)
    assert find_query(str(tmp_path / "mine.sql")) == mine


def test_faults_of_a_file_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "Bad Name.sql"
    path.write_text("-- description: x\n-- parameters:\n--   p: {type: date}\n-- colour: red\n", encoding="utf-8")
    with pytest.raises(FileFaultsError) as caught:
        read_query(path)
    told = str(caught.value)
    assert "the file's name may have a to z" in told
    assert "there is no SQL below the comment" in told
    path.write_text("-- description: x\n-- parameters:\n--   p: {type: date}\n-- colour: red\n\nSELECT 1\n", "utf-8")
    (good := tmp_path / "good.sql").write_text(path.read_text("utf-8"), encoding="utf-8")
    with pytest.raises(FileFaultsError, match=r"good\.sql:3:1: parameters\.p\.type") as caught:
        read_query(good)
    assert "colour" in str(caught.value)


def test_names_that_are_not_there_or_taken(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"no saved query 'reasoning-abscent' .did you mean"):
        find_query("reasoning-abscent")
    with pytest.raises(ConfigError, match="expected a folder"):
        saved_queries(tmp_path / "nowhere")
    (tmp_path / "retries.sql").write_text("-- description: x\n\nSELECT 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is that of a shipped query"):
        saved_queries(tmp_path)
