"""Stores that stay open between runs: closed when nothing uses them, and never written to where another file is now."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import monitor
from monitor.adapters import stores
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.sqlite("it is about SQLite's own file")

PROGRAM = """
import sys
import monitor

@monitor.subcall(db=sys.argv[1], policy=[])
def shout(text):
    return text.upper()

print(shout("hello"))
"""


def shouts(db: Path) -> Callable[[str], str]:
    @monitor.subcall(db=str(db), policy=[])
    def shout(text: str) -> str:
        return text.upper()

    return shout


def runs(db: Path) -> int:
    with Store.open(str(db), create=False) as store:
        return len(store.runs())


def test_one_store_is_kept_for_all_runs_and_closed_when_asked(tmp_path: Path) -> None:
    db = tmp_path / "kept.db"
    shout = shouts(db)
    shout("one")
    (kept,) = [kept for key, kept in stores._kept.items() if key[0] == str(db)]
    shout("two")
    assert [kept for key, kept in stores._kept.items() if key[0] == str(db)] == [kept]
    assert runs(db) == 2
    stores.close_idle()
    assert not stores._kept
    assert not db.with_name("kept.db-wal").exists()  # SQLite takes it away where the last one has closed
    shout("three")
    assert runs(db) == 3


def test_a_store_that_nobody_uses_is_closed_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "IDLE_SECONDS", 0.01)
    db = tmp_path / "idle.db"
    shouts(db)("one")
    for _ in range(1000):
        if not stores._kept:
            break
        time.sleep(0.01)
    assert not stores._kept
    assert not db.with_name("idle.db-wal").exists()


def test_a_file_that_was_deleted_or_replaced_is_not_written_to(tmp_path: Path) -> None:
    db = tmp_path / "moved.db"
    shout = shouts(db)
    shout("one")
    stores.close_idle()  # SQLite's other files beside it are gone, so it can be moved as it is
    shout("two")
    kept = tmp_path / "elsewhere.db"
    for tail in ("", "-wal", "-shm"):
        Path(f"{db}{tail}").rename(f"{kept}{tail}")
    shout("three")
    assert runs(db) == 1
    stores.close_idle()
    assert runs(kept) == 2


def test_a_store_that_is_replaced_in_a_run_stays_that_run_s(tmp_path: Path) -> None:
    db = tmp_path / "used.db"
    shout = shouts(db)
    with monitor.observed_run("outer", db=str(db), policy=[]):
        shout("one")
        stores._kept[next(key for key in stores._kept if key[0] == str(db))].opened = 0.0  # as old as can be
        with monitor.observed_run("inner", db=str(db), policy=[]):
            shout("two")
        shout("three")
    assert runs(db) == 2


def test_a_forked_child_has_stores_of_its_own_and_leaves_the_parent_s_alone(tmp_path: Path) -> None:
    db = tmp_path / "forked.db"
    shout = shouts(db)
    shout("parent")
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if not stores._kept and shout("child") == "CHILD" else 1
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    shout("parent again")
    assert runs(db) == 3


def test_nothing_is_left_beside_the_file_when_the_interpreter_ends(tmp_path: Path) -> None:
    db = tmp_path / "ended.db"
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(db)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("HELLO\n", "")
    assert not db.with_name("ended.db-wal").exists()
    assert runs(db) == 1
