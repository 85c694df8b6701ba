"""Taking erased texts out of a SQLite file: zeros over what is freed, the file written anew, its log emptied."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from monitor.store.scrubbing import Scrubbed
from monitor.store.sqlite.connection import connect, driver, is_busy, translate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_AGAIN = "run `monitor audit redact --finish` when nobody else has the store open"


def scrub(path: Path, *, busy_seconds: float, progress: Callable[[str], None]) -> Scrubbed:
    """Write the file anew (``VACUUM``) and empty its write-ahead log.

    A row that was once moved from page to page can have left a copy in a page's free space, which no statement reaches:
    only a file that is written anew is free of it. Whoever reads an old snapshot keeps the log from being emptied.

    Raises:
        StoreError: the file cannot be written.
    """
    left = [
        f"{found}: a backup of the store from before the erasure; delete it, or restore it nowhere"
        for found in _backups(path)
    ]
    try:
        with contextlib.closing(connect(path, mode="rw", busy_seconds=busy_seconds)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            progress("writing the file anew")
            try:
                connection.execute("VACUUM")
            except driver().OperationalError as failure:
                if not is_busy(failure):
                    raise
                return Scrubbed(False, (f"another process held the file, which was not written anew: {_AGAIN}", *left))
            progress("emptying the write-ahead log")
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except driver().Error as failure:
        raise translate(failure, path, busy_seconds=busy_seconds) from failure
    if busy:
        return Scrubbed(
            False, (f"another process reads an old state, so the log {path.name}-wal is kept: {_AGAIN}", *left)
        )
    return Scrubbed(True, tuple(left))


def _backups(path: Path) -> list[Path]:
    """Files beside the store that an upgrade left there."""
    return sorted(path.parent.glob(f"{path.stem}.schema*{path.suffix}"))
