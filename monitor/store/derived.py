"""What is derived from a text, and must go when the text is erased: the one list.

Whoever keeps rows that are made of texts (an index for searches, a cache) has them taken away here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.store.search.index import PostgresWords, SqliteWords, forget_text

if TYPE_CHECKING:
    from collections.abc import Callable


def forget_derived(execute: Callable[..., Any], mark: str, commitment: str) -> None:
    """Take away everything that is derived from the text under ``commitment``, in the transaction that erases it and before
    that: to take a text out of the search needs its words. ``mark`` stands for a parameter in SQL.

    Raises the driver's errors.
    """

    def run(statement: str, parameters: tuple[Any, ...]) -> Any:
        return execute(statement.replace("?", mark), parameters)

    words = SqliteWords(run) if mark == "?" else PostgresWords(run)
    forget_text(run, words, commitment)
