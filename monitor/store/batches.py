"""A store's events in batches, with all that they refer to, every hash checked on the way."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, text
from sqlmodel import SQLModel

from monitor.errors import StoreFormatError
from monitor.store.decoding import parse, references
from monitor.store.ledger import leaf_hash_of
from monitor.store.tables import MessageNodeRow, TextRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Row
    from sqlmodel import Session

    from monitor.store.backend import Backend, Snapshots

EVENTS_AT_ONCE = 200
KEYS_AT_ONCE = 300  # three parameters each: well below what any SQLite build allows
_TEXTS_AT_ONCE = 50
TEXTS = SQLModel.metadata.tables[str(TextRow.__tablename__)]
NODES = SQLModel.metadata.tables[str(MessageNodeRow.__tablename__)]
_CHAINS = text("""
    WITH RECURSIVE chain (node_hash, parent_hash, payload) AS (
      SELECT node_hash, parent_hash, payload FROM message_nodes WHERE node_hash IN :heads
      UNION
      SELECT n.node_hash, n.parent_hash, n.payload FROM message_nodes AS n JOIN chain ON n.node_hash = chain.parent_hash
    )
    SELECT node_hash, parent_hash, payload FROM chain
""").bindparams(bindparam("heads", expanding=True))


@dataclass(frozen=True, slots=True)
class Batch:
    """Some events in the order of the log, and all that they refer to, parents before children."""

    events: Sequence[Row[Any]]
    nodes: Sequence[tuple[str, str | None, str]]
    texts: Sequence[tuple[str, str | None, bytes | None, str | None]]


class Extent:
    """Which events were copied: those up to some leaf, and some that had no leaf yet."""

    def __init__(self) -> None:
        self._last = -1
        self._pending: set[tuple[str, str, int]] = set()

    def add(self, rows: Sequence[Row[Any]]) -> None:
        """Note that ``rows`` were copied."""
        for row in rows:
            if row.leaf_index is None:
                self._pending.add((row.run_id, row.span_id, row.seq))
            else:
                self._last = max(self._last, row.leaf_index)

    def of(self, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
        """Those of ``rows`` that were copied; by now they may have a leaf."""
        return [
            row
            for row in rows
            if (row.leaf_index is not None and row.leaf_index <= self._last)
            or (row.run_id, row.span_id, row.seq) in self._pending
        ]


def count(backend: Backend, snapshots: Snapshots) -> int:
    """How many events there are. Raises StoreError."""
    with snapshots.session() as session:
        return int(session.execute(select(func.count()).select_from(backend.log.table)).scalar_one())


def batches(backend: Backend, snapshots: Snapshots, *, within: Extent | None = None) -> Iterator[Batch]:
    """The events that have a leaf, in the order of the log, then those that have none yet; everything checked."""
    chosen: Callable[[Sequence[Row[Any]]], Sequence[Row[Any]]] = within.of if within else lambda rows: rows
    log = backend.log.table
    query = select(log).order_by(*backend.log.order)
    last = -1
    while True:
        with snapshots.session() as session:
            rows = session.execute(query.where(log.c.leaf_index > last).limit(EVENTS_AT_ONCE)).all()
            batch = _load(session, chosen(rows))
        if not rows:
            break
        yield batch
        last = rows[-1].leaf_index
    with snapshots.session() as session:
        pending = session.execute(query.where(log.c.leaf_index.is_(None))).all()
    for some in chunks(chosen(pending), EVENTS_AT_ONCE):
        with snapshots.session() as session:
            batch = _load(session, some)
        yield batch


def _load(session: Session, rows: Sequence[Row[Any]]) -> Batch:
    commitments: set[str] = set()
    heads: set[str] = set()
    for row in rows:
        texts, chains = references(_checked_event(row))
        commitments |= texts
        heads |= chains
    nodes = load_nodes(session, heads)
    for _, _, payload in nodes:
        commitments |= references(parse(payload))[0]
    found = list(load_texts(session, commitments))
    if len(found) < len(commitments):
        lost = commitments - {row[0] for row in found}
        raise StoreFormatError(f"the source is damaged: an event commits to text {min(lost)}, which is not there")
    for text_row in found:
        _check_text(*text_row)
    return Batch(rows, nodes, found)


def _checked_event(row: Row[Any]) -> dict[str, Any]:
    """The parsed event, if its hash and its columns are those of its canonical text. Raises StoreFormatError."""
    event = parse(row.canonical)
    told = {name: event.get(name) for name in ("run_id", "span_id", "seq", "kind", "at")}
    columns = {"run_id": row.run_id, "span_id": row.span_id, "seq": row.seq, "kind": row.kind, "at": row.at}
    if leaf_hash_of(row.canonical) != row.leaf_hash or told != columns:
        raise StoreFormatError(
            f"the source is damaged: event {row.run_id}/{row.span_id}/{row.seq} is not what its hash says"
        )
    return event


def load_nodes(session: Session, heads: set[str]) -> list[tuple[str, str | None, str]]:
    """The nodes of all histories that end in ``heads``, each after its parent. Raises StoreFormatError."""
    found: dict[str, tuple[str, str | None, str]] = {}
    for some in chunks(sorted(heads), KEYS_AT_ONCE):
        found.update((row[0], tuple(row)) for row in session.connection().execute(_CHAINS, {"heads": some}))
    for node_hash, parent, payload in found.values():
        if hashlib.sha256(payload.encode()).hexdigest() != node_hash or parse(payload)["parent"] != parent:
            raise StoreFormatError(f"the source is damaged: message node {node_hash} is not what its hash says")
    ordered: dict[str, None] = {}
    for head in heads:
        chain = []
        current: str | None = head
        while current is not None and current not in ordered:
            if current not in found:
                raise StoreFormatError(f"the source is damaged: message node {current} is not there")
            chain.append(current)
            current = found[current][1]
        ordered.update(dict.fromkeys(reversed(chain)))
    return [found[node_hash] for node_hash in ordered]


def load_texts(
    session: Session, commitments: Iterable[str]
) -> Iterator[tuple[str, str | None, bytes | None, str | None]]:
    """The rows of ``texts`` with these commitments: commitment, SHA-256, salt, body."""
    for some in chunks(sorted(commitments), _TEXTS_AT_ONCE):
        columns = (TEXTS.c.commitment, TEXTS.c.sha256, TEXTS.c.salt, TEXTS.c.body)
        for row in session.execute(select(*columns).where(TEXTS.c.commitment.in_(some))):
            yield (row.commitment, row.sha256, row.salt, row.body)


def _check_text(commitment: str, sha256: str | None, salt: bytes | None, body: str | None) -> None:
    """Raise StoreFormatError unless the commitment is to this text, or the text is erased whole."""
    if body is None and salt is None and sha256 is None:
        return
    data = (body or "").encode()
    fits = salt is not None and hmac.digest(salt, data, "sha256").hex() == commitment
    if not fits or sha256 not in {None, hashlib.sha256(data).hexdigest()}:
        raise StoreFormatError(f"the source is damaged: text {commitment} is not what its commitment says")


def chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """``items`` in pieces of ``size``."""
    return (items[start : start + size] for start in range(0, len(items), size))
