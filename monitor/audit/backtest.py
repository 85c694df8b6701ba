"""What rules would have flagged over a stored database. Pure: traces in, figures out; no model is called.

Memory grows with the number of runs (one entry for each, and for each rule one for each run in which it matched), not with
the number or length of the traces.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.audit.evaluating import Follower, judged
from monitor.audit.evidence import Excerpt, excerpts
from monitor.audit.intervals import Interval, wilson
from monitor.audit.reviews import Precision
from monitor.audit.sampling import Sampler
from monitor.audit.walk import Covered
from monitor.records import Action, FarSpan, Finding, Level, RuleRef, Status, VerdictValue
from monitor.verdict import PRECEDENCE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.audit.reviews import Labels, Opinion
    from monitor.audit.walk import Trace
    from monitor.policy import PolicySet, Rule
    from monitor.policy.over_run import RunRule
    from monitor.store import Scanned


@dataclass(frozen=True, slots=True)
class Sample:
    """One match: where, its evidence, and what people say of it (empty where nobody has).

    ``elsewhere`` is the evidence of a rule over a run that stands in other subcalls of the run.
    """

    run_id: str
    span_id: str
    role: str
    evidence: tuple[Excerpt, ...]
    label: str
    elsewhere: tuple[FarSpan, ...] = ()


@dataclass(slots=True)
class RuleFigures:
    """What one rule said. ``suppressed`` of the matches are held to be harmless by a filter.

    ``found`` and ``missed`` are subcalls on which people say that what the rule looks for is there: those that it matched,
    and those that it did not.
    """

    rule: RuleRef
    level: Level
    action: Action
    shadow: bool
    counts: Counter[Status] = field(default_factory=Counter)
    suppressed: int = 0
    runs: set[str] = field(default_factory=set)
    precision: Precision = field(default_factory=Precision)
    found: int = 0
    missed: int = 0
    samples: tuple[Sample, ...] = ()

    @property
    def recall(self) -> tuple[float, Interval] | None:
        """The share of labelled positives that it matched, with its interval; None where there are none."""
        total = self.found + self.missed
        return (self.found / total, wilson(self.found, total)) if total else None


@dataclass(slots=True)
class Backtest:
    """What came of it. ``verdicts``, ``actions`` and ``run_verdicts`` are those of these rules alone."""

    covered: Covered
    rules: tuple[RuleFigures, ...]
    verdicts: Counter[VerdictValue] = field(default_factory=Counter)
    actions: Counter[Action] = field(default_factory=Counter)
    run_verdicts: Counter[VerdictValue] = field(default_factory=Counter)
    flagged: int = 0


def backtest(
    rules: PolicySet,
    scanned: Iterable[Scanned],
    labels: Labels,
    *,
    samples: int = 3,
    seed: int = 0,
    unchecked: bool = False,
) -> Backtest:
    """Evaluate ``rules`` over all that ``scanned`` hands out.

    Args:
        rules: The rules.
        scanned: Stored subcalls.
        labels: What people said of findings.
        samples: How many matches to show of each rule, drawn with ``seed``.
        seed: Another one draws other samples.
        unchecked: Whether to look also at what its recipe left unchecked.
    """
    figures = {rule.name: _figures_of(rule) for rule in rules.every}
    drawn: dict[str, Sampler[Sample]] = {name: Sampler(samples, seed) for name in figures}
    result = Backtest(Covered(), tuple(figures.values()))
    worst: dict[str, int] = {}
    follower = Follower(rules)
    for trace in result.covered.traces(scanned, unchecked=unchecked, followers=[follower]):
        found = follower.findings(trace, result.covered)
        if found is None or not trace.is_wanted:
            continue
        judgement = judged(trace, found)
        value = judgement.verdict.value
        result.verdicts[value] += 1
        result.actions[judgement.action] += 1
        result.flagged += value in {VerdictValue.FLAG, VerdictValue.BLOCK}
        worst[trace.run_id] = max(worst.get(trace.run_id, 0), PRECEDENCE.index(value))
        for finding in found:
            opinion = labels.about(trace.run_id, trace.span_id, finding)
            _count(figures[finding.name], finding, trace, opinion)
            if finding.status is Status.MATCH and samples:
                drawn[finding.name].offer(trace.key, _sample(finding, trace, opinion))
    result.run_verdicts.update(PRECEDENCE[place] for place in worst.values())
    for name, sampler in drawn.items():
        figures[name].samples = sampler.items()
    return result


def _figures_of(rule: Rule | RunRule) -> RuleFigures:
    quiet = rule.finding(Status.NO_MATCH)
    return RuleFigures(rule.ref, quiet.level, quiet.action, quiet.shadow)


def _count(figures: RuleFigures, finding: Finding, trace: Trace, opinion: Opinion | None) -> None:
    figures.counts[finding.status] += 1
    matched = finding.status is Status.MATCH
    if matched:
        figures.suppressed += bool(finding.suppressed_by)
        figures.runs.add(trace.run_id)
        figures.precision.count(opinion)
    if opinion is not None and opinion.is_there:
        figures.found += matched
        figures.missed += not matched


def _sample(finding: Finding, trace: Trace, opinion: Opinion | None) -> Sample:
    return Sample(
        trace.run_id,
        trace.span_id,
        trace.call.role,
        excerpts(trace.call, trace.seen, finding),
        opinion.word(finding.status) if opinion else "",
        finding.elsewhere,
    )
