"""The words of the project as types: what was handed to a subcall, what came back, what was found, what was decided.

A subcall's trace is a ``Record``: a ``Call`` (what it was handed and might spend) and an ``Observation`` (what came back).
Checks read records and give ``Finding``s; a ``Judgement`` has the findings, the verdict and the action taken. All are
frozen, and every foreign text in them has been through ``canonical.escape_text``: what is stored is what is checked is
what is released. An ``Event`` is one immutable step in the life of a run or of a subcall.

Ids are OpenTelemetry's: a run is a trace id (32 hex digits), a subcall a span id (16), and only the pair is unique.
Times are UTC, ISO 8601 with microseconds. Token counts are tokens, costs US dollars, durations seconds.
"""

from __future__ import annotations

from monitor.records.events import Event, EventKind, Payload, StoredRedaction, StoredReview, StoredRun, StoredSubcall
from monitor.records.judging import (
    Decision,
    Finding,
    Judgement,
    Record,
    RedactedPlace,
    Redaction,
    Review,
    Verdict,
)
from monitor.records.probing import ProbeMode, ProbeRef, ProbeScore, TokenScores
from monitor.records.questions import JudgeAnswer, Said
from monitor.records.runs import (
    INGESTED,
    OBSERVED,
    FilterRef,
    QueuedReview,
    RuleRef,
    RunEnd,
    RunResume,
    RunStart,
    RunSuspend,
)
from monitor.records.sealing import Seal, new_salt
from monitor.records.trace import (
    MONITORS,
    Call,
    ErrorInfo,
    Exceeded,
    FarSpan,
    Limits,
    Message,
    Observation,
    Reasoning,
    Released,
    Span,
    TokenEvidence,
    ToolCall,
    Usage,
)
from monitor.records.words import (
    AWAITING_HUMAN,
    ERASED,
    MALFORMED,
    Action,
    Choice,
    Frozen,
    Label,
    Level,
    LimitName,
    Outcome,
    ReasoningState,
    Status,
    Text,
    Trust,
    VerdictValue,
    new_run_id,
    new_span_id,
    now,
)

__all__ = [
    "AWAITING_HUMAN",
    "ERASED",
    "INGESTED",
    "MALFORMED",
    "MONITORS",
    "OBSERVED",
    "Action",
    "Call",
    "Choice",
    "Decision",
    "ErrorInfo",
    "Event",
    "EventKind",
    "Exceeded",
    "FarSpan",
    "FilterRef",
    "Finding",
    "Frozen",
    "JudgeAnswer",
    "Judgement",
    "Label",
    "Level",
    "LimitName",
    "Limits",
    "Message",
    "Observation",
    "Outcome",
    "Payload",
    "ProbeMode",
    "ProbeRef",
    "ProbeScore",
    "QueuedReview",
    "Reasoning",
    "ReasoningState",
    "Record",
    "RedactedPlace",
    "Redaction",
    "Released",
    "Review",
    "RuleRef",
    "RunEnd",
    "RunResume",
    "RunStart",
    "RunSuspend",
    "Said",
    "Seal",
    "Span",
    "Status",
    "StoredRedaction",
    "StoredReview",
    "StoredRun",
    "StoredSubcall",
    "Text",
    "TokenEvidence",
    "TokenScores",
    "ToolCall",
    "Trust",
    "Usage",
    "Verdict",
    "VerdictValue",
    "new_run_id",
    "new_salt",
    "new_span_id",
    "now",
]
