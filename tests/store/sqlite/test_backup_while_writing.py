"""A backup that is made while runs write is a whole store as it was at one moment, and goes on from there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity.checkpoints import make
from monitor.audit.integrity.notes import Signer
from monitor.audit.integrity.verify import verify
from monitor.store import Store
from monitor.store.sqlite import driver
from monitor.store.sqlite.schema import FileKind, identify
from tests.store.events import run_ended, run_started, trio

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sqlite("VACUUM INTO")


def write(url: str, ready: threading.Event, ending: threading.Event) -> None:
    number = 0
    with Store.open(url) as store:
        while not ending.is_set() or not number:
            run = run_started(task=f"run {number}")
            store.append_sync(run, *trio(run.run_id, f"text {number} " + "x" * 300))
            store.append_sync(run_ended(run))
            number += 1
            if number == 20:
                ready.set()


def test_a_backup_made_while_runs_write_verifies_and_goes_on(tmp_path: Path) -> None:
    signer = Signer.generate("test.example/log")
    live = str(tmp_path / "live.db")
    Store.open(live).close()
    ready, ending = threading.Event(), threading.Event()
    writers = [threading.Thread(target=write, args=(live, ready, ending)) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        assert ready.wait(timeout=60)
        copies = []
        for number in range(4):
            with Store.open(live) as store:
                note = make(store, signer).note
            copies.append((str(tmp_path / f"copy{number}.db"), note))
            connection = driver().connect(live, isolation_level=None, timeout=60)
            connection.execute("VACUUM INTO ?", (copies[-1][0],))
            connection.close()
    finally:
        ending.set()
        for writer in writers:
            writer.join()
    for path, note in copies:
        found = verify(path, verifier=signer.verifier, outside=note).integrity
        assert found.faults == []
        assert found.covered == found.outside
        assert found.covered <= found.leaves
        with Store.open(path) as restored:  # put in its place, it is written to, and signed, like any other
            run = run_started(task="after the restore")
            restored.append_sync(run, *trio(run.run_id), run_ended(run))
            make(restored, signer, earlier=note)
        again = verify(path, verifier=signer.verifier, outside=note)
        assert (again.integrity.faults, again.integrity.covered) == ([], again.integrity.leaves)
    whole = verify(live, verifier=signer.verifier, outside=copies[-1][1])
    assert (whole.integrity.faults, whole.gaps) == ([], [])


def test_a_store_can_be_opened_in_the_middle_of_any_checkpoint(tmp_path: Path) -> None:
    """What is read without a lock may be half written; a file that is looked at then is not damaged."""
    live = tmp_path / "live.db"
    Store.open(str(live)).close()
    ready, ending = threading.Event(), threading.Event()

    def checkpoint() -> None:
        connection = driver().connect(str(live), isolation_level=None, timeout=60)
        while not ending.is_set():
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()

    busy = [threading.Thread(target=write, args=(str(live), ready, ending)), threading.Thread(target=checkpoint)]
    for thread in busy:
        thread.start()
    try:
        assert ready.wait(timeout=60)
        assert {identify(live) for _ in range(1000)} == {FileKind.OURS}
    finally:
        ending.set()
        for thread in busy:
            thread.join()


def test_a_store_whose_checkpoint_was_cut_off_is_opened_whole(tmp_path: Path) -> None:
    """The first page is in its place and tells of pages that are in the log alone: a kill or a power cut leaves it so."""
    live, cut_off = tmp_path / "live.db", tmp_path / "cut_off.db"
    Store.open(str(live)).close()
    keeper = driver().connect(
        str(live), isolation_level=None
    )  # so that no store is the last to close: it would checkpoint
    keeper.execute("SELECT 1 FROM sqlite_master").fetchall()
    length = live.stat().st_size
    with Store.open(str(live)) as store:
        run = run_started()
        store.append_sync(run, *trio(run.run_id, "x" * 3_000_000), run_ended(run))
        log = live.with_name("live.db-wal").read_bytes()
        keeper.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
        cut_off.write_bytes(live.read_bytes()[:length])
    keeper.close()
    cut_off.with_name("cut_off.db-wal").write_bytes(log)
    assert identify(cut_off) is FileKind.OURS
    with Store.open(str(cut_off)) as store:
        assert len(store.events(run.run_id)) == 5
    assert verify(str(cut_off)).integrity.faults == []
