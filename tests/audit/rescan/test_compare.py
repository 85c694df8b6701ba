"""What changes between two scans, and between what was recorded and a scan."""

from __future__ import annotations

from monitor.audit.rescan.compare import Change, compare, recorded, scanned
from monitor.records import new_run_id
from monitor.store import Wanted
from tests.audit.conftest import Desk, desk, rule
from tests.audit.rescan.conftest import Bench, bench, fill

__all__ = ["bench", "desk"]


def test_the_differences_of_two_scans_and_their_reasons(bench: Bench) -> None:
    fill(bench.store, 21)
    log = bench.store.scans
    old = bench.scan()
    new = bench.scan(
        bench.job(
            bench.pack(
                rule(1, "reasoning|contains: hide it", action="withhold", level="high"),
                rule(3, "reasoning|contains: '5 '"),
                name="hiding",
            )
        )
    )
    changes: list[Change] = []
    found = compare(scanned(log, log.scan(old.scan_id)), scanned(log, log.scan(new.scan_id)), listener=changes.append)
    assert found.compared == 21
    assert found.verdicts["flag, flag", "block, withhold"] == 3
    assert found.verdicts["pass, log", "flag, flag"] == 2  # 5 and 15
    assert found.changed == len(changes) == 5
    assert [tuple(one) for one in changes[0].differences if one.check == "rule_3"] in (
        [],
        [("rule_3", "no such check", "match")],
    )
    same = compare(scanned(log, log.scan(old.scan_id)), scanned(log, log.scan("latest")))
    assert same.changed == 5
    assert not compare(scanned(log, log.scan(old.scan_id)), scanned(log, log.scan(old.scan_id))).changed


def test_subcalls_of_one_side_alone_are_counted_and_not_compared(bench: Bench) -> None:
    first, _ = fill(bench.store, 4), fill(bench.store, 3, seed=1)
    log = bench.store.scans
    some, every = bench.scan(bench.job(wanted=Wanted(run_id=first))), bench.scan()
    found = compare(scanned(log, log.scan(some.scan_id)), scanned(log, log.scan(every.scan_id)))
    assert (found.compared, found.changed, dict(found.uncompared)) == (4, 0, {"only on the second side": 3})


def test_the_same_rules_say_what_was_recorded(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: hide"), rule(2, "tool.arguments|contains: rm"))
    run_id = desk.run(run_id=new_run_id())
    for thought in ("I hide", "I do not", "hide again"):
        desk.think(run_id, thought, rules)
    desk.think(run_id, "nobody checks this", None)
    desk.store.sequence()
    again = Bench(desk.store.url if desk.store.path is None else str(desk.store.path), desk._folder)
    log = desk.store.scans
    summary = again.scan(again.job(desk._folder / "pack1.yaml"))
    again.store.close()
    found = compare(recorded(desk.store), scanned(log, log.scan(summary.scan_id)))
    assert (found.compared, found.changed) == (4, 1)
    assert dict(found.verdicts) == {("unmeasured, log", "pass, log"): 1}
