"""A question to a PostgreSQL database: one statement, read-only, under a role that may read the views alone."""

from __future__ import annotations

import contextlib
import threading
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql as compose

from monitor.errors import StoreError, StoreUnavailableError
from monitor.store.asking.answers import Answer, QueryError, QueryLimits
from monitor.store.asking.views import VIEWS
from monitor.store.postgres.address import parse_address
from monitor.store.postgres.connection import connect, translate
from monitor.store.postgres.lexing import prepared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.store.postgres.address import Address
    from monitor.store.postgres.connection import Connection

AUDITOR = "monitor_auditor"
"""The role, without a login, that may read the views and nothing else."""

_CHUNK = 100
_POWERS = ("pg_read_server_files", "pg_write_server_files", "pg_execute_server_program", "pg_signal_backend")
_WHO = """
SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
       EXISTS (SELECT 1 FROM pg_roles WHERE rolname = %(auditor)s),
       coalesce((SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = %(auditor)s), false),
       ARRAY(SELECT rolname::text FROM pg_roles
             WHERE rolname = ANY(%(powers)s) AND pg_has_role(current_user, oid, 'MEMBER')),
       current_schema(), current_user::text
"""


def ask_server(
    url: str, query: str, parameters: Mapping[str, Any], limits: QueryLimits, *, busy_seconds: float
) -> Answer:
    """Answer one SELECT over the views of the database. Raises QueryError, StoreError."""
    address = parse_address(url)
    statement = prepared(query, parameters)
    try:
        with contextlib.closing(connect(address, busy_seconds=busy_seconds, read_only=True)) as connection:
            connection.patience = limits.seconds + busy_seconds + 1.0
            connection.autocommit = False
            _become_auditor(connection, limits, address)
            return _answer(connection, statement, parameters, limits)
    except psycopg.Error as failure:
        raise _translated(failure, address, limits, busy_seconds) from failure


def _become_auditor(connection: Connection, limits: QueryLimits, address: Address) -> None:
    """Begin the transaction and give up whatever the login may do beyond reading the views."""
    row = connection.execute(_WHO, {"auditor": AUDITOR, "powers": list(_POWERS)}).fetchone()
    assert row is not None
    is_super, exists, is_member, powers, schema, login = row
    if not (exists and is_member) and (is_super or powers):
        why = "a superuser" if is_super else f"a member of {', '.join(powers)}"
        raise StoreUnavailableError(
            f"{address.shown}: the login {login} is {why}, who can read the server's files from a query, and the role "
            f"{AUDITOR} is not there to be used instead; make it with: monitor audit grant"
        )
    connection.execute(
        compose.SQL("SET LOCAL search_path = pg_catalog, {}, pg_temp").format(compose.Identifier(schema))
    )
    for name, value in (
        ("statement_timeout", str(max(1, round(limits.seconds * 1000)))),
        ("standard_conforming_strings", "on"),
        ("max_parallel_workers_per_gather", "0"),
    ):
        connection.execute("SELECT set_config(%s, %s, true)", (name, value))
    if exists and is_member:
        connection.execute(compose.SQL("SET LOCAL ROLE {}").format(compose.Identifier(AUDITOR)))


def _answer(connection: Connection, statement: str, parameters: Mapping[str, Any], limits: QueryLimits) -> Answer:
    rows: list[tuple[Any, ...]] = []
    deadline, size = time.monotonic() + limits.seconds, 0
    timer = threading.Timer(limits.seconds, connection.cancel)  # all fetches together
    timer.daemon = True
    timer.start()
    try:
        # DECLARE CURSOR takes a SELECT and nothing that writes; psycopg sends it by the protocol that takes one statement.
        with connection.cursor(name="monitor_query") as cursor:
            cursor.execute(statement.encode(), dict(parameters))
            columns = tuple(column.name for column in cursor.description or ())
            while len(rows) <= limits.rows and (some := cursor.fetchmany(min(_CHUNK, limits.rows + 1 - len(rows)))):
                rows += [tuple(map(_plain, row)) for row in some]
                size += sum(len(value) for row in some for value in row if isinstance(value, (str, bytes)))
                if size > limits.bytes:
                    raise QueryError(limits.too_large())
                if time.monotonic() > deadline:
                    raise QueryError(limits.too_slow())
    finally:
        timer.cancel()
    return Answer(columns, rows[: limits.rows], is_cut=len(rows) > limits.rows)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value if value is None or isinstance(value, (str, int, float, bool, bytes)) else str(value)


def _translated(
    failure: psycopg.Error, address: Address, limits: QueryLimits, busy_seconds: float
) -> StoreError | QueryError:
    state = str(failure.sqlstate or "")
    said = address.hide(" ".join(str(failure).split()))
    if state == "57014":
        return QueryError(limits.too_slow())
    if state in {"25006", "42501", "0A000", "55000"}:
        return QueryError(f"refused: {said}. A query may read the views; after an upgrade: monitor audit grant")
    if state[:2] in {"42", "22", "21", "54", "34", "0L", "2F"}:
        return QueryError(f"the query is wrong: {said}")
    if state == "53200":
        return QueryError("the query was stopped: the server has no memory for it; sort, group or join less at once")
    return translate(failure, address, busy_seconds=busy_seconds)


def grant_role(url: str, to: str | None, *, busy_seconds: float) -> list[str]:
    """Make the auditor's role where it is missing, let it read the views, and let ``to`` become it. Raises StoreError."""
    address = parse_address(url)
    role = compose.Identifier(AUDITOR)
    done: list[str] = []
    try:
        with contextlib.closing(connect(address, busy_seconds=busy_seconds)) as connection:
            connection.autocommit = False
            row = connection.execute(_WHO, {"auditor": AUDITOR, "powers": []}).fetchone()
            assert row is not None
            is_super, exists, _, _, schema, login = row
            member = compose.Identifier(to or login)
            views = compose.SQL(", ").join(compose.Identifier(schema, name) for name in VIEWS)
            steps = [
                *([] if exists else [compose.SQL("CREATE ROLE {} NOLOGIN").format(role)]),
                compose.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(compose.Identifier(schema), role),
                compose.SQL("GRANT SELECT ON {} TO {}").format(views, role),
                *([] if is_super and to is None else [compose.SQL("GRANT {} TO {}").format(role, member)]),
            ]
            for step in steps:
                connection.execute(step)
                done.append(step.as_string(connection))
            connection.commit()
    except psycopg.Error as failure:
        raise translate(failure, address, busy_seconds=busy_seconds) from failure
    return done
