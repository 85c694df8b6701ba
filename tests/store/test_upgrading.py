"""Upgrades: what would be done, a backup that is read back, and a store that is what it was."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity.verify import verify
from monitor.errors import StoreFormatError, StoreUnavailableError
from monitor.records import Finding, Message, Status
from monitor.store import Store, copying, inspect
from monitor.store.asking import VIEWS
from monitor.store.opening import locate
from monitor.store.postgres import backup as dumps
from monitor.store.schema import SCHEMA_VERSION, missing
from monitor.store.search.finding import TextSearch
from monitor.store.sqlite import backup as files
from monitor.store.sqlite import schema
from monitor.store.upgrading import upgrade
from tests.audit import known
from tests.store.databases import Database
from tests.store.events import judged, reviewed, run_started, started, trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Server

HOSTILE = ["a\0b", "\ud800", "\\.\n\t\\N\\\\n\r\x0b", "שלום \u2028\u202e", "'; --"]
needs_dump = pytest.mark.skipif(not shutil.which("pg_dump"), reason="pg_dump is not installed")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def old_file(tmp_path: Path) -> str:
    """A file of the first schema, with events in it."""
    path = tmp_path / "old.db"
    schema._create_file(path, busy_seconds=1)
    schema.upgrade(path, busy_seconds=1, target="0001")
    fill(str(path))
    return str(path)


@pytest.fixture
def old_database(server: Server) -> Iterator[str]:
    """As ``old_file``, on the server."""
    with server.database(empty=True) as name:
        locate(server.url(name)).upgrade(target="0001")
        fill(server.url(name))
        yield server.url(name)


def fill(address: str) -> None:
    """Append as an older version would have: without a look at the schema."""
    store = Store(locate(address))
    for text in HOSTILE:
        run = run_started(task=text)
        store.append_sync(
            run, *trio(run.run_id, text), started(run.run_id, messages=(Message(role="user", content=text),))
        )
    store.sequence()
    store.close()


def hashes(address: str) -> list[tuple[object, ...]]:
    with Database(address) as database:
        return database.rows("SELECT run_id, span_id, seq, canonical, leaf_hash FROM events ORDER BY 1, 2, 3")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(old_file: str, old_database: str, tmp_path: Path) -> None:
    for address in (old_file, old_database):
        report = upgrade(address, dry_run=True)
        assert (report.version, report.newest, report.done, report.backup) == (1, SCHEMA_VERSION, False, None)
        assert [step[:5] for step in report.steps] == [f"{number:04}:" for number in range(2, SCHEMA_VERSION + 1)]
        assert inspect(address).schema_version == 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix in {".db", ".dump"}] == ["old.db"]


def test_a_file_is_backed_up_and_upgraded(old_file: str) -> None:
    before = hashes(old_file)
    with Database(old_file) as writer:  # the file is in use, and what was just written is in its log
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("ROLLBACK")
        said: list[str] = []
        report = upgrade(old_file, listener=said.append)
    assert (report.done, said) == (True, ["making a backup and comparing it", "upgrading"])
    assert report.backup is not None
    assert report.backup.events == len(before) == 5 * len(HOSTILE)
    assert report.backup.path.parent == Path(old_file).parent
    assert inspect(str(report.backup.path)).schema_version == 1
    assert hashes(str(report.backup.path)) == hashes(old_file) == before
    with Store.open(str(report.backup.path)) as store:  # the backup is a store, and is upgraded when it is opened
        assert len(store.runs()) == len(HOSTILE)
        store.append_sync(run_started())
    again = upgrade(old_file)
    assert (again.steps, again.done, again.backup) == ((), False, None)


def test_a_file_is_backed_up_before_it_is_upgraded_by_being_opened(
    old_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = hashes(old_file)
    with Store.open(old_file, create=False) as store:
        assert len(store.runs()) == len(HOSTILE)
    (backup,) = Path(old_file).parent.glob("old.schema1-*.db")
    assert (inspect(str(backup)).schema_version, inspect(old_file).schema_version) == (1, SCHEMA_VERSION)
    assert hashes(str(backup)) == hashes(old_file) == before
    assert f"a backup is in {backup}" in caplog.text
    Store.open(old_file).close()
    Store.open(str(Path(old_file).with_name("new.db"))).close()  # neither of these has anything to lose
    assert len(list(Path(old_file).parent.glob("*schema*"))) == 1


def test_a_file_that_cannot_be_backed_up_is_not_upgraded(old_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_digest", lambda _connection, limit: (0, str(limit)))
    with pytest.raises(StoreFormatError, match="the backup is not equal"):
        Store.open(old_file)
    assert inspect(old_file).schema_version == 1


def test_a_copy_does_not_upgrade_what_it_copies(old_file: str, old_database: str, tmp_path: Path) -> None:
    for address in (old_file, old_database):
        with pytest.raises(
            StoreFormatError, match=r"upgrade it first \(a backup is made\) with: monitor db upgrade --db"
        ):
            copying.copy(address, str(tmp_path / "new.db"), progress=lambda *_: None)
        assert inspect(address).schema_version == 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".db"] == ["old.db"]


@needs_dump
def test_a_database_is_backed_up_and_upgraded(server: Server, old_database: str) -> None:
    before = hashes(old_database)
    with pytest.raises(StoreFormatError, match="monitor db upgrade"):
        Store.open(old_database)
    report = upgrade(old_database)
    assert report.done
    assert report.backup is not None
    assert report.backup.events == len(before)
    assert report.backup.path.stat().st_mode & 0o777 == 0o600
    with Store.open(old_database) as store:
        assert len(store.runs()) == len(HOSTILE)
    assert hashes(old_database) == before
    with server.database(empty=True) as name:  # the backup opens, as a store of the old schema
        restore = shutil.which("pg_restore")
        assert restore
        import subprocess

        command = [
            restore,
            f"--dbname={server.url(name).replace('+psycopg', '')}",
            "--no-owner",
            str(report.backup.path),
        ]
        subprocess.run(command, check=True, capture_output=True)
        assert hashes(server.url(name)) == before
        assert inspect(server.url(name)).schema_version == 1
        assert upgrade(server.url(name), backup=False).done
        with Store.open(server.url(name)) as store:
            store.append_sync(run_started())
            assert store.sequence() in {0, 1}
            assert store.events(store.runs()[0].start.run_id)[0].leaf_index == len(before)


def without_later_fields(database: Database) -> None:
    """Let the events be those of a version whose findings knew neither trials nor suppressions."""
    database.lift_triggers("events")
    for field in (',"shadow":false', ',"suppressed_by":""'):
        database.execute(f"UPDATE events SET canonical = replace(canonical, '{field}', '')")
    assert database.rows("SELECT count(*) FROM events WHERE canonical LIKE '%shadow%'") == [(0,)]


def test_findings_of_older_events_are_neither_on_trial_nor_suppressed(tmp_path: Path, server: Server) -> None:
    """In the views after an upgrade from the second schema, and read back; who may read a view still may."""
    finding = Finding(check="rule", name="r", status=Status.MATCH)
    path = tmp_path / "second.db"
    schema._create_file(path, busy_seconds=1)
    with server.database(empty=True) as name:
        for address in (str(path), server.url(name)):
            locate(address).upgrade(target="0002")
            old = Store(locate(address))
            run = run_started()
            call, seen, _ = trio(run.run_id)
            old.append_sync(run, call, seen, judged(call, findings=(finding,)))
            old.close()
            with Database(address) as database:
                without_later_fields(database)
                if address != str(path):
                    database.execute("GRANT SELECT ON findings TO PUBLIC")
            assert upgrade(address, backup=False).done
            with Database(address) as database:
                assert database.rows("SELECT name, shadow, suppressed_by FROM findings") == [("r", 0, "")]
                assert database.rows("SELECT * FROM reviews") == []
                if address != str(path):
                    granted = "SELECT has_table_privilege('pg_monitor', 'findings', 'SELECT')"
                    assert database.rows(granted) == [(True,)]
            with Store.open(address) as store:
                (subcall,) = store.subcalls(run.run_id)
                assert subcall.judgement
                assert subcall.judgement.findings == (finding,)
                store.append_sync(reviewed(call))
                assert len(store.reviews()) == 1


VERSIONS = [f"{version:04}" for version in range(1, SCHEMA_VERSION)]


def answers(address: str) -> dict[str, int]:
    """How many rows each view has, and how many texts the search finds; an integrity without a fault."""
    assert verify(address).integrity.faults == []
    index = TextSearch(address)
    index.update()
    with Database(address) as database:
        (counts,) = database.rows(f"SELECT {', '.join(f'(SELECT count(*) FROM {view})' for view in VIEWS)}")
    return {**dict(zip(VIEWS, map(int, map(str, counts)), strict=True)), "search": index.search("code").total}


def test_from_every_version_what_was_stored_is_whole_and_all_of_it_is_asked(tmp_path: Path, server: Server) -> None:
    """Each schema with rows of every kind, upgraded to the newest, answers as a store that was new from the start."""
    with Store.open(str(tmp_path / "new.db")) as new:
        known.fill(new)
    expected = answers(str(tmp_path / "new.db"))
    assert all(expected[view] for view in VIEWS if view not in {"redactions", "scans", "scan_findings"})
    for version in VERSIONS:
        path = tmp_path / f"from{version}.db"
        schema._create_file(path, busy_seconds=1)
        with server.database(empty=True) as name:
            for address in (str(path), server.url(name)):
                locate(address).upgrade(target=version)
                with contextlib.closing(Store(locate(address))) as old:
                    known.fill(old)
                assert upgrade(address, backup=False).done
                assert answers(address) == expected, (version, address)


def test_without_pg_dump_there_is_no_upgrade_unless_that_is_wanted(
    old_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StoreUnavailableError, match=r"not on PATH.*--no-backup"):
        upgrade(old_database)
    assert inspect(old_database).schema_version == 1
    assert upgrade(old_database, backup=False).done
    assert inspect(old_database).schema_version == SCHEMA_VERSION


@needs_dump
def test_a_backup_that_differs_is_no_backup(old_file: str, old_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "_unescaped", lambda text: text.replace("started", "stopped"))
    monkeypatch.setattr(files, "_digest", lambda connection, limit: (0, str(connection)))
    for address in (old_file, old_database):
        with pytest.raises(StoreFormatError, match="backup is not equal"):
            upgrade(address)
        assert inspect(address).schema_version == 1


@needs_dump
def test_a_dump_that_fails_leaves_nothing(old_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bin" / "pg_dump"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho the disk is full >&2\nexit 1\n")
    broken.chmod(0o755)
    restore = shutil.which("pg_restore")
    assert restore
    (tmp_path / "bin" / "pg_restore").symlink_to(restore)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    with pytest.raises(StoreUnavailableError, match="the disk is full"):
        upgrade(old_database)
    assert list(tmp_path.glob("*.dump")) == []
    assert inspect(old_database).schema_version == 1


def test_what_cannot_be_upgraded_is_said(tmp_path: Path, server: Server) -> None:
    with pytest.raises(StoreUnavailableError, match="no store here yet"):
        upgrade(str(tmp_path / "nowhere.db"))
    assert not (tmp_path / "nowhere.db").exists()
    with server.database(empty=True) as name, pytest.raises(StoreUnavailableError, match="no store here yet"):
        upgrade(server.url(name))
    (tmp_path / "text.db").write_text("no database\n" * 100)
    with pytest.raises(StoreUnavailableError, match="no SQLite database"):
        upgrade(str(tmp_path / "text.db"))


def test_every_migration_says_what_it_does() -> None:
    assert len(missing(0)) == SCHEMA_VERSION
    assert all(len(step) > 20 for step in missing(0))


@pytest.mark.parametrize(
    ("dumped", "text"),
    [
        ("plain", "plain"),
        (r"a\\b", r"a\b"),
        (r"\\\\", r"\\"),
        (r"\n\\n", "\n\\n"),
        (r"\\\n\t\\", "\\\n\t\\"),
        (r"\r\v\b\f", "\r\v\b\f"),
    ],
)
def test_the_escapes_of_a_dump_are_undone(dumped: str, text: str) -> None:
    assert dumps._unescaped(dumped) == text
