"""What is in the store of a run that is ingested, and the sum of it for the run's end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor import verdict
from monitor.errors import StoreFormatError
from monitor.records import RunEnd, Usage, Verdict, now
from monitor.store import Wanted

if TYPE_CHECKING:
    from monitor.adapters.ingest.traces import Trace
    from monitor.records import StoredSubcall
    from monitor.store import Store


class Tally:
    """What is kept of the judged subcalls of a run, for its end."""

    def __init__(self) -> None:
        self._verdicts: list[Verdict] = []
        self._usage = Counter[str]()
        self._cost: float | None = 0.0
        self._seconds = 0.0
        self._last: tuple[str, str, str] = "", "", ""  # of the model's last call: when it began, its span, its answer

    def add(self, subcall: StoredSubcall) -> None:
        """Add a judged subcall."""
        assert subcall.judgement is not None
        self._verdicts.append(subcall.judgement.verdict)
        used = subcall.charged
        self._usage.update(used.model_dump(exclude={"cost"}))
        self._cost = None if self._cost is None or used.cost is None else self._cost + used.cost
        if subcall.observation:
            self._seconds += subcall.observation.seconds if subcall.call.depth == 1 else 0.0
            if subcall.call.kind == "model":
                self._last = max(self._last, (subcall.call.at, subcall.call.span_id, subcall.observation.output))

    def end(self, trace: Trace) -> RunEnd:
        """How the run ended, as the trace says; the verdict is ours. What may grow ends in what was said last in all."""
        return RunEnd(
            outcome=trace.outcome,
            answer=self._last[2] if trace.may_grow else trace.answer,
            verdict=verdict.of_run(self._verdicts),
            usage=trace.usage or Usage(**self._usage, cost=self._cost),
            error=trace.error,
            seconds=self._seconds,
            dropped=trace.dropped,
            at=now(),
        )


@dataclass(slots=True)
class Known:
    """What is in the store of a run: its judged subcalls by id and in sum, and those that were begun and not judged.

    ``asked`` are the monitor's own questions to a judge that were cut off; they are none of the run's.
    """

    judged: set[str] = field(default_factory=set)
    begun: dict[str, StoredSubcall] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    asked: list[StoredSubcall] = field(default_factory=list)

    @classmethod
    def of(cls, store: Store, run_id: str) -> Known:
        """Go through a run, however long it is, a few subcalls at a time. Raises StoreError."""
        known = cls()
        for found in store.scan(Wanted(run_id=run_id)):
            if found.subcall is None:
                raise StoreFormatError(f"run {run_id}, subcall {found.span_id} cannot be read back: {found.problem}")
            if found.subcall.call.is_monitors:
                if found.subcall.judgement is None:
                    known.asked.append(found.subcall)
            elif found.subcall.judgement is None:
                known.begun[found.span_id] = found.subcall
            else:
                known.judged.add(found.span_id)
                known.tally.add(found.subcall)
        return known
