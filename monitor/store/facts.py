"""What ``monitor doctor`` wants to know of a store, found out without changing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

EngineName = Literal["sqlite", "postgresql", ""]


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The state of a store and of the database software in use.

    ``url`` holds no password. ``engine`` is empty where the URL names none. ``problem`` says what is wrong and what to do,
    or is empty. ``writable`` tells whether traces can be stored there: of a store that does not exist, whether it could be
    made. ``schema_version`` is None where there is no store to read it from. ``pending_leaves`` are events that are
    committed and have no place in the Merkle log yet, None where they could not be counted.
    """

    url: str
    engine: EngineName
    engine_version: str
    path: Path | None
    exists: bool
    writable: bool
    schema_version: int | None
    newest_schema: int
    pending_leaves: int | None
    problem: str
    warnings: tuple[str, ...]
