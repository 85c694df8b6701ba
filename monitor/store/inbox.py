"""What a receiver of traces has acknowledged and not yet recorded: a SQLite file of its own, beside the store.

The store is append-only, and a span can only become an event when its place in the tree is known. Until then it is here,
on the disk: ``add`` returns once that is so (``synchronous=FULL``). Of a span that was recorded only its **shape** is kept
(what stands around what), without any text, so that spans that come later find their places; and that, too, is forgotten
after a while. So neither memory nor the file grows with the time that a receiver runs.

The inbox knows nothing of spans but their ids, and nothing of when one is ready: that is for ``adapters.serve`` to say.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from monitor.errors import ConfigError, StoreError, StoreUnavailableError
from monitor.store.sqlite.connection import connect, driver, translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WAITING, OPEN, KNOWN, RECORDED = range(4)
"""The states of a span: to be recorded; has not ended; only there for its shape; in the store."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS traces(
  trace_id TEXT PRIMARY KEY, due REAL NOT NULL, last REAL NOT NULL, version INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS traces_by_due ON traces(due);
CREATE INDEX IF NOT EXISTS traces_by_last ON traces(last);
CREATE TABLE IF NOT EXISTS spans(
  trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT NOT NULL, state INTEGER NOT NULL,
  arrived REAL NOT NULL, rank INTEGER NOT NULL, shape TEXT NOT NULL, body TEXT, UNIQUE(trace_id, span_id));
CREATE INDEX IF NOT EXISTS spans_by_state ON spans(trace_id, state, arrived);
CREATE TABLE IF NOT EXISTS notes(
  trace_id TEXT NOT NULL, span_id TEXT NOT NULL, digest TEXT NOT NULL, body TEXT NOT NULL,
  UNIQUE(trace_id, span_id, digest));
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_SIZE = "length(CAST(shape AS BLOB)) + coalesce(length(CAST(body AS BLOB)), 0)"
_ANCESTORS = """
WITH RECURSIVE above(id) AS (
  SELECT parent_id FROM spans WHERE trace_id = :trace AND state <= :open AND parent_id <> ''
  UNION
  SELECT spans.parent_id FROM spans JOIN above ON spans.trace_id = :trace AND spans.span_id = above.id
    WHERE spans.parent_id <> '')
SELECT span_id, state, shape FROM spans WHERE trace_id = :trace AND (span_id IN above OR state <= :open)
"""


class InboxFullError(StoreError):
    """There is no room for more until some of what waits is recorded. Nothing was added."""


class Parcel(NamedTuple):
    """One span as it came. Of several with one id the one with the highest rank counts, then the longest.

    ``state`` is WAITING, OPEN or KNOWN; ``body`` is None where there is nothing to record.
    """

    trace_id: str
    span_id: str
    parent_id: str
    state: int
    rank: int
    shape: str
    body: str | None


class Note(NamedTuple):
    """What came apart from a span and belongs to it. ``digest`` tells it from others."""

    trace_id: str
    span_id: str
    digest: str
    body: str


class Received(NamedTuple):
    """What became of parcels and notes: how many were new, there already, or came after their span was recorded."""

    new: int = 0
    known: int = 0
    late: int = 0


class Bundle(NamedTuple):
    """What the inbox has of a trace, but for what its spans say: ``waiting`` has when each span came that waits.

    ``shapes`` are (state, shape) of every span that waits, is open, or stands above one that does.
    """

    trace_id: str
    version: int
    last: float
    waiting: dict[str, float]
    shapes: dict[str, tuple[int, str]]


class Body(NamedTuple):
    """What a span says, and the notes that belong to it."""

    text: str
    notes: tuple[str, ...]


class Inbox:
    """The inbox at ``path``, for one process. Times are seconds since 1970, and the caller's.

    Raises ConfigError where another process has it, or where it holds what is meant for another store.
    """

    def __init__(self, path: Path, *, owner: str, max_bytes: int, busy_seconds: float = 30.0) -> None:
        self.path, self._max_bytes = path, max_bytes
        self._mutex = threading.Lock()
        self._lock = _locked(path)
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # it holds prompts: for nobody else to read
            self._connection = connect(path, mode="rwc", busy_seconds=busy_seconds)
            self._prepare(owner)
        except driver().Error as exc:
            os.close(self._lock)
            raise translate(exc, path, busy_seconds=busy_seconds) from exc
        except OSError as exc:
            os.close(self._lock)
            raise StoreUnavailableError(f"{path}: the inbox cannot be opened ({exc.strerror or exc})") from exc
        except BaseException:
            os.close(self._lock)
            raise
        self._bytes = self._measure()

    def _prepare(self, owner: str) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA secure_delete=ON")
        self._connection.executescript(_SCHEMA)
        held = run("SELECT value FROM facts WHERE name = 'owner'").fetchone()
        if held and held[0] != owner and run("SELECT 1 FROM spans WHERE state = 0 LIMIT 1").fetchone():
            raise ConfigError(
                f"{self.path}: spans wait there for the store {held[0]}, not for {owner}: start it with that store once, "
                "or name another file with --inbox"
            )
        run("INSERT INTO facts VALUES('owner', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (owner,))

    def _measure(self) -> int:
        run = self._connection.execute
        spans = run(f"SELECT coalesce(sum({_SIZE}), 0) FROM spans").fetchone()[0]  # noqa: S608 - a constant
        return int(spans) + int(run("SELECT coalesce(sum(length(CAST(body AS BLOB))), 0) FROM notes").fetchone()[0])

    @property
    def bytes(self) -> int:
        """Bytes of what is in it."""
        return self._bytes

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """One at a time; durable when it ends. Raises StoreError, and nothing was changed then."""
        with self._mutex:
            before = self._bytes
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException as exc:
                self._bytes = before
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(exc, driver().Error):
                    raise translate(exc, self.path) from exc
                raise

    # ---------------------------------------------------------------------------------------------------- what comes

    def add(self, parcels: Sequence[Parcel], notes: Sequence[Note], *, now: float, due: float) -> Received:
        """Keep what came, all of it or nothing, and have its traces looked at when they are ``due``.

        Raises InboxFullError, or another StoreError.
        """
        with self._transaction() as run:
            counts = [self._one(run, parcel, now) for parcel in parcels] + [self._note(run, note) for note in notes]
            trace_ids = {parcel.trace_id for parcel in parcels} | {note.trace_id for note in notes}
            for trace_id in trace_ids:
                run(
                    "INSERT INTO traces VALUES(?, ?, ?, 0) ON CONFLICT DO UPDATE SET "
                    "due = min(due, excluded.due), last = excluded.last, version = version + 1",
                    (trace_id, due, now),
                )
            if self._bytes > self._max_bytes:
                self._forget_oldest(run, trace_ids)
            if self._bytes > self._max_bytes:
                raise InboxFullError(f"{self.path}: {self._max_bytes:,} bytes wait to be recorded, which is the most")
        return Received(counts.count("new"), counts.count("known"), counts.count("late"))

    def _one(self, run: Any, parcel: Parcel, now: float) -> str:
        where = (parcel.trace_id, parcel.span_id)
        before = run(
            f"SELECT state, rank, coalesce(body, shape), {_SIZE} FROM spans WHERE trace_id = ? AND span_id = ?",  # noqa: S608
            where,
        ).fetchone()
        said = parcel.shape if parcel.body is None else parcel.body
        if before:
            state, rank, text, size = before
            if state == RECORDED or (rank, len(text), text) >= (parcel.rank, len(said), said):
                return "known"
            self._bytes -= size
        self._bytes += len(parcel.shape.encode()) + len((parcel.body or "").encode())
        run(
            "INSERT INTO spans VALUES(?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET parent_id = excluded.parent_id, "
            "state = excluded.state, arrived = excluded.arrived, rank = excluded.rank, shape = excluded.shape, "
            "body = excluded.body",
            (*where, parcel.parent_id, parcel.state, now, parcel.rank, parcel.shape, parcel.body),
        )
        return "new"

    def _note(self, run: Any, note: Note) -> str:
        state = run("SELECT state FROM spans WHERE trace_id = ? AND span_id = ?", note[:2]).fetchone()
        if state and state[0] == RECORDED:
            return "late"
        if not run("INSERT INTO notes VALUES(?, ?, ?, ?) ON CONFLICT DO NOTHING", note).rowcount:
            return "known"
        self._bytes += len(note.body.encode())
        return "new"

    def _forget_oldest(self, run: Any, kept: set[str]) -> None:
        """Make room: forget the shapes of traces of which nothing waits, the oldest first."""
        idle = run(
            "SELECT trace_id FROM traces WHERE NOT EXISTS "
            "(SELECT 1 FROM spans WHERE spans.trace_id = traces.trace_id AND state <= ?) ORDER BY last",
            (OPEN,),
        ).fetchall()
        for (trace_id,) in idle:
            if self._bytes <= self._max_bytes * 3 // 4:
                return
            if trace_id not in kept:
                self._forget(run, trace_id)

    # ------------------------------------------------------------------------------------------------- what is done

    def due(self, now: float, *, limit: int) -> list[str]:
        """The traces that are to be looked at."""
        with self._transaction() as run:
            found = run("SELECT trace_id FROM traces WHERE due <= ? ORDER BY due LIMIT ?", (now, limit)).fetchall()
        return [trace_id for (trace_id,) in found]

    def next_due(self) -> float | None:
        """When the next trace is to be looked at; None where there is none."""
        with self._transaction() as run:
            found: float | None = run("SELECT min(due) FROM traces").fetchone()[0]
        return found

    def hurry(self, now: float) -> int:
        """Have every trace in which spans wait looked at now; returns how many those are."""
        with self._transaction() as run:
            changed: int = run(
                "UPDATE traces SET due = min(due, ?) WHERE trace_id IN (SELECT trace_id FROM spans WHERE state = ?)",
                (now, WAITING),
            ).rowcount
        return changed

    def waiting(self) -> tuple[int, int]:
        """How many spans wait to be recorded, and how many have not ended."""
        with self._transaction() as run:
            counts = dict(run("SELECT state, count(*) FROM spans WHERE state <= ? GROUP BY state", (OPEN,)).fetchall())
        return counts.get(WAITING, 0), counts.get(OPEN, 0)

    def bundle(self, trace_id: str) -> Bundle | None:
        """What there is of a trace."""
        with self._transaction() as run:
            head = run("SELECT version, last FROM traces WHERE trace_id = ?", (trace_id,)).fetchone()
            if head is None:
                return None
            waiting = run(
                "SELECT span_id, arrived FROM spans WHERE trace_id = ? AND state = ? ORDER BY arrived, span_id",
                (trace_id, WAITING),
            ).fetchall()
            above = run(_ANCESTORS, {"trace": trace_id, "open": OPEN}).fetchall()
        shapes = {span_id: (state, shape) for span_id, state, shape in above}
        return Bundle(trace_id, head[0], head[1], dict(waiting), shapes)

    def bodies(self, trace_id: str, span_ids: Sequence[str], *, most: int) -> dict[str, Body]:
        """What the first of some spans say, of ``most`` characters together, one at least."""
        found: dict[str, Body] = {}
        with self._transaction() as run:
            for span_id in span_ids:
                where = (trace_id, span_id)
                row = run("SELECT body FROM spans WHERE trace_id = ? AND span_id = ?", where).fetchone()
                if row is None or row[0] is None:
                    continue
                notes = run(
                    "SELECT body FROM notes WHERE trace_id = ? AND span_id = ? ORDER BY rowid", where
                ).fetchall()
                one = Body(row[0], tuple(body for (body,) in notes))
                most -= len(one.text) + sum(map(len, one.notes))
                if found and most < 0:
                    break
                found[span_id] = one
        return found

    def recorded(self, bundle: Bundle, span_ids: Sequence[str], *, due: float) -> None:
        """Keep only the shapes of spans that are in the store now; look at the trace again when it is ``due``.

        Where more has come of it since ``bundle`` was read, that decides when.
        """
        trace_id = bundle.trace_id
        with self._transaction() as run:
            for span_id in span_ids:
                where = (trace_id, span_id)
                freed = run(
                    "SELECT coalesce(length(CAST(body AS BLOB)), 0) FROM spans WHERE trace_id = ? AND span_id = ?",
                    where,
                ).fetchone()
                notes = run(
                    "SELECT coalesce(sum(length(CAST(body AS BLOB))), 0) FROM notes WHERE trace_id = ? AND span_id = ?",
                    where,
                ).fetchone()
                self._bytes -= (freed[0] if freed else 0) + notes[0]
                run("UPDATE spans SET state = ?, body = NULL WHERE trace_id = ? AND span_id = ?", (RECORDED, *where))
                run("DELETE FROM notes WHERE trace_id = ? AND span_id = ?", where)
            run(
                "UPDATE traces SET due = ? WHERE trace_id = ? AND version = ?",
                (due, trace_id, bundle.version),
            )

    def postpone(self, trace_id: str, due: float) -> None:
        """Look at a trace again when it is ``due``, whatever comes until then."""
        with self._transaction() as run:
            run("UPDATE traces SET due = ? WHERE trace_id = ?", (due, trace_id))

    def forget(self, bundle: Bundle) -> bool:
        """Forget a trace, unless more of it has come since ``bundle`` was read."""
        with self._transaction() as run:
            same = run(
                "SELECT 1 FROM traces WHERE trace_id = ? AND version = ?", (bundle.trace_id, bundle.version)
            ).fetchone()
            if same:
                self._forget(run, bundle.trace_id)
        return bool(same)

    def _forget(self, run: Any, trace_id: str) -> None:
        freed = run(f"SELECT coalesce(sum({_SIZE}), 0) FROM spans WHERE trace_id = ?", (trace_id,)).fetchone()[0]  # noqa: S608
        notes = run(
            "SELECT coalesce(sum(length(CAST(body AS BLOB))), 0) FROM notes WHERE trace_id = ?", (trace_id,)
        ).fetchone()
        self._bytes -= freed + notes[0]
        for table in ("spans", "notes", "traces"):
            run(f"DELETE FROM {table} WHERE trace_id = ?", (trace_id,))  # noqa: S608 - one of three

    # ---------------------------------------------------------------------------------------------------------- itself

    def close(self) -> None:
        """Close the file; what is in it stays."""
        with self._mutex:
            self._connection.close()
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _locked(path: Path) -> int:
    """Take the inbox for this process; the lock goes with the process, however it ends."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        handle = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreUnavailableError(f"{lock}: cannot be opened ({exc.strerror or exc})") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise ConfigError(
            f"{path}: another `monitor serve` uses this inbox; end it, or name another file with --inbox"
        ) from None
    return handle
