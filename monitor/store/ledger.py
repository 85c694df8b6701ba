"""What one write transaction does: texts, message nodes and events, in this order, on one connection.

The rules of the log are enforced by the statements themselves, inside the transaction, so that they hold across
processes: an event is inserted only where its predecessor is there, and the unique key refuses a second one. What this
connection has itself inserted since any other last committed need not be looked up again: see ``Ledger``.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from monitor import records
from monitor.errors import ConflictError, StoreError
from monitor.store.codec import encode_event
from monitor.store.location import FileIdentity
from monitor.store.sqlite import connect, driver, is_busy
from monitor.store.tables import RUN_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_SALT_BYTES = 32
_CACHE_ENTRIES = 4096
_SHORT = 64  # codepoints; texts up to here are remembered by themselves, longer ones by their digest
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.025  # seconds between looks at a lock that another process holds
_LEAF_PREFIX = b"\x00"  # RFC 9162, section 2.1.1: a leaf can never be taken for an inner node
_HEX = frozenset("0123456789abcdef")

_INSERT_TEXT = "INSERT INTO texts (commitment, sha256, salt, body) VALUES (?, ?, ?, ?) ON CONFLICT (sha256) DO NOTHING"
_FIND_TEXT = "SELECT commitment FROM texts WHERE sha256 = ?"
_INSERT_NODE = "INSERT INTO message_nodes (node_hash, parent_hash, payload) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_INSERT_EVENT = (
    "INSERT INTO events (leaf_index, run_id, span_id, seq, kind, at, canonical, leaf_hash) "
    "SELECT (SELECT coalesce(max(leaf_index) + 1, 0) FROM events), ?, ?, ?, ?, ?, ?, ? WHERE"
)
_IF_NEW_RUN = f"{_INSERT_EVENT} NOT EXISTS (SELECT 1 FROM events WHERE run_id = ?)"  # noqa: S608 - constants only
_IF_RUN = (
    f"{_INSERT_EVENT} EXISTS (SELECT 1 FROM events "  # noqa: S608 - constants only
    f"WHERE run_id = ? AND kind = 'run_started' AND {RUN_KINDS})"
)
_IF_STEP = (
    f"{_INSERT_EVENT} EXISTS (SELECT 1 FROM events "  # noqa: S608 - constants only
    "WHERE run_id = ? AND span_id = ? AND seq = ? AND kind = ?)"
)
_INSERT_NEXT = (
    "INSERT INTO events (leaf_index, run_id, span_id, seq, kind, at, canonical, leaf_hash) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_NEXT_RUN_SEQ = (
    "SELECT max(seq) + 1 FROM events WHERE run_id = ?1 AND span_id = ?2 "  # noqa: S608 - constants only
    f"AND EXISTS (SELECT 1 FROM events WHERE run_id = ?1 AND span_id = ?2 AND kind = 'run_started' AND {RUN_KINDS})"
)

_IF_WAITING = (
    f"{_INSERT_EVENT} EXISTS (SELECT 1 FROM events "  # noqa: S608 - constants only
    "WHERE run_id = ? AND span_id = ? AND seq = ? AND kind IN ('judged', 'decided'))"
)

_SEQ: dict[str, int] = {"run_started": 0, "started": 0, "observed": 1, "judged": 2}
_PREDECESSOR = {"observed": "started", "judged": "observed"}
_FOLLOWED = frozenset(_PREDECESSOR.values())
_JUDGED = 2


class Ledger:
    """A connection that appends. It belongs to one thread at a time.

    Between ``begin`` and ``commit`` (or ``rollback``) it holds the file's write lock. What it remembers of the events,
    texts and nodes stored is dropped whenever another connection has committed since, or a transaction was rolled back.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path``, which must be a prepared store. Raises the driver's errors and StoreUnavailableError."""
        self._file = FileIdentity.of(path)
        self._connection: Any = connect(path, mode="rw", busy_seconds=0)
        self._execute = self._connection.execute
        self._data_version: int | None = None
        self._commitments: OrderedDict[bytes, str] = OrderedDict()
        self._short: OrderedDict[str, str] = OrderedDict()  # such as stop reasons: the same few all the time
        self._nodes: OrderedDict[str, None] = OrderedDict()
        self._next_leaf: int | None = None
        self._holding: OrderedDict[tuple[str | int, ...], None] = OrderedDict()  # statements whose conditions hold

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        self._connection.close()

    # ------------------------------------------------------------------------------------------ transactions

    def begin(self, *, patience: float) -> None:
        """Take the write lock, waiting up to ``patience`` seconds for another process. Raises the driver's errors."""
        deadline = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while True:
            try:
                self._execute("BEGIN IMMEDIATE")
                break
            except driver().OperationalError as exc:
                left = deadline - time.monotonic()
                if not is_busy(exc) or left <= 0:
                    raise
                time.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)
        (data_version,) = self._execute("PRAGMA data_version").fetchone()
        if data_version != self._data_version:
            self._forget()
            self._data_version = data_version

    def commit(self) -> None:
        """Make everything since ``begin`` durable.

        Raises:
            StoreUnavailableError: the file was moved away; and the driver's errors. Either way nothing was written.
        """
        self._file.verify()
        self._execute("COMMIT")

    def rollback(self) -> None:
        """Undo everything since ``begin``."""
        self._forget()
        if self._connection.in_transaction:
            self._execute("ROLLBACK")

    def _forget(self) -> None:
        self._commitments.clear()
        self._short.clear()
        self._next_leaf = None
        self._holding.clear()
        self._nodes.clear()

    # ------------------------------------------------------------------------------------------------ events

    def append(self, events: Iterable[records.Event]) -> None:
        """Add ``events`` to the open transaction.

        Raises:
            ConflictError: one of them is in the log already.
            StoreError: one of them has no place in the log: its run or its predecessor is not there.
        """
        for event in events:
            _check_ids(event)
            if event.kind in {"run_resumed", "run_queued", "run_suspended", "run_ended"}:
                self._append_later_run_event(event)
            elif event.kind == "run_started":
                if not self._insert(_IF_NEW_RUN, event, 0, event.run_id):
                    raise ConflictError(f"run {event.run_id} is in the store already; a new run needs a new id")
            elif event.kind == "started":
                if not self._insert(_IF_RUN, event, 0, event.run_id):
                    raise StoreError(f"run {event.run_id} is not in the store: its run_started event must come first")
            elif event.kind == "decided":
                self._append_decision(event)
            else:
                self._append_step(event)

    def _append_step(self, event: records.Event) -> None:
        """Append ``observed`` or ``judged``, each only on top of the step before it."""
        before = _PREDECESSOR.get(event.kind)
        if before is None:
            raise StoreError(f"no rule says where a {event.kind!r} event belongs; this version cannot store it")
        seq = _SEQ[event.kind]
        if not self._insert(_IF_STEP, event, seq, event.run_id, event.span_id, seq - 1, before):
            raise StoreError(f"subcall {event.run_id}/{event.span_id} cannot be {event.kind}: it is not {before} yet")

    def _append_decision(self, event: records.Event) -> None:
        """Append ``decided`` right after the step that the decider saw; of two deciders, the second finds it taken."""
        seen = _JUDGED if event.after is None else event.after
        try:
            done = self._insert(_IF_WAITING, event, seen + 1, event.run_id, event.span_id, seen)
        except driver().IntegrityError as exc:
            raise ConflictError(f"subcall {event.run_id}/{event.span_id} was decided already") from exc
        if not done:
            raise StoreError(f"subcall {event.run_id}/{event.span_id} cannot be decided: it is not judged yet")

    def _append_later_run_event(self, event: records.Event) -> None:
        (seq,) = self._execute(_NEXT_RUN_SEQ, (event.run_id, event.span_id)).fetchone()
        if seq is not None and event.after is not None and event.after + 1 != seq:
            raise ConflictError(f"run {event.run_id} went on meanwhile: {event.kind} comes too late")
        if seq is None or not self._insert(_IF_RUN, event, seq, event.run_id):
            raise StoreError(
                f"run {event.run_id} did not start as span {event.span_id}: nothing to add {event.kind} to"
            )

    def _insert(self, statement: str, event: records.Event, seq: int, *condition: str | int) -> bool:
        """Insert the event if the statement's condition holds; say whether it did."""
        at = event.payload.at or records.now()
        canonical = encode_event(event, seq=seq, at=at, shelf=self)
        leaf_hash = hashlib.sha256(_LEAF_PREFIX + canonical.encode()).hexdigest()
        row = (event.run_id, event.span_id, seq, event.kind, at, canonical, leaf_hash)
        holds = (statement, *condition)
        if self._next_leaf is not None and holds in self._holding:
            self._execute(_INSERT_NEXT, (self._next_leaf, *row))
        else:
            cursor = self._execute(statement, row + condition)
            if not cursor.rowcount:
                return False
            self._next_leaf = cursor.lastrowid
        self._next_leaf += 1
        if statement == _IF_STEP:
            self._holding.pop(holds, None)  # it is asked once
        else:
            self._remember(_IF_RUN, event.run_id)
        if event.kind in _FOLLOWED:
            self._remember(_IF_STEP, event.run_id, event.span_id, seq, event.kind)
        return True

    def _remember(self, *holds: str | int) -> None:
        self._holding[holds] = None
        _keep_recent(self._holding, holds)

    # ----------------------------------------------------------------------------------------- texts and nodes

    def put_text(self, text: str) -> str:
        """Store ``text`` unless it is there, and return its commitment.

        Raises:
            StoreError: the text was not escaped: it holds NUL or a lone surrogate.
        """
        known = self._short.get(text)
        if known is not None:
            return known
        try:
            data = text.encode()
        except UnicodeEncodeError as exc:
            raise StoreError("a text holds a lone surrogate; texts pass canonical.escape_text first") from exc
        if b"\0" in data:
            raise StoreError("a text holds NUL; texts pass canonical.escape_text first")
        digest = hashlib.sha256(data)
        key = digest.digest()
        commitment = self._commitments.get(key)
        if commitment is None:
            commitment = self._insert_text(text, data, digest.hexdigest())
        self._commitments[key] = commitment
        _keep_recent(self._commitments, key)
        if len(text) <= _SHORT:
            self._short[text] = commitment
            _keep_recent(self._short, text)
        return commitment

    def _insert_text(self, text: str, data: bytes, sha256: str) -> str:
        salt = os.urandom(_SALT_BYTES)
        commitment = hmac.digest(salt, data, "sha256").hex()
        if not self._execute(_INSERT_TEXT, (commitment, sha256, salt, text)).rowcount:
            (commitment,) = self._execute(_FIND_TEXT, (sha256,)).fetchone()
        return commitment

    def put_node(self, parent: str | None, payload: str) -> str:
        """Store a message node unless it is there, and return its hash."""
        node_hash = hashlib.sha256(payload.encode()).hexdigest()
        if node_hash not in self._nodes:
            self._execute(_INSERT_NODE, (node_hash, parent, payload))
            self._nodes[node_hash] = None
        _keep_recent(self._nodes, node_hash)
        return node_hash


def _keep_recent(cache: OrderedDict[Any, Any], key: Any) -> None:
    """Make ``key`` the most recently used entry and drop the least recently used beyond the limit."""
    cache.move_to_end(key)
    if len(cache) > _CACHE_ENTRIES:
        cache.popitem(last=False)


def _check_ids(event: records.Event) -> None:
    """Raise StoreError unless the ids are OpenTelemetry's and the payload, where it has ids, agrees with the event."""
    if len(event.run_id) != 32 or not _HEX.issuperset(event.run_id):
        raise StoreError(f"expected a run id of 32 hex digits (records.new_run_id), found {event.run_id!r}")
    if len(event.span_id) != 16 or not _HEX.issuperset(event.span_id):
        raise StoreError(f"expected a span id of 16 hex digits (records.new_span_id), found {event.span_id!r}")
    if isinstance(event.payload, (records.Call, records.RunStart)) and (
        (event.payload.run_id, event.payload.span_id) != (event.run_id, event.span_id)
    ):
        raise StoreError(f"the event is of {event.run_id}/{event.span_id}, its payload of another run or span")
