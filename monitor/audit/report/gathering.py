"""The answers that a report is made of: saved queries, asked one after the other. One that fails is unmeasured, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

QUERIES = (
    "report-totals",
    "report-verdicts-by-day",
    "report-findings-by-day",
    "report-verdicts-by-role",
    "report-rules",
    "report-budgets",
    "report-spend-by-role",
    "report-probes",
    "report-probe-tenths",
    "report-unknowns",
    "report-decisions",
    "report-labels",
)
"""In ``monitor/audit/queries``; each can be asked alone, with the same answer: ``monitor audit ask NAME``."""

Row = dict[str, Any]


class Unanswered(Exception):  # noqa: N818 - what became of a question
    """A query that could not be answered, and why."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The answers, by query. ``missing`` has those without one and why, ``cut`` those that were not read whole."""

    since: str
    until: str
    answers: Mapping[str, list[Row]]
    missing: Mapping[str, str] = field(default_factory=dict)
    cut: frozenset[str] = frozenset()

    def rows(self, name: str) -> list[Row]:
        """The rows of one query, none where it is missing."""
        return self.answers.get(name, [])

    @property
    def totals(self) -> Row:
        """The one row of the totals; empty where nothing started in the period, or where it is missing."""
        found = self.rows("report-totals")
        return found[0] if found else {}

    @property
    def is_whole(self) -> bool:
        """Whether every query was answered, to its last row."""
        return not self.missing and not self.cut


def gather(
    ask: Callable[[str, Mapping[str, str]], tuple[list[Row], bool]],
    *,
    since: str = "",
    until: str = "",
    told: Callable[[int, int], None] = lambda _done, _total: None,
) -> Gathered:
    """Ask every query.

    Args:
        ask: Answers a saved query, with its parameters: its rows, and whether there were more. Raises Unanswered.
        since: Only from this time on (inclusive), as events carry times; empty for all.
        until: Only before this time; empty for all.
        told: Told how many queries are answered, and of how many.
    """
    given = {name: value for name, value in (("since", since), ("until", until)) if value}
    answers: dict[str, list[Row]] = {}
    missing: dict[str, str] = {}
    cut: set[str] = set()
    for done, name in enumerate(QUERIES):
        told(done, len(QUERIES))
        try:
            answers[name], more = ask(name, given)
        except Unanswered as exc:
            missing[name] = str(exc)
            continue
        if more:
            cut.add(name)
    told(len(QUERIES), len(QUERIES))
    return Gathered(since, until, answers, missing, frozenset(cut))
