"""Versions, migrations, and what doctor is told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

import monitor.store
from monitor.store import Store, inspect, scans, tables
from monitor.store.schema import SCHEMA_VERSION
from monitor.store.sqlite import driver, schema
from tests.store.events import run_started
from tests.store.processes import run_python, start_python

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.sqlite("its file, and how it is made")


def of_the_record(_: object, name: str | None, *__: object) -> bool:
    """Whether a table or index is of the record, and not of the index of the search, which is made of it."""
    return not str(name).startswith("search_")


def test_migrations_make_the_tables_of_the_models(store: Store) -> None:
    engine = sa.create_engine("sqlite://", module=driver(), creator=lambda: driver().connect(str(store.path)))
    with engine.connect() as connection:
        difference = compare_metadata(
            MigrationContext.configure(connection, opts={"include_object": of_the_record}), SQLModel.metadata
        )
    engine.dispose()
    assert difference == []
    models = (tables.EventRow, tables.TextRow, tables.MessageNodeRow, tables.CheckpointRow)
    of_scans = {table.name for table in scans.TABLES}
    assert {model.__tablename__ for model in models} | of_scans == set(SQLModel.metadata.tables)


def test_the_newest_migration_is_the_version_that_the_code_knows(store: Store) -> None:
    assert store.schema_version() == SCHEMA_VERSION
    connection = driver().connect(str(store.path))
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_alembic_is_loaded_only_to_migrate(db: Path) -> None:
    script = """
import sys
from monitor.store import Store
Store.open(sys.argv[1]).runs()
print("alembic" in sys.modules)
"""
    assert run_python(script, db) == "True\n"
    assert run_python(script, db) == "False\n"


def test_a_creation_that_was_killed_is_finished_by_the_next_opening(db: Path) -> None:
    schema._create_file(db, busy_seconds=1)
    with Store.open(str(db)) as store:
        store.append_sync(run_started())
        assert len(store.runs()) == 1


def test_processes_that_open_a_new_store_at_once(db: Path) -> None:
    script = """
import sys
from monitor.store import Store
sys.stdin.readline()
Store.open(sys.argv[1]).close()
"""
    openers = [start_python(script, db) for _ in range(4)]
    assert [opener.communicate("go\n", timeout=120)[1] for opener in openers] == [""] * 4
    with Store.open(str(db)) as store:
        assert store.schema_version() == SCHEMA_VERSION


def test_inspect_looks_and_does_not_touch(db: Path) -> None:
    facts = inspect(str(db))
    assert (facts.exists, facts.writable, facts.schema_version, facts.problem) == (False, True, None, "")
    assert list(db.parent.glob("monitor.db*")) == []
    Store.open(str(db)).close()
    before = db.read_bytes()
    facts = inspect(f"sqlite:///{db}")
    assert (facts.exists, facts.writable, facts.schema_version, facts.problem) == (
        True,
        True,
        SCHEMA_VERSION,
        "",
    )
    assert (facts.path, db.read_bytes()) == (db, before)


def test_inspect_does_not_raise() -> None:
    assert "found 'mysql://" in inspect("mysql://host/db").problem
    assert inspect("/dev/null/x.db").problem
    assert inspect("/tmp").problem
    assert inspect(f"/tmp/{'x' * 300}.db").problem


def test_public_names_are_sorted_and_complete() -> None:
    names = monitor.store.__all__
    assert names == sorted(names)
    assert all(hasattr(monitor.store, name) for name in names)
    assert "alembic" not in {name.partition(".")[0] for name in vars(sys.modules["monitor.store"])}
