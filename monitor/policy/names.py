"""Words for faults: the nearest known name, and what a value is."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` was probably meant to be, or None where none is close."""
    choices = {choice.lower(): choice for choice in known}
    close = difflib.get_close_matches(name[:100].lower(), choices, n=1, cutoff=0.6)
    return choices[close[0]] if close else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """A sentence to end a fault with: the nearest name, or all of them."""
    known = list(known)
    close = nearest(name, known)
    if close:
        return f"Did you mean `{close}`?"
    return f"Known: {', '.join(f'`{choice}`' for choice in known)}." if known else ""


def describe(value: object) -> str:
    """What kind of value was found, in plain English."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return "a list" if isinstance(value, list) else "a map" if isinstance(value, dict) else "text"
