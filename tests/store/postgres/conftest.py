"""A database on a real server, whatever the suite runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Server


@pytest.fixture
def name(server: Server) -> Iterator[str]:
    """The name of a database with an empty store."""
    with server.database() as made:
        yield made


@pytest.fixture
def db(server: Server, name: str) -> str:
    return server.url(name)


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with Store.open(db, busy_seconds=5) as opened:
        yield opened
