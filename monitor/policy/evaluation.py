"""What a detection says of a record: the truth of each clause, joined as selections and condition say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.policy import condition as conditions
from monitor.policy.clauses import TextClause
from monitor.policy.logic import Truth, conjoin, disjoin
from monitor.policy.matching import MAX_SPANS
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.policy.clauses import Clause, Readings
    from monitor.policy.detection import Detection, Selection
    from monitor.records import Span


def says(detection: Detection, truth_of: Callable[[Clause], Truth]) -> Truth:
    """What the condition makes of what each clause says."""
    return conditions.evaluate(
        detection.condition, lambda name: truth_of_selection(detection.selections[name], truth_of)
    )


def supposing(clauses: Sequence[Clause], truths: Sequence[Truth]) -> Callable[[Clause], Truth]:
    """That these clauses say these things, and all others what they say where none of their patterns is."""
    said = {id(clause): truth for clause, truth in zip(clauses, truths, strict=True)}

    def truth_of(clause: Clause) -> Truth:
        silent = Truth.MATCH if isinstance(clause, TextClause) and clause.negated else Truth.NO_MATCH
        return said.get(id(clause), silent)

    return truth_of


def truth_of_selection(selection: Selection, truth_of: Callable[[Clause], Truth]) -> Truth:
    """What a selection says, given what each clause says: any of its alternatives, which need all of their clauses."""
    options = [_holds(clauses, truth_of) for clauses in selection.alternatives]
    return options[0] if len(options) == 1 else disjoin(options)


def _holds(clauses: Sequence[Clause], truth_of: Callable[[Clause], Truth]) -> Truth:
    truths = [truth_of(clause) for clause in clauses]
    return truths[0] if len(truths) == 1 else conjoin(truths)


def evaluate(detection: Detection, readings: Readings) -> tuple[Status, str, Sequence[Span]]:
    """(status, cause, evidence) of one detection. Raises whatever a clause raises."""
    truth = says(detection, lambda clause: clause.truth(readings))
    if truth is Truth.NO_MATCH:
        return Status.NO_MATCH, "", ()
    if truth is Truth.MATCH:
        return Status.MATCH, "", _evidence(detection, readings)
    return truth.status, _cause(detection, readings, truth.status), ()


def _evidence(detection: Detection, readings: Readings) -> list[Span]:
    """The spans of every clause that matched and that the condition asserts, the first ``MAX_SPANS`` of each clause."""
    names = dict.fromkeys(conditions.asserted(detection.condition))
    selections = [detection.selections[name] for name in names]
    clauses = [
        clause
        for selection in selections
        for alternative in selection.alternatives
        if _holds(alternative, lambda clause: clause.truth(readings)) is Truth.MATCH
        for clause in alternative
    ]
    return [span for clause in clauses for span in clause.evidence(readings)[:MAX_SPANS]]


def _cause(detection: Detection, readings: Readings, status: Status) -> str:
    """Why the status is unknown or not applicable: the causes that the rule's fields give for it."""
    gap = Truth.UNKNOWN if status is Status.UNKNOWN else Truth.ABSENT
    read = conditions.references(detection.condition)
    clauses = (clause for name in sorted(read) for clause in detection.selections[name].clauses)
    found = ((truth, cause) for clause in clauses for truth, cause in clause.causes(readings))
    return "; ".join(dict.fromkeys(cause for truth, cause in found if truth is gap and cause))
