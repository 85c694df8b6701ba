"""What policy files may contain: a pack of rules, a set of filters, or a set of overrides.

Types only; ``detection`` has a grammar of its own.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from monitor.policy.run_schema import TaintFile, TreeFile
from monitor.policy.schema_words import MAX_PARTS, Line, Name, Prose
from monitor.records import Action, Level

ENGINE = 3
"""The version of the language: a pack that needs a newer one (``engine: 4``) does not load here."""
MAX_RULES = 10_000
"""How many rules (or filters, or overrides) one file may have."""
MAX_WINDOW = 10_000
"""How many subcalls a window may have."""
MAX_EXAMPLES = 1_000
"""How many subcalls one test of a rule over a run may have."""

_ACTION_BY_LEVEL = {
    Level.INFORMATIONAL: Action.LOG,
    Level.LOW: Action.LOG,
    Level.MEDIUM: Action.FLAG,
    Level.HIGH: Action.WITHHOLD,
    Level.CRITICAL: Action.WITHHOLD,
}


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


def _engine(number: int) -> int:
    if number > ENGINE:
        raise ValueError(f"the pack needs version {number} of the language, and this is version {ENGINE}: upgrade")
    return number


Id = Annotated[str, AfterValidator(_uuid)]
Day = Annotated[str, AfterValidator(_day)]
ActionWord = Literal["log", "flag", "redact", "withhold", "ask_human", "halt"]
StatusWord = Literal["stable", "experimental", "test", "deprecated", "unsupported"]
LevelWord = Literal["informational", "low", "medium", "high", "critical"]
Version = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]


class Strict(BaseModel):
    """No unknown keys, and no value taken for one of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ExampleToolCall(Strict):
    """A tool call in a record in short form. Arguments that are a map stand for its JSON text."""

    name: str
    arguments: str | dict[str, Any] = ""
    refused: str | None = None


class ExampleMessage(Strict):
    """A message in a record in short form."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: list[ExampleToolCall] = []


class ExampleFile(Strict):
    """One test inside a rule: a record in short form, and what the rule must say of it."""

    name: Line | None = None
    record: dict[str, Any]
    expect: Literal["match", "no_match", "unknown", "not_applicable"]


class RelatedFile(Strict):
    """Another rule that this one has to do with, and how."""

    id: Id
    type: Literal["derived", "obsolete", "merged", "renamed", "similar"]


class LogSourceFile(Strict):
    """Which records a rule is about; of all others it says ``not_applicable``.

    ``category`` is what the record is of, ``product`` the adapter that it came in through, ``service`` whether a model or a
    tool answered. ``definition`` is for people.
    """

    category: Literal["subcall"] | None = None
    product: Line | None = None
    service: Literal["model", "tool"] | None = None
    definition: Prose | None = None


class _RuleWords(Strict):
    """What every kind of rule has. ``action`` and ``on_unknown`` follow from ``level`` where they are left out."""

    title: Line
    id: Id
    name: Name
    status: StatusWord = "experimental"
    related: list[RelatedFile] = []
    description: Prose = ""
    references: list[Line] = []
    author: Line | None = None
    date: Day | None = None
    modified: Day | None = None
    level: LevelWord
    tags: list[Line] = []
    falsepositives: list[Prose] = []
    action: ActionWord | None = None
    on_unknown: ActionWord | None = None

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


class RuleFile(_RuleWords):
    """One rule over one subcall as it is written."""

    logsource: LogSourceFile | None = None
    detection: dict[str, Any]
    tests: list[ExampleFile] = []


class ThresholdFile(Strict):
    """How much is too much. Only what cannot become untrue again as more subcalls come: at least, or above."""

    gte: Annotated[float, Field(gt=0)] | None = None
    gt: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> ThresholdFile:
        if (self.gte is None) is (self.gt is None):
            raise ValueError("give one of `gte` and `gt`")
        return self


class CorrelationFile(Strict):
    """What several subcalls of one run show together, in the words of Sigma's correlations, and ``absence``.

    ``rules`` and ``without`` are names of rules over one subcall. ``subcalls`` and ``timespan`` are windows: so many
    subcalls, counted as they start, or so much time from start to start. Without either, the whole run.
    """

    model_config = ConfigDict(validate_by_name=True)

    type: Literal["event_count", "value_count", "value_sum", "temporal", "temporal_ordered", "absence"]
    rules: Annotated[list[Name], Field(min_length=1, max_length=MAX_PARTS)]
    without: Annotated[list[Name], Field(max_length=MAX_PARTS)] = []
    group_by: Annotated[list[Line], Field(alias="group-by", max_length=MAX_PARTS)] = []
    subcalls: Annotated[int, Field(ge=2, le=MAX_WINDOW)] | None = None
    timespan: Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,5}[smhd]$")] | None = None
    field: Line | None = None
    condition: ThresholdFile | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> CorrelationFile:
        counts = self.type in {"event_count", "value_count", "value_sum"}
        needs_field = self.type in {"value_count", "value_sum"}
        if self.subcalls and self.timespan:
            raise ValueError("give one window: `subcalls` or `timespan`")
        if counts and self.condition is None:
            raise ValueError(f"`{self.type}` needs a `condition`, such as `condition: {{gte: 5}}`")
        if not counts and self.condition is not None:
            raise ValueError(f"`{self.type}` counts nothing: it has no `condition`")
        if needs_field is (self.field is None):
            said = "needs a `field`, whose values it takes" if needs_field else "has no `field`"
            raise ValueError(f"`{self.type}` {said}")
        if self.type in {"temporal", "temporal_ordered"} and len(self.rules) < 2:
            raise ValueError(f"`{self.type}` needs two `rules` or more")
        if (self.type == "absence") is not bool(self.without):
            raise ValueError("`without` goes with `absence`: the rules of which one should have matched before")
        if len({*self.rules, *self.without}) < len(self.rules) + len(self.without):
            raise ValueError("a rule is named twice")
        return self


class RunExampleFile(Strict):
    """One test of a rule over a run: subcalls in short form, one after the other, and what the rule must say of the run.

    Subcalls in a list of their own are answered at the same time. ``at`` is the ``id`` of the subcall that it must be said
    of; without it, of any.
    """

    name: Line | None = None
    run: Annotated[list[dict[str, Any] | list[dict[str, Any]]], Field(min_length=1, max_length=MAX_EXAMPLES)]
    expect: Literal["match", "no_match", "unknown", "not_applicable"]
    at: Line | None = None


class RunRuleFile(_RuleWords):
    """One rule over the subcalls of a run as it is written."""

    correlation: CorrelationFile | None = None
    tree: TreeFile | None = None
    taint: TaintFile | None = None
    tests: list[RunExampleFile] = []

    @property
    def correlating(self) -> CorrelationFile:
        """The correlation of a rule that has one."""
        assert self.correlation is not None, "the rule is of another kind"
        return self.correlation

    @property
    def kind(self) -> str:
        """Which of the three it has."""
        return next(key for key in RUN_KINDS if getattr(self, key) is not None)

    @property
    def parts(self) -> tuple[str, ...]:
        """The rules over one subcall that it joins, and the words that stand in their place."""
        correlation = self.correlation
        if correlation is not None:
            return (*correlation.rules, *correlation.without)
        joined = self.tree or self.taint
        assert joined is not None, "a rule has one of the three"
        return joined.parts

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> RunRuleFile:
        if sum(getattr(self, key) is not None for key in RUN_KINDS) != 1:
            raise ValueError("give one of `correlation`, `tree` and `taint`")
        return self


RUN_KINDS = ("correlation", "tree", "taint")
"""What a rule over a run has one of."""


class PackFile(Strict):
    """One file: a pack. ``includes`` are packs that are loaded with it, by name or by path."""

    pack: Name
    version: Version
    engine: Annotated[int, Field(ge=1), AfterValidator(_engine)] = 1
    description: Prose = ""
    author: Line | None = None
    license: Line | None = None
    date: Day | None = None
    modified: Day | None = None
    references: list[Line] = []
    includes: list[Line] = []
    rules: Annotated[list[RuleFile], Field(max_length=MAX_RULES)] = []
    run_rules: Annotated[list[RunRuleFile], Field(max_length=MAX_RULES)] = []

    @model_validator(mode="after")
    def _has_rules(self) -> PackFile:
        if not self.rules and not self.run_rules and not self.includes:
            raise ValueError("the pack has neither `rules` nor `run_rules` nor `includes`")
        return self


class FilterFile(Strict):
    """One filter: matches of ``rules`` (names or ids) on records for which ``detection`` holds are suppressed, until
    ``expires`` (the last day on which they are).
    """

    title: Line
    id: Id
    name: Name
    reason: Prose
    author: Line
    date: Day
    expires: Day
    rules: Annotated[list[Line], Field(min_length=1)]
    references: list[Line] = []
    detection: dict[str, Any]
    tests: list[ExampleFile] = []

    @model_validator(mode="after")
    def _expires_later(self) -> FilterFile:
        if self.expires < self.date:
            raise ValueError(f"it expires on {self.expires}, before its date, {self.date}")
        return self


class FilterSetFile(Strict):
    """One file: suppressions, apart from the rules that they are about."""

    filter_set: Name
    version: Version
    engine: Annotated[int, Field(ge=1), AfterValidator(_engine)] = 1
    description: Prose = ""
    filters: Annotated[list[FilterFile], Field(min_length=1, max_length=MAX_RULES)]


class OverrideFile(Strict):
    """What a site changes of one rule (by name or id) without editing its pack, and why."""

    rule: Line
    reason: Prose
    level: LevelWord | None = None
    action: ActionWord | None = None
    on_unknown: ActionWord | None = None
    status: Literal["stable", "experimental", "test"] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> OverrideFile:
        if not self.changes:
            raise ValueError("it changes nothing: give a `level`, `action`, `on_unknown` or `status`")
        return self

    @property
    def changes(self) -> dict[str, str]:
        """What is written, by key."""
        return {key: value for key in OVERRIDABLE if (value := getattr(self, key)) is not None}


OVERRIDABLE = ("level", "action", "on_unknown", "status")


class OverrideSetFile(Strict):
    """One file: a site's overrides."""

    override_set: Name
    version: Version
    engine: Annotated[int, Field(ge=1), AfterValidator(_engine)] = 1
    description: Prose = ""
    author: Line | None = None
    date: Day | None = None
    overrides: Annotated[list[OverrideFile], Field(min_length=1, max_length=MAX_RULES)]


POLICY_FILES: dict[str, type[PackFile | FilterSetFile | OverrideSetFile]] = {
    "pack": PackFile,
    "filter_set": FilterSetFile,
    "override_set": OverrideSetFile,
}
"""The kinds of policy files, by the key that each begins with."""
