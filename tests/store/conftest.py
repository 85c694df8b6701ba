"""Events to store, and a store to put them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def db(new_database: Callable[[], str]) -> str:
    """The address of an empty store: a path, or a URL where the suite runs on PostgreSQL."""
    return new_database()


@pytest.fixture
def store(db: str) -> Iterator[Store]:
    with Store.open(db, busy_seconds=0.2) as opened:
        yield opened
