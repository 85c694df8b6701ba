"""What lint says of questions to a judge: those that cost a call for every subcall, and those that are no question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.policy.clauses import ValueClause
from monitor.policy.evaluation import says, supposing
from monitor.policy.judges.needed import questions_of
from monitor.policy.logic import Truth
from monitor.policy.tools.places import placed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.policy.detection import Detection
    from monitor.strict_yaml import Mark, Node


def about_questions(detection: Detection, node: Node) -> Iterator[tuple[Mark, str, str]]:
    """Notes on the questions of one detection, as (place, problem, fix)."""
    asked = questions_of(detection)
    for one in placed(detection, node):
        if not isinstance(one.clause, ValueClause) or one.clause.question is None:
            continue
        question = one.clause.question
        if not question.text.rstrip().endswith("?"):
            yield one.mark, f"`{one.line}` is no question.", "Ask what can be answered by yes or no: a yes is a match."
        clauses = asked[question]
        truths = (Truth.MATCH, Truth.NO_MATCH, Truth.UNKNOWN)
        found = {says(detection, supposing(clauses, [truth] * len(clauses))).status for truth in truths}
        if len(found) > 1:
            problem = f"`{one.line}` is asked of every subcall, for the rule depends on it where nothing else is found."
            yield one.mark, problem, "Join it by `and` to a cheap selection, so that the judge is asked of few."
