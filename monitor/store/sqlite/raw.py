"""A SQLite file as it lies there: tables by their rowids, the schema against the migrations, pages against indexes."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import TYPE_CHECKING, Any, Self

from monitor.errors import StoreUnavailableError
from monitor.store.raw import Fault, RawEvent, UnreadableError
from monitor.store.schema import SCHEMA_VERSION, migrate
from monitor.store.sqlite.connection import closed_on_failure, connect, driver, translate
from monitor.store.sqlite.schema import APPLICATION_ID, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

_MOST_FAULTS = 100
_FIRST_WITH_CHECKPOINTS = 7
_EVENTS = (
    "SELECT leaf_index, run_id, span_id, seq, kind, at, canonical, leaf_hash, leaf_hash, leaf_index "
    "FROM events NOT INDEXED ORDER BY rowid"
)
_TEXTS = "SELECT commitment, sha256, salt, body FROM texts NOT INDEXED ORDER BY rowid"
_NODES = "SELECT node_hash, parent_hash, payload FROM message_nodes NOT INDEXED"
_CHECKPOINTS = "SELECT number, tree_size, root, origin, note, peaks, at FROM checkpoints NOT INDEXED ORDER BY rowid"
_OBJECTS = "SELECT type, name, tbl_name, sql FROM sqlite_master"


class SqliteRaw:
    """One consistent state of the file, read without changing it or what lies beside it."""

    def __init__(self, path: Path, *, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._connection: Any = None
        self.place = str(path)
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        """Open the file. Raises StoreUnavailableError if there is none, UnreadableError if it is no database."""
        if not self._path.exists():
            raise StoreUnavailableError(f"{self._path}: there is no store here; name another with --db")
        try:
            self._connection = _read_only(self._path, self._busy_seconds)
        except _failures() as failure:
            self._fail("the file", failure)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection:
            self._connection.close()

    def _fail(self, table: str, failure: Exception) -> None:
        """Raise StoreUnavailableError for what is no fault of the file's, UnreadableError for all else."""
        translated = translate(failure, self._path, busy_seconds=self._busy_seconds)
        if getattr(failure, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_PERM", "SQLITE_AUTH")):
            raise translated from failure
        raise UnreadableError(table, str(failure)) from failure

    def version(self) -> int:
        """The version of the schema; 0 where it cannot be told."""
        try:
            return version_of(self._connection)
        except _failures():
            return 0

    # ------------------------------------------------------------------------------------------------------ rows

    def count(self) -> int:
        """About how many events there are."""
        try:
            (found,) = self._connection.execute("SELECT coalesce(max(rowid) + 1, 0) FROM events NOT INDEXED").fetchone()
        except _failures():
            return 0
        return int(found)

    def events(self) -> Iterator[RawEvent]:
        """All events by their rowid, which is their leaf."""
        yield from map(RawEvent._make, self._rows("events", _EVENTS))

    def texts(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """All texts by their rowid."""
        return self._rows("texts", _TEXTS)

    def nodes(self) -> Iterator[tuple[Any, Any, Any]]:
        """All message nodes; the table is its own key."""
        return self._rows("message_nodes", _NODES)

    def checkpoints(self) -> Iterator[tuple[Any, ...]]:
        """All checkpoints."""
        return self._rows("checkpoints", _CHECKPOINTS) if self.version() >= _FIRST_WITH_CHECKPOINTS else iter(())

    def pending(self) -> Iterator[Any]:
        """Nothing: an event of a file is its own leaf."""
        return iter(())

    def _rows(self, table: str, query: str) -> Iterator[Any]:
        try:
            yield from self._connection.execute(query)
        except (driver().Error, UnicodeDecodeError, OverflowError) as failure:
            self._fail(table, failure)

    # ------------------------------------------------------------------------------------------------- structure

    def structure(self, progress: Callable[[str], None]) -> Iterator[Fault]:
        """Header, schema, pages and indexes."""
        progress("comparing the schema")
        try:
            yield from self._header()
            yield from self._schema()
            progress("comparing tables, indexes and pages")
            rows = self._connection.execute(f"PRAGMA integrity_check({_MOST_FAULTS})").fetchall()
        except _failures() as failure:
            yield Fault("the file", "", f"SQLite cannot read it: {failure}")
            return
        for (said,) in rows:
            if said != "ok":
                for line in str(said).splitlines():
                    yield Fault("the file", "", f"SQLite's integrity check says: {line}")

    def _header(self) -> Iterator[Fault]:
        (found,) = self._connection.execute("PRAGMA application_id").fetchone()
        if found != APPLICATION_ID:
            yield Fault("the file", "header", f"expected application id {APPLICATION_ID:#x}, found {found:#x}")
        (noted,) = self._connection.execute("PRAGMA user_version").fetchone()
        version = self.version()
        if noted != version or not 0 < version <= SCHEMA_VERSION:
            yield Fault("the file", "header", f"expected a schema version up to {SCHEMA_VERSION}, found {noted}")
        told = self._connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if told != [(f"{version:04}",)]:
            yield Fault(
                "alembic_version", "", f"expected the version {version:04}, found {len(told)} rows or another one"
            )

    def _schema(self) -> Iterator[Fault]:
        version = self.version()
        if not 0 < version <= SCHEMA_VERSION:
            self.notes.append(f"schema {version} is not one that this version makes: it was compared with nothing")
            return
        if version < SCHEMA_VERSION:
            self.notes.append(f"schema {version} is older than {SCHEMA_VERSION}; it was checked as what it is")
        wanted = expected_objects(version)
        found = {tuple(row[:2]): tuple(row[2:]) for row in self._connection.execute(_OBJECTS)}
        for key, made in wanted.items():
            kind, name = key
            if key not in found:
                yield Fault("schema", name, f"the {kind} is gone: the migrations make it")
            elif found[key] != made:
                yield Fault("schema", name, f"the {kind} is not what the migrations make")
        for kind, name in found.keys() - wanted.keys():
            if str(name).startswith("sqlite_stat"):
                continue
            if kind == "trigger":
                yield Fault("schema", str(name), "a trigger that no migration makes: it can change what is written")
            else:
                self.notes.append(f"the {kind} {name} is none of the monitor's; it was left out")


def _failures() -> tuple[type[Exception], ...]:
    """What reading a damaged file raises: where SQLite quotes what is no text, the driver cannot read the message."""
    return (driver().Error, UnicodeDecodeError)


def _read_only(path: Path, busy_seconds: float) -> Any:
    """A connection that leaves the file, its log and its index of the log as they are, where SQLite can do that."""
    wal = path.with_name(f"{path.name}-wal")
    try:
        connection = connect(path, mode="ro", busy_seconds=busy_seconds)
        return _begun(connection)
    except driver().OperationalError as failure:
        name = str(getattr(failure, "sqlite_errorname", ""))
        if not name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")) or (wal.exists() and wal.stat().st_size):
            raise
        return _begun(connect(path, mode="immutable", busy_seconds=busy_seconds))


def _begun(connection: Any) -> Any:
    """The connection inside of a read transaction. A text that is no UTF-8 comes back all the same."""
    with closed_on_failure(connection):
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    return connection


@cache
def expected_objects(version: int) -> dict[tuple[str, str], tuple[str, str | None]]:
    """What the migrations up to ``version`` make: table and SQL of each object by its type and name."""
    from sqlalchemy import create_engine  # noqa: PLC0415 - slow to import and needed only here

    engine = create_engine("sqlite://", module=driver())
    with contextlib.closing(engine.raw_connection()) as _, engine.begin() as connection:
        migrate(connection, target=f"{version:04}")
        rows = connection.exec_driver_sql(_OBJECTS).all()
    engine.dispose()
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}
