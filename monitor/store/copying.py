"""Copy a store into another one, of the same or another database: byte for byte, again where needed, and verified.

Events, message nodes, commitments and salts are copied as they are, so every hash stays what it was. What is there
already and equal is skipped, so a copy that was interrupted is simply made again. What is there and differs ends the copy:
the transaction it is found in is undone, and nothing more is written. Nothing of the target is ever changed or erased.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, tuple_

from monitor.errors import ConfigError, StoreError, StoreFormatError
from monitor.store.batches import KEYS_AT_ONCE, NODES, Batch, Extent, batches, chunks, count, load_texts
from monitor.store.leaf_log import LeafLog
from monitor.store.ledger import leaf_hash_of
from monitor.store.opening import locate
from monitor.store.scans import ScanLog
from monitor.store.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Row
    from sqlmodel import Session

    from monitor.store.backend import Backend, Snapshots
    from monitor.store.ledger import Ledger

_DIFFERENCES_SHOWN = 20
_PAUSE_SECONDS = 0.1  # before a lost connection is made again


@dataclass(slots=True)
class CopyReport:
    """What a copy did and found. ``source`` and ``target`` are URLs without passwords.

    ``checkpoints`` and ``scans`` were copied now, which is done where the log of the target begins with that of the source:
    they say something of places in it. ``scans_left`` are those of the source that were left for that reason.

    ``events`` are those of the source: ``copied`` now, or ``present`` before. ``texts`` are those they refer to, ``erased``
    of them without a body in the target. The digests are SHA-256 over the leaf hashes of the source's events, in the order
    of each of the two logs. ``differences`` are what the comparison at the end found, at most twenty of ``different``.
    """

    source: str
    target: str
    events: int = 0
    copied: int = 0
    present: int = 0
    texts: int = 0
    erased: int = 0
    checkpoints: int = 0
    scans: int = 0
    scans_left: int = 0
    source_digest: str = ""
    target_digest: str = ""
    different: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether the target holds all that the source holds, in the same order."""
        return not self.different and self.source_digest == self.target_digest

    def note(self, difference: str) -> None:
        """Count a difference, and keep it if there are few."""
        self.different += 1
        if len(self.differences) < _DIFFERENCES_SHOWN:
            self.differences.append(difference)


def copy(
    source_url: str, target_url: str, *, progress: Callable[[str, int, int], None], busy_seconds: float = 30.0
) -> CopyReport:
    """Copy the store at ``source_url`` into the one at ``target_url``, which is made where there is none; then compare.

    ``progress`` is told of each step: ``copy`` or ``verify``, events done, events in all.

    The source is read as it is: one of an older schema is refused, not upgraded.

    Events that are appended to the source meanwhile may or may not be copied; those that are, are compared too.

    Raises:
        ConfigError: a URL is wrong, or both lead to the same store.
        ConflictError: an event is in the target already, and differs. Nothing was written after it was found.
        StoreFormatError: the source is damaged: a hash does not fit. Or its schema is older than this code's.
        StoreError: a store cannot be read or written.
    """
    source, target = (locate(url, busy_seconds=busy_seconds) for url in (source_url, target_url))
    if source.url == target.url or _is_one_file(source.path, target.path):
        raise ConfigError(f"{source.url}: a store is copied into another one, found the same twice")
    _refuse_older(source)
    source.prepare(create=False)
    target.prepare(create=True)
    with contextlib.suppress(StoreError):  # who may not write there copies what has no leaf yet as well
        source.sequence()
    report = CopyReport(source.url, target.url)
    with (
        contextlib.closing(source),
        contextlib.closing(target),
        contextlib.closing(source.snapshots()) as reading,
        contextlib.closing(target.snapshots()) as comparing,
        contextlib.closing(_Target(target, report)) as writing,
    ):
        total, copied = count(source, reading), Extent()
        for batch in batches(source, reading):
            writing.add(batch)
            copied.add(batch.events)
            report.events += len(batch.events)
            progress("copy", report.events, max(total, report.events))
        target.sequence()
        _compare(source, reading, target, comparing, copied, report, progress)
    return report


def _is_one_file(source: Path | None, target: Path | None) -> bool:
    """Whether both paths lead to the same file, be it by a link."""
    try:
        return source is not None and target is not None and source.samefile(target)
    except OSError:  # one of them is not there
        return False


def _refuse_older(source: Backend) -> None:
    version = source.facts().schema_version
    if version is not None and version < SCHEMA_VERSION:
        raise StoreFormatError(
            f"{source.place}: schema {version}, and this monitor copies from {SCHEMA_VERSION}; a copy does not change its "
            f"source: upgrade it first (a backup is made) with: monitor db upgrade --db {source.url}"
        )


# ------------------------------------------------------------------------------------------------------------ writing


class _Target:
    """Adds batches to a store, each in one transaction."""

    def __init__(self, backend: Backend, report: CopyReport) -> None:
        self._backend = backend
        self._report = report
        self._ledger: Ledger | None = None
        self._nodes: set[str] = set()

    def add(self, batch: Batch) -> None:
        """Add what of ``batch`` is not there. Raises StoreError: then nothing of it was written.

        A connection that is lost is made again: what was committed all the same is found there.
        """
        deadline = time.monotonic() + self._backend.busy_seconds
        while True:
            try:
                copied = self._try(batch)
                break
            except self._backend.errors as failure:
                self.close()
                if not self._backend.is_lost(failure) or time.monotonic() > deadline:
                    raise self._backend.translate(failure) from failure
                time.sleep(_PAUSE_SECONDS)
        self._nodes.update(node[0] for node in batch.nodes)
        self._report.copied += copied
        self._report.present += len(batch.events) - copied

    def _try(self, batch: Batch) -> int:
        """Add the batch in one transaction; return how many events were new."""
        ledger = self._ledger = self._ledger or self._backend.connect()
        ledger.begin(patience=self._backend.busy_seconds)
        for text_row in batch.texts:
            ledger.adopt_text(*text_row)
        for node in batch.nodes:
            if node[0] not in self._nodes:
                ledger.adopt_node(*node)
        columns = ("run_id", "span_id", "seq", "kind", "at", "canonical", "leaf_hash")
        copied = sum(ledger.adopt_event(tuple(getattr(row, name) for name in columns)) for row in batch.events)
        ledger.commit()
        return copied

    def close(self) -> None:
        """Close the connection; what was not committed is undone."""
        if self._ledger:
            with contextlib.suppress(self._backend.errors):
                self._ledger.close()
            self._ledger = None


# ---------------------------------------------------------------------------------------------------------- comparing


def _compare(  # noqa: PLR0917 - the two sides and what is told
    source: Backend,
    reading: Snapshots,
    target: Backend,
    comparing: Snapshots,
    copied: Extent,
    report: CopyReport,
    progress: Callable[[str, int, int], None],
) -> None:
    """Read everything again on both sides and compare it; every hash of the target is computed anew."""
    in_source, places = hashlib.sha256(), []
    done = 0
    seen: set[str] = set()
    for batch in batches(source, reading, within=copied):
        for row in batch.events:
            in_source.update(bytes.fromhex(row.leaf_hash))
        with comparing.session() as session:
            there = _find_events(session, target, batch.events)
            for row in batch.events:
                other = there.get((row.run_id, row.span_id, row.seq))
                name = f"event {row.run_id}/{row.span_id}/{row.seq}"
                if other is None:
                    report.note(f"{name}: not in the target")
                elif other.canonical != row.canonical or leaf_hash_of(other.canonical) != row.leaf_hash:
                    report.note(f"{name}: differs")
                else:
                    places.append((other.leaf_index, row.leaf_hash))
                    if other.leaf_index is None:
                        report.note(f"{name}: has no leaf in the target yet")
            _compare_nodes(session, batch, report)
            _compare_texts(session, [row for row in batch.texts if row[0] not in seen], report)
            seen.update(row[0] for row in batch.texts)
        done += len(batch.events)
        progress("verify", done, max(done, report.events))
    in_target = hashlib.sha256()
    for _, leaf_hash in sorted(places, key=lambda place: (place[0] is None, place[0] or 0)):
        in_target.update(bytes.fromhex(leaf_hash))
    report.source_digest, report.target_digest = in_source.hexdigest(), in_target.hexdigest()
    if report.is_equal and sorted(index for index, _ in places) == list(range(len(places))):
        report.checkpoints = _copy_checkpoints(source, reading, target, comparing, len(places))
        report.scans = ScanLog(target, comparing).adopt(ScanLog(source, reading))
    else:
        report.scans_left = len(ScanLog(source, reading).scans())


def _copy_checkpoints(source: Backend, reading: Snapshots, target: Backend, comparing: Snapshots, leaves: int) -> int:
    """Where the target's log begins with the source's, leaf by leaf, what was signed of the one holds of the other."""
    there = LeafLog(target, comparing)
    known = {row.note for row in there.checkpoints()}
    new = [row for row in LeafLog(source, reading).checkpoints() if row.tree_size <= leaves and row.note not in known]
    return sum(there.adopt(row) for row in new)


def _find_events(session: Session, backend: Backend, rows: Sequence[Row[Any]]) -> dict[tuple[str, str, int], Row[Any]]:
    log = backend.log.table
    found: dict[tuple[str, str, int], Row[Any]] = {}
    for some in chunks([(row.run_id, row.span_id, row.seq) for row in rows], KEYS_AT_ONCE):
        query = select(log).where(tuple_(log.c.run_id, log.c.span_id, log.c.seq).in_(some))
        found.update(((row.run_id, row.span_id, row.seq), row) for row in session.execute(query))
    return found


def _compare_nodes(session: Session, batch: Batch, report: CopyReport) -> None:
    there: dict[str, tuple[str | None, str]] = {}
    for some in chunks([node[0] for node in batch.nodes], KEYS_AT_ONCE):
        query = select(NODES.c.node_hash, NODES.c.parent_hash, NODES.c.payload).where(NODES.c.node_hash.in_(some))
        there.update((row[0], (row[1], row[2])) for row in session.execute(query))
    for node_hash, parent, payload in batch.nodes:
        if there.get(node_hash) != (parent, payload):
            report.note(f"message node {node_hash}: differs or is not in the target")


def _compare_texts(
    session: Session, texts: Sequence[tuple[str, str | None, bytes | None, str | None]], report: CopyReport
) -> None:
    there = {row[0]: row for row in load_texts(session, [row[0] for row in texts])}
    for commitment, _, salt, body in texts:
        report.texts += 1
        other = there.get(commitment)
        if other is None:
            report.note(f"text {commitment}: not in the target")
            continue
        report.erased += other[3] is None
        if other[3] is None:
            continue  # erased there: a copy never brings a text back
        if body is None:
            report.note(f"text {commitment}: erased in the source and not in the target")
        elif (other[2], other[3]) != (salt, body):
            report.note(f"text {commitment}: differs")
