"""Erasing texts: where each of them is used, what else contains it, and the transaction that erases and says so."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, or_, select

from monitor.errors import StoreError
from monitor.records import INGESTED
from monitor.store.batches import NODES, TEXTS, chunks, load_nodes
from monitor.store.decoding import parse
from monitor.store.opening import locate
from monitor.store.schema import SCHEMA_VERSION
from monitor.store.standing import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement

    from monitor.records import Event
    from monitor.store.backend import Backend
    from monitor.store.scrubbing import Scrubbed

_EVENTS_AT_ONCE = 1_000
_TEXTS_AT_ONCE = 300
_ID_NAMES = frozenset({"id", "tool_call_id"})
_ABOUT_ANOTHER = frozenset({"reviewed", "run_queued"})


class Use(NamedTuple):
    """One place where an event refers to a text, or has it in its history. ``path`` is the place in the event's body.

    ``about`` is the subcall that the event is about: its own span, but for reviews and queued reviews.
    """

    run_id: str
    span_id: str
    about: str
    kind: str
    path: str
    commitment: str
    is_json: bool


class Eraser:
    """A store whose texts are to be erased. Used by one thread."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._snapshots = backend.snapshots()

    @classmethod
    @contextlib.contextmanager
    def opened(cls, url: str, *, busy_seconds: float) -> Iterator[Eraser]:
        """The store at ``url``, which must be there, of this version's schema. Raises StoreError."""
        backend = locate(url, busy_seconds=busy_seconds)
        version = backend.facts().schema_version
        if version is not None and version < SCHEMA_VERSION:
            raise StoreError(f"{backend.place}: schema {version} is too old to redact in; first: monitor db upgrade")
        backend.prepare(create=False)
        eraser = cls(backend)
        try:
            yield eraser
        finally:
            eraser._snapshots.close()
            backend.close()

    @property
    def url(self) -> str:
        """The store's URL, to show."""
        return self._backend.url

    # --------------------------------------------------------------------------------------------------- looking

    def newest(self) -> dict[str, str]:
        """The time of the last event of each run but for redactions, which make no run younger. Raises StoreError."""
        log = self._backend.log.table
        query = select(log.c.run_id, func.max(log.c.at)).where(log.c.kind != "redacted").group_by(log.c.run_id)
        with self._snapshots.session() as session:
            rows = session.execute(query)
            return {row[0]: row[1] for row in rows}

    def uses_in(self, run_id: str, spans: Collection[str] = ()) -> list[Use]:
        """Every use of a text in a run, or in what is about these subcalls of it. Raises StoreError."""
        histories = self._histories()
        log = self._backend.log.table
        found: list[Use] = []
        for event in self._events(log.c.run_id == run_id):
            if not spans or event.span_id in spans or event.about in spans:
                for path, mark, name in _places(event.body):
                    names = histories.texts(name) if mark == "$chain" else (name,)
                    found += (event.use(path, held, is_json=mark == "$json") for held in names)
        return found

    def uses_of(self, names: Collection[str], progress: Callable[[int, int], None]) -> list[Use]:
        """Every use of these texts, wherever it is. Raises StoreError."""
        held = self._histories().holding(names)
        found: list[Use] = []
        with self._snapshots.session() as session:
            total = int(session.execute(select(func.count()).select_from(self._backend.log.table)).scalar_one())
        for number, event in enumerate(self._events(), 1):
            for path, mark, name in _places(event.body):
                hits = held.get(name, ()) if mark == "$chain" else {name}.intersection(names)
                found += (event.use(path, hit, is_json=mark == "$json") for hit in hits)
            if not number % _EVENTS_AT_ONCE:
                progress(number, total)
        return found

    def texts_by_run(self, progress: Callable[[int, int], None]) -> dict[str, set[str]]:
        """The texts that each run's events and histories use; those of redactions stand under no run. Raises StoreError."""
        histories = self._histories()
        found: dict[str, set[str]] = {"": set()}
        seen: dict[str, set[str]] = {}
        with self._snapshots.session() as session:
            total = int(session.execute(select(func.count()).select_from(self._backend.log.table)).scalar_one())
        for number, event in enumerate(self._events(), 1):
            texts = found.setdefault("" if event.kind == "redacted" else event.run_id, set())
            for _, mark, name in _places(event.body):
                if mark == "$chain":
                    texts |= histories.new_texts(name, seen.setdefault(event.run_id, set()))
                else:
                    texts.add(name)
            if not number % _EVENTS_AT_ONCE:
                progress(number, total)
        return found

    def marks_of(self, runs: Iterable[str]) -> dict[str, set[str]]:
        """For each run the texts that tell nothing themselves and yet could prove a guess at another: the salt of its keys
        and seeds, and the options of an ingested one, which have the hash of its file. Raises StoreError.
        """
        log = self._backend.log.table
        found: dict[str, set[str]] = {}
        for some in chunks(sorted(runs), _TEXTS_AT_ONCE):
            for event in self._events(log.c.kind == "run_started", log.c.run_id.in_(some)):
                ingested = str(event.body["recipe"]).startswith(INGESTED)
                telling = {"salt", "options"} if ingested else {"salt"}
                found[event.run_id] = {name for path, _, name in _places(event.body) if path in telling}
        return found

    def _events(self, *conditions: ColumnElement[bool]) -> Iterator[_Event]:
        log = self._backend.log.table
        columns = (log.c.leaf_index, log.c.run_id, log.c.span_id, log.c.kind, log.c.canonical)
        query = select(*columns).where(*conditions).order_by(*self._backend.log.order)
        with self._snapshots.session() as session:
            for row in session.execute(query.execution_options(yield_per=_EVENTS_AT_ONCE)):
                body = parse(row.canonical)["body"]
                about = str(body["span"]) if row.kind in _ABOUT_ANOTHER else row.span_id
                yield _Event(row.run_id, row.span_id, about, row.kind, body)

    def _histories(self) -> _Histories:
        nodes: dict[str, tuple[str | None, tuple[str, ...]]] = {}
        with self._snapshots.session() as session:
            query = select(NODES.c.node_hash, NODES.c.parent_hash, NODES.c.payload)
            for node_hash, parent, payload in session.execute(query.execution_options(yield_per=_EVENTS_AT_ONCE)):
                message = parse(payload)["message"]
                nodes[node_hash] = (parent, tuple(name for _, _, name in _places(message)))
        return _Histories(nodes)

    def streams(self) -> dict[tuple[str, str, str], list[str]]:
        """The texts of streams released in parts, by run, subcall and surface (``reasoning``, ``output``), in their order:
        what stands in none of the parts can stand across them. Raises StoreError.
        """
        found: dict[tuple[str, str, str], list[str]] = {}
        for event in self._events(self._backend.log.table.c.kind == "released"):
            for path, _, name in _places(event.body):
                found.setdefault((event.run_id, event.span_id, path), []).append(name)
        return found

    def bodies(self, commitments: Iterable[str]) -> dict[str, str]:
        """The texts that are still there under these commitments. Raises StoreError."""
        found: dict[str, str] = {}
        with self._snapshots.session() as session:
            for some in chunks(sorted(set(commitments)), _TEXTS_AT_ONCE):
                query = select(TEXTS.c.commitment, TEXTS.c.body).where(
                    TEXTS.c.commitment.in_(some), TEXTS.c.body.is_not(None)
                )
                found.update((row.commitment, row.body) for row in session.execute(query))
        return found

    def live(self, commitments: Iterable[str]) -> set[str]:
        """Which of these texts are still there. Raises StoreError."""
        found: set[str] = set()
        with self._snapshots.session() as session:
            for some in chunks(sorted(set(commitments)), _TEXTS_AT_ONCE):
                query = select(TEXTS.c.commitment).where(TEXTS.c.commitment.in_(some), TEXTS.c.body.is_not(None))
                found.update(session.scalars(query))
        return found

    def containing(self, parts: Sequence[str], progress: Callable[[int, int], None]) -> dict[str, str]:
        """The texts in which any of ``parts`` stands, as it is or escaped. Raises StoreError."""
        wanted = Wanted(parts)
        found: dict[str, str] = {}
        if not wanted:
            return found
        with self._snapshots.session() as session:
            total = int(session.execute(select(func.count()).select_from(TEXTS)).scalar_one())
            query = select(TEXTS.c.commitment, TEXTS.c.body).where(TEXTS.c.body.is_not(None))
            rows = session.execute(query.execution_options(yield_per=_TEXTS_AT_ONCE))
            for number, (commitment, body) in enumerate(rows, 1):
                if wanted.stands_in(body):
                    found[commitment] = body
                if not number % _TEXTS_AT_ONCE:
                    progress(number, total)
        return found

    def ids_holding(self, parts: Sequence[str]) -> list[tuple[str, str]]:
        """The subcalls (run, span) in which any of ``parts`` stands in the id of a tool call. An id is part of the log, and
        no text that could be erased. Raises StoreError.
        """
        wanted = Wanted(parts)
        log = self._backend.log.table
        nodes: dict[str, tuple[str | None, tuple[str, ...]]] = {}
        with self._snapshots.session() as session:
            query = select(NODES.c.node_hash, NODES.c.parent_hash, NODES.c.payload)
            for node_hash, parent, payload in session.execute(query.execution_options(yield_per=_EVENTS_AT_ONCE)):
                nodes[node_hash] = (parent, ("id",) if any(map(wanted.stands_in, _ids(parse(payload)))) else ())
        handed = _Histories(nodes).holding({"id"})
        found: dict[tuple[str, str], None] = {}
        for event in self._events(log.c.kind.in_(("started", "observed"))):
            heads = (name for _, mark, name in _places(event.body) if mark == "$chain")
            if any(map(wanted.stands_in, _ids(event.body))) or any(handed.get(name) for name in heads):
                found[event.run_id, event.span_id] = None
        return list(found)

    # --------------------------------------------------------------------------------------------------- erasing

    def size(self) -> int:
        """How many leaves the log has: what is written later is found by ``uses_since``. Raises StoreError."""
        with self._snapshots.session() as session:
            last = session.execute(select(func.max(self._backend.log.table.c.leaf_index))).scalar_one()
        return 0 if last is None else int(last) + 1

    def _uses_since(self, size: int, names: Collection[str]) -> list[Use]:
        """The uses of these texts in events that the log had no leaf for when its size was ``size``."""
        leaf = self._backend.log.table.c.leaf_index
        events = [event for event in self._events(or_(leaf >= size, leaf.is_(None))) if event.kind != "redacted"]
        places = [(event, *place) for event in events for place in _places(event.body)]
        heads = {name for _, _, mark, name in places if mark == "$chain"}
        with self._snapshots.session() as session:
            rows = load_nodes(session, heads)
        nodes = {row[0]: (row[1], tuple(name for _, _, name in _places(parse(row[2])["message"]))) for row in rows}
        held = _Histories(nodes).holding(names)
        return [
            event.use(path, hit, is_json=mark == "$json")
            for event, path, mark, name in places
            for hit in (held.get(name, ()) if mark == "$chain" else {name}.intersection(names))
        ]

    def erase(
        self,
        commitments: Sequence[str],
        events: Sequence[Event],
        *,
        size: int,
        among: Collection[str] | None = None,
        check: Callable[[list[Use]], None] = lambda _: None,
    ) -> int:
        """Erase texts and append the events that say so, all in one transaction; return how many were erased.

        ``check`` is told, when nobody can add any more, of the uses of these texts (or of those ``among``) in what was
        written since the log had ``size`` leaves; where it raises, nothing is erased.

        Raises StoreError: nothing was erased.
        """
        backend = self._backend
        try:
            with contextlib.closing(backend.connect()) as ledger:
                ledger.begin_erasure(patience=backend.busy_seconds)
                check(self._uses_since(size, commitments if among is None else among))
                erased = sum(ledger.erase_text(commitment) for commitment in sorted(commitments))
                ledger.expect(events)
                ledger.append(events)
                ledger.commit()
        except backend.errors as failure:
            raise backend.translate(failure) from failure
        backend.sequence()
        return erased

    def scrub(self, progress: Callable[[str], None]) -> Scrubbed:
        """Take what was erased out of the database's files. Raises StoreError."""
        return self._backend.scrub(progress)


class _Event(NamedTuple):
    run_id: str
    span_id: str
    about: str
    kind: str
    body: Any

    def use(self, path: str, name: str, *, is_json: bool) -> Use:
        return Use(self.run_id, self.span_id, self.about, self.kind, path, name, is_json)


class _Histories:
    """The texts of message histories by the hash of the last message."""

    def __init__(self, nodes: dict[str, tuple[str | None, tuple[str, ...]]]) -> None:
        self._nodes = nodes

    def texts(self, head: str) -> dict[str, None]:
        """The commitments to all texts of a history, each once."""
        found: dict[str, None] = {}
        current: str | None = head
        while current is not None:
            current, texts = self._nodes.get(current, (None, ()))
            found.update(dict.fromkeys(texts))
        return found

    def new_texts(self, head: str, seen: set[str]) -> set[str]:
        """The texts of those messages of a history that are not in ``seen``, to which they are added."""
        found: set[str] = set()
        current: str | None = head
        while current is not None and current not in seen:
            seen.add(current)
            current, texts = self._nodes.get(current, (None, ()))
            found.update(texts)
        return found

    def holding(self, names: Collection[str]) -> dict[str, frozenset[str]]:
        """For each last message, which of ``names`` are in its history; each message is looked at once."""
        held: dict[str, frozenset[str]] = {}
        for head in self._nodes:
            way: list[str] = []
            current: str | None = head
            while current is not None and current in self._nodes and current not in held:
                way.append(current)
                current = self._nodes[current][0]
            below = held.get(current, frozenset()) if current is not None else frozenset()
            for name in reversed(way):
                own = frozenset(self._nodes[name][1]).intersection(names)
                below = held[name] = below | own if own else below
        return held


def _places(value: object, below: str = "") -> Iterator[tuple[str, str, str]]:
    """Where a body refers to a text, a JSON value or a history: path, mark, name."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _places(item, f"{below}[{number}]")
    elif isinstance(value, dict):
        for mark in ("$text", "$json", "$chain"):
            if mark in value:
                yield below, mark, value[mark]
        for name, item in value.items():
            if isinstance(item, (dict, list)):
                yield from _places(item, f"{below}.{name}" if below else name)


def _ids(value: object) -> Iterator[str]:
    """The ids of tool calls in an event's body or a message."""
    if isinstance(value, list):
        for item in value:
            yield from _ids(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in _ID_NAMES and isinstance(item, str):
                yield item
            elif isinstance(item, (dict, list)):
                yield from _ids(item)
