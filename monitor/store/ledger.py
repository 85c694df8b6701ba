"""What one write transaction does: texts, message nodes and events, in this order, on one connection.

The rules of the log are enforced by the statements themselves, inside the transaction, so that they hold across
processes: an event is inserted only where its predecessor is there, and the unique key refuses a second one. The rules
are the same in every database; how a transaction begins and ends is for the subclass of each.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from monitor import records
from monitor.errors import ConflictError, StoreError
from monitor.store.codec import encode_event
from monitor.store.derived import forget_derived

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor.store.statements import Statements, Unfinished, Written

SALT_BYTES = 32
_CACHE_ENTRIES = 4096
_SHORT = 64  # codepoints; texts up to here are remembered by themselves, longer ones by their digest
_LEAF_PREFIX = b"\x00"  # RFC 9162, section 2.1.1: a leaf can never be taken for an inner node
_HEX = frozenset("0123456789abcdef")


_SEQ: dict[str, int] = {"run_started": 0, "started": 0, "observed": 1, "judged": 2}
_PREDECESSOR = {"observed": "started", "judged": "observed"}
FOLLOWED = frozenset(_PREDECESSOR.values())
_JUDGED = 2


class Ledger(ABC):
    """A connection that appends. It belongs to one thread at a time.

    What happens between ``begin`` and ``commit`` (or ``rollback``) is one transaction.
    """

    def __init__(self, statements: Statements, execute: Any, integrity_error: type[Exception]) -> None:
        """Use ``execute`` (SQL, parameters -> cursor), which raises ``integrity_error`` where a key is taken."""
        self._sql = statements
        self._execute = execute
        self._integrity_error = integrity_error
        self._commitments: OrderedDict[bytes, str] = OrderedDict()
        self._short: OrderedDict[str, str] = OrderedDict()  # such as stop reasons: the same few all the time
        self._nodes: OrderedDict[str, None] = OrderedDict()

    @abstractmethod
    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""

    # ------------------------------------------------------------------------------------------ transactions

    @abstractmethod
    def begin(self, *, patience: float) -> None:
        """Begin a transaction, waiting up to ``patience`` seconds where another process is in the way.

        Raises the driver's errors.
        """

    @abstractmethod
    def commit(self) -> None:
        """Make everything since ``begin`` durable. Raises the driver's errors and StoreUnavailableError."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo everything since ``begin``. Raises the driver's errors."""

    def expect(self, events: Iterable[records.Event]) -> None:  # noqa: B027 - most databases need not know
        """Be told, right after ``begin``, of all events that will be appended before ``commit``."""

    @property
    def unfinished(self) -> Unfinished | None:
        """The transaction that was begun and has not ended; also after the connection was lost."""
        return None

    def settle(self, lost: Unfinished, *, deadline: float) -> None:  # noqa: B027 - only a server has any
        """Wait until a transaction that a lost connection left behind has ended one way or the other.

        Raises the driver's errors.
        """

    def holds(self, written: Sequence[Written]) -> bool:
        """Whether these very rows are in the log: then the transaction that wrote them was committed."""
        return False

    def _hold_run(self, run_id: str) -> None:  # noqa: B027 - a database with one writer at a time holds it anyway
        """Keep other writers from adding to the run's own events until the transaction ends."""

    def _forget(self) -> None:
        self._commitments.clear()
        self._short.clear()
        self._nodes.clear()

    # ------------------------------------------------------------------------------------------------ events

    def append(self, events: Iterable[records.Event]) -> tuple[Written, ...]:
        """Add ``events`` to the open transaction; return the rows where they must be found again after a lost connection.

        Raises:
            ConflictError: one of them is in the log already.
            StoreError: one of them has no place in the log: its run or its predecessor is not there.
        """
        for event in events:
            _check_ids(event)
            if event.kind in {"run_resumed", "run_queued", "run_suspended", "run_ended"}:
                self._append_later_run_event(event)
            elif event.kind == "run_started":
                if not self._insert(self._sql.if_new_run, event, 0, event.run_id):
                    raise ConflictError(f"run {event.run_id} is in the store already; a new run needs a new id")
            elif event.kind == "started":
                if not self._insert(self._sql.if_run, event, 0, event.run_id):
                    raise StoreError(f"run {event.run_id} is not in the store: its run_started event must come first")
            elif event.kind == "released":
                self._append_released(event)
            elif event.kind == "decided":
                self._append_decision(event)
            elif isinstance(event.payload, records.Review):
                self._append_review(event, event.payload)
            elif event.kind == "redacted":
                if not self._insert(self._sql.if_run, event, 0, event.run_id):
                    raise StoreError(f"run {event.run_id} is not in the store: there is nothing of it to redact")
            else:
                self._append_step(event)
        return ()

    def _append_step(self, event: records.Event) -> None:
        """Append ``observed`` or ``judged``, each only on top of the step before it."""
        before = _PREDECESSOR.get(event.kind)
        if before is None:
            raise StoreError(f"no rule says where a {event.kind!r} event belongs; this version cannot store it")
        seq = _SEQ[event.kind]
        if not self._insert(self._sql.if_step, event, seq, event.run_id, event.span_id, seq - 1, before):
            raise StoreError(f"subcall {event.run_id}/{event.span_id} cannot be {event.kind}: it is not {before} yet")

    def _append_released(self, event: records.Event) -> None:
        """Append ``released`` right after the part before it, while nothing is observed; its places count down from -1."""
        before = 0 if event.after is None else event.after
        place = (event.run_id, event.span_id)
        if not self._insert(self._sql.if_open, event, -1 - before, *place, -before, *place):
            raise StoreError(
                f"subcall {event.run_id}/{event.span_id} cannot release part {before + 1} of a stream: it is not started, "
                "it was observed already, or the part before is missing"
            )

    def _append_decision(self, event: records.Event) -> None:
        """Append ``decided`` right after the step that the decider saw; of two deciders, the second finds it taken."""
        seen = _JUDGED if event.after is None else event.after
        if not self._insert(self._sql.if_waiting, event, seen + 1, event.run_id, event.span_id, seen):
            raise StoreError(f"subcall {event.run_id}/{event.span_id} cannot be decided: it is not judged yet")

    def _append_review(self, event: records.Event, review: records.Review) -> None:
        """Append ``reviewed`` under a span of its own, where the subcall that it is about is judged."""
        if not self._insert(self._sql.if_step, event, 0, event.run_id, review.span, _JUDGED, "judged"):
            raise StoreError(f"subcall {event.run_id}/{review.span} cannot be reviewed: it is not judged")

    def _append_later_run_event(self, event: records.Event) -> None:
        self._hold_run(event.run_id)
        place = (event.run_id, event.span_id)
        (seq,) = self._execute(self._sql.next_run_seq, place + place).fetchone()
        if seq is not None and event.after is not None and event.after + 1 != seq:
            raise ConflictError(f"run {event.run_id} went on meanwhile: {event.kind} comes too late")
        if seq is None or not self._insert(self._sql.if_run, event, seq, event.run_id):
            raise StoreError(
                f"run {event.run_id} did not start as span {event.span_id}: nothing to add {event.kind} to"
            )

    def _insert(self, statement: str, event: records.Event, seq: int, *condition: str | int) -> bool:
        """Insert the event if the statement's condition holds; say whether it did. Raises ConflictError."""
        at = event.payload.at or records.now()
        canonical = encode_event(event, seq=seq, at=at, shelf=self)
        row = (event.run_id, event.span_id, seq, event.kind, at, canonical, leaf_hash_of(canonical))
        try:
            return self._add(statement, row, condition)
        except self._integrity_error as exc:
            taken = f"was {event.kind}" if event.kind in {"decided", "released"} else f"is {event.kind}"
            raise ConflictError(
                f"subcall {event.run_id}/{event.span_id} {taken} already: another process took the same step first"
            ) from exc

    def _add(self, statement: str, row: tuple[str | int, ...], condition: tuple[str | int, ...]) -> bool:
        return bool(self._execute(statement, row + condition).rowcount)

    # ----------------------------------------------------------------------------------------- texts and nodes

    def put_text(self, text: str) -> str:
        """Store ``text`` unless it is there, and return its commitment.

        Raises:
            StoreError: the text was not escaped: it holds NUL or a lone surrogate.
        """
        known = self._short.get(text)
        if known is not None:
            return known
        data = checked(text)
        digest = hashlib.sha256(data)
        key = digest.digest()
        commitment = self._commitments.get(key)
        if commitment is None:
            commitment = self._insert_text(text, data, digest.hexdigest())
        self._commitments[key] = commitment
        keep_recent(self._commitments, key)
        if len(text) <= _SHORT:
            self._short[text] = commitment
            keep_recent(self._short, text)
        return commitment

    def _insert_text(self, text: str, data: bytes, sha256: str) -> str:
        commitment, salt = commit_to(data)
        if not self._execute(self._sql.insert_text, (commitment, sha256, salt, text)).rowcount:
            (commitment,) = self._execute(self._sql.find_text, (sha256,)).fetchone()
        return commitment

    def put_node(self, parent: str | None, payload: str) -> str:
        """Store a message node unless it is there, and return its hash."""
        node_hash = hashlib.sha256(payload.encode()).hexdigest()
        if node_hash not in self._nodes:
            self._execute(self._sql.insert_node, (node_hash, parent, payload))
            self._nodes[node_hash] = None
        keep_recent(self._nodes, node_hash)
        return node_hash

    # ----------------------------------------------------------------------------------------------- checkpoints

    def add_checkpoint(self, row: tuple[int | str | bytes, ...]) -> bool:
        """Add a checkpoint (tree size, root, origin, note, peaks, at); say whether it was added.

        It is not where one of the same origin is there that has as many leaves.
        """
        self._hold_checkpoints()
        return bool(self._execute(self._sql.add_checkpoint, (*row, row[2], row[0])).rowcount)

    def _hold_checkpoints(self) -> None:  # noqa: B027 - as ``_hold_run``
        """Keep others from adding a checkpoint until the transaction ends."""

    # --------------------------------------------------------------------------------------------------- erasing

    def begin_erasure(self, *, patience: float) -> None:
        """As ``begin``, for a transaction that erases: nobody commits to a text while it goes on."""
        self.begin(patience=patience)

    def erase_text(self, commitment: str) -> bool:
        """Erase a text and all that was derived from it; say whether there was anything to erase.

        The commitment stays. ``scrub`` of the backend then sees to the bytes in the files.
        """
        forget_derived(self._execute, self._sql.mark, commitment)
        self._forget()
        return bool(self._execute(self._sql.erase_text, (commitment,)).rowcount)

    # ------------------------------------------------------------------------------- rows of another store, as they are

    def adopt_text(self, commitment: str, sha256: str | None, salt: bytes | None, body: str | None) -> None:
        """Add a text under the commitment that it has, unless it is there; one that was erased here stays erased.

        The same text may be here under another commitment, by which the writer finds it. Then this one has no ``sha256``.
        Raises ConflictError if another text is here under this commitment.
        """
        found = self._execute(self._sql.find_whole_text, (commitment,)).fetchone()
        if found is not None:
            if body is not None and found[1] is not None and (found[0], found[1]) != (salt, body):
                raise ConflictError(
                    f"text {commitment} is in the store already, and is another one; nothing was written"
                )
        elif not self._execute(self._sql.insert_text, (commitment, sha256, salt, body)).rowcount:
            self._execute(self._sql.insert_text, (commitment, None, salt, body))

    def adopt_node(self, node_hash: str, parent: str | None, payload: str) -> None:
        """Add a message node, whose parent must be here, unless it is there."""
        self._execute(self._sql.insert_node, (node_hash, parent, payload))

    def adopt_event(self, row: tuple[str | int, ...]) -> bool:
        """Add an event (run, span, seq, kind, at, canonical, leaf hash) unless it is there; say whether it was added.

        Raises ConflictError if another event is in its place.
        """
        run_id, span_id, seq, *_, leaf_hash = row
        found = self._execute(self._sql.find_event, (run_id, span_id, seq)).fetchone()
        if found is not None and found[0] == leaf_hash:
            return False
        if found is not None:
            raise ConflictError(f"event {run_id}/{span_id}/{seq} is in the store already, and is another one")
        is_start = row[3] == "run_started"
        try:
            if is_start:
                done = self._add(self._sql.if_new_run, row, (run_id,))
            else:
                done = self._add(self._sql.adopt_event, row, ())
        except self._integrity_error as exc:
            raise ConflictError(f"event {run_id}/{span_id}/{seq} was stored by another process meanwhile") from exc
        if not done:
            raise ConflictError(f"run {run_id} is in the store already, and is another one")
        return True


def checked(text: str) -> bytes:
    """Return ``text`` as UTF-8. Raises StoreError if it was not escaped: it holds NUL or a lone surrogate."""
    try:
        data = text.encode()
    except UnicodeEncodeError as exc:
        raise StoreError("a text holds a lone surrogate; texts pass canonical.escape_text first") from exc
    if b"\0" in data:
        raise StoreError("a text holds NUL; texts pass canonical.escape_text first")
    return data


def commit_to(data: bytes) -> tuple[str, bytes]:
    """Return a commitment to a text and the new random salt that it was made under."""
    salt = os.urandom(SALT_BYTES)
    return hmac.digest(salt, data, "sha256").hex(), salt


def leaf_hash_of(canonical: str) -> str:
    """Return the hash of an event's leaf, in hex: SHA-256(0x00 || canonical)."""
    return hashlib.sha256(_LEAF_PREFIX + canonical.encode()).hexdigest()


def keep_recent(cache: OrderedDict[Any, Any], key: Any) -> None:
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
