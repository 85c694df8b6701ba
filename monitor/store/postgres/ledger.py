"""The ledger of a PostgreSQL database: many may write at once, and none waits for another's disk.

What two writers may both want to add (texts, message nodes) is added for the whole transaction at once, in the order of
its keys, before any event: so they cannot wait for each other in a circle.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import psycopg

from monitor.errors import StoreUnavailableError
from monitor.records import Call
from monitor.store.codec import encode_event
from monitor.store.ledger import Ledger, checked, commit_to
from monitor.store.postgres.connection import CHECKPOINT_LOCK, ERASURE_LOCK, LOCKS, RUN_LOCKS, is_lost
from monitor.store.statements import Statements, Unfinished, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from monitor import records
    from monitor.store.postgres.connection import Connection

_LOOK_SECONDS = 0.02
_COMMIT_SECONDS = 2.0  # how long a commit that was sent may still take before its process is ended

STATEMENTS = Statements.of(
    "INSERT INTO events (run_id, span_id, seq, kind, at, canonical, leaf_hash) SELECT %s, %s, %s, %s, %s, %s, %s WHERE",
    mark="%s",
)
_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "
    f"SELECT pg_advisory_xact_lock_shared({LOCKS}, {ERASURE_LOCK}), pg_current_xact_id()::text"
)
_BEGIN_ERASURE = _BEGIN.replace("lock_shared", "lock")
_FIND_TEXTS = "SELECT sha256, commitment FROM texts WHERE sha256 = ANY(%s)"
_INSERT_TEXTS = (
    "INSERT INTO texts (commitment, sha256, salt, body) "
    "SELECT * FROM unnest(%s::text[], %s::text[], %s::bytea[], %s::text[]) "
    "ON CONFLICT (sha256) DO NOTHING RETURNING sha256, commitment"
)
_INSERT_NODES = (
    "INSERT INTO message_nodes (node_hash, parent_hash, payload) "
    "SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING"
)
_FIND_ROW = "SELECT 1 FROM events WHERE run_id = %s AND span_id = %s AND seq = %s AND leaf_hash = %s"
_END_LOST = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_xid = %s::xid8::xid"


class PostgresLedger(Ledger):
    """A connection that appends to a server's database.

    It remembers no text from one transaction to the next, for another process may erase one meanwhile. While a transaction
    is open none is erased: it holds the erasure lock, shared.
    """

    def __init__(self, connection: Connection, on_commit: Callable[[], None]) -> None:
        """Use ``connection``; ``on_commit`` is called after each commit."""
        super().__init__(STATEMENTS, connection.execute, psycopg.IntegrityError)
        self._connection = connection
        self._on_commit = on_commit
        self._process = connection.info.backend_pid
        self._unfinished: Unfinished | None = None
        self._written: list[Written] = []

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        self._connection.close()

    # ------------------------------------------------------------------------------------------ transactions

    def begin(self, *, patience: float) -> None:
        """Begin a transaction. Raises the driver's errors."""
        self._begin(_BEGIN)

    def _begin(self, statements: str) -> None:
        self._forget()
        cursor = self._connection.execute(statements)
        cursor.nextset()
        row = cursor.fetchone()
        assert row is not None
        self._unfinished = Unfinished(row[1], self._process, committing=False)

    def begin_erasure(self, *, patience: float) -> None:
        """Begin a transaction that holds the erasure lock for itself alone: two that erase wait for each other."""
        self._begin(_BEGIN_ERASURE)

    def commit(self) -> None:
        """Make everything since ``begin`` durable.

        Raises:
            StoreUnavailableError: the server rolled back instead; and the driver's errors. Where the connection was lost
                meanwhile, ``unfinished`` is what is not known.
        """
        assert self._unfinished is not None
        self._unfinished = Unfinished(self._unfinished.transaction, self._process, committing=True)
        done = self._connection.execute("COMMIT").statusmessage
        self._unfinished = None
        if done != "COMMIT":
            raise StoreUnavailableError(f"the server answered {done} to a COMMIT; nothing was written")
        self._on_commit()

    def rollback(self) -> None:
        """Undo everything since ``begin``. Raises the driver's errors, also where the connection is lost."""
        self._forget()
        self._nodes.clear()
        self._connection.execute("ROLLBACK")
        self._unfinished = None

    def _forget(self) -> None:
        """Forget the texts; message nodes are never erased."""
        self._commitments.clear()
        self._short.clear()

    # --------------------------------------------------------------------------------- after a lost connection

    @property
    def unfinished(self) -> Unfinished | None:
        """The transaction that was begun and has not ended; also after the connection was lost."""
        return self._unfinished

    def settle(self, lost: Unfinished, *, deadline: float) -> None:
        """Wait until the transaction that another connection left behind has ended, and see to it that it does."""
        began = time.monotonic()
        while True:
            try:
                row = self._connection.execute("SELECT pg_xact_status(%s::xid8)", (lost.transaction,)).fetchone()
            except psycopg.DataError:  # the server does not know it: its data are of another time than ours
                return
            if row is None or row[0] != "in progress":
                return
            if time.monotonic() >= deadline:
                raise psycopg.OperationalError("a transaction that lost its connection has not ended yet")
            time.sleep(_LOOK_SECONDS)
            if lost.committing and time.monotonic() - began < _COMMIT_SECONDS:
                continue
            try:
                self._connection.execute(_END_LOST, (lost.process, lost.transaction))
            except psycopg.Error as failure:
                if is_lost(failure):
                    raise  # else it may not be ended by this role, and ends by its own time-out

    def holds(self, written: Sequence[Written]) -> bool:
        """Whether these very rows are in the log: then the transaction that wrote them was committed."""
        return all(
            self._connection.execute(_FIND_ROW, (row.run_id, row.span_id, row.seq, row.leaf_hash)).fetchone()
            for row in written
        )

    # ------------------------------------------------------------------------------------------------ events

    def append(self, events: Iterable[records.Event]) -> tuple[Written, ...]:
        """Add ``events`` to the open transaction; return their rows. Raises ConflictError, StoreError."""
        self._written = []
        super().append(events)
        return tuple(self._written)

    def _add(self, statement: str, row: tuple[str | int, ...], condition: tuple[str | int, ...]) -> bool:
        run_id, span_id, seq, *_, leaf_hash = row
        self._written.append(Written(str(run_id), str(span_id), int(seq), str(leaf_hash)))
        return super()._add(statement, row, condition)

    def _hold_run(self, run_id: str) -> None:
        """Keep other writers from adding to the run's own events: their places are counted, not known beforehand."""
        self._execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (RUN_LOCKS, run_id))

    def _hold_checkpoints(self) -> None:
        self._execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCKS, CHECKPOINT_LOCK))

    # ----------------------------------------------------------------------------------------- texts and nodes

    def expect(self, events: Iterable[records.Event]) -> None:
        """Store the texts and message nodes of all ``events``. What is wrong with an event is for ``append`` to say."""
        expected = list(events)
        texts = _Texts()
        for event in expected:
            texts.gather(event)
        self._store_texts(texts.found)
        nodes = _Nodes(self)
        for event in expected:
            if isinstance(event.payload, Call) and event.payload.messages:
                nodes.gather(event)
        new = sorted(nodes.found.keys() - self._nodes.keys())
        if new:
            columns = [new, [nodes.found[name][0] for name in new], [nodes.found[name][1] for name in new]]
            self._execute(_INSERT_NODES, columns)
            self._nodes.update(dict.fromkeys(new))

    def _store_texts(self, texts: dict[str, str]) -> None:
        """Learn the commitments of ``texts`` (by SHA-256 in hex), having stored those that are new."""
        if not texts:
            return
        known: dict[str, str] = dict(self._execute(_FIND_TEXTS, (list(texts),)).fetchall())
        new = sorted(texts.keys() - known.keys())
        if new:
            made = [commit_to(texts[name].encode()) for name in new]
            columns: list[list[Any]] = [
                [commitment for commitment, _ in made],
                new,
                [salt for _, salt in made],
                [texts[name] for name in new],
            ]
            known |= dict(self._execute(_INSERT_TEXTS, columns).fetchall())
        if len(known) < len(texts):  # another writer stored them meanwhile, and has committed
            known |= dict(self._execute(_FIND_TEXTS, (list(texts.keys() - known.keys()),)).fetchall())
        self._commitments.update((bytes.fromhex(name), commitment) for name, commitment in known.items())


class _Texts:
    """A shelf that notes which texts an event has; what comes out of the encoder is thrown away."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def gather(self, event: records.Event) -> None:
        try:
            encode_event(event, seq=0, at="", shelf=self)
        except Exception:  # noqa: BLE001 - the same is raised, and said, when the event is appended
            return

    def put_text(self, text: str) -> str:
        self.found[hashlib.sha256(checked(text)).hexdigest()] = text
        return ""

    def put_node(self, parent: str | None, payload: str) -> str:
        return "-"


class _Nodes:
    """A shelf that notes which message nodes an event has, with the true commitments."""

    def __init__(self, ledger: PostgresLedger) -> None:
        self.put_text = ledger.put_text
        self.found: dict[str, tuple[str | None, str]] = {}

    def gather(self, event: records.Event) -> None:
        try:
            encode_event(event, seq=0, at="", shelf=self)
        except psycopg.Error:
            raise
        except Exception:  # noqa: BLE001 - as above
            return

    def put_node(self, parent: str | None, payload: str) -> str:
        node_hash = hashlib.sha256(payload.encode()).hexdigest()
        self.found[node_hash] = (parent, payload)
        return node_hash
