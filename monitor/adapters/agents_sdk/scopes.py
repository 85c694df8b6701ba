"""Where in the tree a run of the SDK is: below which subcall it began, and to whom it was handed over since."""

from __future__ import annotations

import contextvars
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.errors import MonitorError


@dataclass(slots=True)
class Scope:
    """One run of the SDK, the outermost or that of an agent as a tool.

    ``below`` is the handover after which it goes on. ``error`` is what a subcall in it ended in: the SDK makes a text for
    the model of errors in tools, and no budget may end as a text.
    """

    below: str | None = None
    error: MonitorError | None = None


_scope: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("monitor_agents_scope", default=None)


def scope() -> Scope:
    """The scope of this code; one that nobody else sees where none was opened."""
    return _scope.get() or Scope()


@contextmanager
def opened(below: str | None = None) -> Iterator[Scope]:
    """A new scope for what is done in here."""
    made = Scope(below)
    token = _scope.set(made)
    try:
        yield made
    finally:
        _scope.reset(token)
