"""What every test stands on: no connection leaves this machine, and nobody's own settings or files take part.

The whole suite runs on PostgreSQL too: with ``MONITOR_DB=postgresql+psycopg://`` the tests start a server themselves, with
a URL that names a host they use that one (and make and drop databases in it). Then every test that asks for a database
(``new_database``, or a fixture that stands on it) gets one there; those marked ``sqlite`` are about SQLite's own file.

The network guard is an audit hook, which sees every connection that Python makes, from any thread and through any
library. It refuses the connection and remembers it, so that the test fails even where the library swallows the refusal.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.failing_disk import FailingDisk
    from tests.servers import Server

# The examples of a plain run are the same each time: what passed here passes in a clean clone. New ones are searched
# for with `pytest --hypothesis-profile=thorough`.
settings.register_profile("same_examples", derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=5_000, derandomize=False, deadline=None)
settings.load_profile("same_examples")

POSTGRES = os.environ.get("MONITOR_DB", "") if os.environ.get("MONITOR_DB", "").startswith("postgres") else ""
REAL_CACHE = (
    os.environ.get("MONITOR_CACHE")
    or f"{os.environ.get('XDG_CACHE_HOME') or Path('~/.cache').expanduser()}/factored-monitor"
)
_refused: list[str] = []


class LeavesLoopbackError(OSError):
    """A test tried to reach another machine."""


def _is_local(host: object) -> bool:
    if host in {None, "", "localhost", b"localhost"}:
        return True
    name = host.decode() if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _guard(event: str, args: tuple[Any, ...]) -> None:
    if event in {"socket.connect", "socket.sendto"}:
        address = args[1]
        host = address[0] if isinstance(address, tuple) and address else None  # a str is a Unix socket's path
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if not _is_local(host):
        _refused.append(f"{event} {host!r}")
        raise LeavesLoopbackError(f"a test may only reach this machine, not {host!r} ({event})")


sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def _stay_on_this_machine() -> Iterator[None]:
    """Fail a test that tried to leave loopback, whether or not the attempt was noticed."""
    _refused.clear()
    yield
    assert not _refused, f"left loopback: {_refused}"


@pytest.fixture(autouse=True)
def _clean_settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Start without ``MONITOR_*``, in a home of its own; tests marked ``embedded`` find the weights in the real cache."""
    for name in _ours():
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    if request.node.get_closest_marker("embedded"):
        monkeypatch.setenv("MONITOR_CACHE", REAL_CACHE)
    yield
    for name in _ours():  # what a command set for its children; monkeypatch then brings back what was there before
        del os.environ[name]


def _ours() -> list[str]:
    return [name for name in os.environ if name.startswith("MONITOR_")]


# ----------------------------------------------------------------------------------------------------------- databases


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stores something; on PostgreSQL, skip what is about SQLite's own file."""
    for item in items:
        if "new_database" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.store)
        marker = item.get_closest_marker("sqlite")
        if POSTGRES and marker:
            item.add_marker(pytest.mark.skip(reason=f"only for SQLite: {marker.args[0]}"))


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server, started when the first test asks for it."""
    from tests.servers import OwnServer, Server

    started = Server(POSTGRES) if POSTGRES.partition("://")[2] else OwnServer()
    yield started
    started.close()


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Make the address of another database that is nobody else's: a path, or a URL of a database on the server."""
    if not POSTGRES:
        numbers = itertools.count()
        yield lambda: str(tmp_path / f"monitor{next(numbers) or ''}.db")
        return
    server: Server = request.getfixturevalue("server")
    with contextlib.ExitStack() as databases:
        yield lambda: server.url(databases.enter_context(server.database()))


@pytest.fixture
def default_database(new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL, let commands and runs that name no database use one of the server's."""
    if POSTGRES:
        monkeypatch.setenv("MONITOR_DB", new_database())


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[FailingDisk]:
    """A disk that can be made to fail; what that leads to is told to whoever asked, and to no event loop besides."""
    from tests.failing_disk import FailingDisk

    yield FailingDisk(monkeypatch)
    assert not [record for record in caplog.get_records("call") if record.name == "asyncio"]
