"""What a question may take, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monitor.errors import ConfigError


class QueryError(ConfigError):
    """A question in SQL that was refused, that the database did not understand, or that ran past a limit."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """``seconds`` of wall time, ``rows`` and ``bytes`` of the answer, ``memory`` in bytes that SQLite may take.

    ``rows`` cuts the answer off, which then says so; the others end the question with a QueryError.
    """

    seconds: float = 30.0
    rows: int = 10_000
    bytes: int = 64 * 2**20
    memory: int = 512 * 2**20

    def too_slow(self) -> str:
        """What is said of a question that took too long."""
        return f"the query was stopped after {self.seconds:g} s; ask for less (one run, a LIMIT), or give it more --seconds"

    def too_large(self) -> str:
        """What is said of an answer with too much text in it."""
        return (
            f"the answer has more than {self.bytes:,} bytes; ask for fewer columns or rows, or parts of texts (substr)"
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question: names of columns, and rows. ``is_cut`` tells that there were more rows than the limit."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    is_cut: bool = False
