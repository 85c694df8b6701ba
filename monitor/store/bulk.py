"""Stored subcalls by ranges of the log, many at once: what scans of whole stores read.

A range is read with few queries, and each text and message of it once. An event that is not what its hash says, or cannot
be read back, is handed out as such, alone.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import func, select, tuple_

from monitor.canonical import fingerprint
from monitor.errors import StoreFormatError
from monitor.records import Call, Judgement, Observation
from monitor.store import quick
from monitor.store.batches import KEYS_AT_ONCE
from monitor.store.decoding import decode_event, parse
from monitor.store.ledger import leaf_hash_of
from monitor.store.library import load, load_nodes, load_texts
from monitor.store.rows import chunks
from monitor.store.scanning import DAMAGE, Scan, started
from monitor.store.tables import TextRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Row
    from sqlmodel import Session

    from monitor.records import Message
    from monitor.store.backend import Log, Snapshots
    from monitor.store.library import LoadedLibrary
    from monitor.store.scanning import Wanted

Steps: TypeAlias = "Sequence[Any]"
"""The rows of one subcall's events: started, observed, judged; None for one that is not there (yet)."""

SUBCALLS_AT_ONCE = 128
_STEPS = {"started": 0, "observed": 1, "judged": 2}


class RunExtent(NamedTuple):
    """Where in the log the subcalls of a run start: from leaf ``first`` to ``last``, ``subcalls`` of them."""

    run_id: str
    first: int
    last: int
    subcalls: int


class Extent(NamedTuple):
    """What there is to scan: leaves ``first`` to ``end`` (exclusive) of a log.

    ``tree_size`` leaves are in the log, the hash of its first and of its last one tell it from others; ``pending`` events
    have no leaf yet. ``erased`` texts were erased.
    """

    first: int
    end: int
    tree_size: int
    first_leaf: str
    last_leaf: str
    pending: int
    erased: int


class Found(NamedTuple):
    """One subcall. Without ``call`` it cannot be read back, and ``problem`` says why.

    ``event_hash`` is SHA-256 over the leaf hashes of its events up to the judgement. ``erased`` of its texts were erased.
    ``texts_key`` tells the texts that it was handed and that came back, by their commitments. It is empty, and there is no
    ``judgement`` that holds nothing but findings of rules, where the whole was not asked for.

    ``judged_leaf`` is where in the log it was judged, None where it was not.
    """

    leaf_index: int
    run_id: str
    span_id: str
    event_hash: str
    texts_key: str = ""
    call: Call | None = None
    observation: Observation | None = None
    judgement: Judgement | None = None
    problem: str = ""
    erased: int = 0
    judged_leaf: int | None = None


def extent(log: Log, snapshots: Snapshots, wanted: Wanted) -> Extent:
    """What there is to scan now. Raises StoreError."""
    columns = log.table.c
    with snapshots.session() as session:
        top = session.execute(select(func.max(columns.leaf_index))).scalar_one()
        size = 0 if top is None else int(top) + 1
        ends = select(columns.leaf_index, columns.leaf_hash).where(columns.leaf_index.in_([0, size - 1]))
        hashes = {int(row.leaf_index): str(row.leaf_hash) for row in session.execute(ends)}
        pending = session.execute(started(log, wanted).where(columns.leaf_index.is_(None))).all()
        texts = TextRow.__table__  # type: ignore[attr-defined]  # SQLModel gives it to tables, and its types do not say so
        erased = session.execute(select(func.count()).select_from(texts).where(texts.c.body.is_(None))).scalar_one()
        first, end = 0, size
        if wanted.run_id is not None:
            within = select(func.min(columns.leaf_index), func.max(columns.leaf_index))
            low, high = session.execute(within.where(columns.run_id == wanted.run_id)).one()
            first, end = (0, 0) if low is None else (int(low), int(high) + 1)
    return Extent(first, end, size, hashes.get(0, ""), hashes.get(size - 1, ""), len(pending), int(erased))


def run_extents(log: Log, snapshots: Snapshots, wanted: Wanted, tree_size: int) -> list[RunExtent]:
    """The runs that have wanted subcalls among the first ``tree_size`` leaves, each with all of its subcalls; in the order
    of the log. Roles are not looked at. Raises StoreError.
    """
    leaf, run = log.table.c.leaf_index, log.table.c.run_id
    within = (log.table.c.kind == "started", leaf < tree_size)
    columns = (run, func.min(leaf).label("first"), func.max(leaf).label("last"), func.count().label("subcalls"))
    scan = Scan(log, snapshots)
    with snapshots.session() as session:
        chosen = set(session.scalars(started(log, wanted, (run,)).where(leaf < tree_size).distinct()))
        rows = session.execute(select(*columns).where(*within).group_by(run).order_by(func.min(leaf))).all()
        return [
            RunExtent(str(row.run_id), int(row.first), int(row.last), int(row.subcalls))
            for row in rows
            if row.run_id in chosen and (not wanted.recipes or wanted.has_recipe(scan.recipe(session, row.run_id)))
        ]


class Bulk:
    """Reads subcalls as the log had them at its first ``tree_size`` leaves. For one thread.

    ``whole``: with token evidence, every judgement and ``texts_key``, which takes some times as long.
    """

    def __init__(self, log: Log, snapshots: Snapshots, wanted: Wanted, tree_size: int, *, whole: bool = False) -> None:
        self._log = log
        self._snapshots = snapshots
        self._wanted = wanted
        self._size = tree_size
        self._whole = whole
        self._scan = Scan(log, snapshots)
        columns = log.table.c
        self._columns = [
            columns[name] for name in ("leaf_index", "run_id", "span_id", "kind", "canonical", "leaf_hash")
        ]
        self._by_range = wanted.run_id is None and wanted.since is None and wanted.until is None

    def read(self, first: int, end: int) -> Iterator[Found]:
        """The wanted subcalls that started at leaves ``first`` to ``end`` (exclusive), in the order of the log.

        Raises StoreError where the database itself cannot be read.
        """
        end = min(end, self._size)
        with self._snapshots.session() as session:
            rows = self._rows(session, first, end)
            for some in chunks(rows, SUBCALLS_AT_ONCE):
                yield from self._decoded(session, some)

    def recipe(self, run_id: str) -> str:
        """The recipe of a run; empty where that cannot be read. Raises StoreError."""
        with self._snapshots.session() as session:
            return self._scan.recipe(session, run_id) or ""

    # ---------------------------------------------------------------------------------------------------- rows

    def _rows(self, session: Session, first: int, end: int) -> list[Steps]:
        """The events of each subcall that starts in the range: started, observed, judged."""
        columns = self._log.table.c
        if self._by_range:
            query = select(*self._columns).where(
                columns.leaf_index >= first, columns.leaf_index < end, columns.kind.in_(list(_STEPS))
            )
            rows = session.connection().execute(query.order_by(columns.leaf_index)).all()
        else:
            query = started(self._log, self._wanted, self._columns)
            query = query.where(columns.leaf_index >= first, columns.leaf_index < end)
            rows = session.connection().execute(query.order_by(columns.leaf_index)).all()
        found: dict[tuple[str, str], list[Any]] = {
            (row.run_id, row.span_id): [row, None, None] for row in rows if row.kind == "started"
        }
        _place(found, rows)
        if self._wanted.roles or self._wanted.recipes:
            found = {
                key: steps for key, steps in found.items() if self._scan.is_wanted(session, steps[0], self._wanted)
            }
        open_ends = [key for key, steps in found.items() if None in steps]
        for some in chunks(open_ends, KEYS_AT_ONCE):
            query = select(*self._columns).where(
                tuple_(columns.run_id, columns.span_id).in_(list(some)),
                columns.kind.in_(["observed", "judged"]),
                columns.leaf_index < self._size,
            )
            _place(found, session.connection().execute(query).all())
        return list(found.values())

    # ------------------------------------------------------------------------------------------------ decoding

    def _decoded(self, session: Session, some: Sequence[Steps]) -> list[Found]:
        """These subcalls read back together; those that the quick way does not take, or that are damaged, one by one."""
        if self._whole:
            try:
                return self._read(session, some)
            except DAMAGE:
                return [self._read_one(session, steps) for steps in some]
        for steps in some:
            for row in steps:
                if row is not None and leaf_hash_of(row.canonical) != row.leaf_hash:
                    return [self._read_one(session, steps) for steps in some]
        shelf = Shelf(session, [row.canonical for steps in some for row in steps[:2] if row is not None])
        return [self._quickly(session, steps, shelf) for steps in some]

    def _quickly(self, session: Session, steps: Steps, shelf: Shelf) -> Found:
        start, observed, judged = steps
        try:
            call_event = _parsed(start)
            call = quick.call_of(call_event, shelf.texts, shelf.history)
            seen_event = None if observed is None else _parsed(observed)
            seen = quick.observation_of(seen_event, shelf.texts, shelf.history) if seen_event else None
            if judged is not None and not _says_nothing(judged.canonical):
                raise quick.Unusual
            erased = _erased(steps, shelf) if shelf.has_erased else 0
        except quick.Unusual:
            return self._read_one(session, steps)
        return Found(
            *_place_of(start), _event_hash(steps), "", call, seen, erased=erased, judged_leaf=_judged_leaf(steps)
        )

    def _read_one(self, session: Session, steps: Steps) -> Found:
        start = steps[0]
        try:
            return self._read(session, [steps])[0]
        except DAMAGE as failure:
            known = isinstance(failure, StoreFormatError)
            problem = str(failure) if known else f"it is damaged ({type(failure).__name__})"
            return Found(*_place_of(start), _event_hash(steps), problem=problem)

    def _read(self, session: Session, some: Sequence[Steps]) -> list[Found]:
        """The long way, everything validated. Raises what ``DAMAGE`` names if one of them is damaged."""
        parsed = [[self._checked(row) if row is not None else None for row in steps] for steps in some]
        library = load(session, [event for events in parsed for event in events if event is not None])
        return [_found(steps, events, library) for steps, events in zip(some, parsed, strict=True)]

    def _checked(self, row: Row[Any]) -> dict[str, Any]:
        event = parse(row.canonical)
        told = (event.get("run_id"), event.get("span_id"), event.get("kind"))
        if leaf_hash_of(row.canonical) != row.leaf_hash or told != (row.run_id, row.span_id, row.kind):
            raise StoreFormatError("it is damaged: an event of it is not what its hash says")
        if row.kind == "observed" and not self._whole:
            event["body"]["tokens"] = None
        return event


class Shelf:
    """The texts and messages that some events refer to, each fetched once, and each message decoded once."""

    def __init__(self, session: Session, canonicals: Sequence[str]) -> None:
        heads = {head for canonical in canonicals for head in quick.marked(canonical, "$chain")}
        commitments = {text for canonical in canonicals for text in quick.marked(canonical, "$text")}
        self._nodes = load_nodes(session, heads)
        commitments.update(text for payload in self._nodes.values() for text in quick.marked(payload, "$text"))
        self.texts = load_texts(session, commitments)
        self.has_erased = None in self.texts.values()
        self._histories: dict[str, tuple[Message, ...]] = {}

    def history(self, node_hash: str) -> tuple[Message, ...]:
        """The messages up to and including this node. Raises KeyError if one is not there, and Unusual."""
        backwards = []
        current: str | None = node_hash
        before: tuple[Message, ...] = ()
        while current is not None:
            known = self._histories.get(current)
            if known is not None:
                before = known
                break
            node = quick.parse(self._nodes[current])
            backwards.append((current, node))
            current = node["parent"]
        messages = [quick.message_of(node, self.texts, self.history) for _, node in reversed(backwards)]
        found = (*before, *messages)
        self._histories[node_hash] = found
        return found

    def erased(self, canonical: str) -> set[str]:
        """The commitments to erased texts, of those that an event and its history refer to."""
        found = set(quick.marked(canonical, "$text"))
        for head in quick.marked(canonical, "$chain"):
            current: str | None = head
            while current is not None:
                payload = self._nodes[current]
                found.update(quick.marked(payload, "$text"))
                current = quick.parse(payload)["parent"]
        return {commitment for commitment in found if self.texts[commitment] is None}


def _found(steps: Steps, events: Sequence[dict[str, Any] | None], library: LoadedLibrary) -> Found:
    call, seen, judgement = (decode_event(event, library) if event else None for event in events)
    assert isinstance(call, Call)
    assert seen is None or isinstance(seen, Observation)
    assert judgement is None or isinstance(judgement, Judgement)
    erased = len(frozenset().union(*(library.erased_in(event) for event in events[:2] if event)))
    key = _texts_key(events[0], events[1])
    place = (*_place_of(steps[0]), _event_hash(steps))
    return Found(*place, key, call, seen, judgement, erased=erased, judged_leaf=_judged_leaf(steps))


def _judged_leaf(steps: Steps) -> int | None:
    return None if steps[2] is None else int(steps[2].leaf_index)


def _place_of(start: Row[Any]) -> tuple[int, str, str]:
    return start.leaf_index, start.run_id, start.span_id


def _parsed(row: Row[Any]) -> dict[str, Any]:
    """An event whose columns are those of its canonical text. Raises Unusual."""
    event = quick.parse(row.canonical)
    if (event.get("run_id"), event.get("span_id"), event.get("kind")) != (row.run_id, row.span_id, row.kind):
        raise quick.Unusual
    return event


def _erased(steps: Steps, shelf: Shelf) -> int:
    return len(set().union(*(shelf.erased(row.canonical) for row in steps[:2] if row is not None)))


def _says_nothing(judged: str) -> bool:
    """Whether a judgement holds nothing but findings of rules: of no probe, judge or budget.

    In a text that stands in it in the clear a quotation mark has a backslash before it, so none can look like this.
    """
    said = ('"check":"budget"', '"check":"probe"', '"answers":[{')
    return '"probes":[],' in judged and not any(one in judged for one in said)


def _place(found: dict[tuple[str, str], list[Any]], rows: Iterable[Row[Any]]) -> None:
    for row in rows:
        steps = found.get((row.run_id, row.span_id))
        if steps is not None:
            steps[_STEPS[row.kind]] = row


def _event_hash(steps: Steps) -> str:
    return hashlib.sha256("".join([row.leaf_hash for row in steps if row is not None]).encode()).hexdigest()


def _texts_key(call: dict[str, Any] | None, seen: dict[str, Any] | None) -> str:
    """A digest of what is read of the texts: what the subcall was handed, and what came back."""
    if call is None or seen is None:
        return ""
    handed, back = call["body"], seen["body"]
    parts = [handed["role"], handed["kind"], handed["task"], handed["messages"]]
    parts += [back["reasoning"], back["output"], back["raw"], back["tool_calls"], back["tokens"]]
    return fingerprint(json.dumps(parts, sort_keys=True))
