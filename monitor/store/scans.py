"""Scans: what later checks said of stored subcalls, beside the events and never in their place.

A scan is a header (what was checked, with which checks, up to where in the log), a mark for each finished part of it and a
result for each subcall. Rows are only ever added. What is added twice is the same twice: of two processes that do the same
part of the same scan, the second adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Column, Integer, Table, Text, func, select, text
from sqlmodel import SQLModel

from monitor.canonical import canonical_text, parse_json
from monitor.errors import CatalogError
from monitor.records import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from monitor.store.backend import Backend, Snapshots


def _table(name: str, *columns: Column[Any], keys: int) -> Table:
    """A table whose first ``keys`` columns are its primary key."""
    for column in columns[:keys]:
        column.primary_key, column.autoincrement = True, False
    return Table(name, SQLModel.metadata, *columns, sqlite_with_rowid=keys == 1)


def _texts(*names: str) -> list[Column[Any]]:
    return [Column(name, Text, nullable=False) for name in names]


_CHECK = ("check_kind", "name", "level", "action", "pack", "rule_id", "rule_hash")
_HEADERS = _table("scan_headers", *_texts("scan_id", "begun_at", "header"), keys=1)
_CHECKS = _table(
    "scan_checks",
    *_texts("scan_id"),
    Column("n", Integer, nullable=False),
    *_texts(*_CHECK),
    Column("shadow", Integer, nullable=False),
    keys=2,
)
_PARTS = _table("scan_parts", *_texts("scan_id"), Column("part", Integer, nullable=False), keys=2)
_RESULTS = _table(
    "scan_results",
    *_texts("scan_id"),
    Column("leaf_index", BigInteger, nullable=False),
    *_texts("run_id", "span_id", "event_hash", "status"),
    Column("verdict", Text),
    Column("action", Text),
    *_texts("findings", "problem"),
    keys=2,
)
TABLES = (_HEADERS, _CHECKS, _PARTS, _RESULTS)
_ROWS_AT_ONCE = 5_000
_PREFIX_MIN = 4


class ScanResult(NamedTuple):
    """What a scan says of one subcall.

    ``event_hash`` is a digest of the subcall's events. ``status`` is ``done``, ``failed`` (``problem`` says why;
    of one that is done, it says what of it was erased),
    ``unanswered`` (nothing had come back) or ``unchecked`` (left so by its recipe). ``findings`` is canonical JSON: one
    object for each check that said anything else than ``no_match``, whose ``n`` is the check's place in the header.
    """

    leaf_index: int
    run_id: str
    span_id: str
    event_hash: str
    status: str
    verdict: str | None = None
    action: str | None = None
    findings: str = "[]"
    problem: str = ""


@dataclass(frozen=True, slots=True)
class StoredScan:
    """A scan as far as it has come. ``parts_done`` are the parts that are finished; with all ``parts`` it is finished."""

    scan_id: str
    begun_at: str
    header: Mapping[str, Any]
    parts_done: int

    @property
    def parts(self) -> int:
        """How many parts it has."""
        return int(self.header["parts"])

    @property
    def is_finished(self) -> bool:
        """Whether every part of it is done."""
        return self.parts_done >= self.parts


class ScanLog:
    """Where scans are kept: tables of a store, of the one that is scanned or of another."""

    def __init__(self, backend: Backend, snapshots: Snapshots) -> None:
        self._backend = backend
        self._snapshots = snapshots
        self._insert = {table: _insert(table, is_server=backend.path is None) for table in TABLES}

    # -------------------------------------------------------------------------------------------------- writing

    def begin(self, scan_id: str, header: Mapping[str, Any], *, begun_at: str = "") -> None:
        """Note a scan, where it is not there yet. Its ``checks`` are maps, whose order numbers them. Raises StoreError."""
        checks = [
            (
                scan_id,
                number,
                check["check"],
                *(check.get(name, "") for name in _CHECK[1:]),
                int(check["shadow"]),
            )
            for number, check in enumerate(header["checks"])
        ]
        with self._backend.transaction() as connection:
            connection.exec_driver_sql(self._insert[_HEADERS], (scan_id, begun_at or now(), canonical_text(header)))
            if checks:
                connection.exec_driver_sql(self._insert[_CHECKS], checks)

    def add(self, scan_id: str, parts: Sequence[tuple[int, Sequence[ScanResult]]]) -> None:
        """Add finished parts with their results, all of them durably or none. Raises StoreError."""
        rows = [(scan_id, *row) for _, results in parts for row in results]
        with self._backend.transaction() as connection:
            if rows:
                connection.exec_driver_sql(self._insert[_RESULTS], rows)
            connection.exec_driver_sql(self._insert[_PARTS], [(scan_id, number) for number, _ in parts])

    def adopt(self, other: ScanLog) -> int:
        """Add all scans of another log as they are, finished or not; what is there already stays. Return how many were new.

        Of each scan the results come before the marks of finished parts, so one that is cut off here is gone on with.
        Raises StoreError.
        """
        known = {scan.scan_id for scan in self.scans()}
        theirs = other.scans()
        for scan in theirs:
            done = sorted(other.done(scan.scan_id))  # before its results, of which more may be added meanwhile
            self.begin(scan.scan_id, scan.header, begun_at=scan.begun_at)
            found = other.results(scan.scan_id)
            while results := list(islice(found, _ROWS_AT_ONCE)):
                with self._backend.transaction() as connection:
                    connection.exec_driver_sql(self._insert[_RESULTS], [(scan.scan_id, *row) for row in results])
            if done:
                with self._backend.transaction() as connection:
                    connection.exec_driver_sql(self._insert[_PARTS], [(scan.scan_id, number) for number in done])
        return len({scan.scan_id for scan in theirs} - known)

    # -------------------------------------------------------------------------------------------------- reading

    def scans(self) -> list[StoredScan]:
        """All scans, the newest first."""
        done = select(_PARTS.c.scan_id, func.count().label("parts")).group_by(_PARTS.c.scan_id).subquery()
        query = select(_HEADERS, func.coalesce(done.c.parts, 0).label("parts")).outerjoin(
            done, done.c.scan_id == _HEADERS.c.scan_id
        )
        with self._snapshots.session() as session:
            rows = session.execute(query.order_by(_HEADERS.c.begun_at.desc(), _HEADERS.c.scan_id)).all()
        return [StoredScan(row.scan_id, row.begun_at, parse_json(row.header), int(row.parts)) for row in rows]

    def scan(self, given: str) -> StoredScan:
        """The scan with this id, or the only one whose id begins so; ``latest`` is the newest. Raises CatalogError."""
        known = self.scans()
        if given == "latest" and known:
            return known[0]
        wanted = given.strip().lower()
        found = [one for one in known if one.scan_id == wanted] or [
            one for one in known if len(wanted) >= _PREFIX_MIN and one.scan_id.startswith(wanted)
        ]
        if len(found) == 1:
            return found[0]
        said = "begins the ids of several scans; give more digits" if found else "is no scan of this store"
        raise CatalogError(
            f"{given!r} {said}; `monitor audit scans` lists them (ids, or {_PREFIX_MIN} digits at least)"
        )

    def done(self, scan_id: str) -> set[int]:
        """The numbers of the parts that are finished."""
        with self._snapshots.session() as session:
            return set(session.scalars(select(_PARTS.c.part).where(_PARTS.c.scan_id == scan_id)))

    def between(self, scan_id: str, first: int, end: int) -> dict[int, ScanResult]:
        """The results of subcalls that started at leaves ``first`` to ``end`` (exclusive)."""
        query = _of(scan_id).where(_RESULTS.c.leaf_index >= first, _RESULTS.c.leaf_index < end)
        with self._snapshots.session() as session:
            return {row.leaf_index: ScanResult(*row) for row in session.execute(query)}

    def results(self, scan_id: str, *, by_subcall: bool = False) -> Iterator[ScanResult]:
        """All results in the order of the log, or in that of run and span; a few thousand at a time in memory."""
        columns = (_RESULTS.c.run_id, _RESULTS.c.span_id) if by_subcall else (_RESULTS.c.leaf_index,)
        query = _of(scan_id).order_by(*columns).execution_options(yield_per=_ROWS_AT_ONCE)
        with self._snapshots.session() as session:
            for row in session.execute(query):
                yield ScanResult(*row)

    def counts(self, scan_id: str) -> dict[tuple[str, str | None], int]:
        """How many results there are of each status and verdict."""
        columns = (_RESULTS.c.status, _RESULTS.c.verdict)
        query = select(*columns, func.count()).where(_RESULTS.c.scan_id == scan_id).group_by(*columns)
        with self._snapshots.session() as session:
            return {(status, verdict): int(count) for status, verdict, count in session.execute(query)}

    def erased(self, scan_id: str) -> int:
        """How many subcalls were looked at of which texts were erased."""
        query = select(func.count()).where(
            _RESULTS.c.scan_id == scan_id, _RESULTS.c.status == "done", _RESULTS.c.problem != ""
        )
        with self._snapshots.session() as session:
            return int(session.execute(query).scalar_one())

    def failures(self, scan_id: str, most: int) -> list[ScanResult]:
        """The first ``most`` results that failed."""
        query = _of(scan_id).where(_RESULTS.c.status == "failed").order_by(_RESULTS.c.leaf_index).limit(most)
        with self._snapshots.session() as session:
            return [ScanResult(*row) for row in session.execute(query)]

    def spoken(self, scan_id: str) -> dict[tuple[str, str, str], int]:
        """How many findings there are of each check and status other than ``no_match``: (kind, name, status) → count."""
        query = text(
            "SELECT check_kind, name, status, count(*) FROM scan_findings WHERE scan_id = :scan GROUP BY 1, 2, 3"
        )
        with self._snapshots.session() as session:
            rows = session.connection().execute(query, {"scan": scan_id})
            return {(kind, name, status): int(count) for kind, name, status, count in rows}


def _of(scan_id: str) -> Any:
    return select(*(_RESULTS.c[name] for name in ScanResult._fields)).where(_RESULTS.c.scan_id == scan_id)


def _insert(table: Table, *, is_server: bool) -> str:
    """The statement that adds a row where it is not there; in the driver's own words."""
    names = ", ".join(column.name for column in table.columns)
    marks = ", ".join(["%s" if is_server else "?"] * len(table.columns))
    return f"INSERT INTO {table.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608 - constants
