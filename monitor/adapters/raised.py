"""What an error says to whoever gets it, for the record: its message, and all that it carries along."""

from __future__ import annotations

import json
from typing import Any

from monitor.canonical import escape_text
from monitor.errors import MonitorError
from monitor.models.parts import texts_in
from monitor.models.secrets import clean

_MOST = 100  # errors in one: groups hold groups, and causes have causes
_KNOWN = {"message", "type", "code", "param", "status"}  # of a provider's error: what its message says already


def said_with(error: BaseException) -> str:
    """What a provider's answer says that this error carries, beside its message; see ``said_in_error``."""
    try:
        content: Any = getattr(getattr(error, "response", None), "content", None)
    except Exception:  # noqa: BLE001 - an answer that was not read is no answer
        return ""
    return said_in_error(content) if isinstance(content, bytes) else ""


def said_in_error(body: bytes) -> str:
    """What an answer with an error says beside its message, cleaned of keys: the SDK's exception carries all of it.

    Some servers put what the model wrote there.
    """
    try:
        said = json.loads(body)
    except ValueError:
        return clean(body.decode("utf-8", "replace")).strip()
    error = said.get("error") if isinstance(said, dict) else None
    if isinstance(error, dict):
        said = {**said, "error": {name: value for name, value in error.items() if name not in _KNOWN}}
    return clean("\n".join(texts_in(said)))


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
