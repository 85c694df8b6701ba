"""The garbage collector, told to leave alone what was there before a long piece of work."""

from __future__ import annotations

import contextlib
import gc
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_inside = 0


@contextlib.contextmanager
def loaded_left_alone() -> Iterator[None]:
    """In here collections pass over the objects that were there when the first one entered: modules, rules, clients.

    A full collection looks through all of them, and a run that keeps records causes one every few hundred subcalls.
    Garbage among them is collected once the last one has left. A program that has frozen objects itself (``gc.freeze``) is
    left as it is.
    """
    global _inside  # noqa: PLW0603 - there is one collector in a process
    with _lock:
        is_ours = _inside > 0 or not gc.get_freeze_count()
        if is_ours:
            if not _inside:
                gc.freeze()
            _inside += 1
    try:
        yield
    finally:
        if is_ours:
            with _lock:
                _inside -= 1
                if not _inside:
                    gc.unfreeze()
