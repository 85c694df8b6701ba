"""A plain function in a thread of its own, awaited without holding the event loop or the interpreter."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_thread(name: str, work: Callable[[], T]) -> T:
    """Call ``work`` in a thread of its own, and return or raise what it does.

    Unlike the threads of ``asyncio.to_thread`` it keeps neither the event loop nor the interpreter from ending: work that
    hangs is no longer waited for once its caller is cancelled.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def tell(result: Any, error: BaseException | None) -> None:
        if not ended.done():
            ended.set_result((result, error))

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(work)
        except BaseException as exc:  # noqa: BLE001 - raised again where it is awaited
            error = exc
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name=f"monitor-{name}", daemon=True).start()
    result, error = await ended
    if error is not None:
        raise error
    done: T = result
    return done
