"""What attached probes said, as findings.

A probe's finding only informs: its action is to be logged, and that it kept silent is no evidence that anything is well
(see ``verdict``). Rules act on it, through ``probe.NAME.score`` and ``probe.NAME.fpr``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.records import Action, Finding, Level, Status

if TYPE_CHECKING:
    from monitor.records import ProbeScore, Record


class ProbeCheck:
    """One finding for each probe that is attached to the subcall.

    It matches where the score reaches the probe's threshold, which has a calibrated false-positive rate. A probe that
    failed is ``unknown``; one whose rate is not known on such a text, or that there is nothing to read for, is
    ``not_applicable``, with its score where there is one.
    """

    name = "probes"

    def findings(self, record: Record) -> tuple[Finding, ...]:
        """One finding for each probe, in the order in which they are attached."""
        return tuple(map(_finding, record.probes))


def _finding(score: ProbeScore) -> Finding:
    status, cause = _status(score)
    return Finding(
        check="probe",
        name=score.probe,
        status=status,
        title=_title(score),
        level=Level.INFORMATIONAL,
        action=Action.LOG,
        on_unknown=Action.LOG,
        evidence=score.evidence if status is Status.MATCH else (),
        cause=cause,
    )


def _status(score: ProbeScore) -> tuple[Status, str]:
    if not score.applies:
        return Status.NOT_APPLICABLE, score.cause
    if score.score is None:
        return Status.UNKNOWN, score.cause or "no score"
    if score.fpr is None or score.threshold is None:
        return Status.NOT_APPLICABLE, score.cause or "its false-positive rate on such texts is not known"
    return (Status.MATCH if score.score >= score.threshold else Status.NO_MATCH), score.cause


def _title(score: ProbeScore) -> str:
    """Such as ``reader scores reasoning 1.31, rate 0.02``."""
    if score.score is None:
        return "No score"
    rate = "rate unknown" if score.fpr is None else f"false-positive rate {score.fpr:.2g}"
    return f"{score.mode.replace('_', ', ')} scores {score.surface} {score.score:.3g}, {rate}"
