"""A SQLite file as a store: whose it is, its version, how it is made and brought up to date.

The file says whose it is before anything is done to it, so that a stranger's file is left as it is.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from enum import Enum
from typing import TYPE_CHECKING, Any

from monitor.errors import StoreFormatError, StoreUnavailableError
from monitor.store.schema import SCHEMA_VERSION, backup_stamp, migrate, number_of, refuse_newer
from monitor.store.sqlite.connection import (
    connect,
    connect_reader,
    driver,
    is_busy,
    is_not_a_database,
    translate,
)

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID = 0x664D6F6E
"""``fMon`` at byte 68 of the file: the SQLite way to say whose database this is."""

_LEFT_ALONE = "it was left as it is; name another file"
_RETRY_SECONDS = 0.01
_log = logging.getLogger(__name__)


class FileKind(Enum):
    """What is at a path, as far as its header tells."""

    MISSING = "missing"
    EMPTY = "empty"
    OURS = "ours"


def identify(path: Path) -> FileKind:
    """Say what is at ``path`` without changing it.

    SQLite itself does the reading: to close a file of one's own cancels every POSIX lock that this process holds on it,
    also those of another connection to the same database. An immutable connection takes no lock and makes no file; so it
    may see the file in the middle of a checkpoint, or as one left it that was cut off.

    Raises:
        StoreFormatError: it is no monitor database.
        StoreUnavailableError: it cannot be read.
    """
    try:
        if path.stat().st_size == 0:
            return FileKind.EMPTY
        application_id = _application_id(path)
    except FileNotFoundError:
        return FileKind.MISSING
    except OSError as exc:
        raise StoreUnavailableError(f"{path}: cannot be read ({exc.strerror}); name a file that can") from exc
    except driver().Error as exc:
        if is_not_a_database(exc):
            raise StoreFormatError(
                f"{path}: expected a monitor database, found a file that is no SQLite database; {_LEFT_ALONE}"
            ) from exc
        raise translate(exc, path) from exc
    if application_id != APPLICATION_ID:
        raise StoreFormatError(f"{path}: expected a monitor database, found some other program's; {_LEFT_ALONE}")
    return FileKind.OURS


def _application_id(path: Path) -> int:
    """Whose database it says that it is, although a checkpoint may be half done. Raises the driver's errors."""
    connection = connect(path, mode="immutable", busy_seconds=0)
    try:
        # A header may tell of pages that are in the log alone so far, which SQLite takes for damage unless told otherwise:
        # https://sqlite.org/pragma.html#pragma_writable_schema. Whoever opens the file with its log finds them.
        connection.execute("PRAGMA writable_schema=ON")
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    finally:
        connection.close()
    return int(application_id)


def prepare(path: Path, *, create: bool, busy_seconds: float) -> None:
    """Make sure that ``path`` is a monitor database of this very schema: create or upgrade it where needed.

    Before a store of an older schema is upgraded a backup is made and compared; the log says where it is.

    Raises:
        StoreFormatError: the file is not ours, or newer than this code.
        StoreUnavailableError: it is missing and ``create`` is false, or it cannot be written although it must be.
    """
    kind = identify(path)
    if kind is not FileKind.OURS:
        if not create:
            raise StoreUnavailableError(f"{path}: there is no store here yet; `monitor run` makes one, or name another")
        _create_file(path, busy_seconds)
    try:
        version = read_version(path, busy_seconds=busy_seconds)
    except driver().Error as exc:
        raise translate(exc, path, busy_seconds=busy_seconds) from exc
    refuse_newer(str(path), version)
    if version < SCHEMA_VERSION:
        if version:  # 0 is a file without tables, whose making was cut off
            _back_up(path, version, busy_seconds)
        upgrade(path, busy_seconds=busy_seconds)


def _back_up(path: Path, version: int, busy_seconds: float) -> None:
    from monitor.store.sqlite.backup import back_up  # noqa: PLC0415 - needed only here

    backup = back_up(path, backup_stamp(version), busy_seconds=busy_seconds)
    _log.warning(
        "%s: upgrading from schema %d to %d; a backup is in %s (%d events, every hash agrees)",
        path,
        version,
        SCHEMA_VERSION,
        backup.path,
        backup.events,
    )


def read_version(path: Path, *, busy_seconds: float) -> int:
    """Return the schema version of a monitor database, 0 before its first migration. Raises the driver's errors."""
    connection = connect_reader(path, busy_seconds=busy_seconds)
    try:
        return version_of(connection)
    finally:
        connection.close()


def version_of(connection: Any) -> int:
    """The schema version that an open DB-API connection sees: Alembic's own note, or the header's if that is larger."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        for (revision,) in connection.execute("SELECT version_num FROM alembic_version"):
            version = max(version, number_of(revision))
    return int(version)


def _create_file(path: Path, busy_seconds: float) -> None:
    """Make an empty database that says whose it is, in WAL mode. Several processes may do this at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreUnavailableError(f"{path.parent}: cannot be made ({exc.strerror}); name another place") from exc
    try:
        if not os.path.lexists(path) and _put_in_place(path, busy_seconds):
            return
        _say_whose(path, busy_seconds)
    except driver().Error as exc:
        raise translate(exc, path, busy_seconds=busy_seconds) from exc


def _put_in_place(path: Path, busy_seconds: float) -> bool:
    """Make the file beside its place and link it there when it is whole: nobody finds it half made, not after a kill
    either. False where the file system has no links.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.making")
    try:
        _say_whose(beside, busy_seconds)
        path.hardlink_to(beside)
    except FileExistsError:
        return True  # somebody else was quicker
    except OSError:
        return False
    finally:
        beside.unlink(missing_ok=True)
    return True


def _say_whose(path: Path, busy_seconds: float) -> None:
    connection = connect(path, mode="rwc", busy_seconds=busy_seconds)
    try:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _enter_wal(connection, deadline=time.monotonic() + busy_seconds)
    finally:
        connection.close()


def _enter_wal(connection: Any, *, deadline: float) -> None:
    """Switch to write-ahead logging, waiting for other openers: for this one step SQLite does not wait by itself."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except driver().OperationalError as exc:
            if not is_busy(exc) or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def upgrade(path: Path, *, busy_seconds: float, target: str = "head") -> None:
    """Run the missing migrations in one write transaction; a process that waited for another finds none missing.

    Raises:
        StoreError: the file cannot be written.
    """
    from sqlalchemy import create_engine, event, exc  # noqa: PLC0415 - slow to import and needed only here
    from sqlalchemy.pool import NullPool  # noqa: PLC0415 - as above

    engine = create_engine(
        "sqlite://",
        module=driver(),
        creator=lambda: connect(path, mode="rw", busy_seconds=busy_seconds),
        poolclass=NullPool,
    )
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            migrate(connection, target=target)
    except exc.DBAPIError as failure:
        raise translate(failure.orig or failure, path, busy_seconds=busy_seconds) from failure
    except driver().Error as failure:
        raise translate(failure, path, busy_seconds=busy_seconds) from failure
    finally:
        engine.dispose()
