"""Rules at work: one record in, one finding for each rule out.

Evaluating is pure: the same rules say the same of the same record, in the order of the files. A rule that crashes is
``unknown``, alone: the others still speak.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from monitor.policy import condition as conditions
from monitor.policy import examples
from monitor.policy.clauses import TextClause
from monitor.policy.logic import Truth, conjoin, disjoin
from monitor.policy.matching import MAX_SPANS, PatternEngine
from monitor.records import Action, Finding, Level, RuleRef, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence, Set

    from monitor.policy.clauses import Clause, Readings
    from monitor.policy.detection import Detection, Selection
    from monitor.policy.fields import Field, Reading
    from monitor.policy.matching import Offsets
    from monitor.policy.schema import RuleFile
    from monitor.records import Record, Span


_SAYS = (Truth.MATCH, Truth.NO_MATCH, Truth.UNKNOWN, Truth.ABSENT)
"""All that a clause can say of a record."""

_MAX_FACTS = 4
"""How many clauses about anything but texts a rule may have, to be tried in every combination when it is loaded."""


@dataclass(frozen=True, slots=True)
class Rule:
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

    @property
    def id(self) -> str:
        """The rule's UUID."""
        return self.written.id

    @property
    def name(self) -> str:
        """The rule's name, unique in a policy set."""
        return self.written.name

    @property
    def ref(self) -> RuleRef:
        """The rule as a run's record names it."""
        return RuleRef(
            name=self.name,
            rule_id=self.id,
            rule_hash=self.rule_hash,
            pack=self.pack,
            pack_version=self.pack_version,
        )

    def finding(self, status: Status, *, evidence: Sequence[Span] = (), cause: str = "") -> Finding:
        """A finding of this rule."""
        return Finding(
            check="rule",
            name=self.name,
            status=status,
            rule_id=self.id,
            rule_hash=self.rule_hash,
            pack=self.pack,
            title=self.written.title,
            level=Level(self.written.level),
            action=Action(self.written.effective_action),
            on_unknown=Action(self.written.effective_on_unknown),
            evidence=tuple(evidence),
            cause=cause,
        )


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
    """Compiled rules, ready to evaluate. Build one with ``load``; it never changes and may be shared by threads."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules: tuple[Rule, ...] = tuple(rules)
        self.refs: tuple[RuleRef, ...] = tuple(rule.ref for rule in self.rules)
        wanted: dict[Field, set[str]] = {}
        for rule in self.rules:
            for clause in _text_clauses(rule):
                wanted.setdefault(clause.field, set()).update(clause.patterns)
        self._wanted = wanted
        self._engine = PatternEngine(pattern for patterns in wanted.values() for pattern in sorted(patterns))
        self._made: dict[tuple[str, Status, str], Finding] = {}
        self._short_ways = [(rule, _Quiet.of(rule.detection), rule.finding(Status.NO_MATCH)) for rule in self.rules]

    def findings(self, record: Record) -> tuple[Finding, ...]:
        """One finding for each rule, in the order of the rules."""
        readings = _RecordReadings(record, self._wanted, self._engine)
        whole, heard = readings.whole_and_heard()
        return tuple(
            [
                no_match
                if quiet and quiet.fields <= whole and quiet.patterns.isdisjoint(heard)
                else self._finding(rule, readings)
                for rule, quiet, no_match in self._short_ways
            ]
        )

    def run_tests(self) -> list[RuleTestResult]:
        """Run every test inside the rules, each against its own rule."""
        return [result for rule in self.rules for result in self._tests_of(rule)]

    def _tests_of(self, rule: Rule) -> Iterable[RuleTestResult]:
        for number, (test, line) in enumerate(zip(rule.written.tests, rule.test_lines, strict=True), start=1):
            readings = _RecordReadings(examples.build(test.record), self._wanted, self._engine)
            found = self._finding(rule, readings)
            yield RuleTestResult(
                rule=rule.name,
                pack=rule.pack,
                test=test.name or f"test {number}",
                expected=Status(test.expect),
                actual=found.status,
                path=rule.path,
                line=line,
                cause=found.cause,
            )

    def _finding(self, rule: Rule, readings: _RecordReadings) -> Finding:
        try:
            status, cause, evidence = _evaluate(rule.detection, readings)
        except Exception as exc:  # noqa: BLE001 - here a crash becomes a recorded unknown
            return rule.finding(Status.UNKNOWN, cause=type(exc).__name__)
        if status is Status.MATCH:
            return rule.finding(status, evidence=evidence)
        return self._without_evidence(rule, status, cause)

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

    @classmethod
    def of(cls, detection: Detection) -> _Quiet | None:
        """The short way for this detection, or None where it has none."""
        clauses = [clause for selection in detection.selections.values() for clause in selection.clauses]
        texts = [clause for clause in clauses if isinstance(clause, TextClause)]
        facts = [clause for clause in clauses if not isinstance(clause, TextClause)]
        if len(facts) > _MAX_FACTS:
            return None
        for truths in product(_SAYS, repeat=len(facts)):
            if _says(detection, _supposing(facts, truths)) is not Truth.NO_MATCH:
                return None
        return cls(
            frozenset(clause.field for clause in texts), frozenset().union(*(clause.patterns for clause in texts))
        )


class _RecordReadings:
    """One record, each field read once and each text searched once."""

    def __init__(self, record: Record, wanted: Mapping[Field, set[str]], engine: PatternEngine) -> None:
        self._record = record
        self._engine = engine
        self._read: dict[Field, Reading] = {}
        self._wanted_in: dict[str, set[str]] = {}
        self._found: dict[str, Mapping[str, Offsets]] = {}
        self._hits: dict[Field, Set[str]] = {}
        for field, patterns in wanted.items():
            reading = self._read[field] = field.read(record)
            for _, text in reading.passages:
                known = self._wanted_in.get(text)
                self._wanted_in[text] = patterns if known is None or known is patterns else known | patterns

    def read(self, field: Field) -> Reading:
        """What the field holds."""
        reading = self._read.get(field)
        if reading is None:
            reading = self._read[field] = field.read(self._record)
        return reading

    def whole_and_heard(self) -> tuple[Set[Field], Set[str]]:
        """The searched fields in which nothing is missing, and every pattern that matches in any text.

        Where a text cannot be searched nothing counts as whole: each rule that reads it then fails by itself.
        """
        try:
            found = [self.found(text) for text in self._wanted_in]
        except Exception:  # noqa: BLE001 - it is raised again for each rule that asks for that text
            return frozenset(), frozenset()
        whole = {field for field, reading in self._read.items() if reading.gap is None}
        return whole, set().union(*found)

    def hits(self, field: Field) -> Set[str]:
        """The patterns that match in any text of the field, of those that any rule wants there."""
        hits = self._hits.get(field)
        if hits is None:
            found = [self.found(passage.text) for passage in self.read(field).passages]
            hits = self._hits[field] = set().union(*found)
        return hits

    def found(self, text: str) -> Mapping[str, Offsets]:
        """The patterns that match in ``text``, of those that any rule wants there."""
        found = self._found.get(text)
        if found is None:
            found = self._found[text] = self._engine.find(text, self._wanted_in[text])
        return found


def _text_clauses(rule: Rule) -> Iterable[TextClause]:
    for selection in rule.detection.selections.values():
        yield from (clause for clause in selection.clauses if isinstance(clause, TextClause))


def _says(detection: Detection, truth_of: Callable[[Clause], Truth]) -> Truth:
    """What the condition makes of what each clause says."""
    return conditions.evaluate(detection.condition, lambda name: _truth(detection.selections[name], truth_of))


def _supposing(clauses: Sequence[Clause], truths: Sequence[Truth]) -> Callable[[Clause], Truth]:
    """That these clauses say these things, and all others ``no_match``."""
    said = {id(clause): truth for clause, truth in zip(clauses, truths, strict=True)}
    return lambda clause: said.get(id(clause), Truth.NO_MATCH)


def _truth(selection: Selection, truth_of: Callable[[Clause], Truth]) -> Truth:
    options = [_holds(clauses, truth_of) for clauses in selection.alternatives]
    return options[0] if len(options) == 1 else disjoin(options)


def _holds(clauses: Sequence[Clause], truth_of: Callable[[Clause], Truth]) -> Truth:
    truths = [truth_of(clause) for clause in clauses]
    return truths[0] if len(truths) == 1 else conjoin(truths)


def _evaluate(detection: Detection, readings: Readings) -> tuple[Status, str, Sequence[Span]]:
    """(status, cause, evidence) of one rule."""
    truth = _says(detection, lambda clause: clause.truth(readings))
    if truth is Truth.NO_MATCH:
        return Status.NO_MATCH, "", ()
    if truth is Truth.MATCH:
        return Status.MATCH, "", _evidence(detection, readings)
    return truth.status, _cause(detection, readings, truth.status), ()


def _evidence(detection: Detection, readings: Readings) -> list[Span]:
    """The spans of every clause that matched and that the condition asserts, the first ``MAX_SPANS`` of each clause."""
    names = dict.fromkeys(conditions.asserted(detection.condition))
    selections = [detection.selections[name] for name in names]
    clauses = [
        clause
        for selection in selections
        for alternative in selection.alternatives
        if _holds(alternative, lambda clause: clause.truth(readings)) is Truth.MATCH
        for clause in alternative
    ]
    return [span for clause in clauses for span in clause.evidence(readings)[:MAX_SPANS]]


def _cause(detection: Detection, readings: Readings, status: Status) -> str:
    """Why the status is unknown or not applicable: the causes that the rule's fields give for it."""
    gap = Truth.UNKNOWN if status is Status.UNKNOWN else Truth.ABSENT
    read = conditions.references(detection.condition)
    found = (readings.read(clause.field) for name in sorted(read) for clause in detection.selections[name].clauses)
    return "; ".join(dict.fromkeys(reading.cause for reading in found if reading.gap is gap and reading.cause))
