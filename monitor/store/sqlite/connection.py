"""SQLite as the store needs it: which library, how a connection is set up, and what its errors mean to a user."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from monitor.errors import ConflictError, StoreError, StoreFormatError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAFE_VERSION = (3, 51, 3)
"""The first SQLite without the WAL-reset race, which can corrupt a database that several connections write."""

Mode = Literal["rw", "rwc", "ro", "immutable"]
_JOURNAL_BYTES_KEPT = 64 * 2**20


@cache
def driver() -> Any:
    """The DB-API module: ``pysqlite3``, whose wheel brings its own recent SQLite, else Python's ``sqlite3``."""
    try:
        import pysqlite3  # noqa: PLC0415 - optional: it has wheels for Linux only
    except ImportError:
        return sqlite3
    return pysqlite3


def library_version() -> str:
    """The version of the SQLite library in use."""
    return str(driver().sqlite_version)


def library_is_safe() -> bool:
    """Whether the SQLite library in use is free of the WAL-reset race."""
    return tuple(int(part) for part in library_version().split(".")) >= SAFE_VERSION


def library_warnings() -> tuple[str, ...]:
    """What a user should know of the SQLite library in use; empty when all is well."""
    if library_is_safe():
        return ()
    wanted = ".".join(map(str, SAFE_VERSION))
    return (
        f"SQLite {library_version()} has a race that can corrupt a database written by several processes; "
        f"{wanted} or newer is wanted: pip install pysqlite3",
    )


def connect(path: Path, *, mode: Mode, busy_seconds: float) -> Any:
    """Open a DB-API connection in autocommit mode, usable from any one thread at a time.

    Every commit is durable when it returns (``synchronous=FULL``). ``immutable`` is for a file that nobody can write, or of
    which the header alone is read: the schema is not looked at here.

    Raises:
        The driver's own errors: callers pass them to ``translate``.
    """
    option = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    connection = driver().connect(
        f"file:{quote(str(path))}?{option}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    with closed_on_failure(connection):
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA trusted_schema=OFF")
        if mode != "immutable":  # these read the schema
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA journal_size_limit={_JOURNAL_BYTES_KEPT}")
    return connection


@contextmanager
def closed_on_failure(connection: Any) -> Iterator[None]:
    """Close a connection that cannot be used. Of a damaged schema the driver may be unable to say what SQLite says of it,
    which quotes its bytes: then it is the driver's own ``DatabaseError`` all the same.
    """
    try:
        yield
    except UnicodeDecodeError as exc:
        connection.close()
        damaged = driver().DatabaseError("the database's schema is damaged: a name in it is no text")
        damaged.sqlite_errorname = "SQLITE_CORRUPT"
        raise damaged from exc
    except BaseException:
        connection.close()
        raise


def connect_reader(path: Path, *, busy_seconds: float) -> Any:
    """Open a connection that only reads, also where neither the file nor its directory may be written.

    A WAL database needs its ``-shm`` file beside it even to be read. Where that cannot be made and no ``-wal`` holds
    anything, nobody is writing, and the file can be read as immutable.
    """
    try:
        return _probed(connect(path, mode="rw", busy_seconds=busy_seconds))
    except driver().OperationalError as exc:
        wal = path.with_name(f"{path.name}-wal")
        if _code(exc) not in {"CANTOPEN", "READONLY"} or (wal.exists() and wal.stat().st_size):
            raise
        return _probed(connect(path, mode="immutable", busy_seconds=busy_seconds))


def _probed(connection: Any) -> Any:
    """Forbid writing on ``connection`` and make sure that it can read; it is closed if it cannot."""
    with closed_on_failure(connection):
        connection.execute("PRAGMA query_only=ON")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    return connection


def is_busy(exc: Exception) -> bool:
    """Whether another connection held a lock for longer than this one may wait."""
    return _code(exc) in {"BUSY", "LOCKED"}


def is_not_a_database(exc: Exception) -> bool:
    """Whether the file is something else than a SQLite database."""
    return _code(exc) == "NOTADB"


def breaks_connection(exc: Exception) -> bool:
    """Whether the connection that raised this should be opened anew before it is used again."""
    return _code(exc) not in {"BUSY", "LOCKED", "CONSTRAINT", "FULL", "TOOBIG"}


def translate(exc: Exception, path: Path, *, busy_seconds: float = 0.0) -> StoreError:
    """Return the store's own error for a driver's: what was expected, what was found, what to do."""
    found = f"{path}: {exc}"
    match _code(exc):
        case "BUSY" | "LOCKED":
            return StoreUnavailableError(
                f"{path}: another process has held the write lock for {busy_seconds:g} s; "
                "end it or wait for it, then try again. Nothing was written"
            )
        case "FULL":
            return StoreUnavailableError(f"{found}; free some space and try again. Nothing was written")
        case "READONLY" | "PERM" | "AUTH":
            return StoreUnavailableError(
                f"{found}; the file and its directory must both be writable to store traces (reading needs neither). "
                "Nothing was written"
            )
        case "CANTOPEN":
            return StoreUnavailableError(f"{found}; check that the directory exists and may be written")
        case "IOERR":
            return StoreUnavailableError(
                f"{found}; the disk, its quota or a file-size limit refused. Nothing was written; mend it and try again"
            )
        case "NOTADB" | "CORRUPT":
            return StoreFormatError(
                f"{found}; expected a monitor database. Restore it from a copy, or name another file"
            )
        case "CONSTRAINT":
            return ConflictError(
                f"{path}: this event is there already: another process took the same step first ({exc})"
            )
        case "TOOBIG":
            return StoreError(f"{path}: one text is larger than SQLite can hold (1 GB). Nothing was written")
        case _:
            return StoreUnavailableError(f"{found}; nothing was written")


def _code(exc: Exception) -> str:
    """SQLite's primary result code by name, without ``SQLITE_``; empty for an error that is not SQLite's."""
    name = str(getattr(exc, "sqlite_errorname", ""))
    return name.removeprefix("SQLITE_").partition("_")[0]
