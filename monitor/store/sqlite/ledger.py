"""The ledger of a SQLite file: ``BEGIN IMMEDIATE`` takes the file's write lock, ``COMMIT`` flushes it to the disk.

What this connection has itself inserted since any other last committed need not be looked up again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from monitor.store.ledger import FOLLOWED, Ledger, keep_recent
from monitor.store.location import FileIdentity
from monitor.store.sqlite.connection import connect, driver, is_busy
from monitor.store.statements import Statements

if TYPE_CHECKING:
    from pathlib import Path

_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.025  # seconds between looks at a lock that another process holds

STATEMENTS = Statements.of(
    "INSERT INTO events (leaf_index, run_id, span_id, seq, kind, at, canonical, leaf_hash) "
    "SELECT (SELECT coalesce(max(leaf_index) + 1, 0) FROM events), ?, ?, ?, ?, ?, ?, ? WHERE",
    mark="?",
)
_INSERT_NEXT = (
    "INSERT INTO events (leaf_index, run_id, span_id, seq, kind, at, canonical, leaf_hash) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


class SqliteLedger(Ledger):
    """A connection that appends to a file; between ``begin`` and ``commit`` it holds the file's write lock.

    What it remembers of the events, texts and nodes stored is dropped whenever another connection has committed since, or a
    transaction was rolled back.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path``, which must be a prepared store. Raises the driver's errors and StoreUnavailableError."""
        self._file = FileIdentity.of(path)
        self._connection: Any = connect(path, mode="rw", busy_seconds=0)
        super().__init__(STATEMENTS, self._connection.execute, driver().IntegrityError)
        self._data_version: int | None = None
        self._next_leaf: int | None = None
        self._holding: OrderedDict[tuple[str | int, ...], None] = OrderedDict()  # statements whose conditions hold

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        self._connection.close()

    def begin(self, *, patience: float) -> None:
        """Take the write lock, waiting up to ``patience`` seconds for another process. Raises the driver's errors."""
        deadline = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while True:
            try:
                self._execute("BEGIN IMMEDIATE")
                break
            except driver().OperationalError as exc:
                left = deadline - time.monotonic()
                if not is_busy(exc) or left <= 0:
                    raise
                time.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)
        (data_version,) = self._execute("PRAGMA data_version").fetchone()
        if data_version != self._data_version:
            self._forget()
            self._data_version = data_version

    def begin_erasure(self, *, patience: float) -> None:
        """As ``begin``; what is overwritten or freed in the file from now on is overwritten with zeros."""
        self._execute("PRAGMA secure_delete = ON")
        self.begin(patience=patience)

    def commit(self) -> None:
        """Make everything since ``begin`` durable.

        Raises:
            StoreUnavailableError: the file was moved away; and the driver's errors. Either way nothing was written.
        """
        self._file.verify()
        self._execute("COMMIT")

    def rollback(self) -> None:
        """Undo everything since ``begin``."""
        self._forget()
        if self._connection.in_transaction:
            self._execute("ROLLBACK")

    def _forget(self) -> None:
        super()._forget()
        self._next_leaf = None
        self._holding.clear()

    def _add(self, statement: str, row: tuple[str | int, ...], condition: tuple[str | int, ...]) -> bool:
        holds = (statement, *condition)
        if self._next_leaf is not None and holds in self._holding:
            self._execute(_INSERT_NEXT, (self._next_leaf, *row))
        else:
            cursor = self._execute(statement, row + condition)
            if not cursor.rowcount:
                return False
            self._next_leaf = cursor.lastrowid
        self._next_leaf += 1
        run_id, span_id, seq, kind = row[:4]
        if statement == STATEMENTS.if_step:
            self._holding.pop(holds, None)  # it is asked once
        else:
            self._remember(STATEMENTS.if_run, run_id)
        if kind in FOLLOWED:
            self._remember(STATEMENTS.if_step, run_id, span_id, seq, kind)
        return True

    def _remember(self, *holds: str | int) -> None:
        self._holding[holds] = None
        keep_recent(self._holding, holds)
