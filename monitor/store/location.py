"""Where a store is: a URL or a plain path, and whether the file there is still the one that was opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from monitor.errors import ConfigError, StoreUnavailableError

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql:", "postgresql+psycopg:", "postgres:")


def is_postgres(url: str) -> bool:
    """Whether ``url`` names a database on a PostgreSQL server."""
    return url.startswith(_POSTGRES)


def without_password(url: str) -> str:
    """Return ``url`` as it may be shown: ``***`` stands for a password, wherever in the URL it is.

    It errs on the side of hiding: what is no well-formed URL may lose more than its password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or url.startswith(_SQLITE):
        return url
    before, at, after = rest.rpartition("@")
    user, colon, _ = before.partition(":")
    rest = (f"{user}:***" if colon else before) + at + after
    if not at:  # a port that is no number may be a password whose host was forgotten
        host, colon, port = rest.partition("/")[0].rpartition(":")
        if colon and not port.isdigit() and not port.endswith("]"):
            rest = f"{host}:***"
    address, question, query = rest.partition("?")
    parts = [
        f"{name}=***" if "password" in name.lower() else f"{name}{equals}{value}"
        for name, equals, value in (part.partition("=") for part in query.split("&"))
    ]
    return f"{scheme}://{address}{question}{'&'.join(parts)}"


def parse_url(url: str) -> Path:
    """Return the absolute path of the SQLite file that ``url`` names.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or a plain path (``~`` is the home directory).

    Raises:
        ConfigError: for another database, or for one in memory, which would forget every trace.
    """
    if "://" in url and not url.startswith(_SQLITE):
        raise ConfigError(
            "expected a path, sqlite:///path/monitor.db or postgresql+psycopg://user@host/database, "
            f"found {without_password(url)!r}"
        )
    text = url.removeprefix(_SQLITE)
    if not text or text == ":memory:" or "\0" in text:
        raise ConfigError(f"a store needs a file of its own, found {url!r}; write a path or sqlite:///path/monitor.db")
    return Path(text).expanduser().absolute()


def files_of(url: str) -> tuple[Path, ...]:
    """Return the files in which the store at ``url`` is, or the way into it: none of them is for anybody else to read.

    For a file, these are it and what SQLite puts beside it; for a server, where libpq looks for passwords and keys. They
    need not exist. Raises ConfigError as ``parse_url`` does.
    """
    if not is_postgres(url):
        path = parse_url(url).resolve()
        return (path, *(path.with_name(path.name + tail) for tail in ("-wal", "-shm", "-journal")))
    named = dict(part.partition("=")[::2] for part in url.partition("?")[2].split("&"))
    homes = {"passfile": "~/.pgpass", "sslkey": "~/.postgresql/postgresql.key", "servicefile": "~/.pg_service.conf"}
    found = (unquote(named.get(name) or os.environ.get(f"PG{name.upper()}") or home) for name, home in homes.items())
    return tuple(Path(path).expanduser().absolute() for path in found)


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which file a connection has open. SQLite goes on writing into a file that was deleted under it: we do not."""

    path: Path
    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileIdentity:
        """Identify the file now at ``path``. Raises StoreUnavailableError if there is none."""
        try:
            facts = path.stat()
        except OSError as exc:
            raise StoreUnavailableError(
                f"{path}: expected the store here, found none ({exc.strerror}); put the file back, or name another"
            ) from exc
        return cls(path, facts.st_dev, facts.st_ino)

    def verify(self) -> None:
        """Raise StoreUnavailableError if ``path`` no longer leads to this file."""
        try:
            facts = os.stat(self.path)  # noqa: PTH116 - a third of the time of Path.stat, at every commit
        except OSError:
            facts = None
        if facts is None or (facts.st_dev, facts.st_ino) != (self.device, self.inode):
            FileIdentity.of(self.path)  # says so if there is none
            raise StoreUnavailableError(
                f"{self.path}: the file was replaced by another while it was in use; nothing is written to either. "
                "Put the right one in place and try again"
            )
