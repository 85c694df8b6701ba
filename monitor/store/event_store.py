"""``Store``: what the rest of the package sees of the database."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, Self

from monitor.store.leaf_log import LeafLog
from monitor.store.opening import locate
from monitor.store.reader import Reader, StoredEvent
from monitor.store.scanning import EVERYTHING, Wanted
from monitor.store.writer import Writer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from monitor.records import Event, StoredRedaction, StoredReview, StoredRun, StoredSubcall
    from monitor.store.backend import Backend
    from monitor.store.bulk import Bulk, Extent, RunExtent
    from monitor.store.scanning import Scanned
    from monitor.store.scans import ScanLog


class Store:
    """An append-only store of events, which several processes may use at once: a SQLite file, or a PostgreSQL database.

    Whatever an append has returned for is on the disk. Reads answer from one consistent snapshot. A store that is not
    closed is closed when it is forgotten or the interpreter ends; nothing that was accepted is lost either way.
    """

    def __init__(self, backend: Backend) -> None:
        """Use the prepared database of ``backend``; callers use ``open``."""
        self._backend = backend
        self._reader = Reader(backend)
        writer = Writer(backend)
        self._submit = writer.submit
        self._append_sync = writer.append_sync
        self._stop = weakref.finalize(self, _stop, os.getpid(), writer, backend, self._reader)

    @classmethod
    def open(cls, url: str, *, busy_seconds: float = 30.0, create: bool = True) -> Self:
        """Open the store at ``url``, making the database's tables, or upgrading a file, where needed.

        A file that may only be read opens too: reading works, and an append says why it does not.

        Args:
            url: a plain path, ``sqlite:///path/monitor.db`` or ``postgresql+psycopg://user@host/database``.
            busy_seconds: how long to wait for another process's lock, or to reach a server again, before giving up.
            create: whether to make a store where there is none. A PostgreSQL database itself must be there.

        Raises:
            ConfigError: the URL is not one that this version can store in, or its driver is not installed.
            StoreFormatError: it is no monitor database, a newer version wrote it (it is left as it was), or it is a
                PostgreSQL database with an older schema, which `monitor db upgrade` upgrades.
            StoreUnavailableError: it is missing (and ``create`` is false), locked, or cannot be reached or read.
        """
        backend = locate(url, busy_seconds=busy_seconds)
        backend.prepare(create=create)
        return cls(backend)

    # -------------------------------------------------------------------------------------------------- writing

    async def append(self, *events: Event) -> None:
        """Add ``events`` to the log, all of them in one transaction, and return once they are durable.

        Cancelling the caller does not undo the write: the events are stored, and only the waiting ends.

        Raises:
            ConflictError: one of them is in the log already.
            StoreUnavailableError: the database is locked, full, read-only or gone.
            StoreError: one of them has no place in the log (no run, no step before it), or the store was closed.
                Whichever it is, none of ``events`` was written; the one exception, a server that was lost during the
                commit and not found again, says so.
        """
        if events:
            await self._submit(events)

    def submit(self, *events: Event) -> asyncio.Future[None]:
        """``append`` for callers who see to the waiting themselves: a future of the running loop, often done at once.

        Who cancels it does not undo the write. It raises what ``append`` raises, but for a closed store: that is raised
        here.
        """
        return self._submit(events)

    def append_sync(self, *events: Event) -> None:
        """``append`` for callers without an event loop: blocks until the events are durable, and raises the same."""
        if events:
            self._append_sync(events)

    # -------------------------------------------------------------------------------------------------- reading

    def runs(self, *, limit: int | None = None) -> list[StoredRun]:
        """Return the newest ``limit`` runs (all of them without a limit), the newest first."""
        return self._reader.runs(limit=limit)

    def run(self, run_id: str) -> StoredRun:
        """Return the run with this id, or the only one whose id begins so (4 digits at least). Raises CatalogError."""
        return self._reader.run(run_id)

    def subcalls(self, run_id: str) -> list[StoredSubcall]:
        """Return the subcalls of a run in the order of their starts. Raises CatalogError if there is no such run."""
        return self._reader.subcalls(run_id)

    def subcall(self, run_id: str, span_id: str) -> StoredSubcall:
        """Return one subcall by its span id, or the only one of the run whose id begins so. Raises CatalogError."""
        return self._reader.subcall(run_id, span_id)

    def asked(self, *, settled: bool = False) -> list[StoredSubcall]:
        """Return the subcalls that wait for a person's decision, oldest first; with ``settled`` those too that have it."""
        return self._reader.asked(settled=settled)

    def events(self, run_id: str) -> list[StoredEvent]:
        """Return the events of a run in the order of the log. Raises CatalogError if there is no such run."""
        return self._reader.events(run_id)

    def find_subcall(self, span_id: str) -> tuple[str, str]:
        """Return (run id, span id) of the only subcall, of whatever run, whose id begins so. Raises CatalogError."""
        return self._reader.span(span_id)

    def reviews(self, run_id: str | None = None) -> list[StoredReview]:
        """Return what people said of findings, of one run or of all, in the order of the log."""
        return self._reader.reviews(run_id)

    def scan(
        self,
        wanted: Wanted = EVERYTHING,
        *,
        by_run: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[Scanned]:
        """Yield the subcalls that are in the store now, one by one, in the order of the log.

        ``by_run``: run after run, and with those that are wanted all others of their runs, which are marked so: what rules
        over a run need (see ``Scan.runs``). Then ``progress`` counts runs.

        At most a few dozen of them are in memory at once. A subcall that cannot be read back is yielded too, and says why.
        ``progress`` is told how many events of the log are behind, and how many there are. Raises StoreError if the
        database itself cannot be read.
        """
        scan = self._reader.scan()
        return scan.runs(wanted, progress) if by_run else scan.run(wanted, progress)

    def extent(self, wanted: Wanted = EVERYTHING) -> Extent:
        """Return what there is to scan now: how far the log goes. Raises StoreError."""
        return self._reader.extent(wanted)

    def run_extents(self, wanted: Wanted, tree_size: int) -> list[RunExtent]:
        """Return where in the first ``tree_size`` leaves of the log the runs lie that have wanted subcalls."""
        return self._reader.run_extents(wanted, tree_size)

    def bulk(self, wanted: Wanted, tree_size: int, *, whole: bool = False) -> Bulk:
        """Return a reader of subcalls by ranges of the log's first ``tree_size`` leaves; see ``Bulk``."""
        return self._reader.bulk(wanted, tree_size, whole=whole)

    def judgements(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield (run id, span id, body) of every judgement, in the order of run and span. Raises StoreError."""
        return self._reader.judgements()

    @property
    def scans(self) -> ScanLog:
        """The scans of stored subcalls, and their results, that are kept in this store."""
        return self._reader.scans(self._backend)

    # --------------------------------------------------------------------------------------------------- itself

    @property
    def path(self) -> Path | None:
        """The absolute path of the file; None where it is a server's database."""
        return self._backend.path

    @property
    def url(self) -> str:
        """The URL of this store, to show; a password in it is ``***``. Without one, it opens the store from anywhere."""
        return self._backend.url

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of the database software in use; empty when all is well."""
        return self._backend.warnings()

    def schema_version(self) -> int:
        """Return the version of the schema of the database. Raises StoreError if it cannot be read."""
        return self._backend.schema_version()

    def sequence(self) -> int:
        """Give every committed event that has no leaf yet its place in the Merkle log; return how many there were.

        On PostgreSQL this also happens by itself after each commit. In a SQLite file every event has its leaf from the
        moment it is committed. Raises StoreError.
        """
        return self._backend.sequence()

    def pending_leaves(self) -> int:
        """Return how many committed events have no place in the Merkle log yet. Raises StoreError."""
        return self._backend.pending_leaves()

    @property
    def leaves(self) -> LeafLog:
        """The Merkle log over all events, and the checkpoints that were made of it."""
        return LeafLog(self._backend, self._reader.snapshots)

    def redactions(self, run_id: str) -> list[StoredRedaction]:
        """Return what was redacted of a run, in the order of the log."""
        return self._reader.redactions(run_id)

    def close(self) -> None:
        """Write what was accepted, then let go of the database. Safe to call twice."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.url!r})"


def _stop(process: int, writer: Writer, backend: Backend, reader: Reader) -> None:
    if os.getpid() == process:  # what a forked child has of it is the parent's
        writer.stop()
        backend.close()
        reader.close()
