"""Which stored traces change verdict between two sets of rules, or between what was recorded and new rules; and why.

Pure: traces in, differences out. Findings that are of no rule (of budgets and probes) are the recorded ones on both sides.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from monitor.audit.evaluating import Follower, carried, judged
from monitor.audit.evidence import Excerpt, excerpts
from monitor.audit.reviews import rule_key
from monitor.audit.sampling import Sampler
from monitor.audit.walk import Covered
from monitor.records import Finding, Status
from monitor.verdict import effective_action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from monitor.audit.walk import Trace
    from monitor.policy import PolicySet
    from monitor.records import Judgement, RuleRef
    from monitor.store import Scanned

ABSENT = "no such rule"


class Difference(NamedTuple):
    """What a rule said, and what it says now: such as ``match (flag)``, ``no_match``, ``no such rule``."""

    rule: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """A subcall whose verdict or action differs: ``before`` and ``after`` are ``verdict, action``.

    ``differences`` are the findings that differ: those that matched or could not be evaluated on one side, or all of
    them where there are none such. ``evidence`` is that of the first of them that matches, now or before.
    """

    run_id: str
    span_id: str
    role: str
    before: str
    after: str
    differences: tuple[Difference, ...]
    evidence: tuple[Excerpt, ...]


@dataclass(frozen=True, slots=True)
class RuleChanges:
    """The names of rules that only one side has, and of those that both have with another content."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(slots=True)
class Diff:
    """What changed.

    ``verdicts`` counts subcalls by (before, after), for those that changed; ``reasons`` by difference. ``quiet`` subcalls
    have findings that differ and the same verdict and action. ``examples`` are a few changes for each of ``reasons``.
    """

    covered: Covered
    rules: RuleChanges = field(default_factory=lambda: RuleChanges((), (), ()))
    changed: int = 0
    quiet: int = 0
    runs: set[str] = field(default_factory=set)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[Difference] = field(default_factory=Counter)
    examples: dict[Difference, tuple[Change, ...]] = field(default_factory=dict)


def diff(
    old: PolicySet | None,
    new: PolicySet,
    scanned: Iterable[Scanned],
    *,
    samples: int = 1,
    seed: int = 0,
    unchecked: bool = False,
    listener: Callable[[Change], None] = lambda _: None,
) -> Diff:
    """Compare two sets of rules over all that ``scanned`` hands out; without ``old``, what was recorded with ``new``.

    ``listener`` is told of every change. ``samples`` examples are kept for each reason, drawn with ``seed``.
    """
    result = Diff(Covered())
    drawn: dict[Difference, Sampler[Change]] = {}
    recorded: dict[tuple[str, str], Finding] = {}
    now, then = Follower(new), None if old is None else Follower(old)
    for trace in result.covered.traces(
        scanned,
        unchecked=unchecked and old is not None,
        judged=old is None,
        followers=[now] if then is None else [then, now],
    ):
        sides = _sides(then, now, trace, result.covered)
        if sides is None or not trace.is_wanted:
            continue
        before, after = sides
        if old is None:
            recorded.update({(rule_key(f), f.rule_hash): f for f in before.findings if f.check == "rule" and f.rule_id})
        change, is_quiet = _compare(trace, before, after)
        result.quiet += is_quiet
        if change is None:
            continue
        result.changed += 1
        result.runs.add(trace.run_id)
        result.verdicts[change.before, change.after] += 1
        for difference in change.differences:
            result.reasons[difference] += 1
            drawn.setdefault(difference, Sampler(samples, seed)).offer(trace.key, change)
        listener(change)
    result.rules = _rule_changes(old.refs if old else list(recorded.values()), new.refs)
    result.examples = {difference: sampler.items() for difference, sampler in drawn.items()}
    return result


def _sides(old: Follower | None, new: Follower, trace: Trace, covered: Covered) -> tuple[Judgement, Judgement] | None:
    """The judgements before and after; None where rules broke, which is counted."""
    others = carried(trace.judgement)
    after = new.findings(trace, covered)
    if old is None:
        assert trace.judgement is not None, "only judged traces are handed out"
        return None if after is None else (trace.judgement, judged(trace, (*after, *others)))
    if after is None:
        old.skip(trace.call, trace.seen)
        old.lose()
        return None
    before = old.findings(trace, covered)
    if before is None:
        return None
    return judged(trace, (*before, *others)), judged(trace, (*after, *others))


def _compare(trace: Trace, before: Judgement, after: Judgement) -> tuple[Change | None, bool]:
    """The change, if verdict or action differ; and whether findings differ without it."""
    old, new = _by_rule(before.findings), _by_rule(after.findings)
    differences, loud = [], []
    for key in {**old, **new}:
        one, other = old.get(key), new.get(key)
        said = Difference(_name(other or one), _said(one), _said(other))
        if said.before != said.after:
            differences.append(said)
            if _is_loud(one) or _is_loud(other):
                loud.append((said, other if other and other.evidence else one))
    words = _words(before), _words(after)
    if words[0] == words[1]:
        return None, bool(loud)
    shown = next((finding for _, finding in loud if finding and finding.evidence), None)
    change = Change(
        trace.run_id,
        trace.span_id,
        trace.call.role,
        *words,
        tuple(said for said, _ in loud) or tuple(differences),
        excerpts(trace.call, trace.seen, shown, most=1) if shown else (),
    )
    return change, False


def _by_rule(findings: Sequence[Finding]) -> Mapping[str, Finding]:
    return {rule_key(finding): finding for finding in findings}


def _name(finding: Finding | None) -> str:
    assert finding is not None, "one side has it"
    return finding.name


def _words(judgement: Judgement) -> str:
    return f"{judgement.verdict.value.value}, {judgement.action.value}"


def _is_loud(finding: Finding | None) -> bool:
    return finding is not None and finding.status in {Status.MATCH, Status.UNKNOWN}


def _said(finding: Finding | None) -> str:
    """What a finding says and what comes of it, in words that differ wherever that does."""
    if finding is None:
        return ABSENT
    if finding.status not in {Status.MATCH, Status.UNKNOWN}:
        return finding.status.value
    if finding.shadow:
        return f"{finding.status.value} (on trial)"
    if finding.suppressed_by and finding.status is Status.MATCH:
        return f"{finding.status.value} (suppressed by {finding.suppressed_by})"
    action = effective_action(finding)
    return f"{finding.status.value} ({action.value if action else 'nothing'})"


def _rule_changes(old: Sequence[RuleRef | Finding], new: Sequence[RuleRef]) -> RuleChanges:
    known: dict[str, set[str]] = {}
    for rule in old:
        known.setdefault(rule_key(rule), set()).add(rule.rule_hash)
    names = {rule_key(rule): rule.name for rule in old}
    now = {rule_key(rule): rule for rule in new}
    return RuleChanges(
        added=tuple(rule.name for key, rule in now.items() if key not in known),
        removed=tuple(name for key, name in names.items() if key not in now),
        changed=tuple(rule.name for key, rule in now.items() if key in known and known[key] != {rule.rule_hash}),
    )
