"""Rules at work: one record in, one finding for each rule out.

Evaluating is pure: the same rules say the same of the same record, in the order of the files. A rule that crashes is
``unknown``, alone: the others still speak.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.canonical import canonical_hash
from monitor.policy import examples
from monitor.policy.clauses import TextClause
from monitor.policy.compiled import CompiledRule
from monitor.policy.evaluation import evaluate, says, supposing
from monitor.policy.judges.needed import next_question, questions_of
from monitor.policy.logic import Truth
from monitor.policy.matching import TEXT_CAP, engine_of
from monitor.policy.over_run import run_examples
from monitor.policy.over_run.watch import RunWatch
from monitor.policy.record_readings import Heard, RecordReadings
from monitor.policy.schema import RuleFile
from monitor.records import Finding, RuleRef, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.policy.detection import Detection
    from monitor.policy.filters import Filter
    from monitor.policy.judges.question import Question
    from monitor.policy.over_run.run_rules import RunRule
    from monitor.policy.readings import Field
    from monitor.records import FilterRef, Record


LANGUAGE = 1
"""Part of every rule's hash: a later version that gives the same words another meaning has another number."""

_SAYS = (Truth.MATCH, Truth.NO_MATCH, Truth.UNKNOWN, Truth.ABSENT)
"""All that a clause can say of a record."""

_MAX_FACTS = 4
"""How many clauses about anything but texts a rule may have, to be tried in every combination when it is loaded."""


@dataclass(frozen=True, slots=True)
class Rule(CompiledRule[RuleFile]):
    """One compiled rule. ``written`` is the rule as its author wrote it, ``path`` and ``line`` where, ``test_lines`` where
    each of its tests begins.

    ``rule_hash`` covers what decides (detection, condition, level, actions, id), not tests, texts or comments.
    """

    written: RuleFile
    pack: str
    pack_version: str
    path: str
    line: int
    detection: Detection
    rule_hash: str
    test_lines: tuple[int, ...] = ()
    overridden_by: str = ""

    def inapplicable(self, record: Record) -> str:
        """Why the rule has nothing to say of this record, whatever its detection makes of it; "" where it has."""
        if self.written.status == "unsupported":
            return "the rule is marked as unsupported"
        source = self.written.logsource
        if source and source.service not in {None, record.call.kind}:
            return f"the rule is about answers of a {source.service}"
        if source and source.product not in {None, record.call.adapter}:
            return f"the rule is about records that came in through {source.product}"
        return ""


@dataclass(frozen=True, slots=True)
class RuleTestResult:
    """What came of one test inside a rule."""

    rule: str
    pack: str
    test: str
    expected: Status
    actual: Status
    path: str
    line: int
    cause: str = ""

    @property
    def passed(self) -> bool:
        """Whether the rule said what its author expected."""
        return self.expected is self.actual


class PolicySet:
    """Compiled rules, ready to evaluate. Build one with ``load``; it never changes and may be shared by threads.

    Of each text the first ``cap`` codepoints are read; where nothing is found in them, the rest makes the answer unknown.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        filters: Iterable[Filter] = (),
        run_rules: Iterable[RunRule] = (),
        *,
        cap: int = TEXT_CAP,
    ) -> None:
        self.rules: tuple[Rule, ...] = tuple(rules)
        self.run_rules: tuple[RunRule, ...] = tuple(run_rules)
        self.every: tuple[Rule | RunRule, ...] = (*self.rules, *self.run_rules)
        self.refs: tuple[RuleRef, ...] = tuple(rule.ref for rule in self.every)
        self.filters: tuple[Filter, ...] = tuple(filters)
        self.filter_refs: tuple[FilterRef, ...] = tuple(one.ref for one in self.filters)
        self._filters_of = {
            rule.id: active
            for rule in self.every
            if (active := [one for one in self.filters if not one.is_expired and one.is_about(rule.id, rule.name)])
        }
        wanted: dict[Field, set[str]] = {}
        for detection in [*(rule.detection for rule in self.rules), *(one.detection for one in self.filters)]:
            for clause in _text_clauses(detection):
                wanted.setdefault(clause.field, set()).update(clause.patterns)
        self._wanted = wanted
        patterns = (pattern for patterns in wanted.values() for pattern in sorted(patterns))
        self._engine = engine_of(tuple(patterns), cap)
        self._made: dict[tuple[str, Status, str], Finding] = {}
        self._silent: dict[tuple[str, tuple[tuple[Field, str], ...]], Finding] = {}
        self._asking = tuple(rule for rule in self.rules if questions_of(rule.detection))
        self._short_ways = [(rule, _Quiet.of(rule), rule.finding(Status.NO_MATCH)) for rule in self.rules]

    def findings(self, record: Record) -> tuple[Finding, ...]:
        """One finding for each rule, in the order of the rules."""
        readings = self.readings(record)
        heard = readings.heard()
        return tuple(
            [
                no_match
                if quiet and quiet.fields <= heard.whole and quiet.patterns.isdisjoint(heard.patterns)
                else self._unless_silent(rule, quiet, readings, heard)
                for rule, quiet, no_match in self._short_ways
            ]
        )

    def _unless_silent(self, rule: Rule, quiet: _Quiet | None, readings: RecordReadings, heard: Heard) -> Finding:
        """The finding of a rule. Where it looks at texts alone, none of its patterns is anywhere, and what is missing is
        absent, that decides what it says: then it is made once.
        """
        if quiet is None or quiet.has_facts or not quiet.patterns.isdisjoint(heard.patterns):
            return self._finding(rule, readings)
        rest = quiet.fields - heard.whole
        if not rest <= heard.absent.keys():
            return self._finding(rule, readings)
        key = (rule.name, tuple([(field, heard.absent[field]) for field in rest]))
        found = self._silent.get(key)
        if found is None:
            found = self._finding(rule, readings)
            if found.status is not Status.MATCH:  # what a filter says of a match is of this record alone
                self._silent[key] = found
        return found

    @property
    def asks(self) -> bool:
        """Whether any rule asks a judge anything."""
        return bool(self._asking)

    def questions(self, record: Record) -> tuple[Question, ...]:
        """The questions to ask a judge next: of each rule the first whose answer can change what the rule says of the
        record, given the answers that it has. A rule that breaks asks nothing: it is unknown whatever a judge says.
        """
        asking = [rule for rule in self._asking if not rule.inapplicable(record)]
        readings = self.readings(record) if asking else None
        found: dict[Question, None] = {}
        for rule in asking:
            assert readings is not None
            with suppress(Exception):
                if question := next_question(rule.detection, readings, record):
                    found[question] = None
        return tuple(found)

    def filters_about(self, rule: Rule | RunRule) -> tuple[Filter, ...]:
        """The filters that can suppress a match of the rule today."""
        return tuple(self._filters_of.get(rule.id, ()))

    def watch(self) -> RunWatch:
        """The rules over a run, for one run that begins."""
        return RunWatch(self, self.run_rules)

    def readings(self, record: Record) -> RecordReadings:
        """The record as the rules read it: each field once, each text searched once."""
        return RecordReadings(record, self._wanted, self._engine)

    def run_tests(self) -> list[RuleTestResult]:
        """Run every test inside the rules and filters, each against its own rule or filter. A filter that suppresses says
        ``match``.
        """
        of_rules = [result for rule in self.rules for result in self._tests_of(rule, rule.pack)]
        of_runs = [result for rule in self.run_rules for result in self._run_tests_of(rule)]
        return [
            *of_rules,
            *of_runs,
            *(result for one in self.filters for result in self._tests_of(one, one.filter_set)),
        ]

    def _tests_of(self, part: Rule | Filter, pack: str) -> Iterable[RuleTestResult]:
        for number, (test, line) in enumerate(zip(part.written.tests, part.test_lines, strict=True), start=1):
            readings = self.readings(examples.build(test.record))
            if isinstance(part, Rule):
                found = self._finding(part, readings)
                actual, cause = found.status, found.cause
            else:
                actual, cause, _ = evaluate(part.detection, readings)
            yield RuleTestResult(
                rule=part.name,
                pack=pack,
                test=test.name or f"test {number}",
                expected=Status(test.expect),
                actual=actual,
                path=part.path,
                line=line,
                cause=cause,
            )

    def _run_tests_of(self, rule: RunRule) -> Iterable[RuleTestResult]:
        for number, (test, line) in enumerate(zip(rule.written.tests, rule.test_lines, strict=True), start=1):
            said = run_examples.said_of(rule, test, self.findings, lambda: RunWatch(self, [rule]))
            yield RuleTestResult(
                rule=rule.name,
                pack=rule.pack,
                test=test.name or f"test {number}",
                expected=Status(test.expect),
                actual=said.status,
                path=rule.path,
                line=line,
                cause=said.cause,
            )

    def _finding(self, rule: Rule, readings: RecordReadings) -> Finding:
        if inapplicable := rule.inapplicable(readings.record):
            return self._without_evidence(rule, Status.NOT_APPLICABLE, inapplicable)
        try:
            status, cause, evidence = evaluate(rule.detection, readings)
        except Exception as exc:  # noqa: BLE001 - here a crash becomes a recorded unknown
            return rule.finding(Status.UNKNOWN, cause=type(exc).__name__)
        if status is Status.MATCH:
            return rule.finding(status, evidence=evidence, suppressed_by=self._suppressing(rule.id, readings))
        return self._without_evidence(rule, status, cause)

    def suppressing(self, rule_id: str, record: Record) -> str:
        """The name of the filter that holds a match of this rule on this record to be harmless; "" where none does."""
        return self._suppressing(rule_id, self.readings(record)) if rule_id in self._filters_of else ""

    def _suppressing(self, rule_id: str, readings: RecordReadings) -> str:
        """The name of the first filter that certainly holds the match to be harmless; a filter that breaks does not."""
        for one in self._filters_of.get(rule_id, ()):
            try:
                status, _, _ = evaluate(one.detection, readings)
            except Exception:  # noqa: BLE001, S112 - what breaks suppresses nothing, and so the rule acts
                continue
            if status is Status.MATCH:
                return one.name
        return ""

    def _without_evidence(self, rule: Rule, status: Status, cause: str) -> Finding:
        """Such findings are few and frozen (causes are the fields' own words): each is made once."""
        key = (rule.name, status, cause)
        if key not in self._made:
            self._made[key] = rule.finding(status, cause=cause)
        return self._made[key]


class _Quiet(NamedTuple):
    """The short way to the usual answer, for a rule that says ``no_match`` wherever none of its patterns is anywhere and
    nothing is missing, whatever else is true of the record. Most rules on most records end here.
    """

    fields: frozenset[Field]
    patterns: frozenset[str]
    has_facts: bool

    @classmethod
    def of(cls, rule: Rule) -> _Quiet | None:
        """The short way for this rule, or None where it has none."""
        detection = rule.detection
        if rule.written.logsource or rule.written.status == "unsupported":
            return None
        clauses = [clause for selection in detection.selections.values() for clause in selection.clauses]
        texts = [clause for clause in clauses if isinstance(clause, TextClause)]
        facts = [clause for clause in clauses if not isinstance(clause, TextClause)]
        if len(facts) > _MAX_FACTS:
            return None
        for truths in product(_SAYS, repeat=len(facts)):
            if says(detection, supposing(facts, truths)) is not Truth.NO_MATCH:
                return None
        return cls(
            frozenset(clause.field for clause in texts),
            frozenset().union(*(clause.patterns for clause in texts)),
            bool(facts),
        )


def rule_hash(written: RuleFile, detection: Detection) -> str:
    """SHA-256 over what decides: id, level, actions, detection, and what a rule is about or holds back from acting."""
    content: dict[str, Any] = {
        "language": LANGUAGE,
        "id": written.id,
        "level": written.level,
        "action": written.effective_action.value,
        "on_unknown": written.effective_on_unknown.value,
        "detection": detection.content,
    }
    if written.status in {"test", "unsupported"}:
        content["status"] = written.status
    if written.logsource:
        content["logsource"] = written.logsource.model_dump(exclude={"definition"}, exclude_none=True)
    return canonical_hash(content)


def _text_clauses(detection: Detection) -> Iterable[TextClause]:
    for selection in detection.selections.values():
        yield from (clause for clause in selection.clauses if isinstance(clause, TextClause))
