# ruff: noqa: S608 - statements are put together of parts of ours; what is searched is a parameter
"""Searching: the index is brought up to date, asked, and each hit gets the words around it from the stored text."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.store.location import is_postgres, parse_url
from monitor.store.opening import locate
from monitor.store.search.index import Indexer, PostgresWords, SqliteWords
from monitor.store.search.syntax import Phrase, Query, parse, phrases, to_fts5, to_having, to_tsquery
from monitor.store.search.words import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_AT_ONCE = 500  # events in a transaction: nobody who writes waits for long
_BEFORE, _AFTER = 60, 120  # codepoints of a snippet around the first place


@dataclass(frozen=True, slots=True)
class Filters:
    """What is searched. ``run_id`` is a whole one; ``since`` is a time as events carry it."""

    run_id: str | None = None
    role: str | None = None
    surfaces: tuple[str, ...] = ()
    since: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A place where a text stands that was searched for.

    ``snippet`` is a part of the text that begins at codepoint ``start`` of it; ``marks`` are the words that were searched
    for, as codepoints (half open) of the whole text. ``role`` is empty for a text of the run itself.
    """

    run_id: str
    span_id: str
    surface: str
    role: str
    at: str
    commitment: str
    rank: float
    snippet: str
    start: int
    marks: tuple[tuple[int, int], ...]
    codepoints: int


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, the best first; ``total`` counts all of them. ``unindexed`` are events that the index does not have yet."""

    hits: list[Hit]
    total: int
    unindexed: int


class TextSearch:
    """Full text search over the store at ``url``."""

    def __init__(self, url: str, *, busy_seconds: float = 30.0) -> None:
        """Use the store at ``url``. Raises ConfigError and StoreError if there is none of this schema."""
        self._backend = locate(url, busy_seconds=busy_seconds)
        self._backend.prepare(create=False)
        self._url, self._busy_seconds, self._is_server = url, busy_seconds, is_postgres(url)

    # ------------------------------------------------------------------------------------------------- the index

    def update(self, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Index what the log has and the index has not; return how many events that were.

        Many may do so at once: one does it, and none waits for all of it. Raises StoreError where it may not be written.
        """
        if self._is_server:
            self._backend.sequence()
        done, total = 0, None
        while True:
            with self._transaction() as execute:
                behind = self._behind(execute)
                total = total if total is not None else behind
                progress(done, max(total, done))
                events = self._next(execute)
                self._indexer(execute).index(events)
            done += len(events)
            if len(events) < _AT_ONCE:
                progress(done, done)
                return done

    def rebuild(self, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Make the index anew. Raises StoreError."""
        with self._transaction() as execute:
            self._indexer(execute).clear()
        return self.update(progress)

    def _indexer(self, execute: Callable[..., Any]) -> Indexer:
        words = PostgresWords(execute) if self._is_server else SqliteWords(execute)
        return Indexer(execute, words, "ON CONFLICT DO NOTHING")

    def _behind(self, execute: Callable[..., Any]) -> int:
        # The log has no gaps, and to count its rows would mean to read it, once for each batch.
        (top,) = execute(f"SELECT max(leaf_index) FROM {self._log}", ()).fetchone()
        (following,) = execute("SELECT next_leaf FROM search_state", ()).fetchone()
        count = 0 if top is None else max(0, top + 1 - following)
        pending = execute("SELECT count(*) FROM pending_leaves", ()).fetchone()[0] if self._is_server else 0
        return int(count) + int(pending)

    @property
    def _log(self) -> str:
        return "leaves" if self._is_server else "events"

    def _next(self, execute: Callable[..., Any]) -> list[tuple[int, str, str, str, str]]:
        joined = "JOIN events AS e ON e.run_id = l.run_id AND e.span_id = l.span_id AND e.seq = l.seq" * self._is_server
        event = "e" if self._is_server else "l"
        rows = execute(
            f"SELECT l.leaf_index, l.run_id, l.span_id, {event}.kind, {event}.canonical FROM {self._log} AS l {joined} "
            "WHERE l.leaf_index >= (SELECT next_leaf FROM search_state) ORDER BY l.leaf_index LIMIT ?",
            (_AT_ONCE,),
        )
        return [tuple(row) for row in rows.fetchall()]

    # ------------------------------------------------------------------------------------------------- searching

    def search(self, text: str, filters: Filters | None = None, *, limit: int = 20) -> Found:
        """Search for ``text`` in what is indexed. Raises SearchError for what cannot be read, and StoreError."""
        query = parse(text)
        wanted = filters or Filters()
        with self._snapshot() as execute:
            base, given = self._statement(query, wanted)
            (total,) = execute(f"SELECT count(*) FROM ({base}) AS found", given).fetchone()
            order = "rank DESC" if self._is_server else "rank"
            best = f"SELECT * FROM ({base}) AS found ORDER BY {order}, at DESC, run_id, span_id, surface LIMIT ?"
            rows = execute(best, (*given, limit))
            hits = [self._hit(execute, query, tuple(row)) for row in rows.fetchall()]
            return Found(hits, int(total), self._behind(execute))

    def _statement(self, query: Query, filters: Filters) -> tuple[str, tuple[Any, ...]]:
        role = "s.canonical::jsonb #>> '{body,role}'" if self._is_server else "json_extract(s.canonical, '$.body.role')"
        conditions, values = [], []
        for condition, value in (
            ("p.run_id = ?", filters.run_id),
            (f"{role} = ?", filters.role),
            ("s.at >= ?", filters.since),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if filters.surfaces:
            conditions.append(f"p.surface IN ({', '.join('?' * len(filters.surfaces))})")
            values += filters.surfaces
        columns = f"p.run_id, p.span_id, p.surface, coalesce({role}, '') AS role, s.at, t.commitment"
        joins = (
            "JOIN search_texts AS t ON t.id = p.id "
            "LEFT JOIN events AS s ON s.run_id = p.run_id AND s.span_id = p.span_id AND s.seq = 0"
        )
        if not self._is_server:
            where = " AND ".join(["search_words MATCH ?", *conditions])
            return (
                f"SELECT {columns}, bm25(search_words) AS rank FROM search_words "
                f"JOIN search_places AS p ON p.id = search_words.rowid {joins} WHERE {where}",
                (to_fts5(query), *values),
            )
        looked_for = " | ".join(f"({to_tsquery(phrase)})" for phrase in phrases(query))
        given: list[str] = []
        having = to_having(query, given)
        where = " AND ".join(["true", *conditions])
        return (
            "WITH hit AS (SELECT DISTINCT id FROM search_words WHERE words @@ ?::tsquery), "
            "ranked AS (SELECT w.id, sum(ts_rank_cd(w.words, ?::tsquery)) AS rank FROM search_words AS w "
            f"JOIN hit ON hit.id = w.id GROUP BY w.id HAVING {having}) "
            f"SELECT {columns}, ranked.rank FROM ranked JOIN search_places AS p ON p.id = ranked.id {joins} WHERE {where}",
            (looked_for, looked_for, *given, *values),
        )

    def _hit(self, execute: Callable[..., Any], query: Query, row: tuple[Any, ...]) -> Hit:
        run_id, span_id, surface, role, at, commitment, rank = row
        found = execute("SELECT body FROM texts WHERE commitment = ?", (commitment,)).fetchone()
        body = (found[0] if found else None) or ""
        marks = tuple(marks_in(body, query))
        start = max(0, marks[0][0] - _BEFORE) if marks else 0
        return Hit(
            run_id, span_id, surface, role, at or "", commitment, float(rank), body[start : start + _BEFORE + _AFTER],
            start, marks, len(body),
        )  # fmt: skip

    # ----------------------------------------------------------------------------------------------- connections

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Callable[..., Any]]:
        """A write transaction; what it reads and writes is of one state. Foreign errors are translated here."""
        try:
            with contextlib.ExitStack() as stack:
                if self._is_server:
                    yield from self._on_server(stack, read_only=False)
                else:
                    yield from self._on_file(stack)
        except self._backend.errors as failure:
            raise self._backend.translate(failure) from failure

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[Callable[..., Any]]:
        """A read transaction, as above."""
        try:
            with contextlib.ExitStack() as stack:
                if self._is_server:
                    yield from self._on_server(stack, read_only=True)
                    return
                from monitor.store.sqlite.connection import connect_reader  # noqa: PLC0415 - one of two databases

                connection = connect_reader(parse_url(self._url), busy_seconds=self._busy_seconds)
                stack.callback(connection.close)
                connection.execute("BEGIN")
                yield connection.execute
        except self._backend.errors as failure:
            raise self._backend.translate(failure) from failure

    def _on_file(self, stack: contextlib.ExitStack) -> Iterator[Callable[..., Any]]:
        from monitor.store.sqlite.connection import connect  # noqa: PLC0415 - one of two databases

        connection = connect(parse_url(self._url), mode="rw", busy_seconds=self._busy_seconds)
        stack.callback(connection.close)
        connection.execute("BEGIN IMMEDIATE")
        yield connection.execute
        connection.execute("COMMIT")

    def _on_server(self, stack: contextlib.ExitStack, *, read_only: bool) -> Iterator[Callable[..., Any]]:
        from monitor.store.postgres.address import parse_address  # noqa: PLC0415 - psycopg is optional
        from monitor.store.postgres.connection import ERASURE_LOCK, LOCKS, SEARCH_LOCK, connect  # noqa: PLC0415 - as above

        connection = connect(parse_address(self._url), busy_seconds=self._busy_seconds, read_only=read_only)
        stack.callback(connection.close)
        connection.autocommit = False

        def execute(sql: str, given: tuple[Any, ...] = ()) -> Any:
            return connection.execute(sql.replace("?", "%s").encode(), given)

        if not read_only:  # one indexes at a time, and no text is erased meanwhile
            execute(f"SELECT pg_advisory_xact_lock({LOCKS}, {SEARCH_LOCK})")
            execute(f"SELECT pg_advisory_xact_lock_shared({LOCKS}, {ERASURE_LOCK})")
        yield execute
        connection.commit()


def marks_in(body: str, query: Query) -> Iterator[tuple[int, int]]:
    """Where the phrases that are looked for stand, as codepoints of ``body``, in their order."""
    words = list(words_of(body))
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        places.setdefault(word.text, []).append(place)
    found = set()
    for phrase in phrases(query):
        for place in _starts(phrase, places):
            last = place + len(phrase.words) - 1
            if last < len(words) and all(
                _is(words[place + i].text, wanted, prefix=phrase.prefix and place + i == last)
                for i, wanted in enumerate(phrase.words)
            ):
                found.add((words[place].start, words[last].end))
    yield from sorted(found)


def _starts(phrase: Phrase, places: dict[str, list[int]]) -> list[int]:
    first = phrase.words[0]
    if phrase.prefix and len(phrase.words) == 1:
        return [place for word, found in places.items() if word.startswith(first) for place in found]
    return places.get(first, [])


def _is(word: str, wanted: str, *, prefix: bool) -> bool:
    return word.startswith(wanted) if prefix else word == wanted
