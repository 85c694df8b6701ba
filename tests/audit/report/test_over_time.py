"""Days become days, weeks or months, and what is not there is 0."""

from __future__ import annotations

from monitor.audit.report.over_time import bars_of


def test_days_without_a_row_count_nothing() -> None:
    rows = [{"day": "2026-11-01", "a": 2}, {"day": "2026-11-04", "a": 1}, {"day": "soon", "a": 9}]
    unit, at, counts = bars_of(rows, ["a"])
    assert (unit, at, counts) == ("day", ["2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04"], {"a": [2, 0, 0, 1]})


def test_long_periods_are_weeks_and_months() -> None:
    unit, at, counts = bars_of([{"day": "2026-01-01", "a": 1}, {"day": "2026-04-01", "a": None}], ["a"])
    assert (unit, at[0], at[1], len(at), sum(counts["a"])) == ("week", "2025-12-29", "2026-01-05", 14, 1)
    unit, at, counts = bars_of([{"day": "2020-01-31", "a": 1}, {"day": "2026-04-01", "a": 3}], ["a"])
    assert (unit, at[0], at[-1], len(at), counts["a"][-1]) == ("month", "2020-01", "2026-04", 76, 3)


def test_nothing_is_no_bar() -> None:
    assert bars_of([], ["a"]) == ("day", [], {"a": []})
