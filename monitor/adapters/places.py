"""Where foreign code stands: in which run that is open, and in which subcall of it.

The place is kept in a context variable: tasks inherit it, and threads where whoever starts them copies the context, as
``asyncio.to_thread`` and LangChain do. ``carried`` does it for threads of one's own.
"""

from __future__ import annotations

import contextvars
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.adapters.observed import ObservedRun
    from monitor.orchestrate.budget import Budget

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where foreign code stands: its run, and the subcall in which it runs (none at the top)."""

    run: ObservedRun
    budget: Budget
    span_id: str | None = None
    depth: int = 0


_place: contextvars.ContextVar[Place | None] = contextvars.ContextVar("monitor_place", default=None)


def current() -> Place | None:
    """Where this code stands, if a run is open around it."""
    place = _place.get()
    return None if place is None or place.run.is_closed else place


def enter(place: Place) -> contextvars.Token[Place | None]:
    """Stand at ``place`` until ``leave``, which takes what this returns."""
    return _place.set(place)


def leave(token: contextvars.Token[Place | None]) -> None:
    """Stand where this code stood before ``enter``."""
    _place.reset(token)


@contextmanager
def inside(place: Place | None) -> Iterator[None]:
    """Stand at ``place`` in here."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """A function that knows, in whatever thread it is called, the run and the subcall that are open now."""
    place = _place.get()

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with inside(place):
            return function(*args, **kwargs)

    return call
