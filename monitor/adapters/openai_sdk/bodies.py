"""Bodies of responses that are read from a stream of ours, and what closes such a stream that nobody read to its end."""

from __future__ import annotations

import atexit
import logging
import sys
import weakref
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_open: weakref.WeakSet[Any] = weakref.WeakSet()
logger = logging.getLogger(__name__)


def close_at_exit(chunks: Iterator[bytes]) -> None:
    """Close a stream, a generator, at the end of the interpreter if it is still open then."""
    _open.add(chunks)


def _close_open() -> None:
    """Close what nobody read to its end while it can still be stored: at the end of the interpreter, before the door's."""
    for chunks in list(_open):
        try:
            chunks.close()
        except ValueError:  # another thread is reading it: it is that thread's
            continue
        except Exception:  # at the end of the interpreter nobody else would hear of it
            logger.exception("a stream that nobody read to its end could not be recorded")


atexit.register(_close_open)


def body_of(response: Any, chunks: Iterator[bytes]) -> Any:
    """A body that is read from ``chunks``, of the same httpx as the response."""
    made = _body_class(_of_the_same(response, "SyncByteStream"))()
    made.chunks = chunks
    return made


def async_body_of(response: Any, chunks: AsyncIterator[bytes]) -> Any:
    """As ``body_of``."""
    made = _async_body_class(_of_the_same(response, "AsyncByteStream"))()
    made.chunks = chunks
    return made


@cache
def _body_class(kind: Any) -> Any:
    def close(self: Any) -> None:
        self.chunks.close()

    return type("Body", (kind,), {"__iter__": lambda self: self.chunks, "close": close})


@cache
def _async_body_class(kind: Any) -> Any:
    async def aclose(self: Any) -> None:
        await self.chunks.aclose()

    return type("Body", (kind,), {"__aiter__": lambda self: self.chunks, "aclose": aclose})


def _of_the_same(response: Any, name: str) -> Any:
    modules = (sys.modules.get(kind.__module__.partition(".")[0]) for kind in type(response).__mro__)
    return next(found for module in modules if (found := getattr(module, name, None)))
