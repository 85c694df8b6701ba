"""A backup of a SQLite file that is in use: made by SQLite itself (``VACUUM INTO``), then read back and compared.

The file of a live database is never copied: what is not yet moved from its write-ahead log would be missing.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from monitor.errors import StoreFormatError
from monitor.store.ledger import leaf_hash_of
from monitor.store.sqlite.connection import connect, connect_reader, driver, translate
from monitor.store.upgrading import Backup

if TYPE_CHECKING:
    from pathlib import Path


def back_up(path: Path, stamp: str, *, busy_seconds: float) -> Backup:
    """Make a backup beside ``path`` and compare it. Raises StoreError: then there is no backup to rely on."""
    copy = path.with_name(f"{path.stem}.{stamp}{path.suffix}")
    try:
        with contextlib.closing(connect(path, mode="rw", busy_seconds=busy_seconds)) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(path.stat().st_mode)
        with contextlib.closing(connect(copy, mode="rw", busy_seconds=busy_seconds)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")  # as the store wants it, where it is put in its place
            sound = connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            count, digest = _digest(connection, None)
        with contextlib.closing(connect_reader(path, busy_seconds=busy_seconds)) as connection:
            live = _digest(connection, count)
    except driver().Error as failure:
        raise translate(failure, copy, busy_seconds=busy_seconds) from failure
    if not sound or (count, digest) != live:
        raise StoreFormatError(f"{copy}: the backup is not equal to {path}; nothing was upgraded. Check the disk")
    return Backup(copy, count)


def _digest(connection: Any, limit: int | None) -> tuple[int, str]:
    """How many of the first ``limit`` events there are, and SHA-256 over their leaf hashes, each computed anew."""
    digest, count = hashlib.sha256(), 0
    rows = connection.execute(
        "SELECT canonical FROM events ORDER BY leaf_index LIMIT ?", (-1 if limit is None else limit,)
    )
    for (canonical,) in rows:
        digest.update(bytes.fromhex(leaf_hash_of(canonical)))
        count += 1
    return count, digest.hexdigest()
