"""Everything that can be wrong with a file: a clear error, nothing lost, and the store usable again afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.errors import StoreError, StoreFormatError, StoreUnavailableError
from monitor.store import Store, inspect
from monitor.store.sqlite import driver
from tests.store.events import run_started, started, trio
from tests.store.processes import run_python, start_python

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sqlite("its file, and everything that can be wrong with one")

HOLD_LOCK = """
import sys
from pathlib import Path
from monitor.store.sqlite import connect
connection = connect(Path(sys.argv[1]), mode="rw", busy_seconds=1)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


def test_a_lock_that_another_process_holds(store: Store, db: Path) -> None:
    run = run_started()
    store.append_sync(run)
    holder = start_python(HOLD_LOCK, db)
    assert holder.stdout
    assert holder.stdout.readline() == "locked\n"

    with pytest.raises(StoreUnavailableError, match=r"write lock for 0\.2 s"):
        store.append_sync(*trio(run.run_id))
    with pytest.raises(StoreUnavailableError, match="write lock"):
        asyncio.run(store.append(*trio(run.run_id)))
    assert [stored.start for stored in store.runs()] == [run.payload]

    holder.communicate("release\n")
    store.append_sync(*trio(run.run_id))
    assert len(store.subcalls(run.run_id)) == 1


def test_an_append_waits_for_a_lock_that_is_released_in_time(db: Path) -> None:
    with Store.open(str(db), busy_seconds=60) as store:
        run = run_started()
        store.append_sync(run)
        holder = start_python(HOLD_LOCK, db)
        assert holder.stdout
        assert holder.stdout.readline() == "locked\n"

        async def waiting() -> None:
            task = asyncio.create_task(store.append(*trio(run.run_id)))
            await asyncio.sleep(0.05)
            assert not task.done()
            await asyncio.to_thread(holder.communicate, "release\n")
            await task

        asyncio.run(waiting())
        assert len(store.subcalls(run.run_id)) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this test needs the right to mount a small tmpfs")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    with Store.open(str(small_disk / "monitor.db")) as store:
        run = run_started()
        store.append_sync(run, *trio(run.run_id))
        filler = small_disk / "filler"
        with contextlib.suppress(OSError):  # as full as it gets
            filler.write_bytes(b"\0" * 2**22)
        call = started(run.run_id, task="x" * 2**20)
        with pytest.raises(StoreUnavailableError, match="free some space"):
            store.append_sync(call)
        assert len(store.subcalls(run.run_id)) == 1
        filler.unlink()
        store.append_sync(call)
        assert store.subcall(run.run_id, call.span_id).call == call.payload


def test_a_file_size_limit(db: Path) -> None:
    """The write fails in the middle of a transaction; nothing is half-written and no traceback is printed."""
    script = """
import asyncio, resource, sys
from monitor.errors import StoreUnavailableError
from monitor.store import Store
from tests.store.events import run_started, started, trio
store = Store.open(sys.argv[1])
run = run_started()
store.append_sync(run, *trio(run.run_id))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
calls = [started(run.run_id, task=str(n) * 400_000) for n in range(3)]
small = started(run.run_id)
async def together():
    return await asyncio.gather(*(store.append(call) for call in [*calls, small]), return_exceptions=True)
outcomes = asyncio.run(together())
assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 3 + [type(None)], outcomes
assert len(store.subcalls(run.run_id)) == 2
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
store.append_sync(*calls)
assert len(store.subcalls(run.run_id)) == 5
print(outcomes[0])
"""
    assert "Nothing was written" in run_python(script, db)


def test_a_read_only_file_in_a_read_only_directory() -> None:
    """Reading works, appending says why not, and works once the permissions are back. Root drops its rights for it."""
    script = """
import os, sys
from pathlib import Path
from monitor.errors import StoreUnavailableError
from monitor.store import Store, inspect
from monitor.store.schema import SCHEMA_VERSION
from tests.store.events import run_started
db, root = Path(sys.argv[1]), os.geteuid() == 0
run = run_started()
with Store.open(str(db)) as store:
    store.append_sync(run)
    store.runs()
if root:
    os.chown(db, 65534, -1), os.chown(db.parent, 65534, -1)
db.chmod(0o444), db.parent.chmod(0o555)
if root:
    os.seteuid(65534)
facts = inspect(str(db))
assert (facts.exists, facts.writable, facts.schema_version) == (True, False, SCHEMA_VERSION), facts
assert "writable" in facts.problem
store = Store.open(str(db))
assert store.run(run.run_id).start == run.payload
try:
    store.append_sync(run_started())
except StoreUnavailableError as exc:
    print(exc)
try:
    Store.open(str(db.parent / "other.db"))
except StoreUnavailableError as exc:
    print(exc)
db.chmod(0o644), db.parent.chmod(0o755)
store.append_sync(run_started())
assert len(store.runs()) == 2
store.close()
if root:
    os.seteuid(0)
"""
    with tempfile.TemporaryDirectory() as place:  # not tmp_path, into which only root may look
        Path(place).chmod(0o755)
        (Path(place) / "store").mkdir()
        refused, not_made = run_python(script, f"{place}/store/monitor.db").splitlines()
    assert "must both be writable" in refused
    assert "may be written" in not_made


@pytest.mark.parametrize("note", ["UPDATE alembic_version SET version_num = '0099'", "PRAGMA user_version = 99"])
def test_a_file_from_a_newer_version(store: Store, db: Path, note: str) -> None:
    store.append_sync(run_started())
    store.close()
    connection = driver().connect(str(db), isolation_level=None)
    connection.execute(note)
    connection.close()
    before = db.read_bytes()
    with pytest.raises(StoreFormatError, match=r"newer monitor \(schema 99.*pip install -U"):
        Store.open(str(db))
    assert "newer" in inspect(str(db)).problem
    assert db.read_bytes() == before


@pytest.mark.parametrize("content", [b"#!/bin/sh\n" * 200, b"SQLite", b"SQLite format 3\0" + b"\0" * 4096])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    stranger = tmp_path / "notes.txt"
    stranger.write_bytes(content)
    with pytest.raises(StoreFormatError, match="left as it is"):
        Store.open(str(stranger))
    assert "expected a monitor database" in inspect(str(stranger)).problem
    assert stranger.read_bytes() == content
    assert [stranger] == list(tmp_path.glob("notes.txt*"))


def test_a_database_of_another_program(tmp_path: Path) -> None:
    stranger = tmp_path / "cookies.db"
    connection = driver().connect(str(stranger))
    connection.execute("CREATE TABLE events (id INTEGER)")
    connection.close()
    before = stranger.read_bytes()
    with pytest.raises(StoreFormatError, match="some other program's"):
        Store.open(str(stranger))
    assert stranger.read_bytes() == before
    assert [stranger] == list(tmp_path.glob("cookies.db*"))


def test_a_directory_that_vanishes(tmp_path: Path) -> None:
    """SQLite would go on writing into the deleted file; the store says that it is gone, and goes on when it is back."""
    place = tmp_path / "place"
    with Store.open(str(place / "monitor.db")) as store:
        run = run_started()
        store.append_sync(run)
        place.rename(tmp_path / "elsewhere")
        with pytest.raises(StoreUnavailableError, match="put the file back"):
            store.append_sync(*trio(run.run_id))
        with pytest.raises(StoreUnavailableError, match="put the file back"):
            store.runs()
        (tmp_path / "elsewhere").rename(place)
        store.append_sync(*trio(run.run_id))
        assert len(store.subcalls(run.run_id)) == 1


def test_a_file_that_is_replaced_under_the_store(store: Store, db: Path, tmp_path: Path) -> None:
    run = run_started()
    store.append_sync(run)
    with Store.open(str(tmp_path / "other.db")) as other:
        other.append_sync(run_started())
    (tmp_path / "other.db").replace(db)
    with pytest.raises(StoreUnavailableError, match="replaced by another"):
        store.append_sync(*trio(run.run_id))


def test_a_missing_file_is_only_made_when_that_is_wanted(db: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="no store here yet"):
        Store.open(str(db), create=False)
    assert not db.exists()
    blocked = db.parent / "file" / "monitor.db"
    blocked.parent.write_text("not a directory")
    with pytest.raises(StoreUnavailableError, match="file"):
        Store.open(str(blocked))


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the kernel shows its locks on Linux only")
def test_opening_a_file_twice_in_one_process_keeps_its_locks(store: Store, db: Path) -> None:
    """POSIX drops all of a process's locks on a file when any descriptor of it is closed: nothing here may do that."""

    def locks() -> list[str]:
        file = f":{db.stat().st_ino} "
        return [line.partition(":")[2] for line in Path("/proc/locks").read_text().splitlines() if file in line]

    run = run_started()
    store.append_sync(run)
    held = locks()
    assert held
    inspect(str(db))
    Store.open(str(db)).close()
    with Store.open(str(db)) as other:
        other.append_sync(*trio(run.run_id))
    assert locks() == held
    db.open("rb").close()  # what must not happen, to show that this test would see it
    assert locks() == []


def test_damage_is_reported_not_guessed_around(store: Store, db: Path) -> None:
    run = run_started()
    store.append_sync(run)
    connection = driver().connect(str(db), isolation_level=None)
    connection.execute("DROP TRIGGER texts_keep_delete")
    connection.execute("DELETE FROM texts")
    connection.close()
    with pytest.raises(StoreFormatError, match="damaged"):
        store.run(run.run_id)


def test_the_library_of_python_itself_serves_with_a_warning(db: Path) -> None:
    """Without pysqlite3, Python's own sqlite3 does, and the store says if that one has the WAL-reset race."""
    script = """
import sqlite3, sys
sys.modules["pysqlite3"] = None
from monitor.store import Store, inspect
from tests.store.events import run_started, trio
with Store.open(sys.argv[1]) as store:
    run = run_started()
    store.append_sync(run, *trio(run.run_id))
    assert len(store.subcalls(run.run_id)) == 1
    old = sqlite3.sqlite_version_info < (3, 51, 3)
    assert bool(store.warnings) == old == bool(inspect(store.url).warnings)
    assert all("pip install pysqlite3" in warning for warning in store.warnings)
"""
    run_python(script, db)


def test_an_append_to_a_broken_store_never_hangs(store: Store, db: Path) -> None:
    """Concurrent appends to a file that is gone all fail, and the thread lives on."""
    run = run_started()
    store.append_sync(run)
    moved = db.rename(db.with_name("moved.db"))

    async def together() -> list[BaseException | None]:
        appends = [store.append(started(run.run_id)) for _ in range(5)]
        return await asyncio.gather(*appends, return_exceptions=True)

    assert all(isinstance(outcome, StoreError) for outcome in asyncio.run(together()))
    moved.rename(db)
    assert asyncio.run(together()) == [None] * 5
