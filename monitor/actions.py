"""From findings to what happens: which action is taken, how the subcall ends, and who gets what of its answer.

``release`` stands between a judged subcall and whoever asked: it is called on the way out of the pipeline, and again
when a stored judgement is replayed, so that a resumed run is stopped by what stopped it before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor import verdict
from monitor.errors import (
    AwaitingHuman,
    Blocked,
    BudgetExceeded,
    Halted,
    Rejected,
    SubcallCancelled,
    SubcallError,
    SubcallFailed,
    Terminated,
)
from monitor.records import MALFORMED, Action, Choice, Judgement, Outcome, Status, now
from monitor.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.records import Finding, JudgeAnswer, Observation, ProbeScore, StoredSubcall

STRENGTH = (Action.LOG, Action.FLAG, Action.REDACT, Action.WITHHOLD, Action.ASK_HUMAN, Action.HALT)
_ALWAYS_POSSIBLE = frozenset({Action.LOG, Action.FLAG})
_WITHHELD_OUTCOMES = frozenset({Outcome.OK, Outcome.BUDGET_EXCEEDED})


def judge(
    observation: Observation,
    findings: Sequence[Finding],
    *,
    checked: bool = True,
    probes: tuple[ProbeScore, ...] = (),
    answers: tuple[JudgeAnswer, ...] = (),
    is_late: bool = False,
) -> Judgement:
    """Judge one observation by its findings. Pure, but for the time stamp. ``checked`` is the call's,
    ``probes`` and ``answers`` what the findings were made from besides the trace.

    The strongest action that any finding asks for is taken. A subcall that has something to release (an answer, or part
    of one) and may not release it ends as ``blocked``. So does a malformed answer that is caught: nobody could use it, but
    a model must not be asked again because it broke the form of what it was caught by. One that failed otherwise or was
    cancelled stays what it was (and the message of its error is withheld: see ``release``).

    ``is_late``: the subcall was over before it came here (a foreign trace), and whoever asked has its answer. Then nothing
    but ``log`` and ``flag`` can still be done: a stronger action becomes ``flag``, the outcome stays what it was, and the
    verdict, which is the same, says in its note what came too late. Unchecked is then what has no content.
    """
    spoke = [finding for finding in findings if finding.status is not Status.NO_MATCH]  # most say nothing
    asked = {action for finding in spoke if (action := verdict.effective_action(finding))}
    action = max(asked, key=STRENGTH.index, default=Action.LOG)
    found = verdict.of_findings(findings, checked=checked)
    if is_late and not checked:
        found = found.model_copy(update={"note": verdict.NO_CONTENT})
    if is_late and action not in _ALWAYS_POSSIBLE:
        found, action = verdict.too_late(found, action), Action.FLAG
    blocked = action in verdict.BLOCKING and (
        observation.outcome in _WITHHELD_OUTCOMES or (_is_malformed(observation) and any(map(_catches, spoke)))
    )
    return Judgement.trusted(
        findings=tuple(findings),
        verdict=found,
        action=action,
        outcome=Outcome.BLOCKED if blocked else observation.outcome,
        probes=probes,
        answers=answers,
        at=now(),
    )


def _is_malformed(observation: Observation) -> bool:
    error = observation.error
    return observation.outcome is Outcome.FAILED and error is not None and error.kind == MALFORMED


def _catches(finding: Finding) -> bool:
    """Whether it found something to withhold. That it could not look does not count: where the form is broken, the
    reasoning often is not found.
    """
    return finding.status is Status.MATCH and verdict.effective_action(finding) in verdict.BLOCKING


def release(subcall: StoredSubcall) -> StoredSubcall:
    """Return the subcall as whoever asked gets it, if its answer may be released, else raise what it ended in.

    What a person put in the place of the answer is released instead of it, and what a rule says to redact is covered;
    the store has what came.

    Raises:
        Halted: a finding stops the whole run (also where the subcall itself had nothing to release).
        Terminated: a person ended the whole run.
        AwaitingHuman: a person was asked and has not decided.
        Blocked: a finding withholds the answer.
        BudgetExceeded, SubcallFailed, SubcallCancelled, Rejected: the subcall ended so.
    """
    call, seen, judgement = subcall.call, subcall.observation, subcall.judgement
    assert seen is not None
    assert judgement is not None, "nothing is released that is not judged"
    where = {"run_id": call.run_id, "span_id": call.span_id}
    who = f"{call.role} ({call.span_id})"
    if judgement.action is Action.HALT:
        raise Halted(f"{who} halted the run: {_because(judgement)}", judgement, **where)
    decision = subcall.decision
    if decision and decision.choice is Choice.TERMINATE:
        raise Terminated(f"{decision.by} ended the run at {who}: {decision.why}", judgement, **where)
    if subcall.awaits_human:
        raise AwaitingHuman(f"the answer of {who} waits for a person: {_because(judgement)}", **where)
    seen = redacted(seen, judgement)
    if decision and decision.choice is Choice.MODIFY:
        instead = {"outcome": Outcome.OK, "output": decision.output, "raw": "", "tool_calls": (), "tokens": None}
        instead |= {"error": None, "exceeded": ()}
        return subcall.model_copy(update={"observation": seen.model_copy(update=instead)})
    if subcall.outcome is Outcome.OK:
        return subcall if seen is subcall.observation else subcall.model_copy(update={"observation": seen})
    error: SubcallError
    if subcall.outcome is Outcome.BLOCKED:
        error = Blocked(f"the answer of {who} was withheld: {_because(judgement)}", judgement, **where)
    elif subcall.outcome is Outcome.BUDGET_EXCEEDED:
        limits = "; ".join(str(item) for item in seen.exceeded)
        error = BudgetExceeded(f"{who} exceeded its budget: {limits}", seen.exceeded, partial=seen, **where)
    elif subcall.outcome is Outcome.REJECTED:
        said = f"{decision.by} rejected the answer of {who}: {decision.why}" if decision else f"{who} was rejected"
        error = Rejected(said, judgement, **where)
    elif subcall.outcome is Outcome.CANCELLED:
        error = SubcallCancelled(f"{who} was cancelled", **where)
    else:
        problem = f"{seen.error.kind}: {seen.error.message}" if seen.error else "no reason was recorded"
        if decision:
            problem = (
                f"{decision.by} approved its answer, but there is none that can be used ({problem}); "
                "`modify` would have put another in its place"
            )
        elif seen.error and judgement.action in verdict.BLOCKING:
            # The message is text from outside, and a check says that nobody may have it.
            problem = f"{seen.error.kind}: its message was withheld: {_because(judgement)}"
        kind = seen.error.kind if seen.error else ""
        withheld = judgement.action in verdict.BLOCKING or seen is not subcall.observation
        error = SubcallFailed(f"{who} failed: {problem}", kind=kind, withheld=withheld, **where)
    raise error


def _because(judgement: Judgement) -> str:
    """What withheld it: a rule that only flags did not."""
    blocking = [finding for finding in judgement.findings if verdict.effective_action(finding) in verdict.BLOCKING]
    catches = [finding.name for finding in blocking if finding.status is Status.MATCH]
    outages = [finding.name for finding in blocking if finding.status is Status.UNKNOWN]
    parts = []
    if catches:
        parts.append(f"caught by {', '.join(catches)}")
    if outages:
        parts.append(f"could not be checked by {', '.join(outages)}")
    return "; ".join(parts) or "no reason was recorded"
