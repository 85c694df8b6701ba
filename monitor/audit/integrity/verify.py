"""``monitor audit verify``: three answers apart, each from the rows themselves.

*Integrity*: is every row what was written, and every event where it was? *Completeness*: is anything missing that should
have followed? *Coverage*: what was really checked? All is read from one snapshot, so writers may go on meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from monitor.audit.integrity.completeness import Gap, gaps_of
from monitor.audit.integrity.contents import Contents
from monitor.audit.integrity.naming import named
from monitor.audit.integrity.notes import Checkpoint, NoteError, Verifier, parse_checkpoint
from monitor.audit.integrity.walk import Walk
from monitor.errors import StoreFormatError
from monitor.store.opening import locate
from monitor.store.raw import Fault, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.audit.integrity.coverage import CoverageCount
    from monitor.store.raw import RawStore

MOST_FAULTS = 1_000
_RUNS_SHOWN = 5

Progress: TypeAlias = "Callable[[str, int, int], None]"
State: TypeAlias = Literal["signed", "unverified", "contradicted"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One checkpoint against the log: ``number`` is its row, None for one that was kept elsewhere.

    ``signed``: the log is what this key signed. ``unverified``: the log is what the note says, and no key says who made it.
    ``contradicted``: the log is another one.
    """

    number: int | None
    origin: str
    size: int
    state: State


@dataclass(slots=True)
class Integrity:
    """Whether anything is not as it was written. ``faults`` are at most ``MOST_FAULTS`` of ``found``.

    ``covered`` is up to which leaf the log is what a key has signed, ``outside`` up to which it is what a checkpoint kept
    elsewhere says; a tail behind ``outside`` can be cut off without a trace. ``limits`` say in words what was not shown.
    """

    faults: list[Fault] = field(default_factory=list)
    found: int = 0
    events: int = 0
    leaves: int = 0
    root: str = ""
    texts: int = 0
    erased: int = 0
    messages: int = 0
    checkpoints: list[Compared] = field(default_factory=list)
    covered: int = 0
    outside: int | None = None
    limits: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found."""
        return not self.found

    def note(self, fault: Fault) -> None:
        """Count a fault, and keep it if there are few."""
        self.found += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)


@dataclass(slots=True)
class Verification:
    """The three answers. ``coverage`` knows of text surfaces once it is told what the rules read (``resolve``).

    ``is_read`` tells whether every event could be read: else nobody knows what is missing, and coverage is of the others.
    """

    place: str
    integrity: Integrity
    gaps: list[Gap]
    in_progress: int
    pending: int
    coverage: CoverageCount
    is_read: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether it is known that nothing is missing."""
        return self.is_read and not self.gaps and not self.pending


def verify(
    url: str,
    *,
    verifier: Verifier | None = None,
    outside: str = "",
    grace_until: str = "",
    busy_seconds: float = 30.0,
    progress: Progress = lambda what, done, total: None,
) -> Verification:
    """Check everything in the store at ``url``, which is neither changed nor upgraded.

    Args:
        url: The store.
        verifier: The operator's public key, without which no checkpoint says who made it.
        outside: A checkpoint (a signed note) that was kept elsewhere.
        grace_until: Runs with an event later than this are still going on, and are not missing their end.
        busy_seconds: How long to wait for a lock or a server.
        progress: Told what is done, how much of it, and of how much (0 where that is not known).

    Raises:
        NoteError: ``outside`` is not a checkpoint, or not one of this key.
        StoreUnavailableError: there is nothing to read, or a server went away. What is there and damaged is a fault.
    """
    kept = parse_checkpoint(outside, verifier) if outside else None
    result = Integrity()
    walk = Walk()
    raw = locate(url, busy_seconds=busy_seconds).raw()
    waiting: set[object] = set()
    is_read = False
    try:
        with raw:
            check = _Check(raw, result, walk, verifier, kept, progress)
            waiting = check.run()
            is_read = check.is_read and walk.unparsed == 0
    except (UnreadableError, StoreFormatError) as failure:
        table = failure.table if isinstance(failure, UnreadableError) else "the database"
        result.note(Fault(table, "", f"it cannot be read: {failure}"))
    walk.coverage.finish()
    gaps, in_progress = gaps_of(walk, grace_until)
    return Verification(raw.place, result, gaps, in_progress, len(waiting), walk.coverage, is_read)


class _Check:
    """One verification over one snapshot."""

    def __init__(  # noqa: PLR0917 - the parts of one verification
        self,
        raw: RawStore,
        result: Integrity,
        walk: Walk,
        verifier: Verifier | None,
        kept: Checkpoint | None,
        progress: Progress,
    ) -> None:
        self._raw, self._result, self._walk = raw, result, walk
        self._verifier, self._kept, self._progress = verifier, kept, progress
        self.is_read = False  # every event

    def run(self) -> set[object]:
        """Check everything; return the positions of events that wait for their leaf."""
        rows = self._rows()
        sizes = {checkpoint.size for _, checkpoint, _ in rows} | ({self._kept.size} if self._kept else set())
        self._walk.sizes = frozenset(sizes)
        for fault in self._raw.structure(lambda what: self._progress(what, 0, 0)):
            self._result.note(fault)
        total = self._raw.count()
        self.is_read = self._guarded(
            lambda: self._walk.go(self._raw.events(), lambda done: self._progress("events", done, max(done, total)))
        )
        for fault in self._walk.faults:
            self._result.note(fault)
        waiting = self._pending()
        contents = Contents(self._walk.texts, self._walk.heads, self._walk.erased)
        self._progress("messages and texts", 0, 0)
        contents.nodes_read = self._guarded(lambda: contents.take_nodes(self._raw.nodes()))
        self._guarded(lambda: contents.take_texts(self._raw.texts()))
        self._name(contents)
        self._compare(rows)
        result, walk = self._result, self._walk
        result.events, result.leaves, result.root = walk.events, walk.frontier.size, walk.frontier.root().hex()
        result.texts, result.erased, result.messages = contents.texts, contents.erased, contents.nodes
        result.limits += self._raw.notes
        self._limits()
        return waiting

    def _guarded(self, work: Callable[[], None]) -> bool:
        """Do it; what cannot be read is a fault. Say whether all was read."""
        try:
            work()
        except UnreadableError as failure:
            self._result.note(Fault(failure.table, "", f"the rest of it cannot be read: {failure}"))
            return False
        return True

    def _pending(self) -> set[object]:
        """Events without a leaf are those that wait for one, and no others."""
        waiting: set[object] = set()
        self._guarded(lambda: waiting.update(self._raw.pending()))
        without: set[object] = set(self._walk.without_leaf)
        for position in without - waiting:
            self._result.note(
                Fault(
                    "events", f"position {position}", "it has no leaf, and does not wait for one: it will never get one"
                )
            )
        for position in waiting - without:
            self._result.note(Fault("pending_leaves", f"position {position}", "no event without a leaf is there"))
        return waiting & without

    # ---------------------------------------------------------------------------------------------- checkpoints

    def _rows(self) -> list[tuple[int, Checkpoint, bytes]]:
        """The stored checkpoints that can be read: number, what the note says, peaks."""
        found: list[tuple[int, Checkpoint, bytes]] = []

        def take() -> None:
            for expected, row in enumerate(self._raw.checkpoints()):
                number, size, root, origin, note, peaks, at = row
                name = f"checkpoint {number}"
                if number != expected:
                    self._result.note(Fault("checkpoints", name, f"expected number {expected}: one before it is gone"))
                if not isinstance(note, str) or not isinstance(at, str) or not isinstance(number, int):
                    self._result.note(Fault("checkpoints", name, "it was changed: its columns are of other types"))
                    continue
                try:
                    checkpoint = _stored(note, self._verifier)
                except NoteError as problem:
                    self._result.note(Fault("checkpoints", name, str(problem)))
                    continue
                if (checkpoint.size, checkpoint.root.hex(), checkpoint.origin) != (size, root, origin):
                    self._result.note(Fault("checkpoints", name, "its columns are not what its note says"))
                found.append((number, checkpoint, bytes(peaks) if isinstance(peaks, (bytes, memoryview)) else b""))

        self._guarded(take)
        return found

    def _compare(self, rows: Sequence[tuple[int, Checkpoint, bytes]]) -> None:
        """Each checkpoint against the tree; the first leaves that contradict one are named as closely as can be."""
        good = 0
        ours = self._verifier.name if self._verifier else None
        everything = [*rows, *([(None, self._kept, b"")] if self._kept else [])]
        for number, checkpoint, peaks in sorted(everything, key=lambda row: row[1].size):
            name = "the checkpoint kept elsewhere" if number is None else f"checkpoint {number}"
            is_signed = ours is not None and checkpoint.origin == ours
            state: State = "signed" if is_signed else "unverified"
            if self._walk.roots.get(checkpoint.size) != checkpoint.root:
                state = "contradicted"
                self._result.note(self._contradiction(name, checkpoint, good))
            else:
                good = max(good, checkpoint.size)
                if number is not None and peaks != b"".join(self._walk.peaks[checkpoint.size]):
                    self._result.note(Fault("checkpoints", name, "its column peaks is not that of its tree"))
                if is_signed:
                    self._result.covered = max(self._result.covered, checkpoint.size)
            if number is None:
                self._result.outside = checkpoint.size
            self._result.checkpoints.append(Compared(number, checkpoint.origin, checkpoint.size, state))
        kept = self._kept
        if kept is not None and kept.origin == ours and kept not in [checkpoint for _, checkpoint, _ in rows]:
            self._result.note(
                Fault(
                    "checkpoints",
                    "",
                    f"the checkpoint kept elsewhere, over {kept.size} leaves, is not among those in the store, as it was "
                    "when it was made: rows were deleted",
                )
            )

    def _contradiction(self, name: str, checkpoint: Checkpoint, good: int) -> Fault:
        size = self._walk.frontier.size
        if size < checkpoint.size:
            return Fault(
                "events",
                f"leaves {size} to {checkpoint.size - 1}",
                f"{name} was made over {checkpoint.size} leaves, and there are {size}: the end of the log was cut off",
            )
        runs = sorted(
            {run for (run, _), steps in self._walk.spans.items() if any(good <= leaf for leaf in steps.leaves)}
        )
        shown = ", ".join(runs[:_RUNS_SHOWN]) + (" …" if len(runs) > _RUNS_SHOWN else "")
        broken = self._walk.broken_at
        where = f"; leaf {broken} is not there" if broken is not None and broken < checkpoint.size else ""
        return Fault(
            "events",
            f"leaves {good} to {checkpoint.size - 1}",
            f"{name} was made over other events than these: among them one was changed, swapped, inserted or deleted "
            f"since{where}. Runs with events there: {shown}",
        )

    def _limits(self) -> None:
        result, size = self._result, self._walk.frontier.size
        if self._verifier is None and result.checkpoints:
            result.limits.append("no key was given (--vkey), so nothing says who made the checkpoints in the store")
        stored = {(one.origin, one.size) for one in result.checkpoints if one.number is not None}
        if self._verifier is None and self._kept and (self._kept.origin, self._kept.size) not in stored:
            result.limits.append(
                f"the checkpoint kept elsewhere, over {self._kept.size} leaves, is not among those in the store: with its "
                "key (--vkey) that is a fault, unless it was made over a copy"
            )
        if result.outside is None:
            result.limits.append(
                "no checkpoint kept elsewhere was given (--against): a tail that was cut off, with the checkpoints over "
                "it, cannot be detected, nor a whole history that was put in the place of this one"
            )
        elif result.outside < size:
            result.limits.append(
                f"{size - result.outside} events came after the checkpoint that was kept elsewhere: that these are all "
                "cannot be shown"
            )
        if result.covered < size and result.checkpoints and self._verifier is not None:
            result.limits.append(
                f"{size - result.covered} of {size} leaves are in no checkpoint signed by the key given"
            )
        elif not result.checkpoints:
            result.limits.append(
                "there is no checkpoint: whoever can write the database can have made another history, with hashes that fit"
            )

    def _name(self, contents: Contents) -> None:
        """Say of each text and message that is not right which events refer to it."""
        for fault in named(self._raw, contents):
            self._result.note(fault)


def _stored(note: str, verifier: Verifier | None) -> Checkpoint:
    """What a stored note says. One of another origin than the key's is somebody else's, and only read."""
    checkpoint = parse_checkpoint(note, None)
    return parse_checkpoint(note, verifier) if verifier and checkpoint.origin == verifier.name else checkpoint
