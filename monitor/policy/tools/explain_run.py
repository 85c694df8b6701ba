"""What a rule over a run says of a run, and why: which subcalls have a part in it, in which group, and what is missing.

The findings are those that the rule gives. What is said to be missing is worked out anew, subcall by subcall, from the
definition of the correlation: slowly, for a person who reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.policy.over_run.run_rules import MAX_KEYS, group_keys
from monitor.policy.over_run.timeline import Moment, Timeline
from monitor.policy.over_run.watch import RunWatch
from monitor.policy.run_schema import ANY, UNCHECKED
from monitor.policy.tools.explain_joined import missing_in_taint, missing_in_tree
from monitor.records import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from monitor.policy.over_run import RunRule
    from monitor.policy.rules import PolicySet
    from monitor.records import Call, Observation, Record

_COUNTS = {"event_count", "value_count", "value_sum"}


@dataclass(frozen=True, slots=True)
class RunStep:
    """Something that happens in a run: a subcall begins (``is_end`` false), or is judged. One of which there is no record,
    for it was left unchecked or has not come back, shows nothing.
    """

    is_end: bool
    call: Call
    record: Record | None = None
    name: str = ""
    observation: Observation | None = None


@dataclass(frozen=True, slots=True)
class ExplainedSubcall:
    """One subcall of which a part of the rule says ``match`` or ``unknown``.

    ``name`` is its name in a test, else empty. ``number`` counts the run's subcalls as they begin, from 1. ``parts`` is
    what each part says; ``groups`` the groups that it is in, in words; ``missing`` why no match ends here.
    """

    span_id: str
    role: str
    name: str
    number: int
    at: str
    parts: Mapping[str, Status]
    groups: tuple[str, ...]
    finding: Finding
    missing: str


@dataclass(frozen=True, slots=True)
class RunExplanation:
    """What the rule says of a run. ``subcalls`` are those with a part in it, ``others`` counts the rest."""

    rule: RunRule
    subcalls: tuple[ExplainedSubcall, ...]
    others: int

    @property
    def status(self) -> Status:
        """The first of match, unknown and no match that is said of any subcall."""
        said = {one.finding.status for one in self.subcalls}
        return next((status for status in (Status.MATCH, Status.UNKNOWN) if status in said), Status.NO_MATCH)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A subcall with a part in the rule, as the explanation looks back at it."""

    moment: Moment
    label: str
    parts: Mapping[str, Status]
    keys: frozenset[tuple[Any, ...]]

    def matches(self, part: str) -> bool:
        return self.parts[part] is Status.MATCH


def explain_run(rules: PolicySet, rule: RunRule, steps: Iterable[RunStep]) -> RunExplanation:
    """Explain ``rule``, one of ``rules``, on a run as its log has it."""
    watch, timeline = RunWatch(rules, [rule]), Timeline()
    seen: list[_Seen] = []
    explained: list[ExplainedSubcall] = []
    others = 0
    for step in steps:
        if not step.is_end:
            watch.begin(step.call)
            timeline.begin(step.call)
            continue
        moment = timeline.see(step.call)
        found: Sequence[Finding] = ()
        if step.record is None:
            said = watch.skip(step.call, step.observation)
            if not any(finding.status in {Status.MATCH, Status.UNKNOWN} for finding in said):
                others += 1
                continue
            finding = said[0]
        else:
            found = rules.findings(step.record)
            (finding,) = watch.see(step.record, found)
        by_name = {one.name: one for one in found}
        parts = {name: _part(name, by_name, is_checked=step.record is not None) for name in rule.parts}
        if not {Status.MATCH, Status.UNKNOWN} & {*parts.values(), finding.status}:
            others += 1
            continue
        keys: Sequence[tuple[Any, ...]] = []
        if rule.written.correlation:
            keys, _ = group_keys(rule.fields, lambda field, record=step.record: field.read(record))  # type: ignore[misc]
        label = step.name or f"{step.call.role} {step.call.span_id[:8]}"
        one = _Seen(moment, label, parts, frozenset(keys[:MAX_KEYS]))
        missing = "" if finding.status is Status.MATCH else finding.cause or _missing(rule, one, seen)
        seen.append(one)
        explained.append(
            ExplainedSubcall(
                step.call.span_id,
                step.call.role,
                step.name,
                moment.number + 1,
                step.call.at,
                parts,
                tuple(_group(rule, key) for key in sorted(keys, key=repr)),
                finding,
                missing,
            )
        )
    return RunExplanation(rule, tuple(explained), others)


def _part(name: str, found: Mapping[str, Finding], *, is_checked: bool) -> Status:
    if name in found:
        return _status(found[name])
    if name == UNCHECKED:
        return Status.NO_MATCH if is_checked else Status.MATCH
    return Status.MATCH if name == ANY and is_checked else Status.NOT_APPLICABLE


def _status(finding: Finding) -> Status:
    return Status.NO_MATCH if finding.status is Status.MATCH and finding.suppressed_by else finding.status


def _group(rule: RunRule, key: Sequence[Any]) -> str:
    pairs = [f"{field.name} {value!r}" for field, value in zip(rule.fields, key, strict=True)]
    return ", ".join(pairs)


def _missing(rule: RunRule, last: _Seen, earlier: Sequence[_Seen]) -> str:
    """Why the correlation does not match at ``last``, in a sentence."""
    if rule.written.tree:
        return missing_in_tree(rule.written.tree, last.parts)
    if rule.written.taint:
        return missing_in_taint(rule.written.taint, last.parts)
    correlation = rule.written.correlating
    where = _where(rule)
    if rule.fields and not last.keys:
        return f"it is in no group: it has no {' and '.join(f'`{field.name}`' for field in rule.fields)}"
    near = [one for one in earlier if one.keys & last.keys and _is_near(rule, one, last)]
    before = [one for one in near if one.moment.seen < last.moment.began]
    if correlation.type == "absence":
        if not any(last.matches(part) for part in correlation.rules):
            return "it is what was asked for, and nothing is missing for it"
        came = next((one for one in reversed(before) if any(map(one.matches, correlation.without))), None)
        return f"{came.label} came before it{where}" if came else ""
    if correlation.type in _COUNTS:
        limit = correlation.condition
        assert limit is not None, "the schema asks for it"
        least = f"at least {limit.gte:g}" if limit.gte is not None else f"more than {limit.gt:g}"
        count = sum(any(map(one.matches, rule.parts)) for one in [*near, last])
        return f"{count} such subcall{'' if count == 1 else 's'}{where} so far; the rule asks for {least} {_what(rule)}"
    if correlation.type == "temporal":
        lacking = [part for part in rule.parts if not any(one.matches(part) for one in [*near, last])]
        return f"no {_either(lacking)}{where} until now" if lacking else f"they are there, and not all{where} together"
    *firsts, final = rule.parts
    if not last.matches(final):
        return f"it is no `{final}`, with which the rule ends"
    lacking = [part for part in firsts if not any(one.matches(part) for one in before)]
    if not lacking:
        return f"they are there, and not one before the other{where}"
    overlapping = [one for one in near if one not in before and any(map(one.matches, lacking))]
    also = f"; {overlapping[-1].label} was under way at the same time" if overlapping else ""
    return f"no {_either(lacking)} was judged before it began{where}{also}"


def _either(parts: Sequence[str]) -> str:
    return " and no ".join(f"`{part}`" for part in parts)


def _what(rule: RunRule) -> str:
    correlation = rule.written.correlating
    words = {
        "event_count": "",
        "value_count": f"different `{correlation.field}`",
        "value_sum": f"`{correlation.field}` in sum",
    }
    return words[correlation.type].strip() or "of them"


def _where(rule: RunRule) -> str:
    correlation = rule.written.correlating
    group = " in its group" if rule.fields else ""
    if correlation.subcalls:
        return f"{group} within {correlation.subcalls} subcalls"
    return f"{group} within {correlation.timespan}" if correlation.timespan else group


def _is_near(rule: RunRule, one: _Seen, last: _Seen) -> bool:
    places = sorted([rule.window.place(one.moment), rule.window.place(last.moment)])
    return rule.window.holds(places[0], places[1])
