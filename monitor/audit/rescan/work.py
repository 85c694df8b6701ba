"""One worker: a source opened and checks loaded once, then part after part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from monitor.audit.rescan.evaluate import Evaluator
from monitor.audit.rescan.job import Checks
from monitor.errors import MonitorError
from monitor.store import ScanResult

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from monitor.audit.rescan.job import Job
    from monitor.records import ProbeScore


@dataclass(frozen=True, slots=True)
class Task:
    """A part to do. ``known`` are results of an earlier scan with the same checks, by the leaf of the subcall's start.

    ``alone`` names the one subcall of it that is to be done, by its leaf: where a part has killed its worker.
    """

    number: int
    known: Mapping[int, ScanResult] = field(default_factory=dict)
    alone: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A finished part. ``reused`` of its results are those of an earlier scan."""

    number: int
    results: tuple[ScanResult, ...]
    reused: int = 0


class Worker:
    """Does parts of a job. Raises what loading checks and opening a source raise."""

    def __init__(self, job: Job, loaded: Checks | None = None) -> None:
        """``loaded`` are the job's checks, where this process has them already."""
        loaded = loaded or Checks.load(job)
        scores = None
        if loaded.prober:
            from monitor.audit.rescan.scores import Scores  # noqa: PLC0415 - no scan without probes needs it

            scores = Scores(loaded.prober)
        self._scores = scores
        self._evaluator = Evaluator(loaded, scores, unchecked=job.unchecked)
        self._unchecked = job.unchecked
        self._opened = job.source.open(whole=scores is not None)

    def do(self, task: Task, scores: Mapping[int, tuple[ProbeScore, ...]] | None = None) -> Done:
        """Do a part; ``scores`` is what the probes said of its subcalls, where others asked them.

        Raises StoreError where the source cannot be read.
        """
        results, reused = [], 0
        for found in self._opened.part(task.number):
            if task.alone is not None and found.leaf_index != task.alone:
                continue
            known = task.known.get(found.leaf_index)
            if known is not None and known.status != "failed" and known.event_hash == found.event_hash:
                results.append(known)
                reused += 1
                continue
            try:
                results.append(self._evaluator.result(found, scores.get(found.leaf_index) if scores else None))
            except Exception as exc:  # noqa: BLE001 - one subcall must not cost the others theirs; it quotes nothing
                said = str(exc) if isinstance(exc, MonitorError) else type(exc).__name__
                results.append(ScanResult(*found[:4], "failed", problem=f"it could not be evaluated ({said})"))
        return Done(task.number, tuple(results), reused)

    def scored(self, task: Task) -> dict[int, tuple[ProbeScore, ...]]:
        """What the probes say of the subcalls of a part that are to be looked at and not known, by leaf."""
        assert self._scores is not None
        said = {}
        for found in self._opened.part(task.number):
            known = task.known.get(found.leaf_index)
            is_known = known is not None and known.status != "failed" and known.event_hash == found.event_hash
            wanted = found.call is not None and found.observation is not None
            if wanted and not is_known and (self._unchecked or (found.call and found.call.checked)):
                said[found.leaf_index] = self._scores.of(found)
        return said

    def leaves(self, number: int) -> list[tuple[int, str, str, str]]:
        """Where the subcalls of a part are: leaf, run, span, hash of the events."""
        return [found[:4] for found in self._opened.part(number)]

    def close(self) -> None:
        """Close the source."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
