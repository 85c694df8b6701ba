"""Questions in SQL that others write, answered without a way to change anything: ``ask`` and its limits.

A SQLite file is read by a process of its own with hard limits, a PostgreSQL database in a read-only transaction under a
role that may read the views and nothing else. See ``docs/auditing.md`` for what is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store.asking.answers import Answer, QueryError, QueryLimits
from monitor.store.asking.views import VIEWS
from monitor.store.location import is_postgres, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VIEWS", "Answer", "QueryError", "QueryLimits", "ask", "grant"]

Value = str | int | float | None


def ask(
    url: str,
    sql: str,
    parameters: Mapping[str, Value] | None = None,
    *,
    limits: QueryLimits | None = None,
    busy_seconds: float = 30.0,
) -> Answer:
    """Answer one SELECT over the views of the store at ``url``.

    Args:
        url: the store; it must exist and be of this schema.
        sql: one statement. ``:name`` stands for a parameter, on either database.
        parameters: the values of all parameters in ``sql``.
        limits: time, rows and bytes; see ``QueryLimits``.
        busy_seconds: how long to wait for the database.

    Raises:
        QueryError: the statement is refused, wrong, or ran past a limit.
        StoreError: the database cannot be read.
        ConfigError: the URL is wrong.
    """
    given, within = dict(parameters or {}), limits or QueryLimits()
    if is_postgres(url):
        from monitor.store.opening import locate  # noqa: PLC0415 - says which extra is missing
        from monitor.store.schema import SCHEMA_VERSION  # noqa: PLC0415, F401 - as above

        locate(url, busy_seconds=busy_seconds).prepare(create=False)
        from monitor.store.postgres.asking import ask_server  # noqa: PLC0415 - psycopg is optional

        return ask_server(url, sql, given, within, busy_seconds=busy_seconds)
    from monitor.store.sqlite.asking import ask_file  # noqa: PLC0415 - needed for this alone

    return ask_file(parse_url(url), sql, given, within, busy_seconds=busy_seconds)


def grant(url: str, to: str | None = None, *, busy_seconds: float = 30.0) -> list[str]:
    """Make the role ``monitor_auditor`` on a server, and let the login ``to`` (default: the URL's own) become it.

    Returns the statements that were executed. Raises ConfigError for a file, which has no roles, and StoreError.
    """
    from monitor.errors import ConfigError  # noqa: PLC0415 - beside its one use

    if not is_postgres(url):
        raise ConfigError("a SQLite file has no roles: who may read the file may ask it. Nothing was changed")
    from monitor.store.opening import locate  # noqa: PLC0415 - says which extra is missing

    locate(url, busy_seconds=busy_seconds).prepare(create=False)
    from monitor.store.postgres.asking import grant_role  # noqa: PLC0415 - psycopg is optional

    return grant_role(url, to, busy_seconds=busy_seconds)
