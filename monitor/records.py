"""The words of the project as types: what was handed to a subcall, what came back, what was found, what was decided.

A subcall's trace is a ``Record``: a ``Call`` (what it was handed and might spend) and an ``Observation`` (what came back).
Checks read records and give ``Finding``s; a ``Judgement`` has the findings, the verdict and the action taken. All are
frozen, and every foreign text in them has been through ``canonical.escape_text``: what is stored is what is checked is
what is released. An ``Event`` is one immutable step in the life of a run or of a subcall.

Ids are OpenTelemetry's: a run is a trace id (32 hex digits), a subcall a span id (16), and only the pair is unique.
Times are UTC, ISO 8601 with microseconds. Token counts are tokens, costs US dollars, durations seconds.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from monitor.canonical import guard_text

Text = Annotated[str, BeforeValidator(lambda v: guard_text(v) if isinstance(v, str) else v)]
"""Text from a model, a tool, a person or the world: stored by content, erasable, without NUL and lone surrogates.

Whoever takes it in from outside passes it through ``canonical.escape_text``; the type only guards."""


class Frozen(BaseModel):
    """A value that never changes; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Outcome(StrEnum):
    """How a subcall ended. Every started subcall ends in one of these."""

    OK = "ok"
    BUDGET_EXCEEDED = "budget_exceeded"
    BLOCKED = "blocked"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ReasoningState(StrEnum):
    """What is known of the reasoning: readable, summarised, withheld by the provider in one of two ways, or not there."""

    PLAIN = "plain"
    SUMMARY = "summary"
    REDACTED = "redacted"
    ENCRYPTED = "encrypted"
    ABSENT = "absent"


class Status(StrEnum):
    """What a check says of a record. Silence is not safety: ``unknown`` and ``not_applicable`` are never ``no_match``."""

    MATCH = "match"
    NO_MATCH = "no_match"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


class Action(StrEnum):
    """What happens when a rule matches (or, through ``on_unknown``, when it could not be evaluated)."""

    LOG = "log"
    FLAG = "flag"
    REDACT = "redact"
    WITHHOLD = "withhold"
    ASK_HUMAN = "ask_human"
    HALT = "halt"


class VerdictValue(StrEnum):
    """The verdict on a subcall or a run, in this precedence."""

    BLOCK = "block"
    FLAG = "flag"
    UNMEASURED = "unmeasured"
    PASS = "pass"  # noqa: S105 - a verdict, not a password


class Level(StrEnum):
    """Sigma's levels."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


Trust: TypeAlias = Literal["trusted", "untrusted"]
LimitName: TypeAlias = Literal[
    "calls", "depth", "input_tokens", "cached_tokens", "output_tokens", "cost", "seconds", "tool_calls"
]


class Limits(Frozen):
    """A budget's limits; None is no limit of its own (an ancestor's still holds).

    ``calls`` counts model calls, retries included. ``input_tokens`` counts all prompt tokens, ``cached_tokens`` those of
    them that the provider read from its cache. ``seconds`` is wall time since the budget was opened, ``depth`` the number
    of levels of subcalls below the budget's owner.
    """

    calls: int | None = Field(default=None, ge=0)
    depth: int | None = Field(default=None, ge=0)
    input_tokens: int | None = Field(default=None, ge=0)
    cached_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, ge=0)
    tool_calls: int | None = Field(default=None, ge=0)


class Usage(Frozen):
    """What was spent, or is reserved. ``cost`` is None where the price is unknown: unknown is not zero."""

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    tool_calls: int = 0


class Exceeded(Frozen):
    """One limit that was reached: whose, which, how much was allowed, was spent and would have been needed."""

    owner: str
    limit: LimitName
    allowed: float
    used: float
    needed: float

    def __str__(self) -> str:
        return f"{self.owner}: {self.limit} {self.used:g} used + {self.needed:g} needed > {self.allowed:g} allowed"


class ToolCall(Frozen):
    """A tool call as the model wrote it: ``arguments`` is its JSON text, well-formed or not.

    ``refused`` says why the call was not allowed to run; a refused call never ran.
    """

    id: str
    name: Text
    arguments: Text = ""
    refused: str | None = None


class Message(Frozen):
    """One message that a subcall was handed."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Text = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class Reasoning(Frozen):
    """The reasoning, and where it was found: provider blocks, the ``reasoning`` field of the answer, or think tags."""

    state: ReasoningState = ReasoningState.ABSENT
    text: Text = ""
    source: Literal["provider", "schema", "think_tag", ""] = ""


class TokenEvidence(Frozen):
    """Exact token ids where the model gives them, for own-model evidence. ``logprobs`` are natural logarithms, one for
    each output id: the log probability of the sampled token before sampling filters and grammars.
    """

    prompt_ids: tuple[int, ...] = ()
    output_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


class ErrorInfo(Frozen):
    """What went wrong: ``kind`` is one of a small set of words, ``message`` is cleaned of keys."""

    kind: str
    message: Text


class Call(Frozen):
    """What one subcall was handed and might spend: the payload of its ``started`` event.

    ``key`` names the step in its run (scope, role, inputs, occurrence), the same in every execution: a run that is resumed
    finds its answers by it. ``scope`` is the path of the contexts it was asked in, and so of its budgets. ``attempt``
    counts from 1; attempts above 1 are child spans of the first one, and ``retry_of`` is that first span. ``reserved``
    is charged until the observation says what was really used. ``kind`` is ``model``, or ``tool`` for one execution of
    a tool (the arguments are its ``task``, the result is its output).
    """

    run_id: str
    span_id: str
    parent_id: str | None = None
    retry_of: str | None = None
    key: str
    scope: str = ""
    attempt: int = 1
    kind: Literal["model", "tool"] = "model"
    role: str
    role_hash: str = ""
    trust: Trust = "untrusted"
    recipe: str = ""
    model: str = ""
    adapter: str = "orchestrate"
    depth: int = 1
    task: Text = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[str, ...] = ()
    output_schema: Text = ""
    requires_reasoning: bool = False
    temperature: float | None = None
    seed: int | None = None
    max_output_tokens: int | None = None
    reserved: Usage = Usage()
    budget_left: Limits = Limits()
    at: str = ""


class Observation(Frozen):
    """What came back: the payload of the ``observed`` event. ``outcome`` is the caller's, before any check.

    ``output`` is the answer without its reasoning; ``raw`` is the reply word for word where that differs. ``usage`` is
    what is charged; ``usage_reported`` is false where the provider did not say and the reservation is charged instead.
    """

    outcome: Outcome
    output: Text = ""
    raw: Text = ""
    reasoning: Reasoning = Reasoning()
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    usage_reported: bool = True
    finish_reason: Text = ""
    model_reported: Text = ""
    error: ErrorInfo | None = None
    exceeded: tuple[Exceeded, ...] = ()
    tokens: TokenEvidence | None = None
    seconds: float = 0.0
    at: str = ""


class Record(Frozen):
    """The trace of one subcall: all that a check may see."""

    call: Call
    observation: Observation


class Span(Frozen):
    """Evidence: codepoints ``start`` to ``end`` (half open) of one stored text.

    ``surface`` names the text: ``task``, ``reasoning``, ``output``, ``error``, ``messages[2].content``,
    ``tool_calls[0].name`` or ``.arguments``. ``clause`` is the clause of the rule that matched there.
    """

    surface: str
    start: int
    end: int
    clause: str = ""


class Finding(Frozen):
    """What one check says of one record.

    ``action`` and ``on_unknown`` are the rule's; which of them applies follows from ``status`` (see ``actions``).
    ``cause`` says why, for ``unknown`` and ``not_applicable``; it never quotes the record.
    """

    check: Literal["rule", "budget", "probe"]
    name: str
    status: Status
    rule_id: str = ""
    rule_hash: str = ""
    pack: str = ""
    title: str = ""
    level: Level = Level.MEDIUM
    action: Action = Action.FLAG
    on_unknown: Action = Action.LOG
    evidence: tuple[Span, ...] = ()
    cause: str = ""


class Verdict(Frozen):
    """The verdict, and how it came about. ``catches`` and ``outages`` name the findings behind it, apart."""

    value: VerdictValue
    catches: tuple[str, ...] = ()
    outages: tuple[str, ...] = ()
    applicable: int = 0
    unknown: int = 0
    not_applicable: int = 0
    note: str = ""


class Judgement(Frozen):
    """The payload of the ``judged`` event: findings, verdict, the action taken, and the subcall's final outcome."""

    findings: tuple[Finding, ...] = ()
    verdict: Verdict
    action: Action = Action.LOG
    outcome: Outcome
    at: str = ""


class RuleRef(Frozen):
    """A rule as a run used it."""

    name: str
    rule_id: str
    rule_hash: str
    pack: str
    pack_version: str = ""


class RunStart(Frozen):
    """The payload of a run's ``started`` event: the task and all that decides how the run goes."""

    run_id: str
    span_id: str
    recipe: str
    recipe_hash: str = ""
    task: Text
    model: str
    seed: int = 0
    limits: Limits = Limits()
    policies: tuple[str, ...] = ()
    rules: tuple[RuleRef, ...] = ()
    options: Text = ""
    host: str = ""
    pid: int = 0
    process_started: float = 0.0
    version: str = ""
    at: str = ""


class RunResume(Frozen):
    """The payload of a run's ``resumed`` event: what may differ from the start."""

    recipe_hash: str = ""
    limits: Limits = Limits()
    retry_failed: bool = False
    rules: tuple[RuleRef, ...] = ()
    host: str = ""
    pid: int = 0
    process_started: float = 0.0
    version: str = ""
    at: str = ""


class RunEnd(Frozen):
    """The payload of a run's ``ended`` event. ``verdict`` is the worst of its subcalls'."""

    outcome: Outcome
    answer: Text = ""
    verdict: Verdict
    usage: Usage = Usage()
    error: ErrorInfo | None = None
    exceeded: tuple[Exceeded, ...] = ()
    seconds: float = 0.0
    at: str = ""


EventKind: TypeAlias = Literal["started", "observed", "judged", "decided", "run_started", "run_resumed", "run_ended"]
Payload: TypeAlias = Call | Observation | Judgement | RunStart | RunResume | RunEnd


class Event(Frozen):
    """One immutable step. ``kind`` and the payload's type go together: see ``Event.of``.

    ``after`` is not stored: an event of a run that has it is only stored right after that place in the run's own events.
    """

    run_id: str
    span_id: str
    kind: EventKind
    payload: Payload
    after: int | None = None

    @classmethod
    def of(cls, run_id: str, span_id: str, payload: Payload, *, after: int | None = None) -> Event:
        """Make the event for ``payload`` on the subcall (or, for run payloads, the run) ``(run_id, span_id)``."""
        kind = _KINDS[type(payload)]
        return cls.model_construct(run_id=run_id, span_id=span_id, kind=kind, payload=payload, after=after)


_KINDS: dict[type[Any], EventKind] = {
    Call: "started",
    Observation: "observed",
    Judgement: "judged",
    RunStart: "run_started",
    RunResume: "run_resumed",
    RunEnd: "run_ended",
}


class StoredSubcall(Frozen):
    """The state of a subcall as its events tell it."""

    call: Call
    observation: Observation | None = None
    judgement: Judgement | None = None

    @property
    def state(self) -> str:
        """``started``, ``observed``, or the final outcome."""
        if self.judgement:
            return self.judgement.outcome.value
        return "observed" if self.observation else "started"

    @property
    def charged(self) -> Usage:
        """What the budgets carry for it: the usage where it is known, else the reservation."""
        return self.observation.usage if self.observation else self.call.reserved


class StoredRun(Frozen):
    """The state of a run as its events tell it; ``last_seq`` is the place of the last of its own events."""

    start: RunStart
    resumes: tuple[RunResume, ...] = ()
    end: RunEnd | None = None
    ended_after_last_resume: bool = False
    last_seq: int = 0

    @property
    def state(self) -> str:
        """``started`` while it runs or after it was killed, else the outcome of its last end."""
        return self.end.outcome.value if self.end and self.ended_after_last_resume else "started"


def new_run_id() -> str:
    """A random trace id: 32 hex digits."""
    return secrets.token_hex(16)


def new_span_id() -> str:
    """A random span id: 16 hex digits."""
    return secrets.token_hex(8)


def now() -> str:
    """The time as events carry it: UTC, ISO 8601, microseconds, ``Z``."""
    return f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
