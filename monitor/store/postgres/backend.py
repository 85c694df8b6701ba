"""A PostgreSQL database as the store's backend."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import create_engine, exc
from sqlalchemy.pool import NullPool, QueuePool
from sqlmodel import Session

from monitor.errors import MonitorError
from monitor.store.facts import StoreFacts
from monitor.store.postgres import connection as server
from monitor.store.postgres import schema
from monitor.store.postgres.address import parse_address
from monitor.store.postgres.ledger import PostgresLedger
from monitor.store.postgres.sequencer import Sequencer, count_pending, sequence
from monitor.store.postgres.tables import LOG
from monitor.store.schema import SCHEMA_VERSION, refuse_newer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection as SqlConnection

    from monitor.errors import StoreError
    from monitor.store.postgres.connection import Connection
    from monitor.store.raw import RawStore
    from monitor.store.scrubbing import Scrubbed
    from monitor.store.upgrading import Backup

_READING_SECONDS = 60.0  # the least that a question may take: long ones are no failure
_WRITABLE = (
    "SELECT NOT pg_is_in_recovery() AND has_table_privilege('events', 'INSERT') "
    "AND has_table_privilege('texts', 'INSERT') AND has_table_privilege('message_nodes', 'INSERT')"
)
_MAY_CREATE = "SELECT NOT pg_is_in_recovery() AND has_schema_privilege(current_schema(), 'CREATE')"


class PostgresBackend:
    """The store in the database that ``url`` names. Events get their leaves shortly after their commit."""

    path = None
    writes_inline = False
    errors: type[Exception] = psycopg.Error
    log = LOG

    def __init__(self, url: str, *, busy_seconds: float) -> None:
        """Read ``url``; nothing is opened. Raises ConfigError."""
        self.address = parse_address(url)
        self.url = self.place = self.address.shown
        self.busy_seconds = busy_seconds
        self._sequencer = Sequencer(self._open)

    def _open(self) -> Connection:
        return server.connect(self.address, busy_seconds=self.busy_seconds)

    def prepare(self, *, create: bool) -> None:
        """Make sure that the database is a store of this very schema; an empty one is set up. Raises StoreError."""
        schema.prepare(self.address, create=create, busy_seconds=self.busy_seconds)

    def connect(self) -> PostgresLedger:
        """Open a connection that appends. Raises the driver's errors."""
        return PostgresLedger(self._open(), self._sequencer.notify)

    def snapshots(self) -> PostgresSnapshots:
        """Return the connections that read."""
        return PostgresSnapshots(self)

    @contextmanager
    def transaction(self) -> Iterator[SqlConnection]:
        """A transaction that writes. Raises StoreError: then nothing was written, or a lost commit is not known of."""
        engine = create_engine("postgresql+psycopg://", creator=self._open_writing, poolclass=NullPool)
        try:
            with engine.begin() as connection:
                yield connection
        except exc.DBAPIError as failure:
            cause = failure.orig if isinstance(failure.orig, Exception) else failure
            raise self.translate(cause) from cause
        except psycopg.Error as failure:
            raise self.translate(failure) from failure
        finally:
            engine.dispose()

    def _open_writing(self) -> Connection:
        connection = self._open()
        connection.autocommit = False
        return connection

    def facts(self) -> StoreFacts:
        """Find out how the database is, without changing it."""
        version, pending, exists, writable, problem, software = None, None, False, False, "", ""
        warnings: tuple[str, ...] = ()
        try:
            with self._asking() as connection:
                software = connection.info.parameter_status("server_version") or ""
                warnings = _warnings(connection)
                version = schema.version_of(connection, self.address)
                exists = version is not None
                writable = _truth(connection, _WRITABLE if exists else _MAY_CREATE)
                if version is not None:
                    refuse_newer(self.place, version)
                    pending = count_pending(connection)
        except MonitorError as failure:
            problem = str(failure)
        if not problem and version is not None and version < SCHEMA_VERSION:
            problem = f"{self.place}: schema {version}, and this monitor uses {SCHEMA_VERSION}"
        if not problem and not writable:
            problem = (
                f"{self.place}: the role of the URL may not write there; see docs/sharing.md for the rights it needs"
            )
        return StoreFacts(
            url=self.url,
            engine="postgresql",
            engine_version=software,
            path=None,
            exists=exists,
            writable=writable,
            schema_version=version,
            newest_schema=SCHEMA_VERSION,
            pending_leaves=pending,
            problem=problem,
            warnings=warnings,
        )

    def schema_version(self) -> int:
        """Return the version of the schema. Raises StoreError."""
        with self._asking() as connection:
            return schema.version_of(connection, self.address) or 0

    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know of the server. Raises StoreError."""
        with self._asking() as connection:
            return _warnings(connection)

    def sequence(self) -> int:
        """Give a leaf to every committed event that has none; return how many that were. Raises StoreError."""
        with self._asking() as connection:
            return sequence(connection, wait=True) or 0

    def pending_leaves(self) -> int:
        """Return how many committed events have no leaf yet. Raises StoreError."""
        with self._asking() as connection:
            return count_pending(connection)

    def backup(self, stamp: str) -> Backup:
        """Make a backup in the working directory, and compare it. Raises StoreError."""
        from monitor.store.postgres.backup import back_up  # noqa: PLC0415 - needed for this alone

        with self._asking() as connection:
            return back_up(connection, self.address, stamp)

    def upgrade(self, *, target: str = "head") -> None:
        """Run the missing migrations up to ``target``, in one transaction. Raises StoreError."""
        schema.upgrade(self.address, busy_seconds=self.busy_seconds, target=target)

    def raw(self) -> RawStore:
        """The database as it lies there. Nothing is opened yet."""
        from monitor.store.postgres.raw import PostgresRaw  # noqa: PLC0415 - needed for this alone

        return PostgresRaw(self.address, busy_seconds=self.busy_seconds)

    def scrub(self, progress: Callable[[str], None]) -> Scrubbed:
        """Write the table of texts anew without what was erased. Raises StoreError."""
        from monitor.store.postgres.scrubbing import scrub  # noqa: PLC0415 - as above

        with self._asking() as connection:
            return scrub(connection, self.address, progress)

    def close(self) -> None:
        """Sequence what was committed, and end the sequencer. Safe to call twice."""
        self._sequencer.stop()

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        """A connection for one question; foreign errors are translated here."""
        try:
            with self._open() as connection:
                yield connection
        except psycopg.Error as failure:
            raise self.translate(failure) from failure

    def is_busy(self, failure: Exception) -> bool:
        """Whether another connection held a lock for longer than this one may wait."""
        return server.is_busy(failure)

    def is_lost(self, failure: Exception) -> bool:
        """Whether the connection or its transaction ended through no fault of what was written on it."""
        return server.is_lost(failure)

    def breaks_connection(self, failure: Exception) -> bool:
        """Whether the connection that raised this should be opened anew before it is used again."""
        return server.breaks_connection(failure)

    def translate(self, failure: Exception) -> StoreError:
        """Return the store's own error for a driver's, without any password."""
        return server.translate(failure, self.address, busy_seconds=self.busy_seconds)


class PostgresSnapshots:
    """Connections that only read (``REPEATABLE READ READ ONLY``); usable from several threads at once."""

    def __init__(self, backend: PostgresBackend) -> None:
        self._backend = backend
        self._engine = create_engine(
            "postgresql+psycopg://", creator=self._connect, poolclass=QueuePool, pool_pre_ping=True
        )
        self._closing = threading.Lock()

    def _connect(self) -> Connection:
        backend = self._backend
        connection = server.connect(backend.address, busy_seconds=backend.busy_seconds, read_only=True)
        connection.patience = max(_READING_SECONDS, backend.busy_seconds)
        connection.autocommit = False
        return connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session on one consistent state of the database; foreign errors are translated here."""
        try:
            with Session(self._engine) as session:
                yield session
        except exc.DBAPIError as failure:
            cause = failure.orig if isinstance(failure.orig, Exception) else failure
            raise self._backend.translate(cause) from cause
        except psycopg.Error as failure:
            raise self._backend.translate(failure) from failure


def _truth(connection: Connection, query: str) -> bool:
    row = connection.execute(query).fetchone()
    return row is not None and bool(row[0])


def _warnings(connection: Connection) -> tuple[str, ...]:
    """What makes a commit less than durable, as far as the server says so."""
    if _truth(connection, "SELECT current_setting('fsync')::boolean AND current_setting('full_page_writes')::boolean"):
        return ()
    return ("the server runs with fsync or full_page_writes off: a crash of its machine can lose or break the record",)
