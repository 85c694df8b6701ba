"""What the checks say of one stored subcall, as a result that can be stored. Pure, but for probes' models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from monitor import actions, checks
from monitor.audit.evaluating import carried
from monitor.checks import PolicyCheck, ProbeCheck
from monitor.records import Record, Status
from monitor.store import ScanResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.audit.rescan.job import Checks
    from monitor.audit.rescan.scores import Scores
    from monitor.checks import RunCheck
    from monitor.records import Finding, Judgement, Observation, ProbeScore
    from monitor.store import Found

_REMEMBERED = 4_096


class RulesBrokenError(Exception):
    """The rules broke as a whole; its text is the cause."""


class Evaluator:
    """The checks at work. The same subcall always has the same result, whatever came before it."""

    def __init__(self, loaded: Checks, scores: Scores | None = None, *, unchecked: bool = False) -> None:
        self._rules = PolicyCheck(loaded.rules)
        self._scores = scores
        self._unchecked = unchecked
        every = loaded.rules.every
        self._places = {("rule", rule.name): place for place, rule in enumerate(every)}
        self._count, self._all = len(loaded.rules.rules), len(every)
        for ref in loaded.prober.refs if loaded.prober else ():
            self._places["probe", ref.name] = len(self._places)
        self._known: dict[tuple[int, ...], tuple[tuple[Finding, ...], tuple[str, str, str]]] = {}

    def result(
        self, found: Found, scored: tuple[ProbeScore, ...] | None = None, over_run: RunCheck | None = None
    ) -> ScanResult:
        """What the checks say; ``scored`` is what the probes said already, where others asked them.

        ``over_run`` follows the run of the subcall, which ends now; without it rules over a run say nothing.
        """
        beside: tuple[Finding, ...] = ()
        if over_run is not None and found.call is not None and not self.looks_at(found):
            beside = over_run.skip(found.call, found.observation)
        where = found[:4]
        call, seen = found.call, found.observation
        if call is None:
            return ScanResult(*where, "failed", problem=found.problem)
        if seen is None:
            return ScanResult(*where, "unanswered")
        if not self.looks_at(found):
            loud = any(one.status is not Status.NO_MATCH for one in beside)  # what it decides of others stands on it
            return ScanResult(*where, "unchecked", *(self._weighed(seen, beside, (), checked=False) if loud else ()))
        before = found.judgement.probes if found.judgement else ()
        new: tuple[ProbeScore, ...] = ()
        if self._scores is not None:
            new = self._scores.of(found) if scored is None else scored
            before = tuple(score for score in before if score.probe not in {one.probe for one in new})
        answers = found.judgement.answers if found.judgement else ()
        record = Record.trusted(call=call, observation=seen, probes=(*before, *new), answers=answers)
        said = checks.run([self._rules], record)
        if len(said) != self._count:  # the check broke as a whole: there is one finding that says so
            raise RulesBrokenError(said[0].cause)
        if over_run is not None:
            said += over_run.see(record, said)
            if len(said) != self._all:
                raise RulesBrokenError(said[-1].cause)
        if new:
            said += checks.run([ProbeCheck()], Record.trusted(call=call, observation=seen, probes=new))
        verdict, action, findings = self._judged(seen, found.judgement, said)
        broken = [score for score in new if score.applies and score.score is None]
        if broken:
            problem = "; ".join(f"probe {score.probe}: {score.cause or 'no score'}" for score in broken)
            return ScanResult(*where, "failed", verdict, action, findings, problem)
        erased = f"{found.erased} of its texts were erased, and nothing is found in those" if found.erased else ""
        return ScanResult(*where, "done", verdict, action, findings, erased)

    def looks_at(self, found: Found) -> bool:
        """Whether the checks look at a subcall: one that came back, unless its recipe left it unchecked."""
        if found.observation is None or found.call is None:
            return False
        return found.call.checked or (self._unchecked and not found.call.is_monitors)

    def _judged(
        self, seen: Observation, judgement: Judgement | None, said: tuple[Finding, ...]
    ) -> tuple[str, str, str]:
        """(verdict, action, findings as JSON). Findings without evidence are the same few objects every time: what they
        come to is worked out once.
        """
        kept = [one for one in carried(judgement) if (one.check, one.name) not in self._places]
        if kept or any(finding.evidence or finding.elsewhere for finding in said):
            return self._weighed(seen, said, kept)
        key = tuple(map(id, said))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = said, self._weighed(seen, said, kept)  # it keeps them, and so their ids
        return known[1]

    def _weighed(
        self, seen: Observation, said: tuple[Finding, ...], kept: Sequence[Finding], *, checked: bool = True
    ) -> tuple[str, str, str]:
        judged = actions.judge(seen, (*said, *kept), checked=checked)
        spoken = [self._written(one) for one in said if one.status is not Status.NO_MATCH]
        return judged.verdict.value.value, judged.action.value, _dumps(spoken)

    def _written(self, finding: Finding) -> dict[str, object]:
        return {
            "n": self._places[finding.check, finding.name],
            "status": finding.status.value,
            "cause": finding.cause,
            "suppressed_by": finding.suppressed_by,
            "evidence": [span.model_dump() for span in finding.evidence],
            **({"elsewhere": [span.model_dump() for span in finding.elsewhere]} if finding.elsewhere else {}),
        }


def _dumps(value: object) -> str:
    """RFC 8785 of what has only texts, small whole numbers and ASCII keys."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
