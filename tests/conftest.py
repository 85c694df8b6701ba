"""What every test stands on: no connection leaves this machine, and nobody's own settings or files take part.

The network guard is an audit hook, which sees every connection that Python makes, from any thread and through any
library. It refuses the connection and remembers it, so that the test fails even where the library swallows the refusal.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

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
