"""A real PostgreSQL server for tests: started on loopback by whoever needs it, with a database for each test.

PostgreSQL refuses to run as root, so root starts it as another user, in a folder of that user's. Where no server is
installed, the tests that need one are skipped and say so.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = "monitor_template"
IN_MEMORY, ROOM = Path("/dev/shm"), 2 << 30
"""Where a server for ordinary tests keeps its files, if that many bytes are free there: a database is some 300 files, and
on a disk most of a test's time went into making and dropping them."""
ORPHANED = 'read _; kill -QUIT $1; for _ in 1 2 3 4 5 6 7 8 9; do kill -0 $1 2>&- || break; sleep 1; done; rm -rf "$2"'
_numbers = itertools.count()
_OFF = ("fsync=off", "full_page_writes=off", "max_wal_size=128MB")  # for ordinary tests, which no machine crashes under
_SMALL = ("shared_buffers=32MB", "max_connections=200", "listen_addresses=127.0.0.1", "unix_socket_directories=")


def binary(name: str) -> str | None:
    """The path of a program of PostgreSQL's: on PATH, or where Debian puts it."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return shutil.which(name) or (str(installed[-1]) if installed else None)


class Server:
    """A server and its databases. ``url`` is of its maintenance database; whoever connects may do anything."""

    strategy = ""
    """How a template is copied: as the server does it if nothing is said."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)

    @property
    def port(self) -> int:
        return self._url.port or 5432

    def url(self, database: str, **changes: Any) -> str:
        """The URL of a database of this server."""
        return self._url.set(database=database, **changes).render_as_string(hide_password=False)

    def connect(self, database: str = "") -> psycopg.Connection[tuple[Any, ...]]:
        """A connection in autocommit mode; without a database, to the one for maintenance."""
        return psycopg.connect(
            host=self._url.host,
            port=self._url.port or 5432,
            user=self._url.username,
            password=self._url.password,
            dbname=database or self._url.database,
            autocommit=True,
        )

    def execute(self, statement: str, *parameters: Any, database: str = "") -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """The name of a new database, with the tables of a store unless ``empty``; it is dropped afterwards."""
        name = f"monitor_{os.getpid()}_{next(_numbers)}"
        template = "" if empty else f"TEMPLATE {self._template()}"
        self.execute(f"CREATE DATABASE {name} {template} {self.strategy}")
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _template(self) -> str:
        name = f"{TEMPLATE}_{os.getpid()}"
        if not self.execute("SELECT 1 FROM pg_database WHERE datname = %s", name):
            self.execute(f"CREATE DATABASE {name}")
            Store.open(self.url(name)).close()
        return name

    def close(self) -> None:
        """Drop the template."""
        self.execute(f"DROP DATABASE IF EXISTS {TEMPLATE}_{os.getpid()} WITH (FORCE)")


class OwnServer(Server):
    """A server that this process started, and may stop, kill and start again."""

    def __init__(self, *, durable: bool = False) -> None:
        initdb, self._postgres = binary("initdb"), binary("postgres")
        if not initdb or not self._postgres:
            pytest.skip("no PostgreSQL server is installed (initdb and postgres are neither on PATH nor in /usr/lib)")
        self._settings = _SMALL if durable else _SMALL + _OFF
        self._user = _other_user() if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="monitor-postgres-", dir=None if durable else _quick()))
        self._log = self.folder / "log"
        if self._user:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        command = [initdb, "-D", f"{self.folder}/data", "-U", "monitor", "-A", "trust", "-E", "UTF8", "--no-locale"]
        assert self._popen([*command, "--no-sync"]).wait(timeout=120) == 0, self._said()
        self._port = _free_port()
        super().__init__(f"postgresql+psycopg://monitor@127.0.0.1:{self._port}/postgres")
        self.start()
        if not durable and int(self.execute("SHOW server_version_num")[0][0]) >= 150_000:  # an older one knows no other
            self.strategy = "STRATEGY FILE_COPY"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [part for setting in self._settings for part in ("-c", setting)]
        command = [str(self._postgres), "-D", f"{self.folder}/data", "-p", str(self._port), *options]
        self._process = self._popen(command)
        # Should this process be killed, its end of the pipe closes, and the server and its files are ended all the same.
        self._watch = self._popen(
            ["sh", "-c", ORPHANED, "sh", str(self._process.pid), str(self.folder)], stdin=subprocess.PIPE
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, self._said()
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: at once, as after a crash (SIGQUIT), or having cut off its clients (SIGINT)."""
        self._process.send_signal(how)
        self._process.wait(timeout=60)
        self._watch.kill()
        self._watch.communicate()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _popen(self, command: list[str], *, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        who: dict[str, Any] = {"user": self._user.pw_uid, "group": self._user.pw_gid} if self._user else {}
        with self._log.open("a") as log:  # a pipe that nobody reads fills up, and stops the server
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=log,
                stderr=log,
                text=True,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                start_new_session=True,  # Ctrl-C ends the tests, and they end the server
                **who,
            )

    def _said(self) -> str:
        return self._log.read_text(errors="replace")


def _quick() -> Path | None:
    """Memory, where there is enough of it; else the folder for temporary files."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(IN_MEMORY).free >= ROOM and os.access(IN_MEMORY, os.W_OK):
            return IN_MEMORY
    return None


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody`")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
