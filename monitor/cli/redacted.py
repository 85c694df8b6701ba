"""``[redacted]`` in the place of texts that were erased, and who erased them."""

from collections.abc import Sequence
from typing import Any, TypeVar

from monitor.records import ERASED, Frozen, StoredRedaction, StoredRun, StoredSubcall

__all__ = ["REDACTED", "hide_erased", "marked", "said_of", "without_erased"]

REDACTED = "[redacted]"
_Record = TypeVar("_Record", bound=Frozen)


def marked(text: str) -> str:
    """The text, or ``[redacted]`` where it reads as one that was erased."""
    return REDACTED if set(text) == {ERASED} else text


def hide_erased(
    run: StoredRun, subcalls: Sequence[StoredSubcall], redactions: Sequence[StoredRedaction]
) -> tuple[StoredRun, list[StoredSubcall]]:
    """The run and its subcalls with ``[redacted]`` where the record says that something was erased."""
    if not redactions:
        return run, list(subcalls)
    is_whole = any(item.redaction.whole for item in redactions)
    spans = {place.span for item in redactions for place in item.redaction.places}
    shown = [without_erased(item) if is_whole or item.call.span_id in spans else item for item in subcalls]
    return without_erased(run), shown


def without_erased(record: _Record) -> _Record:
    """A record whose erased texts say so."""
    changes: dict[str, Any] = {}
    for name in type(record).model_fields:
        value = getattr(record, name)
        new = _shown(value)
        if new is not value:
            changes[name] = new
    return record.model_copy(update=changes) if changes else record


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return marked(value) if value[:1] == ERASED else value
    if isinstance(value, Frozen):
        return without_erased(value)
    if isinstance(value, tuple):
        new = tuple(_shown(item) for item in value)
        return new if any(one is not other for one, other in zip(new, value, strict=True)) else value
    return value


def said_of(redactions: Sequence[StoredRedaction]) -> list[str]:
    """One line for each redaction: what, when, by whom, why."""
    lines = []
    for item in redactions:
        redaction = item.redaction
        what = (
            f"all that no other run uses ({len(redaction.texts)} texts)"
            if redaction.whole
            else "; ".join(f"{', '.join(place.surfaces)} of {place.span[:8]}" for place in redaction.places)
        )
        lines.append(f"{what}, {redaction.at[:19]}Z, by {redaction.by}: {redaction.why}")
    return lines
