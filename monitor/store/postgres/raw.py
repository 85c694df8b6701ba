"""A PostgreSQL database as it lies there: tables by sequential scans, the schema against the migrations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

import psycopg
from sqlalchemy import create_engine, exc
from sqlalchemy.pool import NullPool

from monitor.store.postgres.connection import connect, is_lost, translate
from monitor.store.postgres.schema import VERSION_TABLE, version_of
from monitor.store.raw import Fault, RawEvent, UnreadableError
from monitor.store.schema import SCHEMA_VERSION, migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from monitor.store.postgres.address import Address
    from monitor.store.postgres.connection import Connection

_ROWS_AT_ONCE = 500
_FIRST_WITH_CHECKPOINTS = 7
_NO_INDEXES = (
    "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off"
)
_EVENTS = """
SELECT l.leaf_index, coalesce(e.run_id, l.run_id), coalesce(e.span_id, l.span_id), coalesce(e.seq, l.seq), e.kind, e.at,
       e.canonical, e.leaf_hash, l.leaf_hash, e.position
FROM leaves AS l FULL JOIN events AS e ON e.run_id = l.run_id AND e.span_id = l.span_id AND e.seq = l.seq
ORDER BY l.leaf_index NULLS LAST, e.position
"""
_MANIFEST = """
SELECT 'table', c.relname, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
       || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, ', ' ORDER BY a.attnum)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' GROUP BY c.relname
UNION ALL
SELECT 'view', c.relname, pg_get_viewdef(c.oid) FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'v'
UNION ALL
SELECT 'index', c.relname, replace(pg_get_indexdef(c.oid), current_schema() || '.', '') || CASE WHEN i.indisvalid THEN ''
       ELSE ' (invalid)' END
FROM pg_class AS c JOIN pg_index AS i ON i.indexrelid = c.oid WHERE c.relnamespace = current_schema()::regnamespace
UNION ALL
SELECT 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace AND conrelid <> 0
UNION ALL
SELECT 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', p.prosrc FROM pg_proc AS p
WHERE p.pronamespace = current_schema()::regnamespace
  AND NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT 'trigger', t.tgrelid::regclass::text || '.' || t.tgname,
       replace(pg_get_triggerdef(t.oid), current_schema() || '.', '') || ' ' || t.tgenabled::text
FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE c.relnamespace = current_schema()::regnamespace AND NOT t.tgisinternal
"""


class PostgresRaw:
    """One consistent state of the database (``REPEATABLE READ READ ONLY``)."""

    def __init__(self, address: Address, *, busy_seconds: float) -> None:
        self._address = address
        self._busy_seconds = busy_seconds
        self._connection: Connection | None = None
        self.place = address.shown
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        """Connect. Raises StoreError."""
        try:
            self._connection = connect(self._address, busy_seconds=self._busy_seconds, read_only=True)
            self._connection.patience = None
            self._connection.autocommit = False
            self._connection.execute(_NO_INDEXES)
        except psycopg.Error as failure:
            raise translate(failure, self._address, busy_seconds=self._busy_seconds) from failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection:
            self._connection.close()

    @property
    def _open(self) -> Connection:
        assert self._connection is not None, "used inside of a with statement"
        return self._connection

    def version(self) -> int:
        """The version of the schema. Raises StoreError."""
        try:
            return version_of(self._open, self._address) or 0
        except psycopg.Error as failure:
            raise translate(failure, self._address, busy_seconds=self._busy_seconds) from failure

    # ------------------------------------------------------------------------------------------------------ rows

    def count(self) -> int:
        """How many events there are."""
        return next((int(row[0]) for row in self._rows("events", "SELECT count(*) FROM events")), 0)

    def events(self) -> Iterator[RawEvent]:
        """All events joined with their leaves, without any index."""
        yield from map(RawEvent._make, self._rows("events", _EVENTS))

    def texts(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """All texts."""
        return self._rows("texts", "SELECT commitment, sha256, salt, body FROM texts")

    def nodes(self) -> Iterator[tuple[Any, Any, Any]]:
        """All message nodes."""
        return self._rows("message_nodes", "SELECT node_hash, parent_hash, payload FROM message_nodes")

    def checkpoints(self) -> Iterator[tuple[Any, ...]]:
        """All checkpoints."""
        if self.version() < _FIRST_WITH_CHECKPOINTS:
            return iter(())
        query = "SELECT number, tree_size, root, origin, note, peaks, at FROM checkpoints ORDER BY number"
        return self._rows("checkpoints", query)

    def pending(self) -> Iterator[Any]:
        """The positions of events that wait for their leaf."""
        return (row[0] for row in self._rows("pending_leaves", "SELECT position FROM pending_leaves"))

    def _rows(self, table: str, query: str) -> Iterator[Any]:
        try:
            with self._open.cursor(f"monitor_{table}") as cursor:
                cursor.itersize = _ROWS_AT_ONCE
                yield from cursor.execute(query.encode())
        except psycopg.Error as failure:
            self._fail(table, failure)

    def _fail(self, table: str, failure: psycopg.Error) -> None:
        """Raise StoreUnavailableError for a lost server, UnreadableError for what the server cannot read."""
        if is_lost(failure):
            raise translate(failure, self._address, busy_seconds=self._busy_seconds) from failure
        said = self._address.hide(" ".join(str(failure).split()))
        self._open.rollback()
        self._open.execute(_NO_INDEXES)
        raise UnreadableError(table, said) from failure

    # ------------------------------------------------------------------------------------------------- structure

    def structure(self, progress: Callable[[str], None]) -> Iterator[Fault]:
        """The schema against what the migrations make of an empty one, and the indexes where ``amcheck`` is there."""
        progress("comparing the schema")
        version = self.version()
        if not 0 < version <= SCHEMA_VERSION:
            yield Fault("schema", VERSION_TABLE, f"expected a version up to {SCHEMA_VERSION}, found {version}")
            return
        try:
            wanted = self._expected(version)
        except psycopg.errors.InsufficientPrivilege:
            self.notes.append(
                "triggers, views and functions were compared with nothing: that needs a role that may create a schema "
                "(GRANT CREATE ON DATABASE …), in which the migrations are run and undone again"
            )
        except psycopg.Error as failure:
            raise translate(failure, self._address, busy_seconds=self._busy_seconds) from failure
        else:
            yield from self._compare(wanted)
        progress("comparing tables and indexes")
        yield from self._indexes()

    def _expected(self, version: int) -> dict[tuple[str, str], str]:
        """What the migrations make, found out in a schema of its own that is never committed."""
        name = f"monitor_verify_{os.getpid()}"
        opened = connect(self._address, busy_seconds=self._busy_seconds)
        opened.autocommit = False
        opened.patience = None
        engine = create_engine("postgresql+psycopg://", creator=lambda: opened, poolclass=NullPool)
        try:
            with engine.connect() as connection, connection.begin() as transaction:
                opened.execute(f"CREATE SCHEMA {name}".encode())
                opened.execute(f"SET LOCAL search_path = {name}".encode())
                migrate(connection, version_table=VERSION_TABLE, target=f"{version:04}")
                found = _manifest(opened)
                transaction.rollback()
        except exc.DBAPIError as failure:
            raise failure.orig if isinstance(failure.orig, psycopg.Error) else failure from None
        finally:
            opened.close()
            engine.dispose()
        return found

    def _compare(self, wanted: dict[tuple[str, str], str]) -> Iterator[Fault]:
        found = _manifest(self._open)
        for (kind, name), made in wanted.items():
            if (kind, name) not in found:
                yield Fault("schema", name, f"the {kind} is gone: the migrations make it")
            elif found[kind, name] != made:
                yield Fault("schema", name, f"the {kind} is not what the migrations make")
        for kind, name in found.keys() - wanted.keys():
            if kind == "trigger":
                yield Fault("schema", name, "a trigger that no migration makes: it can change what is written")
            else:
                self.notes.append(f"the {kind} {name} is none of the monitor's; it was left out")

    def _indexes(self) -> Iterator[Fault]:
        there = self._open.execute("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'").fetchone()
        if not there:
            self.notes.append(
                "indexes were not compared with their tables: the extension amcheck is not installed in this database"
            )
            return
        names = self._open.execute(
            "SELECT c.relname FROM pg_class AS c JOIN pg_am AS a ON a.oid = c.relam "
            "WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'i' AND a.amname = 'btree'"
        ).fetchall()
        for (name,) in names:
            try:
                with self._open.transaction():
                    self._open.execute("SELECT bt_index_check(%s::regclass, true)", (name,))
            except psycopg.errors.InsufficientPrivilege:
                self.notes.append("indexes were not compared with their tables: this role may not use amcheck")
                return
            except psycopg.Error as failure:
                if is_lost(failure):
                    raise translate(failure, self._address, busy_seconds=self._busy_seconds) from failure
                yield Fault("index", name, f"amcheck says: {' '.join(str(failure).split())}")


def _manifest(connection: psycopg.Connection[Any]) -> dict[tuple[str, str], str]:
    """Tables, views, indexes, constraints, functions and triggers of the current schema, by kind and name."""
    rows = connection.execute(_MANIFEST.encode()).fetchall()
    return {(kind, name): said or "" for kind, name, said in rows}
