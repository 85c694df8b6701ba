"""A SQLite file, whatever the suite runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "monitor.db"


@pytest.fixture
def store(db: Path) -> Iterator[Store]:
    with Store.open(str(db), busy_seconds=0.2) as opened:
        yield opened
