"""What a scan of the store covered, and what it did not: said beside every figure that comes of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from monitor.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.records import Call, Judgement, Observation
    from monitor.store import Scanned

_FAILURES_SHOWN = 20


class Failure(NamedTuple):
    """A subcall that was not looked at, and why."""

    run_id: str
    span_id: str
    problem: str


class Trace(NamedTuple):
    """One subcall that came back; ``judgement`` is None where its process ended before it was judged."""

    run_id: str
    span_id: str
    recipe: str
    call: Call
    seen: Observation
    judgement: Judgement | None

    @property
    def key(self) -> str:
        """``RUN/SPAN``."""
        return f"{self.run_id}/{self.span_id}"

    @property
    def record(self) -> Record:
        """What a check sees of it; with the probes' scores as they were recorded, for nothing is scored again."""
        return Record(call=self.call, observation=self.seen, probes=self.judgement.probes if self.judgement else ())


@dataclass(slots=True)
class Covered:
    """The subcalls that were looked at, and those that were not.

    ``unanswered`` had not come back (they are running, or their process was killed), ``unchecked`` were left so by their
    recipe, ``unjudged`` have no recorded findings. ``failed`` could not be read back or evaluated: where there is one, no
    figure is of everything. ``erased_texts`` are texts that were erased, in ``erased_subcalls`` subcalls: what stood there
    is found by no rule.
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

    def traces(self, scanned: Iterable[Scanned], *, unchecked: bool = False, judged: bool = False) -> Iterator[Trace]:
        """Yield the traces of a scan that are to be looked at, and count them all.

        Args:
            scanned: What the store hands out.
            unchecked: Whether to look also at what the recipe left unchecked.
            judged: Whether recorded findings are what is looked at.
        """
        for item in scanned:
            if item.subcall is None:
                self.fail(item.run_id, item.span_id, item.problem)
                continue
            call, seen, judgement = item.subcall.call, item.subcall.observation, item.subcall.judgement
            if seen is None:
                self.unanswered += 1
            elif not (call.checked or unchecked):
                self.unchecked += 1
            elif judged and judgement is None:
                self.unjudged += 1
            else:
                self.subcalls += 1
                self.runs.add(item.run_id)
                self.erased_subcalls += bool(item.erased)
                self.erased |= item.erased
                yield Trace(item.run_id, item.span_id, item.recipe, call, seen, judgement)

    def lose(self, trace: Trace, problem: str) -> None:
        """Count a trace that was handed out as one that could not be looked at after all."""
        self.subcalls -= 1
        self.fail(trace.run_id, trace.span_id, problem)
