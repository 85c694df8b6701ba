"""Events, each one immutable step, and the state of a run or a subcall that they tell."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from monitor.records.judging import Decision, Judgement, Redaction, Review
from monitor.records.runs import QueuedReview, RunEnd, RunResume, RunStart, RunSuspend
from monitor.records.trace import Call, Observation, Released, Usage
from monitor.records.words import AWAITING_HUMAN, Choice, Frozen, Outcome

EventKind: TypeAlias = Literal[
    "started",
    "released",
    "observed",
    "judged",
    "decided",
    "reviewed",
    "redacted",
    "run_started",
    "run_resumed",
    "run_queued",
    "run_suspended",
    "run_ended",
]
Payload: TypeAlias = (
    Call
    | Released
    | Observation
    | Judgement
    | Decision
    | Review
    | Redaction
    | RunStart
    | RunResume
    | QueuedReview
    | RunSuspend
    | RunEnd
)


class Event(Frozen):
    """One immutable step. ``kind`` and the payload's type go together: see ``Event.of``.

    ``after`` is not stored: an event of a run that has it is only stored right after that place in the run's own events,
    and a decision right after that place in its subcall's (where it has none: right after the judgement). For a part of a
    stream it is how many were released before.

    A review is neither a step of its subcall nor one of its run: its ``span_id`` is its own, and the payload names the
    subcall. So it can be stored at any time after the judgement, and is in nobody's way. A redaction likewise.
    """

    run_id: str
    span_id: str
    kind: EventKind
    payload: Payload
    after: int | None = None

    @classmethod
    def of(cls, run_id: str, span_id: str, payload: Payload, *, after: int | None = None) -> Event:
        """Make the event for ``payload`` on the subcall (or, for run payloads, the run) ``(run_id, span_id)``."""
        return cls.trusted(run_id=run_id, span_id=span_id, kind=_KINDS[type(payload)], payload=payload, after=after)


_KINDS: dict[type[Any], EventKind] = {
    Call: "started",
    Released: "released",
    Observation: "observed",
    Judgement: "judged",
    Decision: "decided",
    Review: "reviewed",
    Redaction: "redacted",
    RunStart: "run_started",
    RunResume: "run_resumed",
    QueuedReview: "run_queued",
    RunSuspend: "run_suspended",
    RunEnd: "run_ended",
}


class StoredSubcall(Frozen):
    """The state of a subcall as its events tell it. ``released`` is what was handed on of a stream before its end.

    ``began_at`` and ``judged_at`` are the places of its start and its judgement among the run's events in the log, where
    all of these were read; they order the subcalls of a run, and are no part of what a subcall equals.
    """

    call: Call
    released: tuple[Released, ...] = ()
    observation: Observation | None = None
    judgement: Judgement | None = None
    decisions: tuple[Decision, ...] = ()
    began_at: int | None = None
    judged_at: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredSubcall) and self._told() == other._told()

    def __hash__(self) -> int:
        return hash(self._told())

    def _told(self) -> tuple[object, ...]:
        return self.call, self.released, self.observation, self.judgement, self.decisions

    @property
    def released_before_final(self) -> bool:
        """Whether part of the answer was handed on before it was whole and judged."""
        return bool(self.released)

    @property
    def decision(self) -> Decision | None:
        """The decision that settled it, if it waited for one and has it."""
        last = self.decisions[-1] if self.decisions else None
        return None if last is None or last.choice is Choice.ESCALATE else last

    @property
    def awaits_human(self) -> bool:
        """Whether it waits for a decision."""
        return self.judgement is not None and self.judgement.asks_human and self.decision is None

    @property
    def outcome(self) -> Outcome | None:
        """What it ended in; None for as long as it has not ended."""
        if self.judgement is None or self.awaits_human:
            return None
        if self.decision is None:
            return self.judgement.outcome
        if self.decision.choice in {Choice.REJECT, Choice.TERMINATE}:
            return Outcome.REJECTED
        assert self.observation is not None, "what is judged was observed"
        return Outcome.OK if self.decision.choice is Choice.MODIFY else self.observation.outcome

    @property
    def state(self) -> str:
        """``started``, ``observed``, ``awaiting_human``, or the final outcome."""
        if self.outcome:
            return self.outcome.value
        if self.awaits_human:
            return AWAITING_HUMAN
        return "observed" if self.observation else "started"

    @property
    def charged(self) -> Usage:
        """What the budgets carry for it: the usage where it is known, else the reservation."""
        return self.observation.usage if self.observation else self.call.reserved


class StoredRun(Frozen):
    """The state of a run as its events tell it.

    ``queued`` are the subcalls that its recipe put before a person for later. ``stops`` are the ends and suspensions of its
    executions; ``is_stopped`` tells whether the last of them is also the last of the run's own events, whose place is
    ``last_seq``.
    """

    start: RunStart
    resumes: tuple[RunResume, ...] = ()
    queued: tuple[QueuedReview, ...] = ()
    stops: tuple[RunEnd | RunSuspend, ...] = ()
    is_stopped: bool = False
    last_seq: int = 0

    @property
    def end(self) -> RunEnd | None:
        """Its last end, whether or not it was resumed since."""
        return next((stop for stop in reversed(self.stops) if isinstance(stop, RunEnd)), None)

    @property
    def state(self) -> str:
        """``started`` while it runs or after it was killed, ``awaiting_human``, or the outcome of its last end."""
        if not self.is_stopped:
            return "started"
        last = self.stops[-1]
        return last.outcome.value if isinstance(last, RunEnd) else AWAITING_HUMAN


class StoredReview(Frozen):
    """A review as it is stored: its own id (16 hex digits), the run, and what was said."""

    id: str
    run_id: str
    review: Review


class StoredRedaction(Frozen):
    """A redaction as it is stored: its own id (16 hex digits), the run, and what was erased."""

    id: str
    run_id: str
    redaction: Redaction
