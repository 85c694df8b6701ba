"""Taking erased texts out of a PostgreSQL database: the table of texts is written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from monitor.store.scrubbing import Scrubbed

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.store.postgres.address import Address
    from monitor.store.postgres.connection import Connection

TABLES = ("texts", "search_words")
"""The tables that hold texts, or anything that is derived from them."""

_OUTSIDE = (
    "the server's write-ahead log (pg_wal), its archive, replicas' logs and older dumps hold what was written before the "
    "erasure until they are recycled or deleted: see docs/proving.md"
)


def scrub(connection: Connection, address: Address, progress: Callable[[str], None]) -> Scrubbed:
    """Write the tables anew (``VACUUM FULL``), which needs their owner, and flush (``CHECKPOINT``), which needs more.

    Raises psycopg.Error for anything but missing rights.
    """
    connection.patience = None
    progress("writing the table of texts anew")
    for table in TABLES:
        refused: list[str] = []
        handler = _noting(refused)
        connection.add_notice_handler(handler)
        try:
            connection.execute(f"VACUUM (FULL) {table}".encode())
        except psycopg.errors.InsufficientPrivilege:
            refused.append(table)
        except psycopg.errors.LockNotAvailable:
            return Scrubbed(False, (_by_hand(address, "somebody else held the table"), _OUTSIDE))
        finally:
            connection.remove_notice_handler(handler)
        if refused:
            return Scrubbed(False, (_by_hand(address, "only its owner may write the table anew"), _OUTSIDE))
    try:
        connection.execute("CHECKPOINT")
    except psycopg.errors.InsufficientPrivilege:
        return Scrubbed(True, ("the old file of the table is deleted at the server's next checkpoint", _OUTSIDE))
    return Scrubbed(True, (_OUTSIDE,))


def _noting(refused: list[str]) -> Callable[[psycopg.errors.Diagnostic], None]:
    """A table that the role may not vacuum is skipped with a warning, and no error."""

    def handler(said: psycopg.errors.Diagnostic) -> None:
        if said.severity_nonlocalized == "WARNING":
            refused.append(said.message_primary or "")

    return handler


def _by_hand(address: Address, why: str) -> str:
    return f"{address.shown}: {why}; dead rows hold the erased texts until somebody runs: VACUUM (FULL) {', '.join(TABLES)}"
