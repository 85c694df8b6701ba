"""Evaluating rules over a stored trace as the pipeline would have: the same checks, the same judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor import actions, checks
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.audit.walk import Covered, Trace
    from monitor.policy import PolicySet
    from monitor.records import Call, Finding, Judgement, Observation


class Follower:
    """What rules say of stored subcalls: of each by itself, and of those of a run together, as its log has them.

    Rules over a run need every subcall of it, run after run: ``needs_runs`` says whether there are such rules, and then
    what is handed to ``Covered.traces`` must be a scan by runs. Then it tells the follower what happens, in the order of
    the log, and the findings are those that a live run would have had.
    """

    def __init__(self, rules: PolicySet) -> None:
        self.rules = rules
        self.needs_runs = bool(rules.run_rules)
        self._check = checks.PolicyCheck(rules)
        self._over_run: checks.RunCheck | None = None
        self._beside: tuple[Finding, ...] = ()  # what was said of the last one that was skipped

    def enter(self) -> None:
        """Another run begins."""
        self._over_run = checks.RunCheck(self.rules) if self.needs_runs else None

    def begin(self, call: Call) -> None:
        """A subcall begins."""
        if self._over_run:
            self._over_run.begin(call)

    def skip(self, call: Call, seen: Observation | None) -> tuple[Finding, ...]:
        """A subcall ends at which nobody looks. What it spent counts; rules about such subcalls say what they find."""
        self._beside = self._over_run.skip(call, seen) if self._over_run else ()
        return self._beside

    def lose(self) -> None:
        """A subcall cannot be read back."""
        if self._over_run:
            self._over_run.lose()

    def findings(self, trace: Trace, covered: Covered) -> tuple[Finding, ...] | None:
        """What the rules say of the trace; None, and counted as a failure, where they broke as a whole.

        A single rule that breaks is ``unknown`` by itself, as ever. Of a trace that its recipe left unchecked it is what
        was said when it was skipped.
        """
        if not trace.checked:
            return self._beside
        record = trace.record
        found = checks.run([self._check], record)
        if self._over_run:
            if _broken(found):
                self._over_run.skip(trace.call)
                self._over_run.lose()
            else:
                found += self._over_run.see(record, found)
        broken = _broken(found)
        if broken is None:
            return found
        covered.lose(trace, f"the rules could not be evaluated ({broken.cause})")
        return None


def _broken(found: Sequence[Finding]) -> Finding | None:
    return next((finding for finding in found if not finding.rule_id and finding.status is Status.UNKNOWN), None)


def carried(judgement: Judgement | None) -> tuple[Finding, ...]:
    """The recorded findings that are of no rule (of budgets and probes): other rules would have left them as they are."""
    return tuple(finding for finding in judgement.findings if finding.check != "rule") if judgement else ()


def judged(trace: Trace, findings: Sequence[Finding]) -> Judgement:
    """The judgement that these findings lead to. What is looked at although its recipe left it unchecked is judged as if it
    had not been; what only rules about unchecked subcalls look at is judged as it was.
    """
    return actions.judge(trace.seen, findings, checked=trace.checked)
