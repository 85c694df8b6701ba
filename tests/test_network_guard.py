"""The guard of ``conftest.py`` itself. The events are raised by hand, so that no packet leaves even if it were broken."""

from __future__ import annotations

import sys

import pytest

from tests import conftest


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, ("192.0.2.1", 443))),
        ("socket.connect", (None, ("2001:db8::1", 443, 0, 0))),
        ("socket.sendto", (None, ("192.0.2.1", 53))),
        ("socket.getaddrinfo", ("models.example.org", 443, 0, 0, 0)),
    ],
)
def test_other_machines_are_refused_and_remembered(event: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(conftest.LeavesLoopbackError):
        sys.audit(event, *arguments)
    assert len(conftest._refused) == 1
    conftest._refused.clear()  # or this very test would fail for it


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, ("127.0.0.1", 80))),
        ("socket.connect", (None, ("::1", 80, 0, 0))),
        ("socket.connect", (None, "/run/some.socket")),
        ("socket.getaddrinfo", ("localhost", 80, 0, 0, 0)),
        ("socket.getaddrinfo", (None, 0, 0, 0, 0)),
    ],
)
def test_this_machine_is_allowed(event: str, arguments: tuple[object, ...]) -> None:
    sys.audit(event, *arguments)
