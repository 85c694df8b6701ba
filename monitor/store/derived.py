"""What is derived from a text, and must go when the text is erased: the one list.

Whoever keeps rows that are made of texts (an index for searches, a cache) adds the statement that takes them away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DERIVED: tuple[str, ...] = ()
"""Statements with one parameter, ``{mark}``: the commitment of the text. They run before the text itself is erased, in the
same transaction, so that they still see its body (an FTS5 table with external content needs it)."""


def forget_derived(execute: Callable[..., Any], mark: str, commitment: str) -> None:
    """Take away everything that is derived from the text under ``commitment``. Raises the driver's errors."""
    for statement in DERIVED:
        execute(statement.format(mark=mark), (commitment,))
