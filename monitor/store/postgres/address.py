"""Where a server is, and how to log in: read from a URL, and never shown with its password."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from monitor.errors import ConfigError
from monitor.store.location import without_password

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECRETS = ("password", "sslpassword")
_SHORTEST_HIDDEN = 3
HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Address:
    """A database on a server. ``keywords`` are libpq's, password included; ``shown`` is the URL without it."""

    keywords: Mapping[str, str] = field(repr=False)
    shown: str

    def hide(self, text: str) -> str:
        """Return ``text`` without the passwords of this address, in whichever form."""
        for name in _SECRETS:
            secret = self.keywords.get(name, "")
            if len(secret) >= _SHORTEST_HIDDEN:
                for form in sorted({secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}, key=len):
                    text = text.replace(form, HIDDEN)
        return text


def parse_address(url: str) -> Address:
    """Read ``postgresql+psycopg://user:password@host:port/database?sslmode=verify-full`` and the like.

    What the URL leaves out is libpq's to find: ``PGHOST``, ``PGPASSWORD``, ``~/.pgpass`` and so on.

    Raises:
        ConfigError: it cannot be read, or names no database. The message never quotes it.
    """
    shown = without_password(url)
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):  # its message may quote a password
        raise ConfigError(
            "the URL of the database cannot be read: expected postgresql+psycopg://user:password@host:port/database "
            "(special characters in the password as %XX)"
        ) from None
    given = {
        "user": parts.username,
        "password": str(parts.password) if parts.password is not None else None,
        "host": parts.host,
        "port": str(parts.port) if parts.port else None,
        "dbname": parts.database,
    }
    keywords = {name: value for name, value in given.items() if value}
    keywords |= {name: value if isinstance(value, str) else ",".join(value) for name, value in parts.query.items()}
    if not keywords.get("dbname") and not keywords.get("service"):
        raise ConfigError(f"{shown}: names no database; write postgresql+psycopg://user@host/database")
    return Address(keywords, shown)
