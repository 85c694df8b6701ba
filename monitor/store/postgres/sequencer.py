"""The sequencer: gives each committed event its place in the Merkle log, one process at a time.

A number that is taken when a row is inserted is no place in a log: a row with a smaller number may be committed later
than one with a larger, and a reader that has seen the larger would find a hole filled behind its back. So an event is
inserted without a leaf, and noted in ``pending_leaves`` in the same transaction. Whoever holds the sequencer's lock takes
all notes that are committed by then, in the order of insertion, and gives them the next leaves. What is committed later
comes later, whatever its number.

The order keeps that of each run and of each subcall: a step is inserted only where the step before it is committed (or of
the same transaction), so it has the larger number, and whoever sees it sees the step before it too.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

import psycopg

from monitor.store.postgres.connection import LOCKS, SEQUENCER_LOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.store.postgres.connection import Connection

_PAUSE_SECONDS = 0.05  # between two turns: what is committed meanwhile shares the next turn's commit
_STOP_LOCK_SECONDS = 1.0
_log = logging.getLogger(__name__)

_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%s, %s)"
_LOCK = "SELECT pg_advisory_xact_lock(%s, %s)"
_SEQUENCE = """
WITH taken AS (DELETE FROM pending_leaves RETURNING position)
INSERT INTO leaves (leaf_index, run_id, span_id, seq, leaf_hash)
SELECT (SELECT coalesce(max(leaf_index) + 1, 0) FROM leaves) + row_number() OVER (ORDER BY e.position) - 1,
       e.run_id, e.span_id, e.seq, e.leaf_hash
FROM taken JOIN events AS e ON e.position = taken.position
ORDER BY e.position
"""


def sequence(connection: Connection, *, wait: bool) -> int | None:
    """Give every event that is committed now and has no leaf its leaf, in one transaction.

    Args:
        connection: in autocommit mode.
        wait: whether to wait where another process is sequencing.

    Returns:
        How many there were; None if another process is sequencing and ``wait`` is false.

    Raises:
        psycopg.Error: nothing was sequenced, or (if the connection was lost) all of it.
    """
    with connection.transaction():
        # The lock comes in a statement of its own: the next one sees all that its last holder committed.
        locked = connection.execute(_LOCK if wait else _TRY_LOCK, (LOCKS, SEQUENCER_LOCK)).fetchone()
        if not wait and locked != (True,):
            return None
        return connection.execute(_SEQUENCE).rowcount


def count_pending(connection: Connection) -> int:
    """Return how many committed events have no leaf. Raises psycopg.Error."""
    row = connection.execute("SELECT count(*) FROM pending_leaves").fetchone()
    assert row is not None
    return int(row[0])


class Sequencer:
    """A thread that sequences after commits, on a connection of its own, so that no writer waits for it.

    It fails in silence: what it could not sequence stays pending, is reported as such, and is sequenced by the next commit
    of anybody, or on demand.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._wanted = threading.Event()
        self._ending = threading.Event()
        self._gate = threading.Lock()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    def notify(self) -> None:
        """Say that something was committed; returns at once."""
        self._wanted.set()
        if self._thread is None:
            with self._gate:
                if self._thread is None and not self._ending.is_set():
                    self._thread = threading.Thread(target=self._run, name="monitor-store-sequencer", daemon=True)
                    self._thread.start()

    def stop(self) -> None:
        """Sequence what is left, and end. Safe to call twice; does nothing in a forked child."""
        if os.getpid() != self._process:
            return
        with self._gate:
            self._ending.set()
        self._wanted.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wanted.wait()
            if self._ending.is_set():
                break
            self._wanted.clear()
            if self._turn(wait=False) is None:
                self._wanted.set()  # somebody else is at it, and may not see what we committed
            self._ending.wait(_PAUSE_SECONDS)
        if self._connection:
            self._turn(wait=True)
        if self._connection:
            self._connection.close()

    def _turn(self, *, wait: bool) -> int | None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            if wait:
                self._connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{_STOP_LOCK_SECONDS}s",))
            return sequence(self._connection, wait=wait)
        except psycopg.Error as failure:
            _log.debug("events stay without a leaf for now: %s", type(failure).__name__)
            if self._connection:
                self._connection.close()
                self._connection = None
            return 0
