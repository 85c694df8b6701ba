"""One worker: a source opened and checks loaded once, then part after part."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Self

from monitor.audit.rescan.by_run import in_order
from monitor.audit.rescan.evaluate import Evaluator, RulesBrokenError
from monitor.audit.rescan.job import Checks
from monitor.checks import RunCheck
from monitor.errors import MonitorError
from monitor.store import ScanResult

_COMPARED = 2_000  # subcalls of a run that are held in memory to see whether all of it is known

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from monitor.audit.rescan.job import Job
    from monitor.records import ProbeScore
    from monitor.store import Found


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
        self._rules = loaded.rules
        self._opened = job.source.open(whole=scores is not None)

    def do(self, task: Task, scores: Mapping[int, tuple[ProbeScore, ...]] | None = None) -> Done:
        """Do a part; ``scores`` is what the probes said of its subcalls, where others asked them.

        Raises StoreError where the source cannot be read.
        """
        if self._rules.run_rules:
            return self._do_runs(task, scores or {})
        results, reused = [], 0
        for found in self._opened.part(task.number):
            if task.alone is not None and found.leaf_index != task.alone:
                continue
            known = task.known.get(found.leaf_index)
            if known is not None and _is_known(known, found):
                results.append(known)
                reused += 1
                continue
            results.append(self._result(found, scores or {}))
        return Done(task.number, tuple(results), reused)

    def _result(
        self, found: Found, scores: Mapping[int, tuple[ProbeScore, ...]], over_run: RunCheck | None = None
    ) -> ScanResult:
        try:
            return self._evaluator.result(found, scores.get(found.leaf_index), over_run)
        except RulesBrokenError as exc:
            problem = f"the rules could not be evaluated ({exc})"
        except Exception as exc:  # noqa: BLE001 - one subcall must not cost the others theirs; it quotes nothing
            said = str(exc) if isinstance(exc, MonitorError) else type(exc).__name__
            problem = f"it could not be evaluated ({said})"
        if over_run is not None and found.call is not None:
            over_run.skip(found.call)
            over_run.lose()
        return ScanResult(*found[:4], "failed", problem=problem)

    # --------------------------------------------------------------------------------------------- by whole runs

    def _do_runs(self, task: Task, scores: Mapping[int, tuple[ProbeScore, ...]]) -> Done:
        results: list[ScanResult] = []
        reused = 0
        for _, grouped in groupby(self._opened.part(task.number), key=attrgetter("run_id")):
            run = iter(grouped)
            if task.alone is not None:
                results += self._alone((found for found in run if found.leaf_index == task.alone), scores)
                continue
            first = list(islice(run, _COMPARED)) if task.known else []
            known = self._known(first, task.known) if len(first) < _COMPARED else None
            if known is not None:
                results += known
                reused += len(known)
            else:
                results += self._along(chain(first, run), scores)
        results.sort(key=attrgetter("leaf_index"))
        return Done(task.number, tuple(results), reused)

    def _known(self, run: Sequence[Found], known: Mapping[int, ScanResult]) -> list[ScanResult] | None:
        """The known results of a run, if all of it is as it was: what is said of one subcall depends on the others."""
        wanted = [found for found in run if self._opened.is_wanted(found)]
        every = [known.get(found.leaf_index) for found in run]
        if not run or any(one is None or not _is_known(one, found) for one, found in zip(every, run, strict=True)):
            return None
        return [known[found.leaf_index] for found in wanted]

    def _along(self, run: Iterable[Found], scores: Mapping[int, tuple[ProbeScore, ...]]) -> Iterator[ScanResult]:
        """A run as its log has it."""
        over_run = RunCheck(self._rules)
        for is_end, found in in_order(run):
            if is_end:
                result = self._result(found, scores, over_run)
                if self._opened.is_wanted(found):
                    yield result
            elif found.call is None:
                over_run.lose()
            else:
                over_run.begin(found.call)

    def _alone(self, some: Iterable[Found], scores: Mapping[int, tuple[ProbeScore, ...]]) -> Iterator[ScanResult]:
        """One subcall without the rest of its run, beside which it is not safe: what that could decide is unknown."""
        for found in some:
            over_run = RunCheck(self._rules)
            over_run.lose()
            if found.call is not None:
                over_run.begin(found.call)
            if self._opened.is_wanted(found):
                yield self._result(found, scores, over_run)

    def scored(self, task: Task) -> dict[int, tuple[ProbeScore, ...]]:
        """What the probes say of the subcalls of a part that are to be looked at and not known, by leaf."""
        assert self._scores is not None
        said = {}
        for found in self._opened.part(task.number):
            known = task.known.get(found.leaf_index)
            is_known = known is not None and _is_known(known, found) and not self._rules.run_rules
            if self._evaluator.looks_at(found) and not is_known:
                said[found.leaf_index] = self._scores.of(found)
        return said

    def leaves(self, number: int) -> list[tuple[int, str, str, str]]:
        """Where the subcalls of a part are: leaf, run, span, hash of the events."""
        return [found[:4] for found in self._opened.part(number) if self._opened.is_wanted(found)]

    def close(self) -> None:
        """Close the source."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_known(known: ScanResult, found: Found) -> bool:
    """Whether the result of an earlier scan is one of the same events."""
    return known.status != "failed" and known.event_hash == found.event_hash
