"""The one door: every subcall, ours or foreign, is stored, checked, judged and only then released, in this order.

    event started ─ the call itself ─ event observed (─ probes, judge) ─ checks ─ verdict ─ event judged ─ action (─ event
    decided)

The one exception is asked for, and on the record: parts of a stream that no acting rule can match any more may be released
between ``started`` and ``observed``, each once its event ``released`` is committed (see ``policy/windows.py``).

Nothing else happens here. Each event is committed before the next step begins, so a result that anybody holds has its
trace and its verdict on disk. Once the call has come back (or was cut off), the rest runs to its end even if the caller
is cancelled meanwhile; the cancellation is raised afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from monitor import actions, checks
from monitor.cancellation import Cancellation, in_thread
from monitor.canonical import escape_text
from monitor.errors import StoreError
from monitor.judging import Judging
from monitor.models.secrets import clean
from monitor.records import (
    ErrorInfo,
    Event,
    Judgement,
    Observation,
    Outcome,
    Record,
    Released,
    StoredSubcall,
    Usage,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from monitor.checks import RunCheck
    from monitor.loaded import LoadedChecks
    from monitor.records import Call, Decision, Finding, JudgeAnswer, ProbeScore, QueuedReview

_JUDGED_SEQ = 2  # the place of ``judged`` among a subcall's events
logger = logging.getLogger(__name__)


class EventSink(Protocol):
    """Where events are committed: the store."""

    def submit(self, *events: Event) -> asyncio.Future[None]:
        """Commit the events in one transaction; the future is done when they are durable. It raises StoreError.

        Who stops waiting for it does not undo the commit.
        """
        ...


class Pipeline:
    """Takes the records of one run through the door.

    ``listener`` is told of each event after its commit; it cannot stop anything. ``on_judged`` is handed each subcall that
    was judged, those too whose callers were cancelled and never saw the end. ``is_late`` is for foreign traces, which were
    over before they came here: see ``actions.judge``.
    """

    def __init__(
        self,
        store: EventSink,
        loaded: LoadedChecks,
        listener: Callable[[Event], None] | None = None,
        on_judged: Callable[[StoredSubcall], None] = lambda _: None,
        *,
        is_late: bool = False,
    ) -> None:
        self._store = store
        self._checks = loaded.checks
        self._prober = loaded.prober
        self._over_run = loaded.over_run() if loaded.over_run else None
        rules = [check.policy_set for check in loaded.checks if isinstance(check, checks.PolicyCheck)]
        self._judging = Judging(loaded.judge, rules) if loaded.judge and loaded.asks else None
        self._listener = listener
        self._on_judged = on_judged
        self._is_late = is_late
        self.on_asking: Callable[[bool], object] = lambda _: None  # told when a judge begins and ends to be asked

    async def observe(self, call: Call, work: Callable[[], Awaitable[Observation]]) -> StoredSubcall:
        """Take one call through the door; ``work`` makes the call and says what came back.

        Returns the judged subcall; whether its answer may be used is for ``release`` to say. ``work`` should turn every
        failure into an Observation; an exception from it is recorded as ``failed`` all the same.

        Raises:
            StoreError: an event could not be committed; then nothing is returned.
            asyncio.CancelledError: the caller was cancelled; the record says so.
        """
        started = Cancellation()
        if self._over_run:
            self._over_run.begin(call)
        await self._commit(call.run_id, call.span_id, call, started)
        if started:
            # The call was never made: nothing was spent.
            await self.conclude(call, Observation(outcome=Outcome.CANCELLED, usage=Usage(cost=0.0), at=now()))
            started.raise_late()
        cancelled: asyncio.CancelledError | None = None
        try:
            observation = await work()
        except asyncio.CancelledError as exc:
            cancelled = exc
            observation = _broken_off(call, Outcome.CANCELLED, ErrorInfo(kind="cancelled", message="cancelled"))
        except StoreError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever broke, the record must say so; it is raised as SubcallFailed
            info = ErrorInfo(kind="internal", message=clean(escape_text(f"{type(exc).__name__}: {exc}")))
            observation = _broken_off(call, Outcome.FAILED, info)
        judged = await self.conclude(call, observation)
        if cancelled or observation.outcome is Outcome.CANCELLED:
            raise cancelled or asyncio.CancelledError
        return judged

    async def hand_on(self, call: Call, part: Released, before: int) -> None:
        """Commit that a part of a stream is released, after ``before`` others; only then may it be. Raises StoreError."""
        event = Event.of(call.run_id, call.span_id, part, after=before)
        await self._store.submit(event)
        tell(self._listener, event)

    async def replay(self, call: Call, observation: Observation) -> StoredSubcall:
        """Take a call through the door that was over before it came here, even if the caller is cancelled meanwhile.

        Nothing happens between its start and its judgement, so all three events are committed at once, and calls that are
        replayed together stand one after the other in the log, in the order in which that was asked for. Where probes or
        a judge must be awaited the judgement is committed apart: then whoever wants that order replays one at a time.

        A cancellation of whoever replays is none of the call: it is raised afterwards, and not recorded. Raises StoreError.
        """
        cancellation = Cancellation()
        if self._over_run:
            self._over_run.begin(call)
        if self._awaits_others(call):
            await self._commit_all([call, observation], call, cancellation)
            subcall = await self._judge(call, observation, cancellation)
        else:
            judgement = self._judgement(call, observation)
            await self._commit_all([call, observation, judgement], call, cancellation)
            subcall = self._judged(call, observation, judgement)
        cancellation.raise_late()
        return subcall

    async def conclude(self, call: Call, observation: Observation) -> StoredSubcall:
        """Commit what came back, check it, commit the verdict; all of it even if the caller is cancelled meanwhile."""
        cancellation = Cancellation()
        await self._commit(call.run_id, call.span_id, observation, cancellation)
        subcall = await self._judge(call, observation, cancellation)
        cancellation.raise_late()
        return subcall

    async def judge(self, call: Call, observation: Observation) -> StoredSubcall:
        """Check an observation that is committed already, and commit the verdict."""
        cancellation = Cancellation()
        subcall = await self._judge(call, observation, cancellation)
        cancellation.raise_late()
        return subcall

    async def _judge(self, call: Call, observation: Observation, cancellation: Cancellation) -> StoredSubcall:
        scores = await self._scores(call, observation, cancellation) if call.probes and call.checked else ()
        answers: tuple[JudgeAnswer, ...] = ()
        if self._judging and call.checked:
            record = Record.trusted(call=call, observation=observation, probes=scores)
            answers = await self._answers(self._judging, record, cancellation)
        judgement = self._judgement(call, observation, scores, answers)
        await self._commit(call.run_id, call.span_id, judgement, cancellation)
        return self._judged(call, observation, judgement)

    def _awaits_others(self, call: Call) -> bool:
        """Whether the judgement needs what only others can say: probes, or a judge."""
        return call.checked and bool(call.probes or self._judging)

    def _judgement(
        self,
        call: Call,
        observation: Observation,
        scores: tuple[ProbeScore, ...] = (),
        answers: tuple[JudgeAnswer, ...] = (),
    ) -> Judgement:
        # What the recipe leaves unchecked is held to its budget all the same.
        heeded = [check for check in self._checks if call.checked or isinstance(check, checks.AccountingCheck)]
        record = Record.trusted(call=call, observation=observation, probes=scores, answers=answers)
        findings = checks.run(heeded, record)
        if self._over_run:
            findings += self._along_the_run(self._over_run, record, findings)
        return actions.judge(
            observation,
            findings,
            checked=call.checked,
            probes=scores,
            answers=answers,
            is_late=self._is_late and not call.is_monitors,
        )

    def _judged(self, call: Call, observation: Observation, judgement: Judgement) -> StoredSubcall:
        subcall = StoredSubcall.trusted(call=call, observation=observation, judgement=judgement)
        if not call.is_monitors:  # what the monitor asks is no part of the task
            self._on_judged(subcall)
        return subcall

    @staticmethod
    def _along_the_run(over_run: RunCheck, record: Record, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """What the rules over the run say. Nothing is awaited between this and the commit of the judgement, so the log
        has the order in which the run was followed.
        """
        if record.call.checked:
            return over_run.see(record, findings)
        return over_run.skip(record.call, record.observation)

    def recall(self, subcalls: Sequence[StoredSubcall]) -> None:
        """Let the rules over the run follow what earlier executions of it left in the log, before anything is added."""
        if self._over_run:
            self._over_run.recall(subcalls)

    @property
    def asks(self) -> bool:
        """Whether there are questions to a judge among the rules, and a judge: then a judgement may have to wait for it."""
        return self._judging is not None

    def probes_of(self, role_probes: Sequence[str]) -> tuple[str, ...]:
        """The names of the probes that a subcall has: the run's, and those that its role asks for."""
        return self._prober.names_for(role_probes)

    async def _scores(self, call: Call, observation: Observation, cancellation: Cancellation) -> tuple[ProbeScore, ...]:
        """What the attached probes say; it takes a model's forward pass, so a thread does it."""
        return await cancellation.outlast(in_thread(lambda: self._prober.scores(call, observation)))

    async def _answers(self, judging: Judging, record: Record, cancellation: Cancellation) -> tuple[JudgeAnswer, ...]:
        """What a judge says to the questions that the rules depend on; each is a subcall that passes through this door."""
        asking = asyncio.ensure_future(judging.answers(record, self.observe))
        self.on_asking(True)
        try:
            return await cancellation.outlast(asking)
        finally:
            self.on_asking(False)

    async def decide(self, subcall: StoredSubcall, decision: Decision) -> StoredSubcall:
        """Commit what a person decided of a subcall that waits for it; returns the subcall with the decision.

        Raises:
            ConflictError: somebody else decided since ``subcall`` was read.
            StoreError: it could not be committed; nothing was decided.
        """
        event = decided(subcall, decision)
        await self._store.submit(event)
        tell(self._listener, event)
        return subcall.model_copy(update={"decisions": (*subcall.decisions, decision)})

    async def queue(self, run_id: str, root_span: str, review: QueuedReview) -> None:
        """Commit that a subcall was put before a person for later. Raises StoreError."""
        event = Event.of(run_id, root_span, review)
        await self._store.submit(event)
        tell(self._listener, event)

    @staticmethod
    def release(subcall: StoredSubcall) -> StoredSubcall:
        """Return the subcall as whoever asked may have it. Raises SubcallError otherwise (see ``actions.release``)."""
        return actions.release(subcall)

    async def _commit(
        self, run_id: str, span_id: str, payload: Call | Observation | Judgement, cancellation: Cancellation
    ) -> None:
        event = Event.of(run_id, span_id, payload)
        await cancellation.outlast(self._store.submit(event))
        tell(self._listener, event)

    async def _commit_all(
        self, payloads: Sequence[Call | Observation | Judgement], call: Call, cancellation: Cancellation
    ) -> None:
        """Commit events of one subcall together: all of them, or none."""
        events = [Event.of(call.run_id, call.span_id, payload) for payload in payloads]
        await cancellation.outlast(self._store.submit(*events))
        for event in events:
            tell(self._listener, event)


def decided(subcall: StoredSubcall, decision: Decision) -> Event:
    """The event of a decision, which can only be stored right after what ``subcall`` has so far."""
    return Event.of(subcall.call.run_id, subcall.call.span_id, decision, after=_JUDGED_SEQ + len(subcall.decisions))


def tell(listener: Callable[[Event], None] | None, event: Event) -> None:
    """Tell a listener of an event that is committed. A broken display must not cost a trace: its failure is only logged."""
    if listener:
        try:
            listener(event)
        except Exception:  # whatever it is, with its traceback
            logger.exception("the listener failed on a %s event", event.kind)


def _broken_off(call: Call, outcome: Outcome, error: ErrorInfo) -> Observation:
    """What is recorded of a call that ended in an exception: what it used is not known, so its reservation is charged."""
    return Observation(outcome=outcome, error=error, usage=call.reserved, usage_reported=False, at=now())
