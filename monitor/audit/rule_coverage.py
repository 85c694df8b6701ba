"""Which rules ever fired over the stored traces, and which never did. Pure: traces in, figures out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from monitor.audit.evaluating import Follower
from monitor.audit.reviews import rule_key
from monitor.audit.walk import Covered
from monitor.records import Finding, RuleRef, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor.audit.walk import Trace
    from monitor.policy import PolicySet
    from monitor.store import Scanned


class Firing(StrEnum):
    """What a rule did over all traces that were looked at."""

    FIRED = "fired"
    NEVER_FIRED = "never fired"
    ONLY_UNKNOWN = "only ever unknown"
    NEVER_APPLICABLE = "never applicable"
    NEVER_RAN = "never ran"


@dataclass(slots=True)
class RuleCoverage:
    """One rule, all its versions together: ``hashes`` are those that were seen. ``last_match`` is the newest one's time."""

    name: str
    pack: str
    rule_id: str
    hashes: set[str] = field(default_factory=set)
    counts: Counter[Status] = field(default_factory=Counter)
    runs: set[str] = field(default_factory=set)
    last_match: str = ""

    @property
    def firing(self) -> Firing:
        """Which of the five it is: a rule that could not be evaluated has not been silent, and is not counted so."""
        if self.counts[Status.MATCH]:
            return Firing.FIRED
        if self.counts[Status.NO_MATCH]:
            return Firing.NEVER_FIRED
        if self.counts[Status.UNKNOWN]:
            return Firing.ONLY_UNKNOWN
        return Firing.NEVER_APPLICABLE if self.counts[Status.NOT_APPLICABLE] else Firing.NEVER_RAN

    def count(self, finding: Finding, trace: Trace, at: str) -> None:
        """Take one finding into account."""
        self.hashes.add(finding.rule_hash)
        self.counts[finding.status] += 1
        if finding.status is Status.MATCH:
            self.runs.add(trace.run_id)
            self.last_match = max(self.last_match, at)


@dataclass(slots=True)
class Coverage:
    """All rules, in the order in which they were named or first seen. ``outages`` are checks that broke as a whole."""

    covered: Covered
    rules: tuple[RuleCoverage, ...] = ()
    outages: int = 0


def recorded_coverage(refs: Sequence[RuleRef] | None, scanned: Iterable[Scanned]) -> Coverage:
    """From the recorded findings: of all rules that ran, or of those that ``refs`` names, whether or not they ran."""
    rules = {rule_key(ref): RuleCoverage(ref.name, ref.pack, ref.rule_id) for ref in refs or ()}
    result = Coverage(Covered())
    for trace in result.covered.traces(scanned, judged=True):
        assert trace.judgement is not None, "only judged traces are handed out"
        for finding in trace.judgement.findings:
            if finding.check != "rule":
                continue
            if not finding.rule_id:
                result.outages += 1
                continue
            key = rule_key(finding)
            if refs is None and key not in rules:
                rules[key] = RuleCoverage(finding.name, finding.pack, finding.rule_id)
            if key in rules:
                rules[key].count(finding, trace, trace.judgement.at)
    result.rules = tuple(rules.values())
    return result


def evaluated_coverage(rules: PolicySet, scanned: Iterable[Scanned], *, unchecked: bool = False) -> Coverage:
    """By evaluating ``rules`` anew over every trace; the time of a match is that of the answer."""
    figures = {rule_key(ref): RuleCoverage(ref.name, ref.pack, ref.rule_id) for ref in rules.refs}
    result = Coverage(Covered(), tuple(figures.values()))
    follower = Follower(rules)
    for trace in result.covered.traces(scanned, unchecked=unchecked, followers=[follower]):
        for finding in follower.findings(trace, result.covered) or ():
            if trace.is_wanted:
                figures[rule_key(finding)].count(finding, trace, trace.seen.at)
    return result
