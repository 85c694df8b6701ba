"""``monitor db``: status, sequence, upgrade, copy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.store import Store
from monitor.store.sqlite import schema
from tests.cli.conftest import RUN
from tests.store.databases import Database
from tests.store.events import run_started

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A file of the first schema."""
    path = tmp_path / "old.db"
    schema._create_file(path, busy_seconds=1)
    schema.upgrade(path, busy_seconds=1, target="0001")
    return str(path)


def test_the_state_of_the_database(monitor: Monitor, stored: str) -> None:
    with Store.open(stored) as store:
        store.sequence()
    done = monitor("db", "status", "--json")
    assert (done.code, done.json["format"]) == (0, "monitor.db/1")
    assert (done.json["exists"], done.json["writable"], done.json["pending_leaves"]) == (True, True, 0)
    assert done.json["schema_version"] == done.json["newest_schema"]
    assert done.json["engine"] == ("postgresql" if stored.startswith("postgres") else "sqlite")
    text = monitor("db", "status")
    assert text.code == 0
    assert "0 events without a leaf" in text.out
    assert monitor("db", "sequence").out == "0 events got their leaf, 0 are pending\n"
    assert monitor("db", "sequence", "--json").json["format"] == "monitor.db-sequence/1"


def test_a_database_that_is_not_there_or_no_store(monitor: Monitor) -> None:
    done = monitor("db", "status", "--db", "nowhere.db")
    assert (done.code, "not there yet" in done.out) == (0, True)
    assert not Path("nowhere.db").exists(), "looking must not make one"
    Path("text.db").write_text("no database\n" * 100, encoding="utf-8")
    done = monitor("db", "status", "--db", "text.db")
    assert (done.code, "no SQLite database" in done.out) == (6, True)
    assert monitor("db", "upgrade", "--db", "text.db").code == 6
    assert monitor("db", "sequence", "--db", "nowhere.db").code == 6
    assert monitor("db", "copy", "nowhere.db", "other.db").code == 6
    assert not Path("other.db").exists()


def test_an_upgrade(monitor: Monitor, old: str) -> None:
    assert "older than" in monitor("db", "status", "--db", old).out
    dry = monitor("db", "upgrade", "--db", old, "--dry-run")
    assert (dry.code, "dry run: nothing was done" in dry.out, "0002: " in dry.out) == (0, True, True)
    assert monitor("db", "upgrade", "--db", old, "--dry-run", "--json").json["done"] is False
    done = monitor("db", "upgrade", "--db", old)
    assert (done.code, "every hash agrees" in done.out, done.out.endswith("upgraded\n")) == (0, True, True)
    assert len(list(Path().glob("old.schema1-*.db"))) == 1
    again = monitor("db", "upgrade", "--db", old, "--json")
    assert (again.json["steps"], again.json["backup"], again.json["done"]) == ([], None, False)
    assert "nothing to do" in monitor("db", "upgrade", "--db", old).out


def test_a_copy(monitor: Monitor, stored: str) -> None:
    done = monitor("db", "copy", stored, "copy.db")
    assert (done.code, "equal: every hash agrees" in done.out) == (0, True)
    assert "9 events copied, 0 were there already" in done.out
    shown = monitor("show", RUN, "--db", "copy.db", "--json")
    assert shown.json == monitor("show", RUN, "--json").json
    again = monitor("db", "copy", stored, "copy.db", "--json").json
    assert (again["format"], again["equal"], again["copied"]) == ("monitor.db-copy/1", True, 0)
    assert again["source_digest"] == again["target_digest"]


def test_a_copy_that_differs_in_the_end(monitor: Monitor, stored: str) -> None:
    monitor("db", "copy", stored, "copy.db")
    with Database("copy.db") as database:
        database.lift_triggers("events")
        database.execute("UPDATE events SET canonical = replace(canonical, 'amplify', 'forged')")
    done = monitor("db", "copy", stored, "copy.db")
    assert (done.code, "not equal: 1 differences" in done.out) == (1, True)
    assert monitor("db", "copy", stored, "copy.db", "--json").json["equal"] is False


def test_a_copy_into_a_store_with_another_such_run(monitor: Monitor, stored: str) -> None:
    with Store.open("copy.db") as store:
        store.append_sync(run_started(RUN))
    done = monitor("db", "copy", stored, "copy.db", "--json")
    assert (done.code, done.json["error"]["kind"]) == (6, "ConflictError")
    with Store.open("copy.db") as store:
        assert len(store.events(RUN)) == 1
