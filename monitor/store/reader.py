"""Questions to the store: each is answered from one snapshot, on a connection that cannot write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select, text

from monitor.errors import CatalogError, StoreError
from monitor.records import Seal, StoredRedaction, StoredReview, StoredRun, StoredSubcall
from monitor.store.bulk import Bulk, extent, run_extents
from monitor.store.decoding import parse
from monitor.store.rows import chunks, payloads, run_of, subcalls_of
from monitor.store.scanning import Scan
from monitor.store.scans import ScanLog
from monitor.store.tables import REVIEWS, RUN_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlmodel import Session

    from monitor.store.backend import Backend, Snapshots
    from monitor.store.bulk import Extent, RunExtent
    from monitor.store.scanning import Wanted

_Found = TypeVar("_Found", str, tuple[str, str])
_PREFIX_MIN = 4
_ROWS_AT_ONCE = 5_000
_ASKING = '"body":{"action":"ask_human",'  # in the canonical form of a judgement, and of nothing else
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as it lies in the log.

    ``canonical`` are the RFC 8785 bytes of the event; ``leaf_hash`` is SHA-256(0x00 || canonical) in hex, and
    ``leaf_index`` its place in the log, counted from 0 over all runs; None for as long as it has none, which a PostgreSQL
    server gives it shortly after the commit.
    """

    leaf_index: int | None
    run_id: str
    span_id: str
    seq: int
    kind: str
    at: str
    canonical: bytes
    leaf_hash: str


class Reader:
    """Reads a database; usable from several threads at once."""

    def __init__(self, backend: Backend) -> None:
        self._log = backend.log
        self._snapshots = backend.snapshots()

    def close(self) -> None:
        """Close all connections."""
        self._snapshots.close()

    # --------------------------------------------------------------------------------------------- questions

    def events(self, run_id: str) -> list[StoredEvent]:
        """All events of a run in the order of the log. Raises CatalogError if there is no such run."""
        log = self._log.table.c
        with self._snapshots.session() as session:
            rows = session.execute(self._rows().where(log.run_id == run_id))
            found = [
                StoredEvent(r.leaf_index, r.run_id, r.span_id, r.seq, r.kind, r.at, r.canonical.encode(), r.leaf_hash)
                for r in rows
            ]
        if not found:
            raise _unknown("run", run_id)
        return found

    def runs(self, *, limit: int | None) -> list[StoredRun]:
        """The runs, the newest first."""
        started = self._starts().order_by(*self._log.newest).limit(limit)
        with self._snapshots.session() as session:
            run_ids = session.scalars(started).all()
            stored = {run.start.run_id: run for run in self._load_runs(session, run_ids)}
        return [stored[run_id] for run_id in run_ids]

    def run(self, run_id: str) -> StoredRun:
        """The run whose id is, or alone begins with, ``run_id``. Raises CatalogError."""
        with self._snapshots.session() as session:
            whole = _resolve(session, self._starts(), self._log.table.c.run_id, "run", run_id)
            (run,) = self._load_runs(session, [whole])
        return run

    def subcalls(self, run_id: str) -> list[StoredSubcall]:
        """The subcalls of a run, in the order in which they were started. Raises CatalogError if there is no such run."""
        with self._snapshots.session() as session:
            rows = session.execute(self._rows().where(self._log.table.c.run_id == run_id)).all()
            if not rows:
                raise _unknown("run", run_id)
            return self._with_seeds(session, run_id, subcalls_of(session, rows))

    def subcall(self, run_id: str, span_id: str) -> StoredSubcall:
        """The subcall of this very run whose span id is, or alone begins with, ``span_id``. Raises CatalogError."""
        log = self._log.table.c
        with self._snapshots.session() as session:
            started = select(log.span_id).where(log.run_id == run_id, log.kind == "started")
            whole = _resolve(session, started, log.span_id, "subcall", span_id)
            rows = session.execute(self._rows().where(log.run_id == run_id, log.span_id == whole)).all()
            (subcall,) = self._with_seeds(session, run_id, subcalls_of(session, rows))
        return subcall

    def asked(self, *, settled: bool) -> list[StoredSubcall]:
        """The subcalls about which a person was asked, oldest first: those that wait, with ``settled`` all of them."""
        log = self._log.table.c
        about = select(log.run_id, log.span_id).where(
            log.kind == "judged", log.canonical.contains(_ASKING, autoescape=True)
        )
        found: list[StoredSubcall] = []
        with self._snapshots.session() as session:
            for run_id, span_id in session.execute(about.order_by(*self._log.order)).all():
                events = self._rows().where(log.run_id == run_id, log.span_id == span_id)
                found += self._with_seeds(session, run_id, subcalls_of(session, session.execute(events).all()))
        return [subcall for subcall in found if settled or subcall.awaits_human]

    def span(self, span_id: str) -> tuple[str, str]:
        """Run and span of the one subcall of any run whose span id is or begins with ``span_id``. Raises CatalogError."""
        log = self._log.table.c
        with self._snapshots.session() as session:
            started = select(log.run_id, log.span_id).where(log.kind == "started")
            found = session.execute(
                _beginning(started, log.span_id, "subcall", span_id).order_by(log.run_id).limit(3)
            ).all()
        pairs: list[tuple[str, str]] = [(row.run_id, row.span_id) for row in found]
        return _only(pairs, "subcall", span_id)

    def reviews(self, run_id: str | None) -> list[StoredReview]:
        """The reviews of a run, or of all runs, in the order of the log."""
        query = self._rows().where(text(REVIEWS))
        if run_id is not None:
            query = query.where(self._log.table.c.run_id == run_id)
        with self._snapshots.session() as session:
            rows = session.execute(query).all()
            return [
                StoredReview(id=row.span_id, run_id=row.run_id, review=payload)
                for some in chunks(rows)
                for row, payload in payloads(session, some)
            ]

    def redactions(self, run_id: str) -> list[StoredRedaction]:
        """The redactions of a run, in the order of the log."""
        log = self._log.table.c
        with self._snapshots.session() as session:
            rows = session.execute(self._rows().where(log.run_id == run_id, log.kind == "redacted")).all()
            return [
                StoredRedaction(id=row.span_id, run_id=row.run_id, redaction=payload)
                for some in chunks(rows)
                for row, payload in payloads(session, some)
            ]

    @property
    def snapshots(self) -> Snapshots:
        """The connections that it reads on."""
        return self._snapshots

    def scan(self) -> Scan:
        """All subcalls, one after the other: see ``Scan``."""
        return Scan(self._log, self._snapshots)

    def extent(self, wanted: Wanted) -> Extent:
        """What there is to scan now."""
        return extent(self._log, self._snapshots, wanted)

    def run_extents(self, wanted: Wanted, tree_size: int) -> list[RunExtent]:
        """Where the runs lie that have wanted subcalls."""
        return run_extents(self._log, self._snapshots, wanted, tree_size)

    def bulk(self, wanted: Wanted, tree_size: int, *, whole: bool) -> Bulk:
        """Subcalls by ranges of the log: see ``Bulk``."""
        return Bulk(self._log, self._snapshots, wanted, tree_size, whole=whole)

    def scans(self, backend: Backend) -> ScanLog:
        """The scans that are kept here."""
        return ScanLog(backend, self._snapshots)

    def judgements(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(run, span, body) of every judgement, in the order of run and span; a few thousand at a time in memory."""
        log = self._log.table.c
        query = select(log.run_id, log.span_id, log.canonical).where(log.kind == "judged")
        query = query.order_by(log.run_id, log.span_id).execution_options(yield_per=_ROWS_AT_ONCE)
        with self._snapshots.session() as session:
            for row in session.execute(query):
                yield row.run_id, row.span_id, parse(row.canonical)["body"]

    # ----------------------------------------------------------------------------------------------- queries

    def _rows(self) -> Any:
        """The events in the order of the log."""
        return select(self._log.table).order_by(*self._log.order)

    def _starts(self) -> Any:
        """The ids of all runs."""
        log = self._log.table.c
        return select(log.run_id).where(log.kind == "run_started", text(RUN_KINDS))

    def _load_runs(self, session: Session, run_ids: Sequence[str]) -> list[StoredRun]:
        by_run: dict[str, list[Any]] = {}
        for some in chunks(run_ids):
            found = self._rows().where(self._log.table.c.run_id.in_(some), text(RUN_KINDS))
            for row, payload in payloads(session, session.execute(found).all()):
                by_run.setdefault(row.run_id, []).append(payload)
        return [run_of(steps) for steps in by_run.values()]

    def _with_seeds(self, session: Session, run_id: str, found: list[StoredSubcall]) -> list[StoredSubcall]:
        """Subcalls of a run with their seeds, which are sealed in the log; without, where the run's salt was erased."""
        if all(one.call.sealed_seed is None for one in found):
            return found
        log = self._log.table.c
        start = select(self._log.table).where(log.run_id == run_id, log.kind == "run_started", text(RUN_KINDS))
        ((_, started),) = payloads(session, session.execute(start).all())
        seal = Seal(started.salt)
        return [
            one.model_copy(update={"call": one.call.model_copy(update={"seed": seal.seed_of(one.call)})})
            for one in found
        ]


# ------------------------------------------------------------------------------------------------------------ prefixes


def _resolve(session: Session, candidates: Any, column: Any, what: str, given: str) -> str:
    """Return the one id among ``candidates`` that is or begins with ``given``. Raises CatalogError."""
    found = session.scalars(_beginning(candidates, column, what, given).limit(3)).all()
    return str(_only(list(found), what, given))


def _beginning(candidates: Any, column: Any, what: str, given: str) -> Any:
    """Those of ``candidates`` whose ``column`` begins with ``given``. Raises CatalogError for what begins no id."""
    prefix = given.strip().lower()
    if len(prefix) < _PREFIX_MIN or not _HEX.issuperset(prefix):
        raise CatalogError(
            f"expected the id of a {what} or at least its first {_PREFIX_MIN} hex digits, found {given!r}; "
            "`monitor list` shows the ids"
        )
    return candidates.where(column >= prefix, column < prefix + "g").order_by(column)  # "g" sorts after every hex digit


def _only(found: list[_Found], what: str, given: str) -> _Found:
    """The one that was found. Raises CatalogError for none and for several."""
    if not found:
        raise _unknown(what, given)
    if len(found) > 1:
        ids = ", ".join(item if isinstance(item, str) else "/".join(item) for item in found)
        raise CatalogError(f"{given!r} begins the ids of several {what}s ({ids} …); give more digits")
    return found[0]


def _unknown(what: str, given: str) -> StoreError | CatalogError:
    shown = "`monitor list` shows the runs" if what == "run" else "`monitor show RUN` shows the subcalls of a run"
    return CatalogError(f"there is no {what} {given!r} in this store; {shown}")
