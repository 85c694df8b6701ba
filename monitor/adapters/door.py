"""One event loop in a thread of its own, through which foreign calls pass, whatever thread or loop they come from.

Stores, budgets and the order of the pipeline live in that loop. The call itself is made where it was asked for: a
client belongs to its caller's thread or loop.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Future

T = TypeVar("T")
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_is_over = False


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine in the door's loop, which is started when it is first needed."""
    return asyncio.run_coroutine_threadsafe(work, _started())


def is_inside() -> bool:
    """Whether this code runs in the door's own loop, where nothing may wait for it."""
    try:
        return asyncio.get_running_loop() is _loop
    except RuntimeError:
        return False


def can_wait() -> bool:
    """Whether this code may wait for the door: it is not inside, and the interpreter is not past its end."""
    return not is_inside() and not _is_over


def _started() -> asyncio.AbstractEventLoop:
    global _loop  # noqa: PLW0603 - one for the process
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="monitor-door", daemon=True).start()
        return _loop


def _forget_in_child() -> None:
    """A forked child has the loop, and no thread that runs it."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()


def _stop() -> None:
    global _is_over  # noqa: PLW0603 - as above
    _is_over = True
    if _loop is not None and _loop.is_running():
        _loop.call_soon_threadsafe(_loop.stop)


os.register_at_fork(after_in_child=_forget_in_child)
atexit.register(_stop)
