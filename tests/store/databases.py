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
        if is_postgres(address):
            self._connection: Any = psycopg.connect(address.replace("+psycopg", ""), autocommit=True)
            self.refusal: type[Exception] = psycopg.IntegrityError
        else:
            self._connection = driver().connect(str(parse_url(address)), isolation_level=None)
            self.refusal = driver().IntegrityError

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """The rows of a query, PostgreSQL's exact numbers as plain ones."""
        return [tuple(_plain(value) for value in row) for row in self._connection.execute(query).fetchall()]

    def execute(self, statement: str) -> None:
        """Run a statement in a transaction of its own."""
        self._connection.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


def _plain(value: object) -> object:
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else value
