"""What a rule says of a record, and why: each clause, each selection, the condition part by part, and what follows.

The same evaluation as in a run, laid open. Nothing here decides anything: the finding is the one that the rules give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.policy import condition as conditions
from monitor.policy.clauses import ExistsClause, ReferenceClause, TextClause, ValueClause, WordClause
from monitor.policy.evaluation import says, truth_of_selection
from monitor.policy.logic import Truth, conjoin
from monitor.policy.matching import MAX_SPANS
from monitor.policy.tools.places import placed
from monitor.records import Status

if TYPE_CHECKING:
    from monitor.policy.clauses import Clause, Readings
    from monitor.policy.condition import Condition
    from monitor.policy.detection import Detection
    from monitor.policy.readings import Field
    from monitor.policy.rules import PolicySet, Rule
    from monitor.records import Finding, Record, Span
    from monitor.strict_yaml import Node


@dataclass(frozen=True, slots=True)
class ExplainedClause:
    """One line of a selection. ``saw`` says what was looked at; it may quote the record."""

    line: str
    at: int
    truth: Truth
    saw: str
    causes: tuple[str, ...] = ()
    evidence: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedAlternative:
    """Lines all of which must hold."""

    truth: Truth
    clauses: tuple[ExplainedClause, ...]


@dataclass(frozen=True, slots=True)
class ExplainedSelection:
    """A selection, any of whose alternatives must hold. ``used`` is whether the condition names it."""

    name: str
    truth: Truth
    used: bool
    alternatives: tuple[ExplainedAlternative, ...]


@dataclass(frozen=True, slots=True)
class ExplainedPart:
    """A part of the condition: ``word`` is ``and``, ``or``, ``not``, or the name of a selection."""

    word: str
    truth: Truth
    parts: tuple[ExplainedPart, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedFilter:
    """A filter that is about the rule, and whether it holds for the record. An expired one suppresses nothing."""

    name: str
    reason: str
    expires: str
    is_expired: bool
    status: Status


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the rule says of a record. ``why`` says what decides on the action that follows, or why none does."""

    rule: Rule
    finding: Finding
    selections: tuple[ExplainedSelection, ...]
    condition: ExplainedPart
    filters: tuple[ExplainedFilter, ...]
    why: str


def explain(rules: PolicySet, rule: Rule, node: Node, record: Record) -> Explanation:
    """Explain ``rule``, one of ``rules``, on a record. ``node`` is the rule's tree in its file.

    Raises:
        Exception: whatever a clause raises; in a run such a rule is unknown.
    """
    readings = rules.readings(record)
    finding = next(found for found in rules.findings(record) if found.rule_id == rule.id)
    detection = node.get("detection")
    assert detection is not None, "every rule has one"
    return Explanation(
        rule=rule,
        finding=finding,
        selections=tuple(_selections(rule.detection, detection, readings)),
        condition=_part(rule.detection.condition, rule.detection, readings),
        filters=tuple(_filters(rules, rule, readings)),
        why=_why(rule, finding),
    )


def _selections(detection: Detection, node: Node, readings: Readings) -> list[ExplainedSelection]:
    lines: dict[tuple[str, int], list[ExplainedClause]] = {}
    for one in placed(detection, node):
        lines.setdefault((one.selection, one.alternative), []).append(
            _clause(one.clause, one.line, one.mark.line, readings)
        )
    used = conditions.references(detection.condition)
    return [
        ExplainedSelection(
            name=name,
            truth=truth_of_selection(selection, lambda clause: clause.truth(readings)),
            used=name in used,
            alternatives=tuple(
                ExplainedAlternative(
                    conjoin([clause.truth for clause in lines[name, number]]), tuple(lines[name, number])
                )
                for number in range(len(selection.alternatives))
            ),
        )
        for name, selection in detection.selections.items()
    ]


def _clause(clause: Clause, line: str, at: int, readings: Readings) -> ExplainedClause:
    truth = clause.truth(readings)
    missing = Truth.ABSENT if truth is Truth.ABSENT else Truth.UNKNOWN
    causes = tuple(cause for gap, cause in clause.causes(readings) if gap is missing and cause)
    evidence = tuple(clause.evidence(readings)[:MAX_SPANS]) if truth is not Truth.ABSENT else ()
    return ExplainedClause(line, at, truth, _saw(clause, readings), causes, evidence)


def _saw(clause: Clause, readings: Readings) -> str:
    if isinstance(clause, ExistsClause):
        there = "there is something" if readings.read(clause.field).present else "there is nothing"
        return f"{there} in `{clause.field.name}`"
    if isinstance(clause, ReferenceClause):
        return f"{_contents(clause.field, readings)}; {_contents(clause.other, readings)}"
    if isinstance(clause, TextClause):
        hits = len(clause.patterns & readings.hits(clause.field)) if readings.read(clause.field).passages else 0
        return f"{_contents(clause.field, readings)}; found {hits} of {_count(len(clause.patterns), 'pattern')}"
    assert isinstance(clause, (ValueClause, WordClause))
    if isinstance(clause, ValueClause) and clause.question:
        question, said = clause.question, readings.read(clause.field)
        answer = f"the judge answers {said.values[0]}" if said.values else "there is no answer to go by"
        return f"asked of {', '.join(f'`{name}`' for name in question.reads)}: {question.text} {answer}"
    return _contents(clause.field, readings)


def _contents(field: Field, readings: Readings) -> str:
    """What could be read of a field."""
    reading = readings.read(field)
    if reading.values:
        shown = ", ".join(_value(value) for value in reading.values[:5])
        return f"`{field.name}` is {shown}{' …' if len(reading.values) > 5 else ''}"
    if not reading.passages:
        return f"`{field.name}` has nothing to look at"
    size = sum(len(passage.text) for passage in reading.passages)
    return f"looked at {_count(len(reading.passages), 'text')} of `{field.name}`, {_count(size, 'codepoint')}"


def _value(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else f"{value:g}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _part(condition: Condition, detection: Detection, readings: Readings) -> ExplainedPart:
    truth = conditions.evaluate(
        condition, lambda name: truth_of_selection(detection.selections[name], lambda clause: clause.truth(readings))
    )
    if isinstance(condition, conditions.Ref):
        return ExplainedPart(condition.name, truth)
    if isinstance(condition, conditions.Not):
        return ExplainedPart("not", truth, (_part(condition.part, detection, readings),))
    word = "and" if isinstance(condition, conditions.And) else "or"
    return ExplainedPart(word, truth, tuple(_part(part, detection, readings) for part in condition.parts))


def _filters(rules: PolicySet, rule: Rule, readings: Readings) -> list[ExplainedFilter]:
    return [
        ExplainedFilter(
            name=one.name,
            reason=one.written.reason,
            expires=one.written.expires,
            is_expired=one.is_expired,
            status=says(one.detection, lambda clause: clause.truth(readings)).status,
        )
        for one in rules.filters
        if one.is_about(rule.id, rule.name)
    ]


def _why(rule: Rule, finding: Finding) -> str:
    if finding.status is Status.NO_MATCH:
        return "everything that decides was looked at, and the condition does not hold"
    if finding.status is Status.NOT_APPLICABLE:
        return "the subcall does not have what the rule is about; this is no evidence that all is well"
    if finding.shadow:
        return "the rule is on trial (`status: test`): what it says is recorded, and it never acts"
    if finding.suppressed_by:
        return f"the filter `{finding.suppressed_by}` suppresses it: it stays a match, and only logs"
    key = "action" if finding.status is Status.MATCH else "on_unknown"
    given = f"the rule has this `{key}`" if getattr(rule.written, key) else f"that is the `{key}` of level"
    level = "" if getattr(rule.written, key) else f" {finding.level.value}"
    return f"{given}{level}{f', by the override {rule.overridden_by}' if rule.overridden_by else ''}"
