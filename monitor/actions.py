"""From findings to what happens: which action is taken, how the subcall ends, and who may see its answer.

``enforce`` stands between a judged subcall and whoever asked: it is called on the way out of the pipeline, and again
when a stored judgement is replayed, so that a resumed run is stopped by what stopped it before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor import verdict
from monitor.errors import Blocked, BudgetExceeded, Halted, Rejected, SubcallCancelled, SubcallError, SubcallFailed
from monitor.records import Action, Judgement, Outcome, now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.records import Finding, Observation, Record

STRENGTH = (Action.LOG, Action.FLAG, Action.REDACT, Action.WITHHOLD, Action.ASK_HUMAN, Action.HALT)
_WITHHELD_OUTCOMES = frozenset({Outcome.OK, Outcome.BUDGET_EXCEEDED})


def judge(observation: Observation, findings: Sequence[Finding]) -> Judgement:
    """Judge one observation by its findings. Pure, but for the time stamp.

    The strongest action that any finding asks for is taken. A subcall that has something to release (an answer, or part
    of one) and may not release it ends as ``blocked``; one that failed or was cancelled stays what it was (and the message
    of its error is withheld: see ``enforce``).
    """
    asked = {action for finding in findings if (action := verdict.effective_action(finding))}
    action = max(asked, key=STRENGTH.index, default=Action.LOG)
    blocked = action in verdict.BLOCKING and observation.outcome in _WITHHELD_OUTCOMES
    return Judgement(
        findings=tuple(findings),
        verdict=verdict.of_findings(findings),
        action=action,
        outcome=Outcome.BLOCKED if blocked else observation.outcome,
        at=now(),
    )


def enforce(record: Record, judgement: Judgement) -> None:
    """Return if the answer may be released, else raise what the subcall ended in.

    Raises:
        Halted: a finding stops the whole run (also where the subcall itself had nothing to release).
        Blocked: a finding withholds the answer.
        BudgetExceeded, SubcallFailed, SubcallCancelled, Rejected: the subcall ended so.
    """
    call, seen = record.call, record.observation
    where = {"run_id": call.run_id, "span_id": call.span_id}
    who = f"{call.role} ({call.span_id})"
    if judgement.action is Action.HALT:
        raise Halted(f"{who} halted the run: {_because(judgement)}", judgement, **where)
    if judgement.outcome is Outcome.OK:
        return
    error: SubcallError
    if judgement.outcome is Outcome.BLOCKED:
        error = Blocked(f"the answer of {who} was withheld: {_because(judgement)}", judgement, **where)
    elif judgement.outcome is Outcome.BUDGET_EXCEEDED:
        limits = "; ".join(str(item) for item in seen.exceeded)
        error = BudgetExceeded(f"{who} exceeded its budget: {limits}", seen.exceeded, partial=seen, **where)
    elif judgement.outcome is Outcome.REJECTED:
        error = Rejected(f"a human rejected the answer of {who}", **where)
    elif judgement.outcome is Outcome.CANCELLED:
        error = SubcallCancelled(f"{who} was cancelled", **where)
    else:
        problem = f"{seen.error.kind}: {seen.error.message}" if seen.error else "no reason was recorded"
        if seen.error and judgement.action in verdict.BLOCKING:
            # The message is text from outside, and a check says that nobody may have it.
            problem = f"{seen.error.kind}: its message was withheld: {_because(judgement)}"
        error = SubcallFailed(f"{who} failed: {problem}", **where)
    raise error


def _because(judgement: Judgement) -> str:
    found = judgement.verdict
    parts = []
    if found.catches:
        parts.append(f"caught by {', '.join(found.catches)}")
    if found.outages:
        parts.append(f"could not be checked by {', '.join(found.outages)}")
    return "; ".join(parts) or "no reason was recorded"
