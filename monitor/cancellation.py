"""What must run to its end although whoever waits for it is cancelled: a commit, a verdict, the end of a run."""

from __future__ import annotations

import asyncio
from typing import Any


class Cancellation:
    """A cancellation of the caller that came while something was under way that runs to its end, kept for afterwards."""

    def __init__(self) -> None:
        self._error: asyncio.CancelledError | None = None

    def __bool__(self) -> bool:
        return self._error is not None

    async def outlast(self, future: asyncio.Future[Any]) -> None:
        """Wait for ``future`` whatever happens to the caller. Raises what the future raises."""
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError as exc:
                self._error = exc
        future.result()

    def raise_late(self) -> None:
        """Raise the cancellation if there was one."""
        if self._error:
            raise self._error


def times_cancelled() -> int:
    """How often the running task was asked to be cancelled; 0 outside of a task."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0
