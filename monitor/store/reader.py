"""Questions to the store: each is answered from one snapshot, on a connection that cannot write."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event, exc, text
from sqlalchemy.pool import QueuePool
from sqlmodel import Session, col, select

from monitor.errors import CatalogError, StoreError
from monitor.records import (
    Call,
    Decision,
    Judgement,
    Observation,
    QueuedReview,
    RunEnd,
    RunResume,
    RunStart,
    RunSuspend,
    StoredRun,
    StoredSubcall,
)
from monitor.store.codec import decode_event, parse
from monitor.store.library import load
from monitor.store.location import FileIdentity
from monitor.store.sqlite import connect_reader, driver, translate
from monitor.store.tables import RUN_KINDS, EventRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_PREFIX_MIN = 4
_ASKING = '"body":{"action":"ask_human",'  # in the canonical form of a judgement, and of nothing else
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as it lies in the log.

    ``canonical`` are the RFC 8785 bytes of the event; ``leaf_hash`` is SHA-256(0x00 || canonical) in hex, and
    ``leaf_index`` its place in the log, counted from 0 over all runs.
    """

    leaf_index: int
    run_id: str
    span_id: str
    seq: int
    kind: str
    at: str
    canonical: bytes
    leaf_hash: str


class Reader:
    """Reads the file at ``path``; usable from several threads at once."""

    def __init__(self, path: Path, *, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._shared_memory = path.with_name(f"{path.name}-shm")
        self._file: FileIdentity | None = None
        self._engine: Engine = create_engine(
            "sqlite://",
            module=driver(),
            creator=lambda: connect_reader(path, busy_seconds=busy_seconds),
            poolclass=QueuePool,
        )
        event.listen(self._engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # --------------------------------------------------------------------------------------------- questions

    def events(self, run_id: str) -> list[StoredEvent]:
        """All events of a run in the order of the log. Raises CatalogError if there is no such run."""
        with self._snapshot() as session:
            rows = session.exec(
                select(EventRow).where(col(EventRow.run_id) == run_id).order_by(col(EventRow.leaf_index))
            )
            found = [
                StoredEvent(r.leaf_index, r.run_id, r.span_id, r.seq, r.kind, r.at, r.canonical.encode(), r.leaf_hash)
                for r in rows
            ]
        if not found:
            raise _unknown("run", run_id)
        return found

    def runs(self, *, limit: int | None) -> list[StoredRun]:
        """The runs, the newest first."""
        started = (
            select(EventRow.run_id)
            .where(col(EventRow.kind) == "run_started", text(RUN_KINDS))
            .order_by(col(EventRow.leaf_index).desc())
            .limit(limit)
        )
        with self._snapshot() as session:
            run_ids = session.exec(started).all()
            stored = {run.start.run_id: run for run in _load_runs(session, run_ids)}
        return [stored[run_id] for run_id in run_ids]

    def run(self, run_id: str) -> StoredRun:
        """The run whose id is, or alone begins with, ``run_id``. Raises CatalogError."""
        with self._snapshot() as session:
            started = select(EventRow.run_id).where(col(EventRow.kind) == "run_started", text(RUN_KINDS))
            (run,) = _load_runs(session, [_resolve(session, started, EventRow.run_id, "run", run_id)])
        return run

    def subcalls(self, run_id: str) -> list[StoredSubcall]:
        """The subcalls of a run, in the order in which they were started. Raises CatalogError if there is no such run."""
        with self._snapshot() as session:
            found = select(EventRow).where(col(EventRow.run_id) == run_id).order_by(col(EventRow.leaf_index))
            rows = session.exec(found).all()
            if not rows:
                raise _unknown("run", run_id)
            return _subcalls_of(session, rows)

    def subcall(self, run_id: str, span_id: str) -> StoredSubcall:
        """The subcall of this very run whose span id is, or alone begins with, ``span_id``. Raises CatalogError."""
        with self._snapshot() as session:
            started = select(EventRow.span_id).where(col(EventRow.run_id) == run_id, col(EventRow.kind) == "started")
            whole = _resolve(session, started, EventRow.span_id, "subcall", span_id)
            found = select(EventRow).where(col(EventRow.run_id) == run_id, col(EventRow.span_id) == whole)
            (subcall,) = _subcalls_of(session, session.exec(found.order_by(col(EventRow.leaf_index))).all())
        return subcall

    def asked(self, *, settled: bool) -> list[StoredSubcall]:
        """The subcalls about which a person was asked, oldest first: those that wait, with ``settled`` all of them."""
        about = select(EventRow.run_id, EventRow.span_id).where(
            col(EventRow.kind) == "judged", col(EventRow.canonical).contains(_ASKING, autoescape=True)
        )
        found: list[StoredSubcall] = []
        with self._snapshot() as session:
            for run_id, span_id in session.exec(about.order_by(col(EventRow.leaf_index))).all():
                events = select(EventRow).where(col(EventRow.run_id) == run_id, col(EventRow.span_id) == span_id)
                found += _subcalls_of(session, session.exec(events.order_by(col(EventRow.seq))).all())
        return [subcall for subcall in found if settled or subcall.awaits_human]

    @contextmanager
    def _snapshot(self) -> Iterator[Session]:
        """A session on one consistent state of the file; foreign errors are translated here."""
        try:
            self._follow_file()
            with Session(self._engine) as session:
                yield session
            if not self._shared_memory.exists():  # it was read as immutable: such a connection never sees a later write
                self._engine.dispose()
        except exc.DBAPIError as failure:
            raise translate(failure.orig or failure, self._path, busy_seconds=self._busy_seconds) from failure
        except driver().Error as failure:
            raise translate(failure, self._path, busy_seconds=self._busy_seconds) from failure

    def _follow_file(self) -> None:
        """Drop pooled connections if another file has taken the place of the one they have open."""
        now = FileIdentity.of(self._path)
        if now != self._file:
            self._engine.dispose()
            self._file = now


# ------------------------------------------------------------------------------------------------ from rows to records


def _payloads(session: Session, rows: Sequence[EventRow]) -> list[tuple[EventRow, Any]]:
    parsed = [parse(row.canonical) for row in rows]
    library = load(session, parsed)
    return [(row, decode_event(item, library)) for row, item in zip(rows, parsed, strict=True)]


def _subcalls_of(session: Session, rows: Sequence[EventRow]) -> list[StoredSubcall]:
    parts: dict[str, dict[type, list[Any]]] = {}
    steps = [row for row in rows if not row.kind.startswith("run_")]
    for row, payload in _payloads(session, steps):
        parts.setdefault(row.span_id, {}).setdefault(type(payload), []).append(payload)
    return [
        StoredSubcall(
            call=part[Call][0],
            observation=part.get(Observation, [None])[0],
            judgement=part.get(Judgement, [None])[0],
            decisions=tuple(part.get(Decision, ())),
        )
        for part in parts.values()
    ]


def _load_runs(session: Session, run_ids: Sequence[str]) -> list[StoredRun]:
    by_run: dict[str, list[Any]] = {}
    for some in _chunks(run_ids):
        found = select(EventRow).where(col(EventRow.run_id).in_(some), text(RUN_KINDS))
        rows = session.exec(found.order_by(col(EventRow.leaf_index))).all()
        for row, payload in _payloads(session, rows):
            by_run.setdefault(row.run_id, []).append(payload)
    return [_run_of(payloads) for payloads in by_run.values()]


def _run_of(payloads: Sequence[Any]) -> StoredRun:
    (start,) = (payload for payload in payloads if isinstance(payload, RunStart))
    return StoredRun(
        start=start,
        resumes=tuple(payload for payload in payloads if isinstance(payload, RunResume)),
        queued=tuple(payload for payload in payloads if isinstance(payload, QueuedReview)),
        stops=tuple(payload for payload in payloads if isinstance(payload, (RunEnd, RunSuspend))),
        is_stopped=isinstance(payloads[-1], (RunEnd, RunSuspend)),
        last_seq=len(payloads) - 1,
    )


def _chunks(items: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


# ------------------------------------------------------------------------------------------------------------ prefixes


def _resolve(session: Session, candidates: Any, column: Any, what: str, given: str) -> str:
    """Return the one id among ``candidates`` that is or begins with ``given``. Raises CatalogError."""
    prefix = given.strip().lower()
    if len(prefix) < _PREFIX_MIN or not _HEX.issuperset(prefix):
        raise CatalogError(
            f"expected the id of a {what} or at least its first {_PREFIX_MIN} hex digits, found {given!r}; "
            "`monitor list` shows the ids"
        )
    within = candidates.where(col(column) >= prefix, col(column) < prefix + "g")  # "g" sorts after every hex digit
    found = list(session.exec(within.limit(3)).all())
    if not found:
        raise _unknown(what, given)
    if len(found) > 1:
        raise CatalogError(f"{given!r} begins the ids of several {what}s ({', '.join(found)} …); give more digits")
    return str(found[0])


def _unknown(what: str, given: str) -> StoreError | CatalogError:
    shown = "`monitor list` shows the runs" if what == "run" else "`monitor show RUN` shows the subcalls of a run"
    return CatalogError(f"there is no {what} {given!r} in this store; {shown}")
