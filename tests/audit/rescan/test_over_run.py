"""Rules over a run, scanned: the findings that the live runs had, however the scan is cut, and wherever it is done."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from monitor import policy
from monitor.audit.backtest import backtest
from monitor.audit.candidates import candidates
from monitor.audit.policy_diff import Difference, diff
from monitor.audit.rescan import local
from monitor.audit.rescan.parquet import ParquetSource, export
from monitor.audit.rescan.sources import StoreSource
from monitor.audit.rescan.work import Worker
from monitor.audit.reviews import Labels
from monitor.audit.rule_coverage import evaluated_coverage, recorded_coverage
from monitor.audit.walk import Covered
from monitor.canonical import parse_json
from monitor.errors import ConfigError
from monitor.loaded import load_checks
from monitor.pipeline import Pipeline
from monitor.records import Call, Event, Observation, Outcome, RunStart, Status, new_run_id, new_span_id, now
from monitor.store import Wanted
from tests.audit.over_run import live, recorded, write_pack
from tests.audit.rescan.deadly import Deadly

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.audit.rescan.scan import Summary
    from monitor.store import ScanResult, Store
    from tests.audit.rescan.conftest import Bench


SHARE = """
  - title: Much is spent
    id: 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f6
    name: spends_much
    level: low
    tree: {this: secret, share: {field: usage.output_tokens, gte: 0.05, least: 1}}
"""

ALONE = """
pack: alone
version: 1.0.0
description: children that nobody looks at
run_rules:
  - title: A child is unchecked
    id: 1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d
    name: child_alone
    level: medium
    action: flag
    tree: {this: any, child: unchecked}
"""

OF_ONE = """
rules:
  - title: A word that nobody says
    id: 2b3c4d5e-6f7a-4b8c-9d0e-1f2a3b4c5d6e
    name: unsaid
    level: medium
    action: flag
    detection: {word: {output|contains: unsaid}, condition: word}
"""


@pytest.fixture
def pack(bench: Bench) -> Path:
    path = write_pack(bench.folder)
    live(bench.store, path)
    bench.store.sequence()
    return path


def said(bench: Bench, summary: Summary) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The findings of a scan, by subcall, with the rules' names."""
    names = [check["name"] for check in summary.header["checks"]]
    found = {}
    for row in bench.rows(summary.scan_id):
        findings = parse_json(row.findings)
        found[row.run_id, row.span_id] = [{"name": names[one.pop("n")], **one} for one in findings]
    return found


def as_recorded(bench: Bench) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The same of the live runs."""
    return {
        key: [
            {
                "name": one.name,
                "status": one.status.value,
                "cause": one.cause,
                "suppressed_by": one.suppressed_by,
                "evidence": [span.model_dump() for span in one.evidence],
                **({"elsewhere": [span.model_dump() for span in one.elsewhere]} if one.elsewhere else {}),
            }
            for one in findings
        ]
        for key, findings in recorded(bench.store).items()
    }


def rows(bench: Bench, summary: Summary) -> list[ScanResult]:
    return bench.rows(summary.scan_id)


def test_a_scan_finds_what_the_live_runs_found(bench: Bench, pack: Path) -> None:
    summary = bench.scan(bench.job(pack))
    found = said(bench, summary)
    assert found == as_recorded(bench)
    matched = {one["name"] for some in found.values() for one in some if one["status"] == "match"}
    assert matched == {"secret", "network", "secret_then_network", "network_alone", "two"}
    assert summary.is_whole
    assert summary.of_status("unchecked") == 6  # they are followed, and no part of anything


def test_other_workers_write_the_same_bytes(bench: Bench, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(bench, bench.scan(bench.job(pack), fresh=True))
    monkeypatch.setattr("monitor.audit.rescan.by_run.SUBCALLS_IN_PART", 1)
    apart = bench.scan(
        bench.job(pack), lambda job, tasks, loaded: local.run(job, tasks, workers=2, loaded=loaded), fresh=True
    )
    assert rows(bench, apart) == whole


def test_of_a_selection_the_same_is_said(bench: Bench, pack: Path) -> None:
    """Of the subcalls of one role results are asked for; those of the other are followed all the same."""
    every = said(bench, bench.scan(bench.job(pack)))
    some = said(bench, bench.scan(bench.job(pack, wanted=Wanted(roles=frozenset({"scout"})))))
    assert 0 < len(some) < len(every)
    assert some == {key: every[key] for key in some}


def test_an_exported_file_says_the_same(bench: Bench, pack: Path) -> None:
    file = bench.folder / "all.parquet"
    export(bench.store, bench.url, file, Wanted())
    job = replace(bench.job(pack), source=ParquetSource.of(file, Wanted()))
    assert said(bench, bench.scan(job, fresh=True)) == as_recorded(bench)


def test_a_file_of_a_selection_is_refused(bench: Bench, pack: Path) -> None:
    file = bench.folder / "some.parquet"
    export(bench.store, bench.url, file, Wanted(roles=frozenset({"scout"})))
    job = replace(bench.job(pack), source=ParquetSource.of(file, Wanted()))
    with pytest.raises(ConfigError, match="need every subcall of a run"):
        bench.scan(job)


def test_a_run_that_went_on_is_looked_at_anew_and_others_are_not(bench: Bench, pack: Path) -> None:
    first = bench.scan(bench.job(pack))
    assert first.evaluated == 42
    assert bench.scan(bench.job(pack)).evaluated == 0
    live(bench.store, pack, runs=1, seed=9)
    bench.store.sequence()
    second = bench.scan(bench.job(pack))
    assert (second.evaluated, second.reused) == (14, 42)
    assert said(bench, second) == as_recorded(bench)


def test_what_kills_its_worker_makes_the_rest_of_its_run_unknown_and_nothing_else(bench: Bench, pack: Path) -> None:
    """The subcall has a failed result. What it could have decided for those after it nobody knows, and that is said."""
    job = bench.job(pack)
    whole = said(bench, bench.scan(job, fresh=True))
    runs = job.source.by_runs()
    with Worker(replace(job, source=runs)) as reading:
        leaf = reading.leaves(0)[0][0]
    hit = Deadly(**{name: getattr(job.source, name) for name in StoreSource.__dataclass_fields__}, at=leaf)
    summary = bench.scan(
        replace(job, source=hit), lambda job, tasks, loaded: local.run(job, tasks, workers=2, loaded=loaded), fresh=True
    )
    assert summary.of_status("failed") == 1
    (dead,) = (row for row in rows(bench, summary) if row.status == "failed")
    assert dead.leaf_index == leaf
    found = said(bench, summary)
    for key, findings in found.items():
        for one in findings:
            if one["name"] in {"secret", "network"}:
                assert one in whole[key]
            else:
                assert one in whole[key] or one["status"] == "unknown", json.dumps(one)
    # and nothing that matched is said not to match
    for key, findings in whole.items():
        names = {one["name"] for one in found[key]}
        assert key == (dead.run_id, dead.span_id) or {one["name"] for one in findings} <= names


def test_what_unchecked_subcalls_spent_counts_in_a_scan_and_a_backtest_as_it_did(bench: Bench) -> None:
    """Else the share of a branch would be unknown afterwards, where the live run knew it."""
    path = write_pack(bench.folder)
    path.write_text(f"{path.read_text('utf-8')}{SHARE}", "utf-8")
    live(bench.store, path)
    bench.store.sequence()
    recorded_shares = [
        one["status"] for some in as_recorded(bench).values() for one in some if one["name"] == "spends_much"
    ]
    assert "match" in recorded_shares
    assert "unknown" not in recorded_shares
    assert said(bench, bench.scan(bench.job(path))) == as_recorded(bench)
    figures = backtest(policy.load([path]), bench.store.scan(by_run=True), Labels([]))
    (share,) = (one for one in figures.rules if one.rule.name == "spends_much")
    assert (share.counts[Status.MATCH], share.counts[Status.UNKNOWN]) == (recorded_shares.count("match"), 0)


def test_what_stands_on_an_unchecked_subcall_is_found_as_it_was(bench: Bench) -> None:
    """The child is judged after its parent, so the match stands on the child, which no other check looks at."""
    path = bench.folder / "alone.yaml"
    path.write_text(ALONE, "utf-8")
    run_id, child = asyncio.run(_parent_before_child(bench.store, path))
    bench.store.sequence()
    summary = bench.scan(bench.job(path))
    found = said(bench, summary)
    assert [one["name"] for one in found[run_id, child]] == ["child_alone"]
    assert found == as_recorded(bench)
    judged = bench.store.subcall(run_id, child).judgement
    assert judged is not None
    (row,) = (row for row in rows(bench, summary) if row.span_id == child)
    assert (row.status, row.verdict, row.action) == ("unchecked", judged.verdict.value.value, judged.action.value)


def test_what_stands_on_an_unchecked_subcall_is_in_no_audit_left_out(bench: Bench) -> None:
    """A rule that only ever matches there would be said to be silent, and a change of it to change nothing."""
    path = bench.folder / "alone.yaml"
    path.write_text(ALONE, "utf-8")
    run_id, child = asyncio.run(_parent_before_child(bench.store, path))
    bench.store.sequence()
    rules, labels = policy.load([path]), Labels([])

    tested = backtest(rules, bench.store.scan(by_run=True), labels)
    (figures,) = tested.rules
    assert (figures.counts[Status.MATCH], [sample.span_id for sample in figures.samples]) == (1, [child])
    assert (tested.covered.subcalls, tested.covered.unchecked, tested.flagged) == (2, 0, 1)
    judged = bench.store.subcall(run_id, child).judgement
    assert judged is not None
    assert tested.verdicts[judged.verdict.value] == 1
    assert backtest(rules, bench.store.scan(by_run=True), labels, unchecked=True).rules[0].counts[Status.MATCH] == 0

    same = diff(None, rules, bench.store.scan(by_run=True))
    assert (same.covered.subcalls, same.changed, same.quiet) == (2, 0, 0)
    path.write_text(ALONE.partition("run_rules:")[0] + OF_ONE, "utf-8")
    other = policy.load([path])
    for old in (None, rules):
        changed = diff(old, other, bench.store.scan(by_run=True))
        assert changed.reasons[Difference("child_alone", "match (flag)", "no such rule")] == 1, changed.reasons
        assert changed.verdicts == {("flag, flag", "unmeasured, log"): 1}

    recorded = recorded_coverage(rules.refs, bench.store.scan())
    evaluated = evaluated_coverage(rules, bench.store.scan(by_run=True))
    assert [one.rules[0].counts[Status.MATCH] for one in (recorded, evaluated)] == [1, 1]
    for of in (None, rules):
        found = candidates(bench.store.scan(by_run=True), labels, Covered(), rules=of)
        assert [(one.trace.span_id, one.finding.name, one.recorded) for one in found] == [(child, "child_alone", True)]


async def _parent_before_child(store: Store, path: Path) -> tuple[str, str]:
    door = Pipeline(store, load_checks([str(path)]))
    run_id, root = new_run_id(), new_span_id()
    start = RunStart(run_id=run_id, span_id=root, recipe="answer", task="t", model="m", at=now())
    await store.append(Event.of(run_id, root, start))
    parent = Call(run_id=run_id, span_id=new_span_id(), key="p", role="clerk", task="t", at=now())
    child = parent.model_copy(update={"span_id": new_span_id(), "parent_id": parent.span_id, "checked": False})
    begun, over = asyncio.Event(), asyncio.Event()

    async def ask() -> Observation:
        await begun.wait()
        return Observation(outcome=Outcome.OK, output="done", at=now())

    async def answer() -> Observation:
        begun.set()
        await over.wait()
        return Observation(outcome=Outcome.OK, output="at last", at=now())

    async def parents() -> None:
        await door.observe(parent, ask)
        over.set()

    await asyncio.gather(parents(), door.observe(child, answer))
    return run_id, child.span_id
