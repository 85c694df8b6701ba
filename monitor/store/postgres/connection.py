"""A connection to the server as the store needs it: durable commits, and no waiting without an end."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import sql

from monitor.errors import ConflictError, StoreError, StoreFormatError, StoreUnavailableError

if TYPE_CHECKING:
    from psycopg.abc import PQGen

    from monitor.store.postgres.address import Address

LOCKS = 0x664D6F6E
"""``fMon``: the first number of this package's advisory locks, which hold within one database."""
SCHEMA_LOCK, SEQUENCER_LOCK, ERASURE_LOCK, SEARCH_LOCK, CHECKPOINT_LOCK = 1, 2, 3, 4, 5
RUN_LOCKS = LOCKS + 1
"""The first number of the locks of runs; the second one is a hash of the run's id."""

OLDEST_SERVER = 130000
_LONGEST_SERVER_WAIT = 2**31 - 1  # milliseconds

# What ends a transaction through no fault of its own: the connection is gone, the server is stopped, starts or is full,
# or the transaction was in another one's way (deadlock, serialisation).
_PASSING = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53300", "40001", "40P01"})
_T = TypeVar("_T")


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection on which no statement waits for longer than ``patience`` seconds for an answer."""

    patience: float | None = None

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """Wait as psycopg does, and give the connection up where the server does not answer in time."""
        if self.patience is None or timeout is not None:
            return super().wait(gen, interval, timeout)
        began = time.monotonic()
        try:
            return super().wait(gen, interval, self.patience)
        except psycopg.OperationalError:
            if time.monotonic() - began >= self.patience:
                self.pgconn.finish()
            raise


def connect(address: Address, *, busy_seconds: float, read_only: bool = False) -> Connection:
    """Open a connection in autocommit mode.

    Every commit on it is durable when it returns: ``synchronous_commit`` is ``on`` (or ``remote_apply``, where the
    server is set so), whatever the role's or the database's default is. Locks are waited for ``busy_seconds`` at most,
    and the server ends a transaction that its client left idle for longer.

    Raises:
        psycopg.Error: callers pass it to ``translate``.
    """
    milliseconds = min(_LONGEST_SERVER_WAIT, max(1, round(busy_seconds * 1000)))
    defaults = {
        "application_name": "factored-monitor",
        "connect_timeout": str(max(2, math.ceil(busy_seconds))),
        "tcp_user_timeout": str(milliseconds),
        "keepalives_idle": "30",
    }
    keywords: dict[str, Any] = defaults | dict(address.keywords) | {"client_encoding": "UTF8"}
    connection = Connection.connect(autocommit=True, **keywords)
    try:
        connection.patience = busy_seconds + 1.0  # the server's own limits come first, and say more
        connection.execute(
            sql.SQL(
                "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
                "WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false), "
                "set_config('lock_timeout', {wait}, false), "
                "set_config('idle_in_transaction_session_timeout', {idle}, false), "
                "set_config('default_transaction_isolation', {isolation}, false), "
                "set_config('default_transaction_read_only', {read_only}, false)"
            ).format(
                wait=str(milliseconds),
                idle=str(min(_LONGEST_SERVER_WAIT, 2 * milliseconds + 10_000)),
                isolation="repeatable read" if read_only else "read committed",
                read_only="on" if read_only else "off",
            )
        )
    except BaseException:
        connection.close()
        raise
    return connection


# ------------------------------------------------------------------------------------------------------------- errors


def is_busy(failure: Exception) -> bool:
    """Whether another connection held a lock for longer than this one may wait."""
    return isinstance(failure, psycopg.errors.LockNotAvailable)


def is_lost(failure: Exception) -> bool:
    """Whether the connection or its transaction ended through no fault of what was written on it."""
    if not isinstance(failure, psycopg.Error):
        return False
    state = failure.sqlstate
    if state is None:  # libpq's own: the server cannot be reached, or went away without a word
        return isinstance(failure, (psycopg.OperationalError, psycopg.InterfaceError))
    return state.startswith("08") or state in _PASSING


def breaks_connection(failure: Exception) -> bool:
    """Whether the connection that raised this should be opened anew before it is used again."""
    return is_lost(failure) and getattr(failure, "sqlstate", None) not in {"40001", "40P01"}


def translate(failure: Exception, address: Address, *, busy_seconds: float = 0.0) -> StoreError:
    """Return the store's own error for a driver's. Whatever the driver says, the address's passwords are not in it."""
    place = address.shown
    found = address.hide(f"{place}: {' '.join(str(failure).split())}")
    state = str(getattr(failure, "sqlstate", None) or "")
    if state == "55P03":
        return StoreUnavailableError(
            f"{place}: another process has held a lock for {busy_seconds:g} s; end it or wait for it, then try again. "
            "Nothing was written"
        )
    if state.startswith("23"):
        return ConflictError(f"{found}: this is there already: another process took the same step first")
    if state.startswith("53"):
        return StoreUnavailableError(f"{found}; the server's disk or memory is full: mend it and try again")
    if state in {"42501", "25006"}:
        return StoreUnavailableError(
            f"{found}; the role of the URL must be allowed to write there (reading needs less). Nothing was written"
        )
    if state in {"42P01", "42703", "42883", "XX001", "XX002"}:
        return StoreFormatError(f"{found}; expected a monitor database. Restore it, or name another database")
    if state == "54000":
        return StoreError(f"{found}; one text is larger than PostgreSQL can hold (1 GB). Nothing was written")
    if not state:
        return StoreUnavailableError(f"{found}; is the server running, and are host, port, database and role right?")
    return StoreUnavailableError(f"{found}; nothing was written")
