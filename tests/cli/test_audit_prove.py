"""``monitor audit keygen``, ``checkpoint``, ``verify`` and ``prove``: files, answers and exit codes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity.notes import Verifier, parse_checkpoint
from monitor.store import Store
from tests.audit.integrity.conftest import checked, fill
from tests.store.databases import Database
from tests.store.events import observed, run_ended, run_started, started

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]


@pytest.fixture
def url(monitor: Monitor) -> str:
    """The store that commands without --db use, filled."""
    del monitor
    address = os.environ.get("MONITOR_DB", "monitor.db")
    with Store.open(address) as store:
        fill(store, runs=1)
    return address


def key(monitor: Monitor) -> str:
    made = monitor("audit", "keygen", "key", "--name", "test.example/log", "--json")
    assert made.code == 0
    return str(made.json["vkey"])


def test_a_key_is_readable_by_its_holder_alone_and_never_written_over(monitor: Monitor) -> None:
    vkey = key(monitor)
    assert Verifier.parse(vkey).name == "test.example/log"
    assert stat.S_IMODE(Path("key").stat().st_mode) == 0o600
    before = Path("key").read_text()
    again = monitor("audit", "keygen", "key", "--name", "test.example/log")
    assert (again.code, "never written over" in again.err) == (2, True)
    assert Path("key").read_text() == before
    assert monitor("audit", "keygen", "other", "--name", "no name").code == 2
    assert not Path("other").exists()


def test_a_checkpoint_is_printed_stored_and_kept_elsewhere(monitor: Monitor, url: str) -> None:
    vkey = key(monitor)
    assert monitor("audit", "checkpoint").code == 2
    made = monitor("audit", "checkpoint", "--key", "key", "--out", "kept.txt")
    assert made.code == 0
    assert made.out == Path("kept.txt").read_text()
    signed = parse_checkpoint(made.out, Verifier.parse(vkey))
    found = monitor("audit", "verify", "--vkey", vkey, "--against", "kept.txt", "--json")
    assert found.json["integrity"]["faults"] == []
    assert found.json["integrity"]["signed_up_to"] == found.json["integrity"]["outside_up_to"] == signed.size
    assert [item["state"] for item in found.json["integrity"]["checkpoints"]] == ["signed", "signed"]
    with Store.open(url) as store:
        fill(store, runs=1)
    again = monitor("audit", "checkpoint", "--key", "key", "--out", "kept.txt", "--json")
    assert again.json["size"] > signed.size
    assert Path("kept.txt").read_text() == again.json["note"]


def test_a_checkpoint_kept_elsewhere_is_not_replaced_by_one_that_contradicts_it(monitor: Monitor, url: str) -> None:
    del url
    key(monitor)
    monitor("audit", "checkpoint", "--key", "key", "--out", "kept.txt")
    kept = Path("kept.txt").read_text()
    with Store.open("another.db") as store:
        fill(store, runs=2)
    other = monitor("audit", "checkpoint", "--key", "key", "--out", "kept.txt", "--db", "another.db")
    assert other.code == 6
    assert "contradicts the checkpoint" in other.err
    assert Path("kept.txt").read_text() == kept


def test_three_answers_and_their_exit_codes(monitor: Monitor, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    whole = monitor("audit", "verify", "--json")
    assert whole.json["integrity"]["whole"] is True
    assert whole.json["completeness"]["whole"] is True
    assert whole.code == 0
    run = run_started()
    call, silent = started(run.run_id, parent_id="ff" * 8), started(run.run_id)
    with Store.open(url) as store:
        store.append_sync(run, call, observed(call), checked(call), silent, observed(silent))
        store.sequence()
    gaps = monitor("audit", "verify", "--json")
    assert gaps.code == 9
    assert sorted(gap["what"] for gap in gaps.json["completeness"]["gaps"]) == [
        "missing subcall",
        "unfinished run",
        "unfinished subcall",
    ]
    graced = monitor("audit", "verify", "--json", "--grace", "1h")
    assert [gap["what"] for gap in graced.json["completeness"]["gaps"]] == ["missing subcall"]
    assert graced.json["completeness"]["in_progress"] == 1
    text = monitor("audit", "verify")
    assert (text.code, "integrity  nothing was altered" in text.out, "unfinished run" in text.out) == (9, True, True)
    with Database(url) as database:
        database.lift_triggers("texts")
        database.execute("UPDATE texts SET body = 'forged' WHERE body = 'thought 0.0'")
    altered = monitor("audit", "verify", "--json")
    assert altered.code == 8
    (fault,) = [fault for fault in altered.json["integrity"]["faults"] if fault["table"] == "texts"]
    assert "it is not the text that its name commits to" in fault["problem"]
    assert ": reasoning.text" in fault["problem"]
    assert "it is not the text" in monitor("audit", "verify").out


def test_coverage_counts_what_was_concluded(monitor: Monitor) -> None:
    address = os.environ.get("MONITOR_DB", "monitor.db")
    run = run_started(policies=("core",))
    one, two = started(run.run_id, task="t"), started(run.run_id, task="t", checked=False)
    with Store.open(address) as store:
        store.append_sync(run, one, observed(one, output="o"), checked(one))
        store.append_sync(two, observed(two, output="o"), checked(two), run_ended(run))
        store.sequence()
    found = monitor("audit", "verify", "--json").json["coverage"]
    assert found["subcalls"] == {"present": 2, "checked": 2, "unclear": 0, "share": 1.0}
    assert found["left_unchecked"] == 1
    assert found["packs"] == {"p": {"no_match": 2, "unknown": 2, "not_applicable": 2}}
    assert found["surfaces"]["output"] == {"present": 2, "checked": 0, "unclear": 2, "share": 0.0}
    assert found["rules_not_at_hand"] == ["reads_output (h-reads_outp)"]
    assert monitor("audit", "verify", "--min-coverage", "1", "--json").code == 0
    short = monitor("audit", "verify", "--min-coverage", "output=0.5", "--json")
    assert (short.code, short.json["coverage"]["below"]) == (10, ["output: 0.0% checked, 50.0% asked for"])
    for wrong in ("2", "x", "nothing=0.5", "nan"):
        assert monitor("audit", "verify", "--min-coverage", wrong).code == 2


def test_what_shipped_rules_read_is_known(monitor: Monitor) -> None:
    from monitor.models.scripted import Reply, ScriptedModel
    from monitor.orchestrate.run import run_sync
    from monitor.settings import Settings

    model = ScriptedModel([Reply("<think>I add two and two.</think>four")])
    run_sync("answer", "what is two and two?", model=model, settings=Settings(policies=("core",)))
    found = monitor("audit", "verify", "--json").json["coverage"]
    assert found["rules_not_at_hand"] == []
    for surface in ("reasoning", "output"):
        assert found["surfaces"][surface] == {"present": 1, "checked": 1, "unclear": 0, "share": 1.0}
    assert found["surfaces"]["task"]["checked"] == 0


def test_proofs_are_exported(monitor: Monitor, url: str) -> None:
    vkey = key(monitor)
    assert monitor("audit", "prove", "latest").code == 2
    monitor("audit", "checkpoint", "--key", "key", "--out", "kept.txt")
    with Store.open(url) as store:
        span = store.subcalls(store.runs()[0].start.run_id)[0].call.span_id
        fill(store, runs=1)
    proof = monitor("audit", "prove", "latest")
    assert proof.code == 2
    monitor("audit", "checkpoint", "--key", "key")
    assert monitor("audit", "prove", "latest", "--out", "proof.json", "--vkey", vkey).code == 0
    proved = json.loads(Path("proof.json").read_text())
    assert proved["format"] == "monitor.inclusion-proof/1"
    assert len(proved["events"]) > 10
    grown = monitor("audit", "prove", "--from", "kept.txt", "--vkey", vkey)
    assert grown.json["format"] == "monitor.consistency-proof/1"
    assert grown.json["first"] == Path("kept.txt").read_text()
    assert monitor("audit", "prove").code == 2
    assert monitor("audit", "prove", "latest", span[:6]).code in {0, 2}


def test_what_is_no_store_is_said(monitor: Monitor) -> None:
    assert monitor("audit", "verify", "--db", "absent.db").code == 6
    Path("broken.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    broken = monitor("audit", "verify", "--db", "broken.db", "--json")
    assert broken.code == 8
    assert broken.json["integrity"]["faults"]
    assert (broken.json["completeness"]["whole"], broken.json["completeness"]["read"]) == (False, False)


def test_of_what_cannot_be_read_nothing_is_said_to_be_complete(monitor: Monitor, url: str) -> None:
    whole = monitor("audit", "verify", "--json").json["completeness"]
    assert (whole["whole"], whole["read"]) == (True, True)
    with Database(url) as database:
        database.lift_triggers("events")
        database.execute("UPDATE events SET canonical = '{' WHERE kind = 'judged'")
    found = monitor("audit", "verify", "--json")
    assert (found.code, found.json["completeness"]["whole"], found.json["completeness"]["read"]) == (8, False, False)
    told = monitor("audit", "verify").out
    assert "nothing is missing" not in told
    assert "not every event could be read" in " ".join(told.split())
    Path("empty.db").write_bytes(b"")
    assert "nothing is missing" not in monitor("audit", "verify", "--db", "empty.db").out
