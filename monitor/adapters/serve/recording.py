"""From the inbox through the door: a span becomes a subcall when nothing that comes can change its place any more.

Events are never changed, and an event says what its subcall hangs below. So a span waits until all that is around it is
known and has ended, up to the root, and for ``settle_seconds`` more, in which events of a log may come; or, where the rest
does not come, for ``wait_seconds`` at most. What is missing then is named by its id as what is above, so that the tree is
right also if that comes later. A span that comes late is added to its run, which then ends again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from monitor.adapters.ingest.otlp import build
from monitor.adapters.ingest.otlp_span import Places
from monitor.adapters.ingest.taking import Report, Taker
from monitor.adapters.ingest.traces import MAX_RECORD
from monitor.adapters.serve.receiving import span_of_body, span_of_shape
from monitor.cancellation import all_of
from monitor.errors import ConflictError, StoreError
from monitor.store.inbox import OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from monitor.adapters.ingest.traces import Trace
    from monitor.adapters.otel.spans import Span
    from monitor.loaded import LoadedChecks
    from monitor.store import Store
    from monitor.store.inbox import Body, Inbox

FILE = ""  # it was received, and read from none
_AT_ONCE = 8  # traces that are recorded together, so that they share commits
_TOGETHER = MAX_RECORD // 2  # bytes of spans in memory at once, in all of them
_LONGEST_SLEEP = 1.0
_RETRY = 5.0  # seconds until a trace is tried again that could not be recorded


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds: for more of a trace that is whole, for what is missing, and for late ones at all."""

    settle: float = 10.0
    wait: float = 600.0
    remember: float = 3600.0


@dataclass(slots=True)
class Recorded:
    """What was recorded of one trace, or why nothing was. ``remaining`` spans of it still wait."""

    trace_id: str
    report: Report = field(default_factory=Report)
    remaining: int = 0
    problem: str = ""


class Recorder:
    """Takes spans out of an inbox and through the door of a store. ``told`` hears what became of each trace."""

    def __init__(
        self,
        inbox: Inbox,
        store: Store,
        checks: LoadedChecks,
        *,
        patience: Patience,
        told: Callable[[Recorded], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inbox, self._store = inbox, store
        self._taker = Taker(store, checks)
        self._patience, self._told, self._clock = patience, told, clock
        self._remember = max(patience.remember, 2 * patience.wait)

    async def run(self, ended: asyncio.Event) -> None:
        """Record what comes until ``ended``; then all that waits, at once. Raises StoreError where that cannot be done."""
        self._inbox.hurry(self._clock())  # how long it waits may be set otherwise than when it came
        while not ended.is_set():
            try:
                if not await self.step():
                    await _sleep(ended, self._until_next())
            except StoreError as exc:  # the inbox itself; each trace sees to the store's errors
                self._told(Recorded("", problem=str(exc)))
                await _sleep(ended, _RETRY)
        await self.finish()

    async def step(self, *, is_last: bool = False) -> bool:
        """Record what is due; returns whether anything was. Raises StoreError of the inbox."""
        due = self._inbox.due(self._clock(), limit=_AT_ONCE)
        await all_of(self._look_at(trace_id, is_last=is_last) for trace_id in due)
        return bool(due)

    async def finish(self) -> None:
        """Record all that waits now, whether or not what is around it is known. Raises StoreError."""
        while self._inbox.hurry(self._clock()):
            before = self._inbox.waiting()[0]
            await self.step(is_last=True)
            if self._inbox.waiting()[0] >= before:
                raise StoreError(f"{before:,} spans could not be recorded; they are in {self._inbox.path}")

    def _until_next(self) -> float:
        due = self._inbox.next_due()
        return _LONGEST_SLEEP if due is None else min(_LONGEST_SLEEP, max(0.01, due - self._clock()))

    async def _look_at(self, trace_id: str, *, is_last: bool) -> None:
        """Record what can be recorded of a trace, and say when to look again."""
        try:
            await self._record(trace_id, is_last=is_last)
        except ConflictError:
            self._inbox.postpone(trace_id, self._clock() + _RETRY)
        except Exception as exc:  # noqa: BLE001 - whatever it is, other traces go on, and this one is tried again
            self._inbox.postpone(trace_id, self._clock() + _RETRY)
            kind = "" if isinstance(exc, StoreError) else f"unexpected {type(exc).__name__}: "
            self._told(Recorded(trace_id, problem=f"{kind}{exc}; it waits in the inbox, and is tried again"))

    async def _record(self, trace_id: str, *, is_last: bool) -> None:
        now = self._clock()
        bundle = self._inbox.bundle(trace_id)
        if bundle is None:
            return
        spans = {span_id: span_of_shape(trace_id, span_id, shape) for span_id, (_, shape) in bundle.shapes.items()}
        later = bundle.last + self._remember
        ready: list[str] = []
        if not bundle.waiting and later <= now:
            ready = [span_id for span_id, (state, _) in bundle.shapes.items() if state == OPEN and spans[span_id].kind]
            if not ready:
                self._inbox.forget(bundle)
                return
        places = Places(spans)
        for span_id, arrived in bundle.waiting.items():
            is_settled = places.is_settled(spans[span_id])
            until = arrived + (self._patience.settle if is_settled else self._patience.wait)
            if until <= now or is_last:
                ready.append(span_id)
            else:
                later = min(later, until)
        bodies = self._inbox.bodies(trace_id, ready, most=_TOGETHER // _AT_ONCE)
        if len(bodies) < len(ready):
            later = now  # the rest is for the next time
        if bodies:
            recorded = Recorded(trace_id, remaining=max(0, len(bundle.waiting) - len(bodies)))
            await self._taker.add(_trace(trace_id, spans, bodies), recorded.report)
            self._inbox.recorded(bundle, tuple(bodies), due=later)
            self._told(recorded)
        else:
            self._inbox.recorded(bundle, (), due=later)


def _trace(trace_id: str, spans: dict[str, Span], bodies: Mapping[str, Body]) -> Trace:
    """The trace of the spans that are ready. A span that cannot be read with what came apart from it is read without, and
    the trace says so (``dropped``).
    """
    for span_id, body in bodies.items():
        spans[span_id] = span_of_body(body.text, body.notes)
    trace, problems = build(trace_id, spans, [spans[span_id] for span_id in bodies], FILE)
    dropped = len(problems)
    if problems:
        for problem in problems:
            span_id = problem.where.rpartition("/")[2]
            spans[span_id] = span_of_body(bodies[span_id].text, ())
        trace, problems = build(trace_id, spans, [spans[span_id] for span_id in bodies], FILE)
    assert trace is not None, "each span could be read when it came"
    assert not problems, "as above"
    return replace(trace, dropped=dropped)


async def _sleep(ended: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return
