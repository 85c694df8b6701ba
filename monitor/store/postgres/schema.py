"""A PostgreSQL database as a store: whose it is, its version, how an empty one is set up and an old one upgraded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import create_engine, exc
from sqlalchemy.pool import NullPool

from monitor.errors import StoreFormatError, StoreUnavailableError
from monitor.store.postgres.connection import LOCKS, OLDEST_SERVER, SCHEMA_LOCK, connect, translate
from monitor.store.schema import SCHEMA_VERSION, migrate, number_of, refuse_newer

if TYPE_CHECKING:
    from monitor.store.postgres.address import Address
    from monitor.store.postgres.connection import Connection

VERSION_TABLE = "monitor_schema"
"""Alembic's note of the version. Its presence says that the database is ours."""

_LEFT_ALONE = "it was left as it was; name another database"
_STRANGERS = """
SELECT c.relname FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1 LIMIT 1
"""


def version_of(connection: Connection, address: Address) -> int | None:
    """Return the schema's version, None where the database is empty.

    Raises:
        StoreFormatError: it is not ours, or cannot hold a store.
        psycopg.Error: it cannot be read.
    """
    row = connection.execute(
        "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'), current_schema(), "
        "to_regclass(quote_ident(current_schema()) || '.' || %s) IS NOT NULL",
        (VERSION_TABLE,),
    ).fetchone()
    assert row is not None
    server, encoding, schema, ours = row
    if server < OLDEST_SERVER:
        raise StoreFormatError(
            f"{address.shown}: expected PostgreSQL 13 or newer, found {server // 10000}; use a newer server"
        )
    if encoding != "UTF8":
        raise StoreFormatError(
            f"{address.shown}: expected a database in UTF8, found {encoding}; make one with: createdb --encoding UTF8"
        )
    if schema is None:
        raise StoreFormatError(
            f"{address.shown}: the role's search_path names no schema that it may use; grant it one "
            "(GRANT USAGE, CREATE ON SCHEMA public), or set another search_path"
        )
    if ours:
        found = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall()  # noqa: S608 - a constant
        return max((number_of(revision) for (revision,) in found), default=0)
    stranger = connection.execute(_STRANGERS).fetchone()
    if stranger:
        raise StoreFormatError(
            f"{address.shown}: expected a monitor database or an empty one, found some other program's (it has "
            f"{stranger[0]!r}); {_LEFT_ALONE}"
        )
    return None


def prepare(address: Address, *, create: bool, busy_seconds: float) -> None:
    """Make sure that the database is a store of this very schema; an empty one is set up.

    Raises:
        StoreFormatError: it is not ours, newer than this code, or older: then `monitor db upgrade` upgrades it.
        StoreUnavailableError: it cannot be reached, or it is empty and ``create`` is false.
    """
    try:
        with connect(address, busy_seconds=busy_seconds) as connection:
            version = version_of(connection, address)
    except psycopg.Error as failure:
        raise translate(failure, address, busy_seconds=busy_seconds) from failure
    if version is None:
        if not create:
            raise StoreUnavailableError(
                f"{address.shown}: there is no store here yet; `monitor run` makes one, or name another"
            )
        upgrade(address, busy_seconds=busy_seconds, only_new=True)
        return
    refuse_newer(address.shown, version)
    if version < SCHEMA_VERSION:
        raise StoreFormatError(
            f"{address.shown}: written by an older monitor (schema {version}; this one uses {SCHEMA_VERSION}); "
            "upgrade it with: monitor db upgrade"
        )


def upgrade(address: Address, *, busy_seconds: float, only_new: bool = False, target: str = "head") -> None:
    """Run the missing migrations in one transaction; of several processes that do so at once, one does it.

    Args:
        address: the database.
        busy_seconds: how long to wait for another process.
        only_new: whether to leave a database that has a schema (by now) as it is.
        target: the revision to stop at.

    Raises:
        StoreError: the database cannot be written, or is not ours.
    """
    opened: list[Connection] = []

    def creator() -> Connection:
        opened.append(connect(address, busy_seconds=busy_seconds))
        opened[-1].autocommit = False
        opened[-1].patience = None  # a migration takes as long as it takes
        return opened[-1]

    engine = create_engine("postgresql+psycopg://", creator=creator, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCKS}, {SCHEMA_LOCK})")
            version = version_of(opened[-1], address)
            if version is not None:
                refuse_newer(address.shown, version)
            if version is None or not only_new:
                migrate(connection, version_table=VERSION_TABLE, target=target)
    except exc.DBAPIError as failure:
        cause = failure.orig if isinstance(failure.orig, Exception) else failure
        raise translate(cause, address, busy_seconds=busy_seconds) from None
    except psycopg.Error as failure:
        raise translate(failure, address, busy_seconds=busy_seconds) from failure
    finally:
        engine.dispose()
