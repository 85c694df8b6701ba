# ruff: noqa: S608 - statements are put together of names of ours; values are parameters
"""The index of the search: made of the record, brought up to date before a search, made anew on demand.

Indexing a subcall's texts in the commit that stores them would add to it while the answer waits (``docs/measurements.md``
says how much). So the index follows the log: ``search_state`` has the leaf up to which it is made, and whoever searches and
may write brings it up to date first. Each text is indexed once, by its commitment; ``search_places`` says where it stands.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from monitor.store.search.words import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SURFACES = ("task", "prompt", "reasoning", "output", "raw", "error", "tool_calls", "released", "decision", "review")
PART_WORDS, OVERLAP = 256, 32
"""On PostgreSQL a text is indexed in parts: a ``tsvector`` keeps 256 places of a word. A phrase fits into the overlap."""


class Place(NamedTuple):
    """Where a text stands."""

    commitment: str
    run_id: str
    span_id: str
    surface: str


class Words(Protocol):
    """What differs between the databases: how the words of a text are put into the index and taken out of it."""

    def put(self, number: int, body: str) -> None:
        """Index a text under its number."""
        ...

    def take(self, number: int, body: str) -> None:
        """Take a text out of the index, so that nothing of it is left there."""
        ...

    def clear(self) -> None:
        """Empty the index."""
        ...


class SqliteWords:
    """FTS5 without contents: the index has the words, the texts are in ``texts`` alone."""

    def __init__(self, execute: Callable[[str, tuple[Any, ...]], Any]) -> None:
        self._execute = execute

    def put(self, number: int, body: str) -> None:
        """See ``Words``."""
        self._execute("INSERT INTO search_words (rowid, words) VALUES (?, ?)", (number, _spaced(body)))

    def take(self, number: int, body: str) -> None:
        """See ``Words``. Raises the driver's errors before SQLite 3.42, which would leave the words there."""
        self._execute("INSERT INTO search_words (search_words, rank) VALUES ('secure-delete', 1)", ())
        self._execute(
            "INSERT INTO search_words (search_words, rowid, words) VALUES ('delete', ?, ?)", (number, _spaced(body))
        )

    def clear(self) -> None:
        """See ``Words``."""
        self._execute("INSERT INTO search_words (search_words) VALUES ('delete-all')", ())


class PostgresWords:
    """``tsvector`` rows, one for each part of a text."""

    def __init__(self, execute: Callable[[str, tuple[Any, ...]], Any]) -> None:
        self._execute = execute

    def put(self, number: int, body: str) -> None:
        """See ``Words``."""
        words = [word.text for word in words_of(body)]
        for part, start in enumerate(range(0, max(1, len(words) - OVERLAP), PART_WORDS - OVERLAP)):
            vector = _vector(words[start : start + PART_WORDS])
            self._execute("INSERT INTO search_words VALUES (?, ?, ?::tsvector)", (number, part, vector))

    def take(self, number: int, body: str) -> None:
        """See ``Words``."""
        self._execute("DELETE FROM search_words WHERE id = ?", (number,))

    def clear(self) -> None:
        """See ``Words``."""
        self._execute("DELETE FROM search_words", ())


def _spaced(body: str) -> str:
    return " ".join(word.text for word in words_of(body))


def _vector(words: list[str]) -> str:
    places: dict[str, list[str]] = {}
    for place, word in enumerate(words, 1):
        places.setdefault(word, []).append(str(place))
    return " ".join(f"'{word}':{','.join(found)}" for word, found in places.items())


def forget_text(execute: Callable[[str, tuple[Any, ...]], Any], words: Words, commitment: str) -> bool:
    """Take a text out of the index, with the places where it stood; say whether it was there.

    To be called in the transaction that erases the text, before that: taking it out needs its words. ``execute`` takes
    SQL with ``?`` for parameters.
    """
    row = execute(
        "SELECT t.id, b.body FROM search_texts AS t JOIN texts AS b ON b.commitment = t.commitment WHERE t.commitment = ?",
        (commitment,),
    ).fetchone()
    if row is None:
        return False
    number, body = row
    if body is not None:
        words.take(number, body)
    execute("DELETE FROM search_places WHERE id = ?", (number,))
    execute("DELETE FROM search_texts WHERE id = ?", (number,))
    return True


class Indexer:
    """Indexes events, in one transaction of whoever calls it."""

    def __init__(self, execute: Callable[[str, tuple[Any, ...]], Any], words: Words, conflict: str) -> None:
        """Use ``execute``, SQL with ``?``; ``conflict`` is what an insertion says of a row that is there."""
        self._execute, self._words, self._conflict = execute, words, conflict

    def clear(self) -> None:
        """Empty the index; the next update makes it anew."""
        self._words.clear()
        for table in ("search_places", "search_texts", "search_nodes"):
            self._execute(f"DELETE FROM {table}", ())
        self._execute("UPDATE search_state SET next_leaf = 0", ())

    def index(self, events: list[tuple[int, str, str, str, str]]) -> None:
        """Index (leaf, run, span, kind, canonical) in the order of the log, and note how far the index is."""
        for _, run_id, span_id, kind, canonical in events:
            body = json.loads(canonical)["body"]
            for place in self._places(run_id, span_id, kind, body):
                self._put(place)
        if events:
            self._execute("UPDATE search_state SET next_leaf = ?", (events[-1][0] + 1,))

    def _places(self, run_id: str, span_id: str, kind: str, body: dict[str, Any]) -> Iterator[Place]:
        if kind in {"reviewed", "run_queued"}:
            span_id = str(body["span"])
        for surface, value in _texts(kind, body):
            if isinstance(value, dict) and "$text" in value:
                yield Place(value["$text"], run_id, span_id, surface)
        if kind == "started" and isinstance(body.get("messages"), dict):
            for node in self._new_nodes(run_id, body["messages"]["$chain"]):
                message = json.loads(node)["message"]
                asked = [call[part] for call in message["tool_calls"] for part in ("name", "arguments")]
                for value in (message["content"], *asked):
                    if isinstance(value, dict) and "$text" in value:
                        yield Place(value["$text"], run_id, span_id, "prompt")

    def _new_nodes(self, run_id: str, head: str) -> Iterator[str]:
        """The messages up to this one that no earlier subcall of the run was handed."""
        current: str | None = head
        while current is not None:
            added = self._execute(
                f"INSERT INTO search_nodes (run_id, node_hash) VALUES (?, ?) {self._conflict}", (run_id, current)
            )
            if not added.rowcount:
                return
            row = self._execute(
                "SELECT payload, parent_hash FROM message_nodes WHERE node_hash = ?", (current,)
            ).fetchone()
            if row is None:
                return
            yield row[0]
            current = row[1]

    def _put(self, place: Place) -> None:
        row = self._execute("SELECT id FROM search_texts WHERE commitment = ?", (place.commitment,)).fetchone()
        if row is None:
            found = self._execute("SELECT body FROM texts WHERE commitment = ?", (place.commitment,)).fetchone()
            if found is None or found[0] is None:
                return  # erased
            row = self._execute(
                "INSERT INTO search_texts (commitment) VALUES (?) RETURNING id", (place.commitment,)
            ).fetchone()
            self._words.put(row[0], found[0])
        self._execute(
            f"INSERT INTO search_places (id, run_id, span_id, surface) VALUES (?, ?, ?, ?) {self._conflict}",
            (row[0], place.run_id, place.span_id, place.surface),
        )


def _texts(kind: str, body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The texts of an event, each with its surface. ``raw`` counts only where there is no output: else it repeats it."""
    if kind in {"started", "run_started"}:
        yield "task", body["task"]
    elif kind == "observed":
        yield "reasoning", body["reasoning"]["text"]
        yield "output", body["output"]
        if not body["output"]:
            yield "raw", body["raw"]
        yield "error", (body["error"] or {}).get("message")
        for call in body["tool_calls"]:
            yield "tool_calls", call["name"]
            yield "tool_calls", call["arguments"]
    elif kind == "released":
        yield "released", body["reasoning"]
        yield "released", body["output"]
    elif kind == "run_ended":
        yield "output", body["answer"]
        yield "error", (body["error"] or {}).get("message")
    elif kind == "decided":
        yield "decision", body["why"]
        yield "decision", body["output"]
    elif kind in {"reviewed", "run_queued"}:
        yield "review", body["why"]
