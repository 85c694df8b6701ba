"""The garbage collector leaves alone what was loaded, while somebody works, and not longer."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from monitor.collector import loaded_left_alone

if TYPE_CHECKING:
    from collections.abc import Iterator


class Knot:
    """An object that refers to itself: only the collector can free it."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_was_there_is_passed_over_until_the_last_one_leaves() -> None:
    old = Knot()
    gone = weakref.ref(old)
    with loaded_left_alone():
        with loaded_left_alone():
            del old
            gc.collect()
            assert gone() is not None
        gc.collect()
        assert gone() is not None, "the outer one is still at work"
    gc.collect()
    assert gone() is None
    assert not gc.get_freeze_count()


def test_what_is_made_meanwhile_is_collected() -> None:
    with loaded_left_alone():
        made = weakref.ref(Knot())
        gc.collect()
        assert made() is None


def test_what_a_program_froze_itself_stays_frozen() -> None:
    old = Knot()
    gone = weakref.ref(old)
    gc.freeze()
    with loaded_left_alone():
        pass
    del old
    gc.collect()
    assert gone() is not None
    gc.unfreeze()
    gc.collect()
    assert gone() is None


def test_it_is_undone_after_an_error() -> None:
    with pytest.raises(ValueError, match="broken"), loaded_left_alone():
        raise ValueError("broken")
    assert not gc.get_freeze_count()
