"""What the report's queries answer on the record of ``known``: each row by hand, ids by their names there."""

from __future__ import annotations

REPORT: dict[str, list[tuple[object, ...]]] = {
    "report-budgets": [("calls", 2, 1, 0, 1, 0, 1.0), ("cost", 1, 0, 0, 0, 1, 0.06)],
    "report-decisions": [("approve", 1, 1, 90.0, 90.0), ("escalate", 1, 1, 30.0, 30.0)],
    "report-findings-by-day": [("2026-11-01", 3, 0, 0, 1), ("2026-11-02", 1, 0, 0, 0)],
    "report-labels": [
        ("A", "A1", "quiet", "id-quiet", "2" * 64, "no_match", "false", "bob"),
        ("A", "A2", "leak", "id-leak", "1" * 64, "match", "true", "ann"),
        ("A", "A2", "leak", "id-leak", "1" * 64, "match", "false", "bob"),
        ("A", "A5", "leak", "id-leak", "1" * 64, "match", "true", "ann"),
        ("A", "A6", "leak", "id-leak", "1" * 64, "match", "false", "ann"),
    ],
    "report-probe-tenths": [("deceit", 1, 1, 0, 0.9, 0.9)],
    "report-probes": [("deceit", "reader", 2, 1, 0, 0, 0, 1, 0, 0)],
    "report-rules": [("leak", "house", "high", 4, 2, 1, 0, 1, 1), ("trial", "house", "high", 0, 1, 0, 1, 0, 0)],
    "report-spend-by-role": [
        ("judge", 3, 3, 300, 150, 0.03, 6.5, 0),
        ("worker", 2, 2, 200, 100, 0.02, 4.0, 0),
        ("agent", 2, 1, 100, 50, 0.01, 2.0, 1),
        ("planner", 1, 1, 100, 50, 0.01, 2.0, 0),
    ],
    "report-totals": [
        (
            9,
            2,
            0,
            2,
            1,
            4,
            1,
            1,
            1,
            1,
            2,
            9,
            700,
            350,
            0.07,
            1,
            "2026-11-01T10:00:01.000000Z",
            "2026-11-02T10:00:07.000000Z",
            0,
            None,
        )
    ],
    "report-unknowns": [("rule", "leak", "the reasoning is encrypted", 1, 1, "2026-11-01T10:00:16.000000Z")],
    "report-verdicts-by-day": [("2026-11-01", 3, 1, 1, 1), ("2026-11-02", 1, 0, 0, 1)],
    "report-verdicts-by-role": [
        ("judge", 3, 3, 0, 0, 0, 2, 1),
        ("agent", 2, 1, 0, 0, 1, 1, 0),
        ("worker", 2, 0, 1, 1, 0, 1, 0),
        ("planner", 1, 0, 0, 0, 1, 0, 0),
    ],
}
