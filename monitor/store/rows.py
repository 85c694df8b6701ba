"""From rows of the log to the records that they tell of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.records import (
    Call,
    Decision,
    Judgement,
    Observation,
    QueuedReview,
    Released,
    RunEnd,
    RunResume,
    RunStart,
    RunSuspend,
    StoredRun,
    StoredSubcall,
)
from monitor.store.decoding import decode_event, parse
from monitor.store.library import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Row
    from sqlmodel import Session

STEP_KINDS = frozenset({"started", "released", "observed", "judged", "decided"})
"""The kinds of a subcall's own events."""


def payloads(session: Session, rows: Sequence[Row[Any]]) -> list[tuple[Row[Any], Any]]:
    """Each row with its payload. Raises StoreFormatError if one cannot be read back."""
    parsed = [parse(row.canonical) for row in rows]
    library = load(session, parsed)
    return [(row, decode_event(item, library)) for row, item in zip(rows, parsed, strict=True)]


def subcalls_of(session: Session, rows: Sequence[Row[Any]]) -> list[StoredSubcall]:
    """The subcalls of one run that ``rows`` tell of, other events of the run among them. Raises StoreFormatError."""
    parts: dict[str, list[Any]] = {}
    places: dict[tuple[str, str], int] = {}
    for place, (row, payload) in enumerate(payloads(session, [row for row in rows if row.kind in STEP_KINDS])):
        parts.setdefault(row.span_id, []).append(payload)
        places[row.span_id, row.kind] = place
    return [
        subcall_of(steps, places.get((span, "started")), places.get((span, "judged"))) for span, steps in parts.items()
    ]


def subcall_of(steps: Sequence[Any], began_at: int | None = None, judged_at: int | None = None) -> StoredSubcall:
    """The subcall that these payloads, in the order of the log, tell of; the first of them is its call."""
    by_type: dict[type, list[Any]] = {}
    for step in steps:
        by_type.setdefault(type(step), []).append(step)
    return StoredSubcall(
        call=by_type[Call][0],
        released=tuple(by_type.get(Released, ())),
        observation=by_type.get(Observation, [None])[0],
        judgement=by_type.get(Judgement, [None])[0],
        decisions=tuple(by_type.get(Decision, ())),
        began_at=began_at,
        judged_at=judged_at,
    )


def run_of(steps: Sequence[Any]) -> StoredRun:
    """The run that these payloads, in the order of the log, tell of."""
    (start,) = (payload for payload in steps if isinstance(payload, RunStart))
    return StoredRun(
        start=start,
        resumes=tuple(payload for payload in steps if isinstance(payload, RunResume)),
        queued=tuple(payload for payload in steps if isinstance(payload, QueuedReview)),
        stops=tuple(payload for payload in steps if isinstance(payload, (RunEnd, RunSuspend))),
        is_stopped=isinstance(steps[-1], (RunEnd, RunSuspend)),
        last_seq=len(steps) - 1,
    )


def chunks(items: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """``items`` in pieces of ``size``, which is well below the number of parameters that any SQLite build allows."""
    return (items[start : start + size] for start in range(0, len(items), size))
