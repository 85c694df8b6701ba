"""A scan from its header to its last part: begun, gone on with after a kill, or found to be done already."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.audit.rescan.job import Checks
from monitor.audit.rescan.work import Task
from monitor.canonical import canonical_hash
from monitor.policy.engine import ENGINE
from monitor.records import new_run_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

    from monitor.audit.rescan.job import Job
    from monitor.audit.rescan.work import Done
    from monitor.store import ScanLog, ScanResult, StoredScan

Engine: TypeAlias = "Callable[[Job, Iterable[Task], Checks], Iterator[Done]]"
"""Does tasks, and hands out what is done in any order."""

_COMMIT_SECONDS = 0.5
_FAILURES_SHOWN = 20
_VERSION = 1


@dataclass(slots=True)
class Summary:
    """What came of a scan, all of it, however often it was interrupted.

    ``evaluated`` and ``reused`` are of this call; ``resumed`` parts were done by earlier ones. ``pending`` subcalls have no
    place in the log yet and so are not covered. Of ``erased`` ones a text was erased: no rule finds what stood there, and
    a verdict on them is of the rest.
    """

    scan_id: str
    header: Mapping[str, Any]
    evaluated: int = 0
    reused: int = 0
    resumed: int = 0
    pending: int = 0
    parts_done: int = 0
    erased: int = 0
    counts: Mapping[tuple[str, str | None], int] = field(default_factory=dict)
    spoken: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    failures: tuple[ScanResult, ...] = ()

    def of_status(self, status: str) -> int:
        """How many subcalls have this status."""
        return sum(count for (found, _), count in self.counts.items() if found == status)

    def of_verdict(self, verdict: str) -> int:
        """How many subcalls have this verdict."""
        return sum(count for (_, found), count in self.counts.items() if found == verdict)

    @property
    def is_whole(self) -> bool:
        """Whether everything that was asked for was looked at."""
        return not (self.of_status("failed") or self.pending or self.parts_done < int(self.header["parts"]))


def rescan(
    job: Job,
    log: ScanLog,
    engine: Engine,
    *,
    fresh: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Bring the scan of ``job`` to its end; results are kept in ``log``.

    A scan that is unfinished, of the same checks over the same selection of the same log, is gone on with. One that is
    finished, and since which nothing was added, is not done again. Where an earlier scan had the same checks, its results
    of subcalls whose events are the same are taken as they are. ``fresh`` does none of that.

    ``progress`` is told the parts that are done, and all parts.

    Raises:
        StoreError: the source cannot be read, or results cannot be written. What is done stays done.
        ConfigError: policies or probes are wrong.
    """
    loaded = Checks.load(job)
    if loaded.rules.run_rules:
        job = replace(job, source=job.source.by_runs())
    header = _header(job, loaded, fresh=fresh)
    known = [] if fresh else log.scans()
    scan = next((one for one in known if _goes_on(one, header)), None)
    if scan is not None:
        scan_id, header = scan.scan_id, dict(scan.header)
        job = replace(job, source=job.source.as_it_was(header))
    else:
        scan_id = scan_id_of(header)
        log.begin(scan_id, header)
    done = log.done(scan_id)
    earlier = [one for one in known if one.scan_id != scan_id and _has_same_checks(one, header)]
    summary = Summary(scan_id, header, resumed=len(done), pending=job.source.pending)
    total, finished = int(header["parts"]), len(done)
    progress(finished, total)
    tasks = _tasks(job, log, done, earlier)
    unwritten: list[tuple[int, tuple[ScanResult, ...]]] = []
    written_at = time.monotonic()
    for part in engine(_keyed(job, loaded), tasks, loaded) if finished < total else ():
        unwritten.append((part.number, part.results))
        summary.reused += part.reused
        summary.evaluated += len(part.results) - part.reused
        finished += 1
        if time.monotonic() - written_at >= _COMMIT_SECONDS:
            log.add(scan_id, unwritten)
            unwritten, written_at = [], time.monotonic()
        progress(finished, total)
    if unwritten:
        log.add(scan_id, unwritten)
    summary.parts_done = len(log.done(scan_id))
    summary.counts, summary.spoken = log.counts(scan_id), log.spoken(scan_id)
    summary.erased = log.erased(scan_id)
    summary.failures = tuple(log.failures(scan_id, _FAILURES_SHOWN))
    return summary


def scan_id_of(header: Mapping[str, Any]) -> str:
    """A scan is named by what it does: 16 hex digits of its header's hash."""
    return canonical_hash(header)[:16]


def _header(job: Job, loaded: Checks, *, fresh: bool) -> dict[str, Any]:
    """What the scan is of. Nothing in it depends on where or by how many workers it is done."""
    return {
        "v": _VERSION,
        "engine": ENGINE,
        "checks": loaded.described(),
        "selection": dict(job.source.selection),
        "unchecked": job.unchecked,
        "fresh": new_run_id() if fresh else "",
        **job.source.facts,
    }


def _keyed(job: Job, loaded: Checks) -> Job:
    return replace(job, keys=loaded.keys)


def _has_same_checks(scan: StoredScan, header: Mapping[str, Any]) -> bool:
    """Whether results of the earlier scan are results of this one, where the events are the same.

    An erasure changes what a subcall's texts read as, and none of its events: after one, nothing is taken over.
    """
    return all(scan.header.get(name) == header[name] for name in ("v", "engine", "checks", "erased", "unchecked"))


def _goes_on(scan: StoredScan, header: Mapping[str, Any]) -> bool:
    """Whether this earlier scan is the one that is asked for: it is unfinished, or nothing was added since."""
    if not _has_same_checks(scan, header) or scan.header["selection"] != header["selection"]:
        return False
    if scan.header.get("first_leaf") != header["first_leaf"] or scan.header.get("fresh"):
        return False
    return not scan.is_finished or scan.scan_id == scan_id_of(header)


def _tasks(job: Job, log: ScanLog, done: Set[int], earlier: Sequence[StoredScan]) -> Iterator[Task]:
    """The parts that are left, each with what earlier scans know of it; the newest scan counts."""
    for number in range(job.source.parts):
        if number not in done:
            known: dict[int, ScanResult] = {}
            for scan in reversed(earlier):
                known |= log.between(scan.scan_id, *job.source.leaves(number))
            yield Task(number, known)
