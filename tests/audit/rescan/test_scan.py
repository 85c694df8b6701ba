"""Scans: what they say, what they cover, and what a second one does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from monitor import policy
from monitor.audit.backtest import backtest
from monitor.audit.rescan.scan import rescan
from monitor.audit.reviews import Labels
from monitor.records import Call, Event, new_span_id, now
from monitor.store import Store, Wanted
from tests.audit.conftest import rule
from tests.audit.rescan.conftest import Bench, fill, here
from tests.store.databases import Database
from tests.store.processes import ENVIRONMENT, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.audit.rescan.job import Job


class Interrupted(Exception):  # noqa: N818 - what a test interrupts a scan with
    pass


def interrupted_after(parts: int) -> Any:
    """An engine that breaks after so many parts."""

    def engine(job: Job, tasks: Any, loaded: Any) -> Iterator[Any]:
        for number, done in enumerate(here(job, tasks, loaded)):
            if number == parts:
                raise Interrupted
            yield done

    return engine


def test_every_subcall_has_a_result_and_they_are_those_of_a_backtest(bench: Bench) -> None:
    fill(bench.store, 40)
    summary = bench.scan()
    rows = bench.rows(summary.scan_id)
    assert (len(rows), summary.evaluated, summary.of_status("done"), summary.is_whole) == (40, 40, 40, True)
    expected = backtest(policy.load([bench.hiding()]), bench.store.scan(), Labels([]))
    assert {row.verdict for row in rows} == {"flag", "pass"}
    assert summary.of_verdict("flag") == expected.flagged == 6
    assert summary.spoken["rule", "rule_1", "match"] == 6
    assert summary.spoken["rule", "rule_2", "not_applicable"] == 40
    found = json.loads(next(row for row in rows if row.verdict == "flag").findings)
    assert [item["status"] for item in found] == ["match", "not_applicable"]
    (span,) = found[0]["evidence"]
    assert (span["surface"], span["end"] - span["start"]) == ("reasoning", len("hide it"))


def test_nothing_of_a_text_is_in_a_result(bench: Bench) -> None:
    fill(bench.store, 8)
    summary = bench.scan()
    stored = json.dumps([*map(list, bench.rows(summary.scan_id)), summary.header], ensure_ascii=False)
    assert not [word for word in ("étage", "monitor ask", "hide it", "task 0") if word in stored]


def test_a_second_scan_does_nothing_again(bench: Bench) -> None:
    fill(bench.store, 20)
    first = bench.scan()
    second = bench.scan()
    assert (second.scan_id, second.evaluated, second.reused) == (first.scan_id, 0, 0)
    assert second.counts == first.counts
    fresh = bench.scan(fresh=True)
    assert (fresh.scan_id != first.scan_id, fresh.evaluated) == (True, 20)
    assert bench.rows(fresh.scan_id) == bench.rows(first.scan_id)


def test_after_new_subcalls_only_those_are_evaluated(bench: Bench) -> None:
    fill(bench.store, 20)
    first = bench.scan()
    fill(bench.store, 5, seed=1)
    second = bench.scan()
    assert (second.scan_id != first.scan_id, second.evaluated, second.reused) == (True, 5, 20)
    assert bench.rows(second.scan_id)[:20] == bench.rows(first.scan_id)
    assert bench.rows(second.scan_id) == bench.rows(bench.scan(fresh=True).scan_id)


def test_another_rule_is_evaluated_over_everything(bench: Bench) -> None:
    fill(bench.store, 10)
    first = bench.scan()
    changed = bench.pack(rule(1, "reasoning|contains: plan"), name="hiding")
    second = bench.scan(bench.job(changed))
    assert (second.evaluated, second.reused) == (10, 0)
    assert {one.scan_id for one in bench.store.scans.scans()} == {first.scan_id, second.scan_id}


def test_an_interrupted_scan_goes_on_where_it_was_and_ends_as_if_it_never_was(bench: Bench) -> None:
    fill(bench.store, 40)
    with pytest.raises(Interrupted):
        bench.scan(engine=interrupted_after(3))
    (unfinished,) = bench.store.scans.scans()
    assert not unfinished.is_finished
    fill(bench.store, 10, seed=1)  # what comes later is not part of it
    summary = bench.scan()
    assert summary.scan_id == unfinished.scan_id
    assert len(bench.rows(summary.scan_id)) == 40
    whole = bench.scan()
    assert (len(bench.rows(whole.scan_id)), whole.evaluated, whole.reused) == (50, 10, 40)
    assert bench.rows(whole.scan_id) == bench.rows(bench.scan(fresh=True).scan_id)


KILLED = """
import sys
from pathlib import Path
from monitor.audit.rescan import scan as scanning
from tests.audit.rescan.conftest import Bench, here
scanning._COMMIT_SECONDS = 0
def slowly(job, tasks, loaded):
    for done in here(job, tasks, loaded):
        yield done
        print(done.number, flush=True)
        sys.stdin.readline()
bench = Bench(sys.argv[1], Path(sys.argv[2]))
bench.scan(engine=slowly)
"""


@pytest.mark.parametrize("parts", [1, 5])
def test_a_scan_that_is_killed_goes_on_and_ends_in_the_same_results(bench: Bench, parts: int) -> None:
    fill(bench.store, 40)
    command = [sys.executable, "-W", "error", "-c", KILLED, bench.url, str(bench.folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=ENVIRONMENT) as killed:
        assert killed.stdin
        assert killed.stdout
        for _ in range(parts):
            assert killed.stdout.readline()
            killed.stdin.write("\n")
            killed.stdin.flush()
        assert killed.stdout.readline()
        killed.send_signal(signal.SIGKILL)
    (unfinished,) = bench.store.scans.scans()
    assert parts <= unfinished.parts_done < unfinished.parts
    summary = bench.scan()
    assert (summary.scan_id, summary.resumed) == (unfinished.scan_id, unfinished.parts_done)
    assert summary.evaluated < 40
    assert bench.rows(summary.scan_id) == bench.rows(bench.scan(fresh=True).scan_id)


def test_two_scans_at_once_double_nothing(bench: Bench) -> None:
    fill(bench.store, 60)
    both: list[Any] = []

    def scan() -> None:
        with Store.open(bench.url) as store:
            both.append(rescan(bench.job(), store.scans, here))

    threads = [threading.Thread(target=scan) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.scan_id for one in both} == {bench.store.scans.scans()[0].scan_id}
    assert [one.of_status("done") for one in both] == [60, 60]
    assert bench.rows(both[0].scan_id) == bench.rows(bench.scan(fresh=True).scan_id)


def test_what_is_selected_is_what_is_scanned(bench: Bench) -> None:
    runs = [fill(bench.store, 6, seed=seed, role=role) for seed, role in enumerate(["clerk", "judge", "clerk"])]
    for wanted, expected in (
        (Wanted(run_id=runs[1]), {runs[1]}),
        (Wanted(roles=frozenset({"judge"})), {runs[1]}),
        (Wanted(roles=frozenset({"nobody"})), set()),
        (Wanted(recipes=frozenset({"answer"})), set(runs)),
        (Wanted(recipes=frozenset({"other"})), set()),
        (Wanted(since="2999-01-01"), set()),
        (Wanted(until="2999-01-01"), set(runs)),
        (Wanted(run_id="ab" * 16), set()),
    ):
        summary = bench.scan(bench.job(wanted=wanted))
        rows = bench.rows(summary.scan_id)
        assert ({row.run_id for row in rows}, len(rows)) == (expected, 6 * len(expected)), wanted
        assert summary.is_whole


def test_what_arrives_during_a_scan_is_for_the_next_one(bench: Bench) -> None:
    fill(bench.store, 20)

    def growing(job: Job, tasks: Any, loaded: Any) -> Iterator[Any]:
        for done in here(job, tasks, loaded):
            fill(bench.store, 1, seed=done.number)
            yield done

    summary = bench.scan(engine=growing)
    assert (summary.of_status("done"), summary.is_whole) == (20, True)
    assert bench.scan().of_status("done") > 20


def test_a_record_that_is_broken_is_a_result_and_the_scan_is_not_whole(bench: Bench) -> None:
    run_id = fill(bench.store, 12)
    spans = [subcall.call.span_id for subcall in bench.store.subcalls(run_id)]
    with Database(bench.url) as database:
        database.lift_triggers("events")
        changed = 'replace(canonical, \'"raw":""\', \'"raw":7\')'
        database.execute(f"UPDATE events SET canonical = {changed} WHERE span_id = '{spans[3]}' AND seq = 1")
        database.execute(f"UPDATE events SET canonical = '{{' WHERE span_id = '{spans[8]}' AND seq = 0")
    summary = bench.scan()
    assert (summary.of_status("done"), summary.of_status("failed"), summary.is_whole) == (10, 2, False)
    problems = {failure.span_id: failure.problem for failure in summary.failures}
    assert "is not what its hash says" in problems[spans[3]]
    assert "not JSON" in problems[spans[8]]
    assert bench.scan().of_status("failed") == 2


def test_an_event_of_a_wrong_type_under_a_fitting_hash_is_broken_too(bench: Bench) -> None:
    from monitor.store.ledger import leaf_hash_of

    run_id = fill(bench.store, 3)
    span = bench.store.subcalls(run_id)[1].call.span_id
    (event,) = (one for one in bench.store.events(run_id) if (one.span_id, one.seq) == (span, 1))
    forged = event.canonical.decode().replace('"outcome":"ok"', '"outcome":7')
    with Database(bench.url) as database:
        database.lift_triggers("events")
        quoted = forged.replace("'", "''")
        change = f"canonical = '{quoted}', leaf_hash = '{leaf_hash_of(forged)}'"
        database.execute(f"UPDATE events SET {change} WHERE span_id = '{span}' AND seq = 1")
    summary = bench.scan()
    assert [(one.span_id, one.status) for one in summary.failures] == [(span, "failed")]
    assert "Observation cannot be read back (outcome)" in summary.failures[0].problem


def test_what_had_not_come_back_and_what_was_left_unchecked_say_so(bench: Bench) -> None:
    run_id = fill(bench.store, 2)
    for checked, observed in ((True, False), (False, True)):
        call = Call(run_id=run_id, span_id=new_span_id(), key="k", role="clerk", task="t", checked=checked, at=now())
        bench.store.append_sync(Event.of(run_id, call.span_id, call))
        if observed:
            seen = bench.store.subcalls(run_id)[0].observation
            assert seen
            bench.store.append_sync(Event.of(run_id, call.span_id, seen))
    bench.store.sequence()
    summary = bench.scan()
    assert [summary.of_status(word) for word in ("done", "unanswered", "unchecked")] == [2, 1, 1]
    assert bench.scan(bench.job(unchecked=True)).of_status("done") == 3


def test_after_an_erasure_nothing_is_taken_over(bench: Bench) -> None:
    run_id = fill(bench.store, 8)
    assert bench.scan().of_verdict("flag") == 2
    thought = bench.store.subcalls(run_id)[7].observation
    assert thought
    with Database(bench.url) as database:
        body = thought.reasoning.text
        database.execute(f"UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE body = '{body}'")
    second = bench.scan()
    assert (second.evaluated, second.reused, second.of_verdict("flag")) == (8, 0, 1)
    assert (second.erased, second.is_whole) == (1, True)
    (said,) = [row.problem for row in bench.rows(second.scan_id) if row.problem]
    assert said == "1 of its texts were erased, and nothing is found in those"


def test_an_empty_store_is_scanned_whole(bench: Bench) -> None:
    summary = bench.scan()
    assert (summary.is_whole, bench.rows(summary.scan_id)) == (True, [])


def test_results_are_only_ever_added(bench: Bench) -> None:
    fill(bench.store, 3)
    bench.scan()
    with Database(bench.url) as database:
        for table, column in (("scan_headers", "header"), ("scan_checks", "name"), ("scan_results", "findings")):
            for change in (f"UPDATE {table} SET {column} = ''", f"DELETE FROM {table}"):
                with pytest.raises(database.refusal, match="append-only"):
                    database.execute(change)


def test_scans_and_findings_are_views(bench: Bench) -> None:
    run_id = fill(bench.store, 8)
    summary = bench.scan()
    with Database(bench.url) as database:
        columns = "scan_id, tree_size, checks, subcalls, done, failed, flag, pass"
        assert database.rows(f"SELECT {columns} FROM scans") == [(summary.scan_id, 25, 2, 8, 8, 0, 2, 6)]
        assert database.rows("SELECT parts = parts_done FROM scans") in ([(1,)], [(True,)])
        found = database.rows(
            "SELECT run_id, check_kind, name, level, pack, shadow, count(*) FROM scan_findings WHERE status = 'match' "
            "GROUP BY run_id, check_kind, name, level, pack, shadow"
        )
        assert found == [(run_id, "rule", "rule_1", "medium", "hiding", 0, 2)]
        evidence = database.rows("SELECT evidence FROM scan_findings WHERE status = 'match'")[0][0]
        assert json.loads(str(evidence))[0]["surface"] == "reasoning"
