"""A disk that fails at any commit of the inbox or of the store: what was acknowledged is recorded all the same, once."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity.verify import verify
from monitor.errors import StoreError
from tests.adapters.ingest.test_otlp import FAMILY, TREE, shape
from tests.adapters.serve.test_recording import PATIENCE, Desk
from tests.failing_disk import OnDisk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.failing_disk import FailingDisk

pytestmark = pytest.mark.sqlite("the commits to a file are made to fail")


@pytest.mark.parametrize("lasting", [False, True])
def test_what_was_acknowledged_is_recorded_wherever_a_disk_fails(
    new_database: Callable[[], str], tmp_path: Path, disk: FailingDisk, *, lasting: bool
) -> None:
    """Who gets no acknowledgement sends again, as exporters do; the server is killed while the disk is bad."""
    for number in itertools.count(1):
        db = new_database()
        desk = Desk(db, tmp_path / f"inbox{number}")
        desk.inbox._connection = OnDisk(desk.inbox._connection, disk)
        disk.fail(number, lasting=lasting)
        unacknowledged = []
        for batch in (FAMILY[:2], FAMILY[2:]):
            try:
                desk.send(*batch)
            except StoreError:
                unacknowledged.append(batch)
            with suppress(StoreError):
                desk.later(2 * PATIENCE.settle)
        with suppress(StoreError):
            desk.later(PATIENCE.wait)
        is_hit = disk.commits >= number
        disk.mend()
        desk.restart()
        for batch in unacknowledged:
            desk.send(*batch)
        desk.finish()
        assert shape(desk.subcalls()) == TREE, number
        assert len(desk.subcalls()) == len(TREE), number
        assert desk.store.run(desk.subcalls()[0].call.run_id).state == "ok", number
        desk.close()
        checked = verify(db)
        assert (checked.integrity.faults, checked.gaps) == ([], []), number
        if not is_hit:
            break
    assert number > 10, "of two batches the inbox's commits and the store's, and what is noted of each trace"
