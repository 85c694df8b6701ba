"""A disk on which commits fail, for tests that fail a store at every commit in turn."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pysqlite3

from monitor.store.sqlite.ledger import SqliteLedger

if TYPE_CHECKING:
    import pytest


class FailingDisk:
    """Counts the commits to stores of this process, and fails the ones that it is told to, as SQLite does on a bad disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits = 0
        self._first = self._last = 0
        commit = SqliteLedger.commit

        def counted(ledger: SqliteLedger) -> None:
            self.count()
            commit(ledger)

        monkeypatch.setattr(SqliteLedger, "commit", counted)

    def count(self) -> None:
        """Count a commit that is to be made now. Raises SQLite's error for it if it is to fail."""
        self.commits += 1
        if self._first <= self.commits <= self._last:
            raise pysqlite3.OperationalError("disk I/O error")

    def fail(self, first: int, *, lasting: bool) -> None:
        """Fail the ``first`` commit from now on, or, ``lasting``, that one and all that follow it."""
        self.commits, self._first, self._last = 0, first, sys.maxsize if lasting else first

    def mend(self) -> None:
        """Fail no commit from now on."""
        self._first = self._last = 0


class OnDisk:
    """A connection of something else than a store, whose commits are counted and failed too."""

    def __init__(self, connection: Any, disk: FailingDisk) -> None:
        self._connection, self._disk = connection, disk

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT":
            self._disk.count()
        return self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
