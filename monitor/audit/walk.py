"""What a scan of the store covered, and what it did not: said beside every figure that comes of one."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from monitor.records import Record, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.audit.evaluating import Follower
    from monitor.records import Call, Finding, Judgement, Observation
    from monitor.store import Scanned

_FAILURES_SHOWN = 20


class Failure(NamedTuple):
    """A subcall that was not looked at, and why."""

    run_id: str
    span_id: str
    problem: str


class Trace(NamedTuple):
    """One subcall that came back; ``judgement`` is None where its process ended before it was judged.

    One that is not wanted is only looked at for what rules over a run say of others. One that is not ``checked`` was left
    so by its recipe, and comes all the same because a rule over the run is decided by it.
    """

    run_id: str
    span_id: str
    recipe: str
    call: Call
    seen: Observation
    judgement: Judgement | None
    is_wanted: bool = True
    checked: bool = True

    @property
    def key(self) -> str:
        """``RUN/SPAN``."""
        return f"{self.run_id}/{self.span_id}"

    @property
    def record(self) -> Record:
        """What a check sees of it; with the probes' scores and the judge's answers as they were recorded."""
        said = self.judgement
        scores, answers = (said.probes, said.answers) if said else ((), ())
        return Record(call=self.call, observation=self.seen, probes=scores, answers=answers)


@dataclass(slots=True)
class Covered:
    """The subcalls that were looked at, and those that were not.

    ``unanswered`` had not come back (they are running, or their process was killed), ``unchecked`` were left so by their
    recipe and no rule over the run is decided by them, ``unjudged`` have no recorded findings. ``failed`` could not be read
    back or evaluated: where there is one, no figure is of everything. ``erased_texts`` are texts that were erased, in
    ``erased_subcalls`` subcalls: what stood there is found by no rule.
    """

    subcalls: int = 0
    unanswered: int = 0
    unchecked: int = 0
    unjudged: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    erased_subcalls: int = 0
    runs: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)

    @property
    def is_whole(self) -> bool:
        """Whether everything that was asked for was looked at."""
        return not self.failed

    @property
    def erased_texts(self) -> int:
        """How many different texts were erased."""
        return len(self.erased)

    def fail(self, run_id: str, span_id: str, problem: str) -> None:
        """Count a subcall that could not be looked at; the first few are kept."""
        self.failed += 1
        if len(self.failures) < _FAILURES_SHOWN:
            self.failures.append(Failure(run_id, span_id, problem))

    def traces(
        self,
        scanned: Iterable[Scanned],
        *,
        unchecked: bool = False,
        judged: bool = False,
        followers: Sequence[Follower] = (),
    ) -> Iterator[Trace]:
        """Yield the traces of a scan that are to be looked at, and count them all.

        With a follower that needs runs the scan must be one by runs, and traces come in the order in which they were
        judged: the findings of each must be asked for before the next is taken. Those that only belong to the run of
        wanted ones come as well, as ``is_wanted`` says, and are not counted. What a recipe left unchecked comes where a
        rule over the run is decided by it, now or, with ``judged``, as it was recorded.

        Args:
            scanned: What the store hands out.
            unchecked: Whether to look also at what the recipe left unchecked.
            judged: Whether recorded findings are what is looked at.
            followers: Rules that are to be evaluated.
        """
        along = [follower for follower in followers if follower.needs_runs]
        for item in _along(scanned, along) if along else scanned:
            if item.subcall is None:
                self._fail(item)
                continue
            call, seen, judgement = item.subcall.call, item.subcall.observation, item.subcall.judgement
            if seen is None:
                self.unanswered += item.is_wanted
            elif not (call.checked or (unchecked and not call.is_monitors)):
                said = [follower.skip(call, seen) for follower in followers]
                if judged and judgement is not None:
                    said.append(tuple(one for one in judgement.findings if one.check == "rule"))
                if any(map(_decides, said)):
                    yield self._taken(item, call, seen, checked=False)
                else:
                    self.unchecked += item.is_wanted
                continue
            elif judged and judgement is None:
                self.unjudged += item.is_wanted
            else:
                yield self._taken(item, call, seen)
                continue
            for follower in along:
                follower.skip(call, seen)

    def _taken(self, item: Scanned, call: Call, seen: Observation, *, checked: bool = True) -> Trace:
        assert item.subcall is not None, "it has a call"
        if item.is_wanted:
            self.subcalls += 1
            self.runs.add(item.run_id)
            self.erased_subcalls += bool(item.erased)
            self.erased |= item.erased
        judgement = item.subcall.judgement
        return Trace(item.run_id, item.span_id, item.recipe, call, seen, judgement, item.is_wanted, checked)

    def _fail(self, item: Scanned) -> None:
        if item.is_wanted:
            self.fail(item.run_id, item.span_id, item.problem)

    def lose(self, trace: Trace, problem: str) -> None:
        """Count a trace that was handed out as one that could not be looked at after all."""
        if trace.is_wanted:
            self.subcalls -= 1
            self.fail(trace.run_id, trace.span_id, problem)


def _decides(findings: Sequence[Finding]) -> bool:
    return any(one.status is not Status.NO_MATCH for one in findings)


def _along(scanned: Iterable[Scanned], followers: Sequence[Follower]) -> Iterator[Scanned]:
    """Subcalls in the order in which they were judged; followers are told of each as it begins.

    In memory are those that were in flight together. One without a judgement comes at the end of its run. Raises ValueError
    where a run comes in pieces: what rules over a run would say then is not what they say of it.
    """
    run_id, done = "", set[str]()
    in_flight: list[tuple[float, int, Scanned]] = []
    for number, item in enumerate(scanned):
        if item.run_id != run_id:
            yield from _landed(in_flight)
            if item.run_id in done:
                raise ValueError("rules over a run need a scan by runs, and this one comes back to a run")
            run_id = item.run_id
            done.add(run_id)
            for follower in followers:
                follower.enter()
        if item.subcall is None:
            for follower in followers:
                follower.lose()
            yield item
            continue
        if item.subcall.began_at is None:
            raise ValueError("rules over a run need a scan by runs: it says where in the log a subcall begins")
        yield from _landed(in_flight, item.subcall.began_at)
        for follower in followers:
            follower.begin(item.subcall.call)
        judged_at = item.subcall.judged_at
        heapq.heappush(in_flight, (float("inf") if judged_at is None else judged_at, number, item))
    yield from _landed(in_flight)


def _landed(in_flight: list[tuple[float, int, Scanned]], until: float | None = None) -> Iterator[Scanned]:
    while in_flight and (until is None or in_flight[0][0] < until):
        yield heapq.heappop(in_flight)[2]
