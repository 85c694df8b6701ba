"""Times that people give."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_of(text: str) -> str:
    """A date or time as events carry it, so that the two compare as texts; one without a zone is UTC. Raises ValueError."""
    given = datetime.fromisoformat(text.strip())
    try:
        in_utc = given.astimezone(UTC) if given.tzinfo else given
    except OverflowError as exc:
        raise ValueError(str(exc)) from exc
    return f"{in_utc.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
