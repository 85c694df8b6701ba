"""From findings to a verdict: one pure function for a subcall, one for a run.

| a finding …                                                | makes the verdict at least |
|------------------------------------------------------------|----------------------------|
| matches, and its rule says withhold, ask_human or halt     | block                      |
| is unknown, and its ``on_unknown`` says one of those       | block (an outage, not a catch) |
| matches (or is unknown) and the rule says flag or redact   | flag                       |
| is unknown, and ``on_unknown`` says log                    | unmeasured                 |
| matches and the rule says log, or does not match           | pass                       |
| is not applicable                                          | nothing: counted, never evidence |
| matches, and a filter suppresses it                        | pass, as a rule that only logs |
| is of a rule on trial (``shadow``)                         | nothing: recorded, not counted |
| is of a probe, and is not unknown                          | nothing: it informs, and rules act on it |

``block > flag > unmeasured > pass``, and without a single applicable check nothing was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.records import Action, Finding, Level, Status, Verdict, VerdictValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BLOCKING = frozenset({Action.WITHHOLD, Action.ASK_HUMAN, Action.HALT})
FLAGGING = frozenset({Action.FLAG, Action.REDACT})
PRECEDENCE = (VerdictValue.PASS, VerdictValue.UNMEASURED, VerdictValue.FLAG, VerdictValue.BLOCK)
NO_CHECKS = "no check was configured"
NONE_APPLICABLE = "no check applied"
NOT_CHECKED = "left unchecked by the recipe"
NO_CONTENT = "the trace has no content to check"
TOO_LATE = "too late to "
"""How the note of a verdict begins that asks for more than can be done of what is over."""
SUSPICION = {
    Level.INFORMATIONAL: 0.0,
    Level.LOW: 1.0,
    Level.MEDIUM: 10.0,
    Level.HIGH: 100.0,
    Level.CRITICAL: 1000.0,
}
"""What a finding that matches adds to the suspicion, by its rule's level."""
UNKNOWN_SHARE = 0.5
"""What a finding that could not be evaluated adds, as a share of what it would have added had it matched."""


def effective_action(finding: Finding) -> Action | None:
    """The action that this finding asks for: its rule's if it matched, ``on_unknown`` if unknown, else None.

    One of a rule on trial asks for none; a match that a filter suppresses asks to be logged.
    """
    if finding.shadow:
        return None
    if finding.status is Status.MATCH:
        return Action.LOG if finding.suppressed_by else finding.action
    if finding.status is Status.UNKNOWN:
        return finding.on_unknown
    return None


def _value(finding: Finding) -> VerdictValue:
    action = effective_action(finding)
    if action is None:
        return VerdictValue.PASS
    if action in BLOCKING:
        return VerdictValue.BLOCK
    if action in FLAGGING:
        return VerdictValue.FLAG
    return VerdictValue.UNMEASURED if finding.status is Status.UNKNOWN else VerdictValue.PASS


def _worst(values: Iterable[VerdictValue]) -> VerdictValue:
    return max(set(values), key=PRECEDENCE.index, default=VerdictValue.UNMEASURED)


def of_findings(findings: Sequence[Finding], *, checked: bool = True) -> Verdict:
    """The verdict on one subcall; ``checked`` is false where the recipe asked that no check look at it."""
    values: list[VerdictValue] = []
    catches: list[str] = []
    outages: list[str] = []
    no_match = not_applicable = 0
    for finding in findings:
        if finding.shadow or (finding.check == "probe" and finding.status is not Status.UNKNOWN):
            continue
        if finding.status is Status.NO_MATCH:
            no_match += 1
            continue
        if finding.status is Status.NOT_APPLICABLE:
            not_applicable += 1
            continue
        value = _value(finding)
        values.append(value)
        if finding.status is Status.UNKNOWN:
            outages.append(finding.name)
        elif value is not VerdictValue.PASS:
            catches.append(finding.name)
    applicable = no_match + len(values) - len(outages)
    values.append(VerdictValue.PASS if applicable else VerdictValue.UNMEASURED)
    return Verdict.trusted(
        value=_worst(values),
        catches=tuple(catches),
        outages=tuple(outages),
        applicable=applicable,
        unknown=len(outages),
        not_applicable=not_applicable,
        note=_note(findings, applicable=applicable, checked=checked),
    )


def _note(findings: Sequence[Finding], *, applicable: int, checked: bool) -> str:
    if not checked:
        return NOT_CHECKED
    if applicable:
        return ""
    return NONE_APPLICABLE if findings else NO_CHECKS


def too_late(verdict: Verdict, action: Action) -> Verdict:
    """The verdict on a subcall that was over before anybody checked it, and of which a check asks for ``action``."""
    note = f"{TOO_LATE}{action.value.replace('_', ' ')}: it was over before it was checked"
    return verdict.model_copy(update={"note": note})


def is_too_late(verdict: Verdict) -> bool:
    """Whether a check asked for more than could still be done."""
    return verdict.note.startswith(TOO_LATE)


def of_run(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a run: the worst of its subcalls' verdicts, their counts added up.

    Its note says how many subcalls nothing was measured of, and why: a run whose plans were checked and whose children
    were not says so here. It says as well of how many a check asked for more than could still be done.
    """
    value = _worst(verdict.value for verdict in verdicts)
    unmeasured = sum(verdict.value is VerdictValue.UNMEASURED for verdict in verdicts)
    if not verdicts:
        note = "the run has no judged subcall"
    elif unmeasured:
        note = f"{unmeasured} of {len(verdicts)} subcalls unmeasured"
        causes = {verdict.note for verdict in verdicts if verdict.note and not is_too_late(verdict)}
        note += f" ({', '.join(sorted(causes))})" if causes else ""
    else:
        note = ""
    if late := sum(map(is_too_late, verdicts)):
        note += f"{'; ' if note else ''}{late} of {len(verdicts)} subcalls too late to stop"
    return Verdict(
        value=value,
        catches=_unique(name for verdict in verdicts for name in verdict.catches),
        outages=_unique(name for verdict in verdicts for name in verdict.outages),
        applicable=sum(verdict.applicable for verdict in verdicts),
        unknown=sum(verdict.unknown for verdict in verdicts),
        not_applicable=sum(verdict.not_applicable for verdict in verdicts),
        note=note,
    )


def suspicion(findings: Iterable[Finding]) -> float:
    """How suspicious the findings on one subcall make it: 0 and up, for comparing samples of the same subcall.

    The sum over its findings: one that matches adds the weight of its rule's level (``SUSPICION``: 0, 1, 10, 100, 1000),
    one that is unknown half of that, any other nothing, nor does one of a rule on trial or one that is suppressed. A level
    outweighs nine matches of the level below. The weights are a convention and no probabilities: 20 is not twice as likely
    to be bad as 10.
    """
    shares = {Status.MATCH: 1.0, Status.UNKNOWN: UNKNOWN_SHARE}
    counted = (finding for finding in findings if not finding.shadow and not finding.suppressed_by)
    return sum(SUSPICION[finding.level] * shares.get(finding.status, 0.0) for finding in counted)


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
