"""Findings that people are to look at: which there are, and which one a person means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.audit.evaluating import Follower
from monitor.audit.reviews import rule_key
from monitor.errors import ConfigError
from monitor.records import Finding, Level, Status
from monitor.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from monitor.audit.reviews import Labels, Opinion
    from monitor.audit.walk import Covered, Trace
    from monitor.policy import PolicySet
    from monitor.store import Scanned

OF_INTEREST = frozenset({Status.MATCH, Status.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Candidate:
    """One finding on one subcall, and what people say of it so far.

    ``recorded`` is false where the run did not record this finding: the rule was evaluated now.
    """

    trace: Trace
    finding: Finding
    opinion: Opinion | None
    recorded: bool


def candidates(
    scanned: Iterable[Scanned],
    labels: Labels,
    covered: Covered,
    *,
    statuses: Collection[Status] = OF_INTEREST,
    rule: str | None = None,
    rules: PolicySet | None = None,
) -> Iterator[Candidate]:
    """Yield the findings with one of ``statuses``, of all rules or of the one named.

    Args:
        scanned: Stored subcalls.
        labels: What people said so far.
        covered: Counts what was looked at.
        statuses: What the findings say.
        rule: A rule's name or id.
        rules: Take what these rules say now; without them, what was recorded.
    """
    follower = None if rules is None else Follower(rules)
    for trace in covered.traces(scanned, judged=rules is None, followers=[follower] if follower else []):
        for finding, recorded in _findings(trace, follower, covered):
            if not trace.is_wanted:
                continue
            if finding.status in statuses and (rule is None or rule in {finding.name, finding.rule_id}):
                opinion = labels.about(trace.run_id, trace.span_id, finding)
                yield Candidate(trace, finding, opinion, recorded)


def _findings(trace: Trace, rules: Follower | None, covered: Covered) -> Iterable[tuple[Finding, bool]]:
    recorded = trace.judgement.findings if trace.judgement else ()
    if rules is None:
        return ((finding, True) for finding in recorded)
    known = {(rule_key(finding), finding.rule_hash) for finding in recorded}
    found = rules.findings(trace, covered) or ()
    return ((finding, (rule_key(finding), finding.rule_hash) in known) for finding in found)


WEIGHTS = {Level.INFORMATIONAL: 0.5, Level.LOW: 1.0, Level.MEDIUM: 2.0, Level.HIGH: 4.0, Level.CRITICAL: 8.0}
"""What a finding that acts counts in the rules' score of a subcall, by its level."""


def weight(findings: Iterable[Finding]) -> float:
    """The rules' score: the findings that act, each by its level."""
    return sum(
        WEIGHTS[finding.level]
        for finding in findings
        if finding.status is Status.MATCH and not finding.shadow and not finding.suppressed_by
    )


def score_of(trace: Trace, probe: str | None) -> float | None:
    """What was recorded of a subcall: the score of this probe, or without one of the rules; None where there is none."""
    if trace.judgement is None:
        return None
    if probe is None:
        return weight(finding for finding in trace.judgement.findings if finding.check == "rule")
    return next((one.score for one in trace.judgement.probes if one.probe == probe and one.applies), None)


def find_finding(found: Sequence[Finding], given: str) -> Finding:
    """The finding of the rule that ``given`` names: its name, or the beginning of its name or id.

    Raises:
        ConfigError: no rule is named so, or several are.
    """
    exact = [finding for finding in found if given in {finding.name, finding.rule_id}]
    named = exact or [
        finding for finding in found if given and (finding.name.startswith(given) or finding.rule_id.startswith(given))
    ]
    if len(named) == 1:
        return named[0]
    names = sorted({finding.name for finding in found})
    if named:
        raise ConfigError(
            f"{given!r} begins the names of {len(named)} rules ({', '.join(f.name for f in named)}): give more of it"
        )
    there = f"it has findings of {', '.join(names)}" if names else "it has no findings"
    raise ConfigError(f"no rule {given!r} looked at this subcall{nearest(given, names)}; {there}")
