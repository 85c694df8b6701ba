"""Days as bars: a day each, a week each from ten weeks on, a month each from two years on. Days without a row count 0."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.audit.report.gathering import Row

DAYS, WEEKS = 70, 104
"""The most days that are shown as days, and weeks as weeks."""


def bars_of(rows: Sequence[Row], names: Sequence[str]) -> tuple[str, list[str], dict[str, list[int]]]:
    """What a bar is (``day``, ``week`` or ``month``), the name of each, and the counts of each column of ``names``.

    A week is named by its Monday. A row whose day is no date is left out: there is no such event.
    """
    counted: dict[date, Row] = {}
    for row in rows:
        try:
            counted[date.fromisoformat(str(row["day"]))] = row
        except ValueError:
            continue
    if not counted:
        return "day", [], {name: [] for name in names}
    first, last = min(counted), max(counted)
    unit = _unit((last - first).days + 1)
    labels: dict[str, dict[str, int]] = {}
    day = first
    while day <= last:
        of = labels.setdefault(_label(day, unit), dict.fromkeys(names, 0))
        if day in counted:
            for name in names:
                of[name] += int(counted[day][name] or 0)
        day += timedelta(days=1)
    return unit, list(labels), {name: [of[name] for of in labels.values()] for name in names}


def _unit(days: int) -> str:
    if days <= DAYS:
        return "day"
    return "week" if days <= 7 * WEEKS else "month"


def _label(day: date, unit: str) -> str:
    if unit == "month":
        return day.strftime("%Y-%m")
    return (day - timedelta(days=day.weekday()) if unit == "week" else day).isoformat()
