"""People in the report: decisions, labels, and how far two of them agree."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from monitor.audit.agreement import compared
from monitor.audit.page.blocks import Said, Text, table
from monitor.audit.report.cells import SHOWN, cut_table, wait, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.audit.agreement import Kappa
    from monitor.audit.page.blocks import Block
    from monitor.audit.report.gathering import Gathered, Row


def people(found: Gathered) -> list[Block]:
    """What people decided and labelled, and how far they agree."""
    decisions, labels = found.rows("report-decisions"), found.rows("report-labels")
    blocks: list[Block] = []
    if decisions:
        heads = ["decision", "how many", "people", "mean wait", "longest wait"]

        def cells(row: Row) -> list[str]:
            counts = (f"{whole(row['decisions']):,}", f"{whole(row['people']):,}")
            return [Said(row["choice"]), *counts, wait(row["mean_seconds"]), wait(row["longest_seconds"])]

        blocks += cut_table(heads, decisions, cells)
    else:
        blocks.append(Text("Nobody decided anything."))
    if not labels:
        return [*blocks, Text("Nobody labelled a finding: how often the rules are right is unmeasured.")]
    names = {str(row["reviewed_by"]) for row in labels}
    blocks.append(
        Text(f"{len(labels):,} labels of findings by {len(names):,} {'person' if len(names) == 1 else 'people'}.")
    )
    pairs = agreement_of(labels)
    if not pairs:
        return [*blocks, Text("No finding was labelled by two people: their agreement is unmeasured.")]
    heads = ["one", "the other", "both are sure of", "they agree on", "Cohen’s kappa"]
    rows = [[Said(one.first), Said(one.second), str(one.both), *_kappa(one)] for one in pairs[:SHOWN]]
    return [*blocks, table(heads, rows)]


def agreement_of(labels: Sequence[Row]) -> list[Kappa]:
    """Every two people who labelled a finding in common, from rows of ``report-labels``."""
    said: defaultdict[tuple[str, str, str, str], dict[str, bool | None]] = defaultdict(dict)
    for row in labels:
        key = str(row["run_id"]), str(row["span_id"]), str(row["rule_id"] or row["name"]), str(row["rule_hash"])
        is_there = None if row["label"] == "unsure" else (row["label"] == "true") is not (row["status"] == "no_match")
        said[key][str(row["reviewed_by"])] = is_there
    return compared(said)


def _kappa(one: Kappa) -> tuple[str, str]:
    agreed = "unmeasured" if one.agreed is None else f"{100 * one.agreed:.0f} %"
    if one.kappa is None:
        return agreed, f"undefined: {one.why}"
    if one.low is None or one.high is None:
        return agreed, f"{one.kappa:.2f} ({one.why})"
    return agreed, f"{one.kappa:.2f} ({one.low:.2f} to {one.high:.2f})"
