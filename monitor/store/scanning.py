"""Going through all stored subcalls, in the order of the log and in bounded memory: what audits stand on.

A scan covers what is in the store when it begins: what is appended later is left out. What cannot be read back is no
reason to stop, and never left out in silence: it is handed out as such.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text, tuple_

from monitor.errors import StoreFormatError
from monitor.store.decoding import decode_event, parse
from monitor.store.library import load
from monitor.store.rows import STEP_KINDS, chunks, subcall_of
from monitor.store.tables import RUN_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Row
    from sqlmodel import Session

    from monitor.records import StoredSubcall
    from monitor.store.backend import Log, Snapshots

SUBCALLS_AT_ONCE = 32
_RECIPES_REMEMBERED = 4096
_WITHOUT_LEAF = 2**62  # behind every leaf
_PLACES = {"began_at": "started", "judged_at": "judged"}
DAMAGE = (StoreFormatError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a damaged event back may raise; a database that cannot be read raises another StoreError, which goes on."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which subcalls a scan hands out: all that every part given is true of.

    ``run_id`` is a whole one. ``since`` (inclusive) and ``until`` (exclusive) are times as events carry them, of the
    subcall's start. ``roles`` and ``recipes`` are names; for a recipe that is recorded by its path, the name or the path.
    """

    run_id: str | None = None
    since: str | None = None
    until: str | None = None
    roles: frozenset[str] = frozenset()
    recipes: frozenset[str] = frozenset()

    def has_recipe(self, recipe: str | None) -> bool:
        """Whether a run's recipe is wanted; one that cannot be told (None) is."""
        return not self.recipes or recipe is None or not self.recipes.isdisjoint({recipe, short_name(recipe)})


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Scanned:
    """One subcall as a scan found it.

    ``subcall`` is None where it cannot be read back, and ``problem`` says why. ``erased`` are the commitments to those of
    its texts, its history's among them, that were erased: each reads as ``█``.

    ``is_wanted`` is false for one that is handed out only because it belongs to the run of others (see ``Scan.runs``).
    """

    run_id: str
    span_id: str
    recipe: str
    subcall: StoredSubcall | None = None
    problem: str = ""
    erased: frozenset[str] = frozenset()
    is_wanted: bool = True


class Scan:
    """Hands out stored subcalls."""

    def __init__(self, log: Log, snapshots: Snapshots) -> None:
        self._log = log
        self._snapshots = snapshots
        self._recipes: OrderedDict[str, str | None] = OrderedDict()

    def run(self, wanted: Wanted, progress: Callable[[int, int], None]) -> Iterator[Scanned]:
        """Yield the wanted subcalls. Raises StoreError."""
        log = self._log.table.c
        with self._snapshots.session() as session:
            top = session.execute(select(func.max(log.leaf_index))).scalar_one()
            waiting = session.execute(started(self._log, wanted).where(log.leaf_index.is_(None))).all()
        last, end = -1, -1 if top is None else int(top)
        total = end + 1 + len(waiting)
        while last < end:
            progress(last + 1, total)
            within = started(self._log, wanted).where(log.leaf_index > last, log.leaf_index <= end)
            with self._snapshots.session() as session:
                starts = session.execute(within.order_by(log.leaf_index).limit(SUBCALLS_AT_ONCE)).all()
                found = self._load(session, starts, wanted)
            yield from found
            last = starts[-1].leaf_index if len(starts) == SUBCALLS_AT_ONCE else end
        for some in chunks(waiting, SUBCALLS_AT_ONCE):  # they may have a leaf by now, behind ``end``
            progress(end + 1, total)
            with self._snapshots.session() as session:
                found = self._load(session, some, wanted)
            yield from found
        progress(total, total)

    def runs(self, wanted: Wanted, progress: Callable[[int, int], None]) -> Iterator[Scanned]:
        """Yield all subcalls of every run that has wanted ones, run after run, each run in the order of its starts.

        They have the places of their start and their judgement in the log of their run. Of a run as long as may be, the
        places of its events are in memory, and a few dozen of its subcalls. Raises StoreError.
        """
        log = self._log.table.c
        with self._snapshots.session() as session:
            first = func.min(func.coalesce(log.leaf_index, _WITHOUT_LEAF))
            chosen = started(self._log, wanted, (log.run_id, first.label("first"))).group_by(log.run_id)
            run_ids = [str(row.run_id) for row in session.execute(chosen.order_by(text("first"), log.run_id))]
            if wanted.recipes:
                run_ids = [one for one in run_ids if wanted.has_recipe(self.recipe(session, one))]
        for number, run_id in enumerate(run_ids):
            progress(number, len(run_ids))
            yield from self._run(run_id, wanted)
        progress(len(run_ids), len(run_ids))

    def _run(self, run_id: str, wanted: Wanted) -> Iterator[Scanned]:
        log = self._log.table.c
        columns = (log.span_id, log.kind, log.at)
        query = select(*columns).where(log.run_id == run_id, log.kind.in_(["started", "judged"]))
        with self._snapshots.session() as session:
            rows = session.execute(query.order_by(*self._log.order)).all()
        places = {(row.span_id, row.kind): place for place, row in enumerate(rows)}
        for some in chunks([row for row in rows if row.kind == "started"], SUBCALLS_AT_ONCE):
            with self._snapshots.session() as session:
                within = started(self._log, Wanted(run_id=run_id)).where(log.span_id.in_([row.span_id for row in some]))
                found = self._load(session, session.execute(within.order_by(*self._log.order)).all(), EVERYTHING)
            for one, row in zip(found, some, strict=True):
                yield replace(
                    one,
                    subcall=one.subcall
                    and one.subcall.model_copy(
                        update={name: places.get((row.span_id, kind)) for name, kind in _PLACES.items()}
                    ),
                    is_wanted=_is_among(wanted, one, row.at),
                )

    def _load(self, session: Session, starts: Sequence[Row[Any]], wanted: Wanted) -> list[Scanned]:
        """Those of ``starts`` that are wanted, read back together, or one by one where something is damaged."""
        chosen = [row for row in starts if self.is_wanted(session, row, wanted)]
        rows = self._rows_of(session, chosen)
        try:
            return self._read(session, chosen, rows)
        except DAMAGE:
            return [self._read_one(session, row, rows) for row in chosen]

    def is_wanted(self, session: Session, start: Row[Any], wanted: Wanted) -> bool:
        """Whether role and recipe are those wanted. What cannot be told is wanted: it may be what is looked for."""
        if wanted.recipes and not wanted.has_recipe(self.recipe(session, start.run_id)):
            return False
        if not wanted.roles:
            return True
        try:
            return parse(start.canonical)["body"]["role"] in wanted.roles
        except DAMAGE:
            return True

    def recipe(self, session: Session, run_id: str) -> str | None:
        """The recipe of a run, None where that cannot be read."""
        if run_id not in self._recipes:
            log = self._log.table.c
            query = select(log.canonical).where(log.run_id == run_id, log.kind == "run_started", text(RUN_KINDS))
            try:
                self._recipes[run_id] = str(parse(session.scalars(query).first() or "")["body"]["recipe"])
            except DAMAGE:
                self._recipes[run_id] = None
            if len(self._recipes) > _RECIPES_REMEMBERED:
                self._recipes.popitem(last=False)
        return self._recipes[run_id]

    def _rows_of(self, session: Session, starts: Sequence[Row[Any]]) -> dict[tuple[str, str], list[Row[Any]]]:
        """All events of these subcalls, in the order of the log."""
        rows: dict[tuple[str, str], list[Row[Any]]] = {(row.run_id, row.span_id): [] for row in starts}
        log = self._log.table
        if rows:
            query = select(log).where(tuple_(log.c.run_id, log.c.span_id).in_(list(rows)))
            for row in session.execute(query.order_by(*self._log.order)):
                rows[row.run_id, row.span_id].append(row)
        return rows

    def _read(
        self, session: Session, starts: Sequence[Row[Any]], rows: dict[tuple[str, str], list[Row[Any]]]
    ) -> list[Scanned]:
        """Read subcalls back. Raises what ``DAMAGE`` names if one of them is damaged."""
        steps = {
            (start.run_id, start.span_id): [
                parse(row.canonical) for row in rows[start.run_id, start.span_id] if row.kind in STEP_KINDS
            ]
            for start in starts
        }
        library = load(session, [step for some in steps.values() for step in some])
        return [
            Scanned(
                run_id,
                span_id,
                self.recipe(session, run_id) or "",
                subcall_of([decode_event(step, library) for step in some]),
                erased=frozenset().union(*(library.erased_in(step) for step in some)),
            )
            for (run_id, span_id), some in steps.items()
        ]

    def _read_one(self, session: Session, start: Row[Any], rows: dict[tuple[str, str], list[Row[Any]]]) -> Scanned:
        try:
            (found,) = self._read(session, [start], rows)
        except DAMAGE as failure:
            said = (
                str(failure) if isinstance(failure, StoreFormatError) else f"it is damaged ({type(failure).__name__})"
            )
            return Scanned(start.run_id, start.span_id, self.recipe(session, start.run_id) or "", problem=said)
        return found


def _is_among(wanted: Wanted, found: Scanned, at: str) -> bool:
    """Whether a subcall of a run that has wanted ones is one of them. What cannot be told is wanted."""
    if (wanted.since is not None and at < wanted.since) or (wanted.until is not None and at >= wanted.until):
        return False
    return not wanted.roles or found.subcall is None or found.subcall.call.role in wanted.roles


def short_name(recipe: str) -> str:
    """The name of a recipe, which may be recorded by its path: ``ask`` for ``/home/ann/ask.py``, ``ask:plan`` likewise."""
    return recipe.rpartition("/")[2].replace(".py", "", 1)


def started(log: Log, wanted: Wanted, chosen: Sequence[Any] = ()) -> Any:
    """The starts of subcalls, as far as SQL can tell which are wanted; ``chosen`` are other columns than the usual ones."""
    columns = log.table.c
    query = select(*(chosen or (columns.leaf_index, columns.run_id, columns.span_id, columns.canonical)))
    query = query.where(columns.kind == "started")
    if wanted.run_id is not None:
        query = query.where(columns.run_id == wanted.run_id)
    if wanted.since is not None:
        query = query.where(columns.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(columns.at < wanted.until)
    return query
