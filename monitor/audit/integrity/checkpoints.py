"""Making checkpoints: on demand, on a schedule, and when a run ends."""

from __future__ import annotations

import logging
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.audit.integrity.notes import Checkpoint, NoteError, Signer, parse_checkpoint, read_signer
from monitor.cancellation import in_thread, outlasting
from monitor.errors import MonitorError, StoreFormatError
from monitor.records import now
from monitor.store.merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from monitor.settings import Settings
    from monitor.store import Store
    from monitor.store.leaf_log import LeafLog

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """A checkpoint and its signed note. ``is_new`` is false where the log has not grown since the last one."""

    checkpoint: Checkpoint
    note: str
    is_new: bool


def make(
    store: Store,
    signer: Signer,
    *,
    earlier: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Made:
    """Sign the log as it is now, and keep the checkpoint in the store.

    It goes on from the last checkpoint of the same key, whose signature is verified first, and hashes the events since. So
    no two checkpoints of a key contradict each other: where the log is shorter than an earlier one, nothing is signed.

    Args:
        store: The store; events that have no leaf yet get it first, where this process may write.
        signer: The operator's key.
        earlier: A checkpoint of this key that was kept elsewhere: the log, hashed from its beginning, must agree with it.
        progress: Told how many leaves are done, and of how many.

    Raises:
        StoreFormatError: the log contradicts a checkpoint of this key, or is damaged.
        NoteError: ``earlier`` is not a checkpoint of this key.
        StoreError: the store cannot be read or written.
    """
    store.sequence()
    leaves = store.leaves
    origin = signer.verifier.name
    last = leaves.last_checkpoint(origin)
    frontier = Frontier()
    if earlier:
        _compare(leaves, parse_checkpoint(earlier, signer.verifier), progress)
    if last is not None:
        frontier = _frontier_of(last.note, last.tree_size, last.peaks, signer)
        size = leaves.size()
        if size < frontier.size:
            raise StoreFormatError(
                f"the log has {size} leaves, and checkpoint {last.number} of {origin} was made over {frontier.size}: its "
                "end was cut off. Nothing was signed; `monitor audit verify` says more"
            )
        if size == frontier.size:
            return Made(Checkpoint(origin, size, frontier.root()), last.note, is_new=False)
    leaves.grow(frontier, progress=progress)
    checkpoint = Checkpoint(origin, frontier.size, frontier.root())
    note = signer.sign(checkpoint.text)
    added = leaves.keep(frontier, origin=origin, note=note, at=now())
    return Made(checkpoint, note, is_new=added)


def _frontier_of(note: str, size: int, peaks: bytes, signer: Signer) -> Frontier:
    """The frontier that a stored checkpoint was made of, if that is what this key signed. Raises StoreFormatError."""
    try:
        signed = parse_checkpoint(note, signer.verifier)
        frontier = Frontier.read(size, peaks)
    except (NoteError, ValueError) as problem:
        raise StoreFormatError(
            f"the last checkpoint of {signer.verifier.name} in the store is not what its key signed: {problem}. Nothing "
            "was signed; `monitor audit verify` says more"
        ) from problem
    if (signed.size, signed.root) != (frontier.size, frontier.root()):
        raise StoreFormatError(
            f"the last checkpoint of {signer.verifier.name} in the store does not go with its own subtrees: it was "
            "changed. Nothing was signed; `monitor audit verify` says more"
        )
    return frontier


def _compare(leaves: LeafLog, earlier: Checkpoint, progress: Callable[[int, int], None]) -> None:
    """Raise StoreFormatError unless the log begins with the tree of ``earlier``."""
    beginning = Frontier()
    size = leaves.size()
    if size >= earlier.size:
        leaves.grow(beginning, until=earlier.size, progress=progress)
    if size < earlier.size or beginning.root() != earlier.root:
        what = f"it has only {size} leaves" if size < earlier.size else "its root there is another one"
        raise StoreFormatError(
            f"the log contradicts the checkpoint over {earlier.size} leaves that was kept elsewhere: {what}. Nothing was "
            "signed, and that checkpoint was left as it is; `monitor audit verify --against` says more"
        )


def configured(settings: Settings) -> Signer | None:
    """The key that the settings name, None where they name none. Raises NoteError (a ConfigError) if it is no key."""
    return read_signer(settings.checkpoint_key) if settings.checkpoint_key else None


class Schedule:
    """Checkpoints of a store for as long as a process works with it: one every ``seconds``, and one when it is over.

    A checkpoint that cannot be made is a warning in the log and no failure of what goes on, whose record is complete
    without it; the next one covers the same events.
    """

    def __init__(self, store: Store, signer: Signer, seconds: float) -> None:
        self._store, self._signer, self._seconds = store, signer, seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor-checkpoints", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Make the last one, and return when it is there."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(self._seconds):
            self._try()
        self._try()

    def _try(self) -> None:
        try:
            make(self._store, self._signer)
        except MonitorError as failure:
            _log.warning("no checkpoint was made: %s", failure)


@contextmanager
def kept(store: Store, settings: Settings) -> Iterator[None]:
    """Around work with a store: where the settings name a key, checkpoints on their schedule, and one at the end.

    Raises ConfigError if the key cannot be read; nothing was begun.
    """
    signer = configured(settings)
    schedule = Schedule(store, signer, settings.checkpoint_seconds) if signer else None
    try:
        yield
    finally:
        if schedule:
            schedule.end()


@asynccontextmanager
async def kept_while(store: Store, settings: Settings) -> AsyncIterator[None]:
    """As ``kept``, in an event loop, which goes on while the last checkpoint is made."""
    signer = configured(settings)
    schedule = Schedule(store, signer, settings.checkpoint_seconds) if signer else None
    try:
        yield
    finally:
        if schedule:
            await outlasting(in_thread(schedule.end))
