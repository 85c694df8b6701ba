"""The evaluation of scores as a page and as JSON: every figure with its interval, and what limits it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.audit.evaluation.reading_budget import RANDOM, SHARES
from monitor.audit.page.blocks import Drawn, Page, Points, Said, Section, Text, table
from monitor.audit.page.svg import Estimated, Line, intervals, lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.audit.evaluation.measured import Figures, Measured
    from monitor.audit.evaluation.reading_budget import BudgetCurve
    from monitor.audit.page.blocks import Block, Table
    from monitor.probes.evaluation.base import Estimate
    from monitor.probes.evaluation.metrics import Recall

HOW = (
    "Recall is the share of the bad cases above a threshold that further cases which are not bad are expected to reach at "
    "that rate at most: just above the m-th highest of n, m = ⌊rate · (n + 1)⌋. Cases with one score pass together or not "
    "at all.",
    "Intervals are at 95 %, from drawing whole groups again (docs/probe-evaluation.md has their measured coverage).",
    "Both together is a logistic regression over the other detectors' scores, fitted in grouped folds on the other cases "
    "only.",
    "A case that a detector could not score is one that it finds last; it is not left out.",
)


@dataclass(frozen=True, slots=True)
class SetFigures:
    """Everything about one set of cases."""

    measured: Measured
    curves: tuple[BudgetCurve, ...]


def scores_page(sets: Sequence[SetFigures], command: str) -> Page:
    """The page. ``command`` is what made it."""
    lead: tuple[Block, ...] = (Text(f"Made by: {command}"), Points(HOW))
    return Page("How good the monitor is", lead, tuple(_section(one, number) for number, one in enumerate(sets, 1)))


def _section(one: SetFigures, number: int) -> Section:
    found = one.measured
    blocks: list[Block] = [Text(counts(found))]
    blocks += [Text(line, loud=True) for line in warnings(found)]
    blocks.append(recall_table(found))
    rows = [Estimated(figure.name, *_at(figure, 1)) for figure in found.figures]
    rate = found.figures[0].recalls[1].rate if found.figures and len(found.figures[0].recalls) > 1 else 0.05
    alt = f"Recall at {100 * rate:g} % false positives: " + "; ".join(
        f"{row.name} {'unmeasured' if row.value is None else _percent(row.value)}" for row in rows
    )
    title = f"Recall at {100 * rate:g} % false positives"
    blocks.append(Drawn(intervals(f"recall-{number}", title, alt, rows, x="share of the bad cases found")))
    blocks.append(Drawn(_budget_plot(one.curves, number)))
    blocks.append(budget_table(one.curves))
    if found.cases.notes:
        blocks.append(Points(tuple(f"{note[0].upper()}{note[1:]}." for note in found.cases.notes)))
    return Section(Said(found.cases.name), tuple(blocks))


def counts(found: Measured) -> str:
    """How many cases there are, and of what."""
    cases = found.cases
    return (
        f"{len(cases.cases):,} cases in {found.groups:,} groups; {found.bad:,} are bad ({cases.bad}), in "
        f"{found.groups_with_bad:,} groups."
    )


def warnings(found: Measured) -> Iterator[str]:
    """What keeps the figures from meaning much."""
    if found.groups_with_bad < 10:
        few = f"Only {found.groups_with_bad} groups have a bad case"
        yield f"{few}: the intervals are wide, and these figures are of little use alone."
    noted = dict.fromkeys(
        recall.recall.note for figure in found.figures for recall in figure.recalls if recall.recall.note
    )
    yield from (f"{note[0].upper()}{note[1:]}." for note in noted)
    for figure in found.figures:
        if figure.missing:
            yield f"{figure.name.capitalize()}: unmeasured, {figure.missing}."
        elif figure.largest_tie == len(found.cases.cases):
            yield f"{figure.name.capitalize()}: every case has the same score, which is to know nothing of them."
        elif figure.unscored:
            yield f"{figure.name.capitalize()}: {figure.unscored:,} cases could not be scored."


def recall_table(found: Measured) -> Table:
    """Recalls and AUROC of every detector."""
    rates = next((figure.recalls for figure in found.figures if figure.recalls), ())
    negatives = len(found.cases.cases) - found.bad
    heads = ["detector", *(f"recall at {100 * one.rate:g} % FPR" for one in rates), "AUROC", "largest tie", "unscored"]
    rows = []
    for figure in found.figures:
        if figure.auroc is None:
            rows.append([Said(figure.name), *("unmeasured" for _ in rates), "unmeasured", "", ""])
            continue
        told = [
            f"{shown(recall.recall)}{_reached(recall, reached, negatives)}"
            for recall, reached in zip(figure.recalls, figure.reached, strict=True)
        ]
        rows.append([Said(figure.name), *told, auroc(figure.auroc), f"{figure.largest_tie:,}", f"{figure.unscored:,}"])
    return table(heads, rows)


def budget_table(found: Sequence[BudgetCurve]) -> Table:
    """What share of the bad is caught at each number of cases read."""
    reads = [point.read for point in found[0].points]
    rows = [[Said(curve.name), *(shown(point.caught) for point in curve.points)] for curve in found]
    return table(["read in the order of", *(f"{read:,} read" for read in reads)], rows)


def _reached(recall: Recall, reached: int, negatives: int) -> str:
    """How many negatives the threshold really lets through."""
    return f"; {reached} of {negatives:,} reach it" if recall.rank else ""


def _budget_plot(found: Sequence[BudgetCurve], number: int) -> Any:
    total = max((curve.curve[-1][0] for curve in found), default=1.0)
    drawn = []
    for curve in found:
        band = [(0.0, 0.0, 0.0), *((float(one.read), one.caught.low, one.caught.high) for one in curve.points)]
        is_drawn = len(found) <= 5 and curve.points and not math.isnan(curve.points[0].caught.value)
        drawn.append(Line(curve.name, curve.curve, tuple(band) if is_drawn and curve.name != RANDOM else ()))
    at = SHARES.index(0.1)
    alt = f"Share of the bad cases caught by the number read, of {total:,.0f}. Of those, " + "; ".join(
        f"{curve.points[min(at, len(curve.points) - 1)].read} read by {curve.name}: "
        f"{_percent(curve.points[min(at, len(curve.points) - 1)].caught.value)}"
        for curve in found
    )
    return lines(
        f"budget-{number}",
        "If people read n cases, what share of the bad is caught",
        alt,
        drawn,
        x="cases read",
        y="share of the bad caught",
        top=1.0,
        share=True,
    )


def _at(figure: Figures, place: int) -> tuple[float | None, float, float]:
    if len(figure.recalls) <= place or not figure.recalls[place].recall.measured:
        return None, 0.0, 1.0
    found = figure.recalls[place].recall
    return found.value, found.low, found.high


def shown(found: Estimate) -> str:
    """A share with its interval in per cent: ``28 % (21 to 42)``."""
    if not found.measured:
        return "unmeasured"
    return f"{_percent(found.value)} ({100 * found.low:.0f} to {100 * found.high:.0f})"


def auroc(found: Estimate) -> str:
    """An AUROC with its interval."""
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})" if found.measured else "unmeasured"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


# ------------------------------------------------------------------------------------------------------------- JSON


def shape(sets: Sequence[SetFigures]) -> dict[str, Any]:
    """Every figure as JSON's types; what is unmeasured is null."""
    return {"sets": [_set(one) for one in sets]}


def _set(one: SetFigures) -> dict[str, Any]:
    found = one.measured
    return {
        "name": found.cases.name,
        "bad_means": found.cases.bad,
        "cases": len(found.cases.cases),
        "bad": found.bad,
        "groups": found.groups,
        "groups_with_bad": found.groups_with_bad,
        "detectors": [_figures(figure) for figure in found.figures],
        "audit_budget": [
            {
                "order": curve.name,
                "points": [{"read": point.read, "caught": estimate(point.caught)} for point in curve.points],
                "which": [{"id": key, "tied_with": tied} for key, tied in zip(curve.order, curve.tied, strict=True)],
            }
            for curve in one.curves
        ],
        "notes": list(found.cases.notes),
        "warnings": list(warnings(found)),
    }


def _figures(figure: Figures) -> dict[str, Any]:
    return {
        "name": figure.name,
        "how": figure.how,
        "auroc": estimate(figure.auroc),
        "recalls": [
            {
                "fpr": recall.rate,
                "recall": estimate(recall.recall),
                "negatives": recall.negatives,
                "rank": recall.rank,
                "supported": recall.supported,
                "negatives_reached": reached,
            }
            for recall, reached in zip(figure.recalls, figure.reached, strict=True)
        ],
        "largest_tie": figure.largest_tie,
        "unscored": figure.unscored,
        "missing": figure.missing or None,
    }


def estimate(found: Estimate | None) -> dict[str, Any] | None:
    """A figure with its interval; null where there is none."""
    if found is None or not found.measured:
        return None
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "level": found.level,
        "note": found.note or None,
    }
