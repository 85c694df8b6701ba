"""Evaluating rules over a stored trace as the pipeline would have: the same checks, the same judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor import actions, checks
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.audit.walk import Covered, Trace
    from monitor.policy import PolicySet
    from monitor.records import Finding, Judgement


def findings_of(rules: PolicySet, trace: Trace, covered: Covered) -> tuple[Finding, ...] | None:
    """What the rules say of the trace; None, and counted as a failure, where they broke as a whole.

    A single rule that breaks is ``unknown`` by itself, as ever.
    """
    found = checks.run([checks.PolicyCheck(rules)], trace.record)
    broken = next((finding for finding in found if not finding.rule_id and finding.status is Status.UNKNOWN), None)
    if broken is None:
        return found
    covered.lose(trace, f"the rules could not be evaluated ({broken.cause})")
    return None


def carried(judgement: Judgement | None) -> tuple[Finding, ...]:
    """The recorded findings that are of no rule (of budgets and probes): other rules would have left them as they are."""
    return tuple(finding for finding in judgement.findings if finding.check != "rule") if judgement else ()


def judged(trace: Trace, findings: Sequence[Finding]) -> Judgement:
    """The judgement that these findings lead to. What its recipe left unchecked is judged as if it had not been."""
    return actions.judge(trace.seen, findings)
