"""What must run to its end although whoever waits for it is cancelled, or fails: a commit, a verdict, the end of a run."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")


class Cancellation:
    """A cancellation of the caller that came while something was under way that runs to its end, kept for afterwards."""

    def __init__(self) -> None:
        self._error: asyncio.CancelledError | None = None

    def __bool__(self) -> bool:
        return self._error is not None

    async def outlast(self, future: asyncio.Future[T]) -> T:
        """Wait for ``future`` whatever happens to the caller. Raises what the future raises."""
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError as exc:
                self._error = exc
        return future.result()

    def raise_late(self) -> None:
        """Raise the cancellation if there was one."""
        if self._error:
            raise self._error


async def outlasting(future: asyncio.Future[T]) -> T:
    """What ``future`` comes to, even if the caller is cancelled meanwhile: the cancellation is raised afterwards."""
    cancellation = Cancellation()
    came = await cancellation.outlast(future)
    cancellation.raise_late()
    return came


async def all_of(works: Iterable[Awaitable[T]]) -> list[T]:
    """What all of ``works`` come to, in their order, once all of them have ended. Raises what the first of them raised:
    ``asyncio.gather`` alone would raise it while others still run.
    """
    came = await asyncio.gather(*works, return_exceptions=True)
    for one in came:
        if isinstance(one, BaseException):
            raise one
    return cast("list[T]", came)


def in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Do ``work`` in a thread of the running loop, in the context of now: ``asyncio.to_thread``, but a future, not a task.

    A loop that ends cancels every task, be it one that somebody outlasts.
    """
    return asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, work)


async def made_in_thread(make: Callable[[], T], unmake: Callable[[T], object]) -> T:
    """What ``make`` returns, in a thread. Where the caller is cancelled meanwhile, who would never learn of it, ``unmake``
    is handed it there.
    """
    cancellation = Cancellation()
    made = await cancellation.outlast(in_thread(make))
    if cancellation:
        await cancellation.outlast(in_thread(lambda: unmake(made)))
    cancellation.raise_late()
    return made


def times_cancelled() -> int:
    """How often the running task was asked to be cancelled; 0 outside of a task."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0
