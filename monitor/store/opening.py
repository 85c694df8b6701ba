"""From a URL to a backend: SQLite for paths, PostgreSQL for its URLs. What a backend needs is imported when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.errors import ConfigError, MissingExtraError
from monitor.store.facts import StoreFacts
from monitor.store.location import is_postgres, parse_url, without_password
from monitor.store.schema import SCHEMA_VERSION
from monitor.store.sqlite import SqliteBackend

if TYPE_CHECKING:
    from monitor.store.backend import Backend

DEFAULT_BUSY_SECONDS = 30.0
_LOOKING_SECONDS = 5.0


def locate(url: str, *, busy_seconds: float = DEFAULT_BUSY_SECONDS) -> Backend:
    """Return the backend of ``url``; nothing is opened. Raises ConfigError, MissingExtraError among them."""
    if not is_postgres(url):
        return SqliteBackend(parse_url(url), busy_seconds=busy_seconds)
    try:
        import psycopg  # noqa: F401, PLC0415 - optional, and slow to import; it also fails where libpq is missing
    except ImportError as exc:
        raise MissingExtraError("psycopg, which reaches PostgreSQL,", "postgres") from exc
    from monitor.store.postgres import PostgresBackend  # noqa: PLC0415 - as above

    return PostgresBackend(url, busy_seconds=busy_seconds)


def inspect(url: str) -> StoreFacts:
    """Find out about the store at ``url``. Trouble of any ordinary kind is in the answer's ``problem``, never raised."""
    try:
        return locate(url, busy_seconds=_LOOKING_SECONDS).facts()
    except ConfigError as failure:
        return StoreFacts(
            url=without_password(url),
            engine="",
            engine_version="",
            path=None,
            exists=False,
            writable=False,
            schema_version=None,
            newest_schema=SCHEMA_VERSION,
            pending_leaves=None,
            problem=str(failure),
            warnings=(),
        )
