"""What an error says to whoever gets it, for the record: its message, and all that it carries along."""

from __future__ import annotations

from monitor.canonical import escape_text
from monitor.errors import MonitorError
from monitor.models.secrets import clean

_MOST = 100  # errors in one: groups hold groups, and causes have causes


def told_by(error: BaseException) -> str:
    """An error's class and message, its notes, the errors of a group, and what it was raised from; cleaned of keys."""
    lines: list[str] = []
    seen: list[BaseException] = []
    waiting = [error]
    while waiting and len(seen) < _MOST:
        found = waiting.pop(0)
        if any(found is earlier for earlier in seen):
            continue
        seen.append(found)
        lines += [f"{type(found).__name__}: {found}", *map(str, getattr(found, "__notes__", ()))]
        inner = list(found.exceptions) if isinstance(found, BaseExceptionGroup) else []
        before = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
        waiting += [*inner, *([] if before is None or isinstance(before, MonitorError) else [before])]
    return clean(escape_text("\n".join(lines)))
