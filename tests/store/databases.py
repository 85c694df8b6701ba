"""A database as anybody with a SQL shell sees it, on SQLite and on PostgreSQL."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

import psycopg

from monitor.store.location import is_postgres, parse_url
from monitor.store.sqlite import driver

if TYPE_CHECKING:
    from types import TracebackType


class Database:
    """A connection to the store at ``address`` around the store; ``refusal`` is what it raises for a forbidden change.

    In this process a SQLite file may only be opened through the library that has it open.
    """

    def __init__(self, address: str) -> None:
        self._is_server = is_postgres(address)
        if self._is_server:
            self._connection: Any = psycopg.connect(address.replace("+psycopg", ""), autocommit=True)
            self.refusal: type[Exception] = psycopg.IntegrityError
        else:
            self._connection = driver().connect(str(parse_url(address)), isolation_level=None)
            self.refusal = driver().IntegrityError

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query, PostgreSQL's exact numbers as plain ones."""
        return [tuple(_plain(value) for value in row) for row in self._connection.execute(query).fetchall()]

    def table(self, query: str) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """The names of a query's columns, and its rows as they are."""
        cursor = self._connection.execute(query)
        return tuple(column[0] for column in cursor.description), cursor.fetchall()

    def execute(self, statement: str) -> None:
        """Run a statement in a transaction of its own."""
        self._connection.execute(statement)

    def lift_triggers(self, table: str) -> None:
        """Take away what keeps a table as it is, as only its owner can."""
        if self._is_server:
            self.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            return
        query = f"SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{table}'"
        for (name,) in self.rows(query):
            self.execute(f"DROP TRIGGER {name}")

    def refuse(self, kind: str) -> None:
        """Let the database fail whoever writes an event of this kind, until ``allow``."""
        if self._is_server:
            self.execute(
                "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'the disk is gone'; END $$"
            )
            self.execute(
                f"CREATE TRIGGER fault BEFORE INSERT ON events FOR EACH ROW WHEN (new.kind = '{kind}') "
                "EXECUTE FUNCTION fault()"
            )
        else:
            self.execute(
                f"CREATE TRIGGER fault BEFORE INSERT ON events WHEN new.kind = '{kind}' "
                "BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END"
            )

    def allow(self) -> None:
        """Undo ``refuse``."""
        self.execute("DROP FUNCTION fault CASCADE" if self._is_server else "DROP TRIGGER fault")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _plain(value: object) -> object:
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else value
