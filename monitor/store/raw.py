"""A store as it lies there, for who checks it: every row of every table by a scan, with nothing believed.

What is handed out comes from the tables alone: no view, no trigger and no index of the database has a part in it. Values
are as they are found, whatever their type. Nothing is written, and no upgrade is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from monitor.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType


class Fault(NamedTuple):
    """One thing that is not as it was written: in which table, which row, and what is wrong.

    ``run_id`` and ``span_id`` are the run and subcall that it concerns, as far as that is known.
    """

    table: str
    row: str
    problem: str
    run_id: str = ""
    span_id: str = ""


class RawEvent(NamedTuple):
    """A row of ``events`` with its leaf. ``log_hash`` is the hash that the log has for it; the same column in a file.

    ``leaf_index`` and ``log_hash`` are None for an event that has no leaf, ``canonical`` is None for a leaf without one.
    """

    leaf_index: Any
    run_id: Any
    span_id: Any
    seq: Any
    kind: Any
    at: Any
    canonical: Any
    leaf_hash: Any
    log_hash: Any
    position: Any


class UnreadableError(StoreError):
    """A table, or the rest of it, cannot be read; the message is the database's."""

    def __init__(self, table: str, message: str) -> None:
        self.table = table
        super().__init__(message)


class RawStore(Protocol):
    """One consistent state of a store. The row iterators raise UnreadableError where the table breaks off."""

    @property
    def place(self) -> str:
        """The path or URL, without a password."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What could not be checked here, and why; complete once ``structure`` is through."""
        ...

    def version(self) -> int:
        """The version of the schema, 0 where there is none."""
        ...

    def structure(self, progress: Callable[[str], None]) -> Iterator[Fault]:
        """Whether the schema is what the migrations make, and tables, indexes and pages go together."""
        ...

    def count(self) -> int:
        """About how many events there are, for progress."""
        ...

    def events(self) -> Iterator[RawEvent]:
        """All events and leaves in the order of the leaves; what has none comes last."""
        ...

    def nodes(self) -> Iterator[tuple[Any, Any, Any]]:
        """All message nodes: hash, hash of the parent, payload."""
        ...

    def texts(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """All texts: commitment, SHA-256, salt, body."""
        ...

    def checkpoints(self) -> Iterator[tuple[Any, ...]]:
        """All checkpoints: number, tree size, root, origin, note, peaks, at."""
        ...

    def pending(self) -> Iterator[Any]:
        """The positions of events that wait for their leaf."""
        ...

    def __enter__(self) -> RawStore: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
