"""What a policy file may contain: one pack, its metadata, its rules. Types only; ``detection`` has a grammar of its own."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from monitor.records import Action, Level

LATER_KEYS = frozenset({"logsource", "related", "includes", "engine"})
LATER_STATUSES = frozenset({"test", "deprecated", "unsupported"})

_ACTION_BY_LEVEL = {
    Level.INFORMATIONAL: Action.LOG,
    Level.LOW: Action.LOG,
    Level.MEDIUM: Action.FLAG,
    Level.HIGH: Action.WITHHOLD,
    Level.CRITICAL: Action.WITHHOLD,
}


class Later(ValueError):  # noqa: N818 - not a fault of the program: the language will have it
    """A word of the language that does nothing yet, and is refused so that nobody relies on it."""


def _uuid(text: str) -> str:
    try:
        parsed = UUID(text)
    except ValueError:
        raise ValueError("expected a UUID such as 8d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11") from None
    if str(parsed) != text:
        raise ValueError(f"expected the UUID in its usual form: {parsed}")
    return text


def _day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("expected a date such as 2026-11-22") from None
    return text


def _status(text: str) -> str:
    if text in LATER_STATUSES:
        raise Later(f"the status `{text}` comes later; a rule that should not act has no place in a pack yet")
    return text


Line = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Prose = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Id = Annotated[str, AfterValidator(_uuid)]
Day = Annotated[str, AfterValidator(_day)]
ActionWord = Literal["log", "flag", "redact", "withhold", "ask_human", "halt"]
StatusWord = Annotated[Literal["stable", "experimental", "test", "deprecated", "unsupported"], AfterValidator(_status)]
LevelWord = Literal["informational", "low", "medium", "high", "critical"]


class Strict(BaseModel):
    """No unknown keys, and no value taken for one of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ExampleFile(Strict):
    """One test inside a rule: a record in short form, and what the rule must say of it."""

    name: Line | None = None
    record: dict[str, Any]
    expect: Literal["match", "no_match", "unknown", "not_applicable"]


class RuleFile(Strict):
    """One rule as it is written. ``action`` and ``on_unknown`` follow from ``level`` where they are left out."""

    title: Line
    id: Id
    name: Name
    status: StatusWord = "experimental"
    description: Prose = ""
    references: list[Line] = []
    author: Line | None = None
    date: Day | None = None
    modified: Day | None = None
    level: LevelWord
    tags: list[Line] = []
    detection: dict[str, Any]
    falsepositives: list[Prose] = []
    action: ActionWord | None = None
    on_unknown: ActionWord | None = None
    tests: list[ExampleFile] = []

    @property
    def effective_action(self) -> Action:
        """The action on a match: as written, or by level: low and below log, medium flag, high and above withhold."""
        if self.action:
            return Action(self.action)
        return _ACTION_BY_LEVEL[Level(self.level)]

    @property
    def effective_on_unknown(self) -> Action:
        """The action where the rule could not be evaluated: as written, or withhold from level high on, else log."""
        if self.on_unknown:
            return Action(self.on_unknown)
        return Action.WITHHOLD if Level(self.level) in {Level.HIGH, Level.CRITICAL} else Action.LOG


class PackFile(Strict):
    """One file: a pack."""

    pack: Name
    version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    description: Prose = ""
    author: Line | None = None
    license: Line | None = None
    date: Day | None = None
    modified: Day | None = None
    references: list[Line] = []
    rules: Annotated[list[RuleFile], Field(min_length=1)]
