"""Stores that stay open between runs: to open one and close it takes longer than all commits of a call.

They live in the door's loop and are used from there alone. One is closed ``IDLE_SECONDS`` after its last run has ended,
before the process forks, and when the interpreter ends (which ``Store`` sees to). Where the file was deleted or replaced
meanwhile, the next run opens what is there then, as it would without this.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.adapters import door
from monitor.errors import StoreError
from monitor.store import Store
from monitor.store.location import FileIdentity, is_postgres, parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

IDLE_SECONDS = 5.0
_LONGEST_SECONDS = 60.0  # then it is opened anew, and its schema looked at again
_FORK_SECONDS = 5.0


@dataclass(eq=False)
class _Kept:
    """An open store, the file that it has open (None on a server), and how many runs use it."""

    store: Store
    file: FileIdentity | None
    opened: float = field(default_factory=time.monotonic)
    users: int = 0
    closing: asyncio.TimerHandle | None = None

    def is_good(self) -> bool:
        """Whether a run that begins now may use it."""
        if time.monotonic() - self.opened > _LONGEST_SECONDS:
            return False
        try:
            if self.file is not None:
                self.file.verify()
        except StoreError:
            return False
        return True


_kept: dict[tuple[str, float], _Kept] = {}


@contextmanager
def opened(url: str, *, busy_seconds: float) -> Iterator[Store]:
    """The store at ``url``, for one run, in the door's loop. Raises what ``Store.open`` raises."""
    key = (url if is_postgres(url) else str(parse_url(url)), busy_seconds)
    kept = _kept.get(key)
    if kept is None or not kept.is_good():
        _drop(key)
        store = Store.open(url, busy_seconds=busy_seconds)
        kept = _kept[key] = _Kept(store, FileIdentity.of(store.path) if store.path else None)
    if kept.closing is not None:
        kept.closing.cancel()
        kept.closing = None
    kept.users += 1
    try:
        yield kept.store
    finally:
        kept.users -= 1
        if not kept.users:
            if _kept.get(key) is kept:
                kept.closing = asyncio.get_running_loop().call_later(IDLE_SECONDS, _drop, key)
            else:  # another took its place while this one was in use
                kept.store.close()


def _drop(key: tuple[str, float]) -> None:
    """Give a store to no other run; it is closed here, or by the last run that uses it."""
    kept = _kept.pop(key, None)
    if kept is not None:
        if kept.closing is not None:
            kept.closing.cancel()
        if not kept.users:
            kept.store.close()


async def _close_idle() -> None:
    for key in [key for key, kept in _kept.items() if not kept.users]:
        _drop(key)


def close_idle() -> None:
    """Close the stores that no run uses, and wait until they are."""
    if _kept and not door.is_inside():
        door.submit(_close_idle()).result(_FORK_SECONDS)


def _before_fork() -> None:
    with suppress(
        Exception
    ):  # a fork cannot be refused; what stays open is the parent's, and the child leaves it alone
        close_idle()


def _in_child() -> None:
    _of_the_parent.extend(_kept.values())
    _kept.clear()


_of_the_parent: list[_Kept] = []
os.register_at_fork(before=_before_fork, after_in_child=_in_child)
