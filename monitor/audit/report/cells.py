"""Cells of the report: counts, shares, times, and tables of which the first rows are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.audit.page.blocks import Said, Text, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from monitor.audit.page.blocks import Block
    from monitor.audit.report.gathering import Gathered, Row

SHOWN = 20
"""Rows of a table, bars of a plot; what is left out is counted."""


def missing_of(found: Gathered, names: Sequence[str]) -> Iterator[Block]:
    """What of these queries is unmeasured, or was cut."""
    for name in names:
        if name in found.missing:
            yield Text(Said(f"Unmeasured: {name} could not be answered ({found.missing[name]})."), loud=True)
        if name in found.cut:
            yield Text(f"The answer to {name} was cut: what follows is of its first rows alone.", loud=True)


def cut_table(heads: Sequence[str], rows: Sequence[Row], cells: Callable[[Row], list[str]]) -> list[Block]:
    """The first rows as a table, and how many more there are."""
    blocks: list[Block] = [table(heads, [cells(row) for row in rows[:SHOWN]])]
    if len(rows) > SHOWN:
        blocks.append(Text(f"{len(rows) - SHOWN:,} more are not shown."))
    return blocks


def whole(value: Any) -> int:
    """A count; 0 where there is none."""
    return int(value or 0)


def real(value: Any) -> float:
    """A number; 0 where there is none."""
    return float(value or 0)


def share(part: Any, whole: Any) -> str:
    """A part of a whole in per cent."""
    return f"{100 * real(part) / real(whole):.1f} %" if whole else "unmeasured"


def minute(value: Any) -> str:
    """A time to the minute."""
    return str(value)[:16].replace("T", " ") if value else "unknown"


def wait(seconds: Any) -> str:
    """Seconds in words."""
    if seconds is None:
        return "unknown"
    value = real(seconds)
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"
