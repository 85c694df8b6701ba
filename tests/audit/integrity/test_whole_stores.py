"""A store with everything in it at once (parts of streams, scans, checkpoints, redactions, traces that came late), as each
part that looks at a whole store finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity.checkpoints import make
from monitor.audit.integrity.purging import plan_purge, purge
from monitor.audit.integrity.redaction import plan_redaction, redact
from monitor.audit.integrity.verify import verify
from monitor.records import INGESTED
from monitor.store import ScanResult, Store, copying
from monitor.store.erasing import Eraser
from monitor.store.search.finding import TextSearch
from tests.audit.integrity.conftest import fill
from tests.store.databases import Database
from tests.store.events import judged, observed, released, run_ended, run_started, started

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.audit.integrity.notes import Signer

SCAN = "5" * 16
SEARCHED = ("search_texts", "search_places", "search_nodes", "search_words")


def everything(url: str, signer: Signer) -> str:
    """Fill a store, and return a checkpoint over it that is kept elsewhere."""
    with Store.open(url) as store:
        fill(store, runs=2)
        make(store, signer)
        run = run_started(task="found in a folder", recipe=f"{INGESTED}otlp", at="2025-01-01T00:00:00.000000Z")
        ended, killed = (started(run.run_id, parent_id=run.span_id) for _ in range(2))
        store.append_sync(
            run, ended, released(ended, output="the zeb"), observed(ended, output="the zebra"), judged(ended)
        )
        store.append_sync(
            killed, released(killed, output="a zebra, in part"), released(killed, after=1, output=" more")
        )
        store.append_sync(run_ended(run))
        store.sequence()
        check = {"check": "rule", "name": "leak", "shadow": False}
        store.scans.begin(
            SCAN, {"checks": [check], "parts": 2, "tree_size": 40}, begun_at="2026-01-01T00:00:00.000000Z"
        )
        found = '[{"evidence":[{"end":3,"start":0,"surface":"output"}],"n":0,"status":"match"}]'
        for part in range(2):
            result = ScanResult(part, run.run_id, f"{part:016x}", "0" * 64, "done", "flag", "flag", found)
            store.scans.add(SCAN, [(part, [result])])
        index = TextSearch(url)
        index.update()
        assert index.search("zebra").total == 2
        assert index.search("forty").total > 2
    with Eraser.opened(url, busy_seconds=5) as eraser:
        redact(eraser, plan_redaction(eraser, phrase="answer 0.1"), everywhere=True, why="asked for", by="ann")
    with Store.open(url) as store:
        return make(store, signer).note


def test_it_is_whole_and_so_is_its_copy(new_database: Callable[[], str], tmp_path: Path, signer: Signer) -> None:
    url, other = new_database(), str(tmp_path / "copy.db")
    note = everything(url, signer)
    report = copying.copy(url, other, progress=lambda *_: None)
    assert report.is_equal
    assert (report.checkpoints, report.scans, report.scans_left) == (2, 1, 0)
    for address in (url, other):
        found = verify(address, verifier=signer.verifier, outside=note)
        assert found.integrity.faults == []
        assert found.integrity.covered == found.integrity.outside == found.integrity.leaves
        assert found.integrity.erased > 0
        assert [gap.what for gap in found.gaps] == ["unfinished subcall"]
    rows = (
        "SELECT * FROM scans",
        "SELECT * FROM scan_findings ORDER BY leaf_index",
        "SELECT part, output FROM releases ORDER BY leaf_index",
    )
    with Database(url) as one, Database(other) as two:
        for query in rows:
            assert one.rows(query) == two.rows(query) != []
    again = copying.copy(url, other, progress=lambda *_: None)
    assert (again.checkpoints, again.scans, again.copied) == (0, 0, 0)


def test_scans_are_left_where_places_in_the_log_would_be_other_ones(tmp_path: Path, signer: Signer) -> None:
    url, other = str(tmp_path / "one.db"), str(tmp_path / "two.db")
    everything(url, signer)
    with Store.open(other) as store:
        store.append_sync(run_started())
    report = copying.copy(url, other, progress=lambda *_: None)
    assert (report.is_equal, report.scans, report.scans_left) == (True, 0, 1)


@pytest.mark.parametrize("how", ["redact", "purge"])
def test_no_word_of_what_was_erased_is_found_or_left_in_a_table(
    new_database: Callable[[], str], signer: Signer, how: str
) -> None:
    """Of the command's own way, on both engines: the index of the search was made before, and is not made anew."""
    url = new_database()
    everything(url, signer)
    with Eraser.opened(url, busy_seconds=5) as eraser:
        if how == "redact":
            redact(eraser, plan_redaction(eraser, phrase="zeb"), everywhere=True, why="asked for", by="ann")
        else:
            for_good = plan_purge(eraser, "2100-01-01T00:00:00.000000Z")
            purge(eraser, for_good, why="old", by="ann")
        assert eraser.scrub(lambda _: None).done
    with Database(url) as database:
        tables = [*SEARCHED, "texts", "events", "message_nodes", "scan_headers", "scan_checks", "scan_results"]
        said = "".join(str(database.rows(f"SELECT * FROM {table}")) for table in tables)
    assert "zeb" not in said
    index = TextSearch(url)
    assert index.search("zebra").total == 0
    assert (index.search("forty").total == 0) is (how == "purge")
    index.rebuild()
    assert index.search("zebra OR zeb").total == 0
    assert verify(url).integrity.faults == []


@pytest.mark.sqlite("the bytes of its file")
def test_no_word_of_what_was_erased_is_in_the_file_or_its_log(tmp_path: Path, signer: Signer) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    url = str(folder / "monitor.db")
    everything(url, signer)
    held = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"zebra" in held
    with Eraser.opened(url, busy_seconds=5) as eraser:
        redact(eraser, plan_redaction(eraser, phrase="zeb"), everywhere=True, why="asked for", by="ann")
        assert eraser.scrub(lambda _: None).done
        left = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"zeb" not in left
