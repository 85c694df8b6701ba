"""A SQLite file as the store's backend."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event, exc
from sqlalchemy.pool import NullPool, QueuePool
from sqlmodel import Session, SQLModel

from monitor.errors import MonitorError
from monitor.store.backend import Log
from monitor.store.facts import StoreFacts
from monitor.store.location import FileIdentity
from monitor.store.schema import SCHEMA_VERSION, refuse_newer
from monitor.store.sqlite import connection as library
from monitor.store.sqlite import schema
from monitor.store.sqlite.ledger import SqliteLedger
from monitor.store.tables import EventRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection, FromClause

    from monitor.errors import StoreError
    from monitor.store.raw import RawStore
    from monitor.store.scrubbing import Scrubbed
    from monitor.store.upgrading import Backup

_EVENTS: FromClause = SQLModel.metadata.tables[str(EventRow.__tablename__)]
_LOG = Log(_EVENTS, (_EVENTS.c.leaf_index,), (_EVENTS.c.leaf_index.desc(),))


class SqliteBackend:
    """The store in the file at ``path``. Every event has its leaf from the moment it is committed."""

    writes_inline = True
    log = _LOG

    def __init__(self, path: Path, *, busy_seconds: float) -> None:
        self.path = path
        self.place = str(path)
        self.url = f"sqlite:///{path}"
        self.busy_seconds = busy_seconds
        self.errors: type[Exception] = library.driver().Error

    def prepare(self, *, create: bool) -> None:
        """Make sure that the file is a monitor database of this very schema. Raises StoreError."""
        schema.prepare(self.path, create=create, busy_seconds=self.busy_seconds)

    def connect(self) -> SqliteLedger:
        """Open a connection that appends. Raises the driver's errors and StoreUnavailableError."""
        return SqliteLedger(self.path)

    def snapshots(self) -> SqliteSnapshots:
        """Return the connections that read."""
        return SqliteSnapshots(self)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A write transaction; it waits for the file's write lock. Raises StoreError: then nothing was written."""
        file = FileIdentity.of(self.path)
        engine = create_engine("sqlite://", module=library.driver(), creator=self._open, poolclass=NullPool)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        try:
            with engine.begin() as connection:
                yield connection
                file.verify()
        except exc.DBAPIError as failure:
            raise self.translate(_driver_error(failure)) from failure
        except self.errors as failure:
            raise self.translate(failure) from failure
        finally:
            engine.dispose()

    def _open(self) -> Any:
        return library.connect(self.path, mode="rw", busy_seconds=self.busy_seconds)

    def facts(self) -> StoreFacts:
        """Find out how the file is, without changing it."""
        return inspect_file(self.path)

    def schema_version(self) -> int:
        """Return the version of the schema. Raises StoreError."""
        try:
            return schema.read_version(self.path, busy_seconds=self.busy_seconds)
        except library.driver().Error as failure:
            raise self.translate(failure) from failure

    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know of the SQLite library in use."""
        return library.library_warnings()

    def sequence(self) -> int:
        """Do nothing: an event is its own leaf, and is never without one."""
        return 0

    def pending_leaves(self) -> int:
        """Return 0, for the same reason."""
        return 0

    def backup(self, stamp: str) -> Backup:
        """Make a backup beside the file, and compare it. Raises StoreError."""
        from monitor.store.sqlite.backup import back_up  # noqa: PLC0415 - needed for this alone

        return back_up(self.path, stamp, busy_seconds=self.busy_seconds)

    def upgrade(self, *, target: str = "head") -> None:
        """Run the missing migrations up to ``target``, in one transaction. Raises StoreError."""
        schema.upgrade(self.path, busy_seconds=self.busy_seconds, target=target)

    def raw(self) -> RawStore:
        """The file as it lies there. Nothing is opened yet."""
        from monitor.store.sqlite.raw import SqliteRaw  # noqa: PLC0415 - needed for this alone

        return SqliteRaw(self.path, busy_seconds=self.busy_seconds)

    def scrub(self, progress: Callable[[str], None]) -> Scrubbed:
        """Write the file anew without what was erased, and empty its log. Raises StoreError."""
        from monitor.store.sqlite.scrubbing import scrub  # noqa: PLC0415 - as above

        return scrub(self.path, busy_seconds=self.busy_seconds, progress=progress)

    def close(self) -> None:
        """Do nothing: the backend itself holds nothing."""

    def is_busy(self, failure: Exception) -> bool:
        """Whether another connection held a lock for longer than this one may wait."""
        return library.is_busy(failure)

    def is_lost(self, failure: Exception) -> bool:
        """Never: there is no connection to lose."""
        return False

    def breaks_connection(self, failure: Exception) -> bool:
        """Whether the connection that raised this should be opened anew before it is used again."""
        return library.breaks_connection(failure)

    def translate(self, failure: Exception) -> StoreError:
        """Return the store's own error for a driver's."""
        return library.translate(failure, self.path, busy_seconds=self.busy_seconds)


class SqliteSnapshots:
    """Connections that only read the file; usable from several threads at once."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._backend = backend
        self._path = path = backend.path
        self._shared_memory = path.with_name(f"{path.name}-shm")
        self._file: FileIdentity | None = None
        self._engine: Engine = create_engine(
            "sqlite://",
            module=library.driver(),
            creator=lambda: library.connect_reader(path, busy_seconds=backend.busy_seconds),
            poolclass=QueuePool,
        )
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session on one consistent state of the file; foreign errors are translated here."""
        try:
            self._follow_file()
            with Session(self._engine) as session:
                yield session
            if not self._shared_memory.exists():  # it was read as immutable: such a connection never sees a later write
                self._engine.dispose()
        except exc.DBAPIError as failure:
            raise self._backend.translate(_driver_error(failure)) from failure
        except library.driver().Error as failure:
            raise self._backend.translate(failure) from failure

    def _follow_file(self) -> None:
        """Drop pooled connections if another file has taken the place of the one they have open."""
        now = FileIdentity.of(self._path)
        if now != self._file:
            self._engine.dispose()
            self._file = now


def _driver_error(failure: exc.DBAPIError) -> Exception:
    original: Any = failure.orig
    return original if isinstance(original, Exception) else failure


# --------------------------------------------------------------------------------------------------- what doctor asks


def inspect_file(path: Path) -> StoreFacts:
    """Find out about the file at ``path``. Trouble of any ordinary kind is in the answer's ``problem``, never raised."""
    exists, writable, version, problem = False, False, None, ""
    try:
        exists = path.exists()
        writable = _writable(path)
        version = _version(path)
    except MonitorError as failure:
        problem = str(failure)
    except OSError as failure:
        problem = f"{path}: {failure.strerror}; name another place"
    if not problem and not writable:
        problem = f"{path}: the file and its directory must both be writable to store traces"
    return StoreFacts(
        url=f"sqlite:///{path}",
        engine="sqlite",
        engine_version=library.library_version(),
        path=path,
        exists=exists,
        writable=writable,
        schema_version=version,
        newest_schema=SCHEMA_VERSION,
        pending_leaves=0,
        problem=problem,
        warnings=library.library_warnings(),
    )


def _version(path: Path) -> int | None:
    """The schema version of the store at ``path``, None where there is no store yet. Raises StoreError."""
    if schema.identify(path) is not schema.FileKind.OURS:
        return None
    try:
        version = schema.read_version(path, busy_seconds=1.0)
    except library.driver().Error as failure:
        raise library.translate(failure, path) from failure
    refuse_newer(str(path), version)
    return version


def _writable(path: Path) -> bool:
    """Whether the file and its directory, or the nearest directory that exists, may be written by this process."""
    effective = os.access in os.supports_effective_ids
    nearest = path.parent
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    places = [nearest, path] if path.exists() else [nearest]
    return nearest.is_dir() and all(os.access(place, os.W_OK, effective_ids=effective) for place in places)
