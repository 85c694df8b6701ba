"""What all record types are made of: guarded text, frozen values, the closed sets of words, ids and times."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, lru_cache
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict

from monitor.canonical import guard_text

Text = Annotated[str, BeforeValidator(lambda v: guard_text(v) if isinstance(v, str) else v)]
"""Text from a model, a tool, a person or the world: stored by content, erasable, without NUL and lone surrogates.

Whoever takes it in from outside passes it through ``canonical.escape_text``; the type only guards."""


ERASED = "█"
"""Stands for each codepoint of a text that was erased, so that evidence still points at the right place."""


class Frozen(BaseModel):
    """A value that never changes; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def trusted(cls, **values: Any) -> Self:
        """Make a record of values that are of the right types already, such as parts of other records: nothing is checked.

        A subcall passes through a dozen records, and to validate each again what the one before it held took a tenth of
        the monitor's time. It is ``model_construct`` for types whose defaults are frozen too. What comes from outside, or
        from a recipe, is validated.
        """
        made = cls.__new__(cls)
        object.__setattr__(made, "__dict__", {**_defaults(cls), **values})
        object.__setattr__(made, "__pydantic_fields_set__", set(values))
        object.__setattr__(made, "__pydantic_extra__", None)
        object.__setattr__(made, "__pydantic_private__", None)
        return made


@cache
def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    """The defaults of a record type, in the order of its fields; required fields hold their place with None."""
    return {name: None if field.is_required() else field.get_default() for name, field in model.model_fields.items()}


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


class Choice(StrEnum):
    """What a person decides of a subcall that waits for them. All but ``escalate`` settle it."""

    APPROVE = "approve"
    MODIFY = "modify"
    REJECT = "reject"
    ESCALATE = "escalate"
    TERMINATE = "terminate"


class Label(StrEnum):
    """What a person says of a finding: it is right, it is wrong, they cannot tell."""

    TRUE = "true"
    FALSE = "false"
    UNSURE = "unsure"


MALFORMED = "malformed_output"
"""The kind of error of an answer that came whole and is not what the role was asked for."""
AWAITING_HUMAN = "awaiting_human"
"""The state of a subcall that waits for a decision, and of a run that was suspended because one does."""

Trust: TypeAlias = Literal["trusted", "untrusted"]
LimitName: TypeAlias = Literal[
    "calls", "depth", "input_tokens", "cached_tokens", "output_tokens", "cost", "seconds", "tool_calls"
]


def new_run_id() -> str:
    """A random trace id: 32 hex digits."""
    return secrets.token_hex(16)


def new_span_id() -> str:
    """A random span id: 16 hex digits."""
    return secrets.token_hex(8)


def now() -> str:
    """The time as events carry it: UTC, ISO 8601, microseconds, ``Z``."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"{_whole_second(seconds)}.{nanoseconds // 1000:06d}Z"


@lru_cache(maxsize=2)
def _whole_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="seconds")
