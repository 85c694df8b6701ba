"""The Merkle log of a store as a tree that grows, and the signed checkpoints that are kept beside it.

Who signs a checkpoint, and with what, is not the store's: here a note is a text.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select
from sqlmodel import SQLModel

from monitor.errors import StoreFormatError
from monitor.store.ledger import leaf_hash_of
from monitor.store.merkle import Frontier
from monitor.store.tables import CheckpointRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.store.backend import Backend, Snapshots

_LEAVES_AT_ONCE = 1_000
_CHECKPOINTS = SQLModel.metadata.tables[str(CheckpointRow.__tablename__)]


class StoredCheckpoint(NamedTuple):
    """A row of ``checkpoints``: see ``CheckpointRow``. Only what the signed ``note`` says is evidence."""

    number: int
    tree_size: int
    root: str
    origin: str
    note: str
    peaks: bytes
    at: str


class _Kept(Frontier):
    """A frontier that remembers its leaves."""

    __slots__ = ("leaves",)

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Add one leaf by its hash."""
        super().add(leaf)
        self.leaves.append(leaf)


class LeafLog:
    """The leaves of a store in their order."""

    def __init__(self, backend: Backend, snapshots: Snapshots) -> None:
        self._backend = backend
        self._snapshots = snapshots

    def size(self) -> int:
        """How many events have a leaf. Raises StoreError."""
        log = self._backend.log.table
        with self._snapshots.session() as session:
            return int(session.execute(select(func.coalesce(func.max(log.c.leaf_index) + 1, 0))).scalar_one())

    def grow(
        self,
        frontier: Frontier,
        *,
        until: int | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Add to ``frontier`` the leaves that it has not, up to ``until`` of them, each hashed anew from its event.

        Raises:
            StoreFormatError: a leaf is missing, or is not that of its event.
            StoreError: the database cannot be read.
        """
        end = self.size() if until is None else until
        log = self._backend.log.table
        columns = (log.c.leaf_index, log.c.canonical, log.c.leaf_hash)
        query = select(*columns).order_by(log.c.leaf_index).limit(_LEAVES_AT_ONCE)
        while frontier.size < end:
            with self._snapshots.session() as session:
                chosen = query.where(log.c.leaf_index >= frontier.size, log.c.leaf_index < end)
                rows = session.execute(chosen).all()
            if not rows:
                raise _damaged(frontier.size, "it is not there")
            for row in rows:
                if row.leaf_index != frontier.size:
                    raise _damaged(frontier.size, "it is not there")
                found = leaf_hash_of(row.canonical)
                if found != row.leaf_hash:
                    raise _damaged(frontier.size, "its hash is not that of its event")
                frontier.add(bytes.fromhex(found))
            progress(frontier.size, end)

    def hashes(self, size: int) -> list[bytes]:
        """The hashes of the first ``size`` leaves. Raises as ``grow``."""
        kept = _Kept()
        self.grow(kept, until=size)
        return kept.leaves

    def checkpoints(self) -> list[StoredCheckpoint]:
        """All checkpoints, the oldest first. Raises StoreError."""
        with self._snapshots.session() as session:
            rows = session.execute(select(_CHECKPOINTS).order_by(_CHECKPOINTS.c.number)).all()
        return [StoredCheckpoint(*row) for row in rows]

    def last_checkpoint(self, origin: str) -> StoredCheckpoint | None:
        """The newest checkpoint of this origin. Raises StoreError."""
        query = select(_CHECKPOINTS).where(_CHECKPOINTS.c.origin == origin)
        with self._snapshots.session() as session:
            row = session.execute(query.order_by(_CHECKPOINTS.c.number.desc()).limit(1)).first()
        return StoredCheckpoint(*row) if row else None

    def keep(self, frontier: Frontier, *, origin: str, note: str, at: str) -> bool:
        """Add a checkpoint of ``frontier``; say whether it was added: not where one of as many leaves is there already.

        Raises StoreError.
        """
        return self._add((frontier.size, frontier.root().hex(), origin, note, frontier.packed, at))

    def adopt(self, row: StoredCheckpoint) -> bool:
        """Add a checkpoint of another store whose log this one begins with; say whether it was added. Raises StoreError."""
        return self._add(row[1:])

    def _add(self, row: tuple[int | str | bytes, ...]) -> bool:
        try:
            with contextlib.closing(self._backend.connect()) as ledger:
                ledger.begin(patience=self._backend.busy_seconds)
                added = ledger.add_checkpoint(row)
                ledger.commit()
        except self._backend.errors as failure:
            raise self._backend.translate(failure) from failure
        return added


def _damaged(leaf: int, problem: str) -> StoreFormatError:
    return StoreFormatError(
        f"the log is damaged at leaf {leaf}: {problem}; `monitor audit verify` names all that is wrong"
    )
