"""A callback handler's methods in two forms, for LangChain's synchronous and asynchronous managers."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from monitor.adapters.langchain.runs import Opened
    from monitor.records import Observation


class Either:
    """A method in two forms: LangChain's asynchronous managers await the one, everybody else calls the other.

    A coroutine that a synchronous manager is given runs later, and what it raises is lost: it could block nothing. So the
    form is chosen by who asks for it: only a coroutine can await one.
    """

    def __init__(self, plain: Callable[..., None], awaited: Callable[..., Awaitable[None]]) -> None:
        self._plain, self._awaited = plain, awaited

    def __get__(self, handler: Any, owner: Any = None) -> Any:
        if handler is None:
            return self
        asking = sys._getframe(1).f_code.co_flags
        chosen: Any = self._awaited if asking & inspect.CO_COROUTINE else self._plain
        return chosen.__get__(handler, owner)


def starts(make: str) -> Any:
    """A handler's method for the start of a call; ``make`` names the one that says what is asked."""

    def plain(self: Any, *given: Any, run_id: UUID, **told: Any) -> None:
        self.begin(getattr(self, make), *given, run_id=run_id, **told)

    async def awaited(self: Any, *given: Any, run_id: UUID, **told: Any) -> None:
        await self.abegin(getattr(self, make), *given, run_id=run_id, **told)

    return Either(plain, awaited)


def ends(see: Callable[[Opened, Any], Observation], put: Callable[..., bool]) -> Any:
    """A handler's method for what came: ``see`` says it for the record, ``put`` puts what is released in its place."""

    def plain(self: Any, came: Any, *, run_id: UUID, **_: Any) -> None:
        self.end(see, put, came, run_id)

    async def awaited(self: Any, came: Any, *, run_id: UUID, **_: Any) -> None:
        await asyncio.shield(asyncio.to_thread(self.end, see, put, came, run_id))

    return Either(plain, awaited)


def fails(see: Callable[[Exception, Any], Observation]) -> Any:
    """A handler's method for an error, which ``see`` says for the record."""

    def plain(self: Any, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self.fail(see, error, run_id)

    async def awaited(self: Any, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        await asyncio.shield(asyncio.to_thread(self.fail, see, error, run_id))

    return Either(plain, awaited)
