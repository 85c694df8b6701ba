"""Foreign traces through the door: each subcall is stored, checked and judged, and nothing of it is stopped any more.

A trace that is in the store already adds nothing. One of which only a part is there, because the process was killed
meanwhile or because more of it came later, is completed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import monitor
from monitor import verdict
from monitor.adapters.ingest.sources import read_file
from monitor.adapters.ingest.tally import Known
from monitor.adapters.ingest.traces import Problem, Step, Trace
from monitor.cancellation import all_of
from monitor.canonical import canonical_text
from monitor.errors import CatalogError, ConflictError
from monitor.orchestrate.judge import finish_asked
from monitor.pipeline import Pipeline
from monitor.records import INGESTED, Event, RunResume, RunStart, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from monitor.loaded import LoadedChecks
    from monitor.records import StoredRun, StoredSubcall
    from monitor.store import Store

MAX_PROBLEMS = 200
"""How many refused records are listed, and how many that were passed over; all are counted."""
_AT_ONCE = 16  # subcalls of a trace that are committed together, and short traces
_TOGETHER = 1_000_000  # characters of the traces that are taken at once


@dataclass(slots=True)
class Counts:
    """Traces and their subcalls of one format: those that were added, and those that were there before."""

    traces_taken: int = 0
    traces_present: int = 0
    subcalls_taken: int = 0
    subcalls_present: int = 0


@dataclass(slots=True)
class Report:
    """What came of it. ``files`` counts all that were looked at; ``verdicts`` are those of the subcalls that were added.

    ``too_late`` counts subcalls for which a rule asked for more than a flag. ``refused`` and ``skipped`` count what was not
    taken: records and files that are broken, and files that are no traces; ``problems`` lists the first of them.
    """

    files: int = 0
    formats: dict[str, Counts] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    too_late: int = 0
    refused: int = 0
    skipped: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Count a problem, and list it if there is room for one of its kind."""
        self.refused += problem.is_refused
        self.skipped += not problem.is_refused
        if (self.refused if problem.is_refused else self.skipped) <= MAX_PROBLEMS:
            self.problems.append(problem)

    def total(self, name: str) -> int:
        """The sum of one of the counts over all formats."""
        return sum(getattr(counts, name) for counts in self.formats.values())


async def ingest(
    files: Sequence[tuple[Path, bool]],
    store: Store,
    checks: LoadedChecks,
    *,
    told: Callable[[int], None] = lambda _: None,
) -> Report:
    """Take the traces of ``files`` through the door; short ones several at once, so that they share a commit.

    ``files`` are paths, each with whether it was named (see ``sources.files_of``); ``told`` hears how many bytes of all
    are behind. Raises StoreError: what was taken until then is stored, and to do it again completes it.
    """
    report, behind = Report(), 0
    taker = _Several(Taker(store, checks), report)
    try:
        for path, is_named in files:
            report.files += 1
            before = behind

            def within(done: int, before: int = before) -> None:
                told(before + done)

            for found in read_file(path, is_named=is_named, told=within):
                if isinstance(found, Problem):
                    report.add(found)
                else:
                    await taker.take(found)
            behind += _size(path)
            told(behind)
    finally:
        await taker.land()
    return report


class _Several:
    """Takes short traces several at once: at most so many, of so many characters together, and no run twice."""

    def __init__(self, taker: Taker, report: Report) -> None:
        self._taker, self._report = taker, report
        self._flying: dict[str, tuple[asyncio.Task[None], int]] = {}

    async def take(self, trace: Trace) -> None:
        """Begin to take a trace, as soon as there is room for it. Raises what an earlier one ended in."""
        while self._flying and not self._has_room(trace):
            await asyncio.wait([task for task, _ in self._flying.values()], return_when=asyncio.FIRST_COMPLETED)
            await self._drop_landed()
        task = asyncio.ensure_future(self._taker.take(trace, self._report))
        self._flying[trace.run_id] = task, trace.length
        await asyncio.sleep(0)

    def _has_room(self, trace: Trace) -> bool:
        length = sum(length for _, length in self._flying.values()) + trace.length
        return trace.run_id not in self._flying and len(self._flying) < _AT_ONCE and length <= _TOGETHER

    async def _drop_landed(self) -> None:
        landed = [run_id for run_id, (task, _) in self._flying.items() if task.done()]
        await all_of([self._flying.pop(run_id)[0] for run_id in landed])

    async def land(self) -> None:
        """Wait for all that was begun. Raises what one of them ended in."""
        if self._flying:
            await asyncio.wait([task for task, _ in self._flying.values()])
        await self._drop_landed()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def size_of(files: Iterable[tuple[Path, bool]]) -> int:
    """Bytes of all files together."""
    return sum(_size(path) for path, _ in files)


class Taker:
    """Takes traces through the door of one store.

    The subcalls of a trace are judged one after the other, in the order of the trace, which rules over a run go by: the log
    has the start, the answer and the judgement of each before the start of the next.
    """

    def __init__(self, store: Store, checks: LoadedChecks) -> None:
        self._store, self._checks = store, checks
        self._probes = checks.prober.names_for(())

    async def take(self, trace: Trace, report: Report) -> None:
        """As ``add``; where another process takes the same trace, that is a problem of the report."""
        try:
            await self.add(trace, report)
        except ConflictError:
            report.add(Problem(trace.file, trace.where, "another process takes the same trace now: try again"))

    async def add(self, trace: Trace, report: Report) -> None:
        """Add what is not in the store yet of a trace, and count it.

        Raises ConflictError where another process does so too, and StoreError.
        """
        counts = report.formats.setdefault(trace.tree.adapter, Counts())
        stored = self._stored(trace.run_id)
        if stored is not None and stored.start.recipe != INGESTED + trace.tree.adapter:
            why = f"run {trace.run_id} is in the store already, and is none that was ingested so: {stored.start.recipe}"
            report.add(Problem(trace.file, trace.where, why))
            return
        if stored is not None and stored.is_stopped and not trace.may_grow:
            counts.traces_present += 1
            counts.subcalls_present += sum(1 for _ in trace.steps())
            return
        await self._add(trace, stored, counts, report)

    def _stored(self, run_id: str) -> StoredRun | None:
        try:
            return self._store.run(run_id)
        except CatalogError:
            return None

    async def _add(self, trace: Trace, stored: StoredRun | None, counts: Counts, report: Report) -> None:
        known = Known() if stored is None else Known.of(self._store, trace.run_id)
        if stored is None:
            await self._store.append(Event.of(trace.run_id, trace.tree.root, self._start(trace)))
        elif stored.is_stopped:
            if all(step.call.span_id in known.judged for step in trace.steps()):
                counts.traces_present += 1
                counts.subcalls_present += len(known.judged) + len(known.begun)
                return
            await self._store.append(Event.of(trace.run_id, stored.start.span_id, self._again()))
        root = stored.start.span_id if stored else trace.tree.root
        tally = known.tally
        counts.subcalls_present += len(known.judged)
        pipeline = self._pipeline(None if stored is None else trace.run_id)
        await finish_asked(pipeline, known.asked)
        for some in self._batches(trace, known, asks=pipeline.asks):
            taken = (self._one(pipeline, step, known.begun.get(step.call.span_id)) for step in some)
            for judged in await all_of(taken):
                tally.add(judged)
                counts.subcalls_taken += 1
                assert judged.judgement is not None
                report.verdicts[judged.judgement.verdict.value.value] += 1
                report.too_late += verdict.is_too_late(judged.judgement.verdict)
        await self._store.append(Event.of(trace.run_id, root, tally.end(trace)))
        counts.traces_taken += 1

    def _pipeline(self, stored: str | None) -> Pipeline:
        """The door for one trace. Rules over a run follow what is there of the run ``stored`` first."""
        pipeline = Pipeline(self._store, self._checks, is_late=True)
        if stored is not None and self._checks.over_run:
            pipeline.recall(self._store.subcalls(stored))
        return pipeline

    def _batches(self, trace: Trace, known: Known, *, asks: bool) -> Iterator[list[Step]]:
        """What is to be taken of a trace, in its order, those together that share a commit. What has to wait for something
        between its start and its judgement, a probe, a judge or what is there of it already, comes alone.
        """
        together: list[Step] = []
        for step in trace.steps():
            span = step.call.span_id
            if span in known.judged:
                continue
            is_alone = asks or span in known.begun or bool(self._probes and step.call.kind == "model")
            if together and (is_alone or len(together) == _AT_ONCE):
                yield together
                together = []
            if is_alone:
                yield [step]
            else:
                together.append(step)
        if together:
            yield together

    def _one(self, pipeline: Pipeline, step: Step, before: StoredSubcall | None) -> Awaitable[StoredSubcall]:
        """Take one subcall through the door, or what was left of it when an earlier process was killed."""
        if before is None:
            call = step.call
            if self._probes and call.kind == "model":
                call = call.model_copy(update={"probes": self._probes})
            return pipeline.replay(call, step.observation)
        if before.observation is None:
            return pipeline.conclude(before.call, step.observation)
        return pipeline.judge(before.call, before.observation)

    def _start(self, trace: Trace) -> RunStart:
        source = {"file": Path(trace.file).name, "where": trace.where, "sha256": trace.content}
        return RunStart(
            run_id=trace.run_id,
            span_id=trace.tree.root,
            recipe=INGESTED + trace.tree.adapter,
            task=trace.task,
            model=trace.model,
            policies=self._checks.packs,
            rules=self._checks.rules,
            filters=self._checks.filters,
            probes=self._checks.prober.refs,
            options=canonical_text(
                {"ingested": source} | ({"judge": judge.model} if (judge := self._checks.judge) else {})
            ),
            version=monitor.__version__,
            at=trace.at or now(),
        )

    def _again(self) -> RunResume:
        checks = self._checks
        return RunResume(
            rules=checks.rules,
            filters=checks.filters,
            probes=checks.prober.refs,
            judge=checks.judge.model if checks.judge else "",
            version=monitor.__version__,
            at=now(),
        )
