"""A store that fails at any commit of an ingestion: one error, no more noise, and to do it again completes it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity.verify import verify
from monitor.errors import StoreError
from monitor.store import Store
from tests.adapters.ingest.conftest import CHAT, MAGENTIC, TRAJECTORY, Ingesting
from tests.adapters.ingest.test_taking import totals

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.failing_disk import FailingDisk

pytestmark = pytest.mark.sqlite("the commits to a file are made to fail")

FILES = (CHAT, MAGENTIC, TRAJECTORY)


@pytest.mark.parametrize("lasting", [False, True])
def test_it_is_completed_wherever_a_store_fails(
    new_database: Callable[[], str],
    disk: FailingDisk,
    *,
    lasting: bool,
) -> None:
    with Store.open(new_database()) as store:
        whole = totals(Ingesting(store)(*FILES))
    for number in itertools.count(1):
        db = new_database()
        with Store.open(db) as store:
            take = Ingesting(store)
            disk.fail(number, lasting=lasting)
            try:
                take(*FILES)
            except StoreError:
                is_hit = True
            else:
                is_hit = disk.commits >= number
            disk.mend()
            assert totals(take(*FILES)) == whole, number
        if not is_hit:
            break
        checked = verify(db)
        assert (checked.integrity.faults, checked.gaps) == ([], []), number
    assert number > len(FILES)
