"""Rules over a run: compiled from their files, and what one of them remembers of one run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from monitor.canonical import canonical_hash
from monitor.policy.compiled import CompiledRule
from monitor.policy.logic import Truth, disjoin
from monitor.policy.over_run.correlations import (
    Absent,
    Correlation,
    Counted,
    CountedEver,
    Measure,
    Ordered,
    Seen,
    Threshold,
    Together,
    TogetherEver,
    different_values,
    events,
    sum_of_values,
)
from monitor.policy.over_run.memory import Groups, Link
from monitor.policy.over_run.timeline import NO_TIME, Moment, Timeline, Window
from monitor.policy.schema import RunRuleFile
from monitor.records import FarSpan, Finding, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.policy.readings import Field, Reading
    from monitor.policy.schema import CorrelationFile
    from monitor.records import Record

LANGUAGE = 1
"""Part of every such rule's hash, as for rules over one subcall."""
MAX_KEYS = 16
"""In how many groups one subcall may be: it has several where a field has several values, as with two tool calls."""
MAX_EVIDENCE = 3
"""How many spans of one subcall the evidence keeps for later."""
_LONGEST_KEY = 128
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MEASURES: dict[str, Measure] = {
    "event_count": events,
    "value_count": different_values,
    "value_sum": sum_of_values,
}


@dataclass(frozen=True, slots=True)
class RunRule(CompiledRule[RunRuleFile]):
    """One compiled rule over a run. ``parts`` are the names of the rules that it joins, those of ``without`` last.

    Of a rule over the tree ``fields`` are those of ``same``, ``value`` that of ``share``, ``texts`` those of ``unsaid-in``;
    of one over taint ``marks`` are those of ``from``, ``texts`` those of ``into``.
    """

    written: RunRuleFile
    pack: str
    pack_version: str
    path: str
    line: int
    parts: tuple[str, ...]
    fields: tuple[Field, ...]
    value: Field | None
    window: Window
    rule_hash: str
    test_lines: tuple[int, ...] = ()
    overridden_by: str = ""
    what: Field | None = None
    texts: tuple[Field, ...] = ()
    marks: tuple[Field, ...] = ()

    def group(self) -> Correlation:
        """The empty memory of one group."""
        correlation = self.written.correlating
        if correlation.type == "temporal_ordered":
            return Ordered(self.window, len(self.parts))
        if correlation.type == "absence":
            return Absent(self.window, len(correlation.rules))
        if correlation.type == "temporal":
            return TogetherEver(len(self.parts)) if self.window.is_open else Together(self.window)
        measure, threshold = _MEASURES[correlation.type], _threshold(correlation)
        return CountedEver(measure, threshold) if self.window.is_open else Counted(self.window, measure, threshold)


def window_of(correlation: CorrelationFile) -> Window:
    """The window as it is written: ``subcalls: 20``, or ``timespan: 10m``."""
    span = correlation.timespan
    return Window(correlation.subcalls, int(span[:-1]) * _UNITS[span[-1]] if span else None)


def run_rule_hash(written: RunRuleFile, hashes: Sequence[str]) -> str:
    """SHA-256 over what decides: as for other rules, with the hashes of the rules that are joined."""
    content: dict[str, Any] = {
        "run_language": LANGUAGE,
        "id": written.id,
        "level": written.level,
        "action": written.effective_action.value,
        "on_unknown": written.effective_on_unknown.value,
        written.kind: getattr(written, written.kind).model_dump(by_alias=True, exclude_defaults=True),
        "rules": list(hashes),
    }
    if written.status in {"test", "unsupported"}:
        content["status"] = written.status
    return canonical_hash(content)


def _threshold(correlation: CorrelationFile) -> Threshold:
    condition = correlation.condition
    assert condition is not None, "the schema asks for it"
    if condition.gte is not None:
        return Threshold(condition.gte)
    assert condition.gt is not None, "the schema asks for one of the two"
    return Threshold(condition.gt, above=True)


class RunRuleMemory:
    """What one rule remembers of one run."""

    def __init__(self, rule: RunRule) -> None:
        self.rule = rule
        self._groups: Groups[Any] = Groups(rule.group)
        self._unplaced: float | None = None
        self._silent = {status: rule.finding(status) for status in (Status.NO_MATCH, Status.NOT_APPLICABLE)}

    def see(
        self,
        moment: Moment,
        timeline: Timeline,
        found: Mapping[str, Finding],
        record: Record,
        read: Callable[[Field], Reading],
    ) -> Finding:
        """What the rule says of one more subcall. ``found`` has what the rules over one subcall say of it, by name."""
        rule = self.rule
        if rule.written.status == "unsupported":
            return rule.finding(Status.NOT_APPLICABLE, cause="the rule is marked as unsupported")
        findings = [found.get(name) for name in rule.parts]
        parts = tuple(map(_truth, findings))
        if all(part is Truth.ABSENT for part in parts):
            return self._silent[Status.NOT_APPLICABLE]
        if Truth.MATCH not in parts and Truth.UNKNOWN not in parts:
            return self._silent[Status.NO_MATCH]
        place = rule.window.place(moment)
        keys, cause = group_keys(rule.fields, read)
        if place == NO_TIME:
            cause = "when the subcall began is not known"
        if cause:
            if self._could_decide(parts):
                last = float("inf") if place == NO_TIME else place
                self._unplaced = last if self._unplaced is None else max(self._unplaced, last)
            return rule.finding(Status.UNKNOWN, cause=cause)
        if not keys:
            return self._silent[Status.NOT_APPLICABLE]
        evidence = tuple(span for one in findings if one for span in one.evidence)
        seen = Seen(moment, parts, Link(record.call.span_id, evidence[:MAX_EVIDENCE]), self._values(read))
        answers = [self._answer(key, seen, timeline) for key in keys]
        status = disjoin([truth for truth, _, _ in answers]).status
        if status is Status.NO_MATCH:
            return self._silent[status]
        links, cause = next((links, cause) for truth, links, cause in answers if truth.status is status)
        here = record.call.span_id
        return rule.finding(
            status,
            evidence=evidence if any(link.span_id == here for link in links) else (),
            elsewhere=[span for link in links if link.span_id != here for span in _far(link)],
            cause=cause,
        )

    def _could_decide(self, parts: Sequence[Truth]) -> bool:
        """Whether a subcall of which the parts say this could make a difference to what is said of a later one."""
        correlation = self.rule.written.correlating
        others = parts[len(correlation.rules) :] if correlation.type == "absence" else parts
        return any(one in {Truth.MATCH, Truth.UNKNOWN} for one in others)

    def lose(self) -> None:
        """A subcall of the run was not seen, of whatever group, and wherever it stood."""
        self._unplaced = float("inf")

    def _answer(self, key: object, seen: Seen, timeline: Timeline) -> tuple[Truth, tuple[Link, ...], str]:
        place = self.rule.window.place(seen.moment)
        group = self._groups.at(key, place)
        truth, links = group.add(seen, timeline)
        doubtful = Truth.MATCH if self.rule.written.correlating.type == "absence" else Truth.NO_MATCH
        if truth is doubtful and group.completes(seen):
            if group.lost is not None and self.rule.window.holds(group.lost, place):
                return Truth.UNKNOWN, (), f"more than {len(self._groups):,} groups: the state of some was dropped"
            if self._unplaced is not None and self.rule.window.holds(self._unplaced, place):
                return Truth.UNKNOWN, (), "the group of an earlier subcall could not be read"
        return truth, links, "an earlier part is unknown" if truth is Truth.UNKNOWN else ""

    def _values(self, read: Callable[[Field], Reading]) -> tuple[str | float | None, ...]:
        field = self.rule.value
        if field is None:
            return ()
        reading = read(field)
        values: list[str | float | None] = [_short(value) for value in _all_values(reading)]
        return (*values, None) if reading.gap is Truth.UNKNOWN else tuple(values)


def _truth(finding: Finding | None) -> Truth:
    """What a part says: a match that a filter holds to be harmless is none, and a rule that was not evaluated is absent."""
    if finding is None or finding.status is Status.NOT_APPLICABLE:
        return Truth.ABSENT
    if finding.status is Status.MATCH:
        return Truth.NO_MATCH if finding.suppressed_by else Truth.MATCH
    return Truth.UNKNOWN if finding.status is Status.UNKNOWN else Truth.NO_MATCH


def group_keys(fields: Sequence[Field], read: Callable[[Field], Reading]) -> tuple[list[tuple[Any, ...]], str]:
    """The groups that the subcall is in, one value of each field; or why that cannot be said. None without a value."""
    values: list[list[Any]] = []
    for field in fields:
        reading = read(field)
        if reading.gap is Truth.UNKNOWN:
            return [], f"`{field.name}` cannot be read, by which subcalls are grouped"
        values.append(list(dict.fromkeys(map(_short, _all_values(reading)))))
    keys = [key for key, _ in zip(product(*values), range(MAX_KEYS + 1), strict=False)]
    if len(keys) > MAX_KEYS:
        return [], f"the subcall is in more than {MAX_KEYS} groups"
    return keys, ""


def _all_values(reading: Reading) -> list[Any]:
    return [*reading.values, *(passage.text for passage in reading.passages if passage.text)]


def _short(value: Any) -> Any:
    """A value to be remembered: a long text by its hash."""
    if isinstance(value, str) and len(value) > _LONGEST_KEY:
        return "sha256:" + hashlib.sha256(value.encode()).hexdigest()
    return value


def _far(link: Link) -> list[FarSpan]:
    """What another subcall showed; the subcall as a whole where no text did."""
    spans = [FarSpan(span_id=link.span_id, **span.__dict__) for span in link.evidence]
    return spans or [FarSpan(span_id=link.span_id)]
