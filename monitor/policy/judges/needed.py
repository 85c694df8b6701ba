"""Which questions still matter: a judge is asked only where what a rule says depends on the answer."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from monitor.policy.clauses import ValueClause
from monitor.policy.evaluation import says
from monitor.policy.judges.question import answer_to
from monitor.policy.logic import Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.policy.clauses import Clause, Readings
    from monitor.policy.detection import Detection
    from monitor.policy.judges.question import Question
    from monitor.records import Record

_SAYS = (Truth.MATCH, Truth.NO_MATCH, Truth.UNKNOWN, Truth.ABSENT)
"""All that a clause can say of a record. That nobody was asked is among them, so leaving a question out changes nothing."""


def questions_of(detection: Detection) -> dict[Question, list[ValueClause]]:
    """The questions of a detection, with the clauses that wait for each, in the order in which they are written."""
    found: dict[Question, list[ValueClause]] = {}
    for selection in detection.selections.values():
        for clause in selection.clauses:
            if isinstance(clause, ValueClause) and clause.question is not None:
                found.setdefault(clause.question, []).append(clause)
    return found


def next_question(detection: Detection, readings: Readings, record: Record) -> Question | None:
    """The first question without an answer on record whose answer can change what the detection says; None where there
    is none. Raises whatever a clause raises.
    """
    asked = questions_of(detection)
    pending = [one for one in asked if answer_to(record, one.name, one.hash) is None]
    if not pending:
        return None
    waiting = {id(clause): number for number, one in enumerate(pending) for clause in asked[one]}
    known: dict[int, Truth] = {}

    def truth_under(supposed: Sequence[Truth]) -> Truth:
        def truth_of(clause: Clause) -> Truth:
            number = waiting.get(id(clause))
            if number is not None:
                return supposed[number]
            if id(clause) not in known:
                known[id(clause)] = clause.truth(readings)
            return known[id(clause)]

        return says(detection, truth_of)

    table = {truths: truth_under(truths).status for truths in product(_SAYS, repeat=len(pending))}
    for number, question in enumerate(pending):
        for truths, said in table.items():
            if any(table[(*truths[:number], other, *truths[number + 1 :])] is not said for other in _SAYS):
                return question
    return None
