"""What differs between the databases that a store can be in; everything else in this package is the same for both.

``Backend`` is one database: how it is prepared, written, read and asked for the state of its log. SQLite's is in
``monitor.store.sqlite``, PostgreSQL's in ``monitor.store.postgres``; ``opening.locate`` chooses by the URL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import ColumnElement, Connection, FromClause
    from sqlmodel import Session

    from monitor.errors import StoreError
    from monitor.store.facts import StoreFacts
    from monitor.store.ledger import Ledger
    from monitor.store.raw import RawStore
    from monitor.store.scrubbing import Scrubbed
    from monitor.store.upgrading import Backup


@dataclass(frozen=True, slots=True)
class Log:
    """Where events are read: a relation with the columns of ``StoredEvent``, and its two orders.

    ``order`` is the order of the log, the oldest first; events that have no leaf yet follow in the order of their
    insertion. ``newest`` is the same backwards.
    """

    table: FromClause
    order: tuple[ColumnElement[Any], ...]
    newest: tuple[ColumnElement[Any], ...]


class Snapshots(Protocol):
    """Connections that only read; usable from several threads at once."""

    def session(self) -> AbstractContextManager[Session]:
        """A session on one consistent state of the database. Raises StoreError, also for what breaks inside."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class Backend(Protocol):
    """One database. No attribute and no error of it ever holds a password."""

    @property
    def url(self) -> str:
        """The URL to show; where it holds no password it also opens the store."""
        ...

    @property
    def place(self) -> str:
        """What messages call it: the path, or the URL."""
        ...

    @property
    def path(self) -> Path | None:
        """The file, where it is one."""
        ...

    @property
    def busy_seconds(self) -> float:
        """How long to wait for what somebody else holds, and for a server that cannot be reached."""
        ...

    @property
    def writes_inline(self) -> bool:
        """Whether a lone request may be written in the thread (or event loop) in which it is made."""
        ...

    @property
    def errors(self) -> type[Exception]:
        """The root of the driver's errors."""
        ...

    @property
    def log(self) -> Log:
        """Where events are read."""
        ...

    def prepare(self, *, create: bool) -> None:
        """Make sure that this is a monitor database of this very schema. Raises StoreError."""
        ...

    def connect(self) -> Ledger:
        """Open a connection that appends. Raises the driver's errors and StoreError."""
        ...

    def snapshots(self) -> Snapshots:
        """Return the connections that read; they are opened where they are needed."""
        ...

    def transaction(self) -> AbstractContextManager[Connection]:
        """A transaction that writes what is no event, committed at its end. Raises StoreError: nothing was written."""
        ...

    def facts(self) -> StoreFacts:
        """Find out how the store is, without changing it. Trouble of any ordinary kind is in the answer."""
        ...

    def schema_version(self) -> int:
        """Return the version of the schema. Raises StoreError."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know of the database in use; empty when all is well."""
        ...

    def sequence(self) -> int:
        """Give a leaf to every committed event that has none; return how many that were. Raises StoreError."""
        ...

    def pending_leaves(self) -> int:
        """Return how many committed events have no leaf yet. Raises StoreError."""
        ...

    def backup(self, stamp: str) -> Backup:
        """Make a backup whose name has ``stamp`` in it, and compare it. Raises StoreError."""
        ...

    def upgrade(self, *, target: str = "head") -> None:
        """Run the missing migrations up to ``target``, in one transaction. Raises StoreError."""
        ...

    def raw(self) -> RawStore:
        """The store as it lies there, for who checks it. Nothing is opened yet."""
        ...

    def scrub(self, progress: Callable[[str], None]) -> Scrubbed:
        """After an erasure: take what was erased out of files, logs and free space. Raises StoreError."""
        ...

    def close(self) -> None:
        """Let go of what the backend itself holds. Safe to call twice."""
        ...

    # ------------------------------------------------------------------------------------------------ errors

    def is_busy(self, failure: Exception) -> bool:
        """Whether somebody else held a lock for longer than the caller wanted to wait."""
        ...

    def is_lost(self, failure: Exception) -> bool:
        """Whether the connection, or the transaction, was lost through no fault of its events: to be tried again."""
        ...

    def breaks_connection(self, failure: Exception) -> bool:
        """Whether the connection that raised this should be opened anew before it is used again."""
        ...

    def translate(self, failure: Exception) -> StoreError:
        """Return the store's own error for a driver's: what was expected, what was found, what to do."""
        ...
