"""The evaluation as JSON's types, for ``--json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monitor.audit.evaluation.evaluate import Evaluation
    from monitor.audit.evaluation.rates import Rate, Requirement


def shape(found: Evaluation) -> dict[str, Any]:
    """Every figure of the report."""
    return {
        "packs": [asdict(pack) for pack in found.packs],
        "met": found.met,
        "requirements": {half: _requirement(one) for half, one in found.requirements.items()},
        "harmless": [
            {
                "set": row.source,
                "half": row.half.value,
                "agent_messages": row.agent,
                "with_tool_calls": row.acting,
                "world_messages": row.world,
                "findings": {level.value: count for level, count in row.levels.items()},
                "messages_medium_or_above": _rate(row.notable),
            }
            for row in found.rows
        ],
        "recall": [
            {
                "half": one.half.value,
                "pack": one.pack,
                "medium_or_above": _rate(one.medium),
                "high_or_above": _rate(one.high),
                "twins_medium_or_above": _rate(one.twins),
            }
            for one in found.recalls
        ],
        "labelled_failures": [
            {"level": one.level, "failing": _rate(one.failing), "unlabelled": _rate(one.unlabelled)}
            for one in found.failures
        ],
        "rules": [
            asdict(row)
            | {
                name: {half.value: n for half, n in getattr(row, name).items()}
                for name in ("harmless", "twins", "attacks")
            }
            | {"fired": row.fired}
            for row in found.rules
        ],
        "unmeasured": found.missing,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return asdict(rate) | {"share": rate.share}


def _requirement(found: Requirement) -> dict[str, Any]:
    return asdict(found) | {"per_200": found.per_200, "met": found.met}
