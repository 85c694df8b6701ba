"""What ``monitor doctor`` wants to know of a store, found out without changing it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.errors import MonitorError
from monitor.store import schema
from monitor.store.location import parse_url
from monitor.store.sqlite import driver, library_is_safe, library_version, library_warnings, translate

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The state of a store and of the SQLite library in use.

    ``problem`` says what is wrong and what to do, or is empty. ``writable`` tells whether traces can be stored there: of a
    store that does not exist, whether it could be made. ``schema_version`` is None where there is no store to read it from.
    """

    url: str
    path: Path | None
    exists: bool
    writable: bool
    sqlite_version: str
    sqlite_safe: bool
    schema_version: int | None
    newest_schema: int
    problem: str
    warnings: tuple[str, ...]


def inspect(url: str) -> StoreFacts:
    """Find out about the store at ``url``. Trouble of any ordinary kind is in the answer's ``problem``, never raised."""
    path, exists, writable, version, problem = None, False, False, None, ""
    try:
        path = parse_url(url)
        exists = path.exists()
        writable = _writable(path)
        version = _version(path)
    except MonitorError as exc:
        problem = str(exc)
    except OSError as exc:
        problem = f"{path}: {exc.strerror}; name another place"
    if not problem and not writable:
        problem = f"{path}: the file and its directory must both be writable to store traces"
    return StoreFacts(
        url=url,
        path=path,
        exists=exists,
        writable=writable,
        sqlite_version=library_version(),
        sqlite_safe=library_is_safe(),
        schema_version=version,
        newest_schema=schema.SCHEMA_VERSION,
        problem=problem,
        warnings=library_warnings(),
    )


def _version(path: Path) -> int | None:
    """The schema version of the store at ``path``, None where there is no store yet. Raises StoreError."""
    if schema.identify(path) is not schema.FileKind.OURS:
        return None
    try:
        version = schema.read_version(path, busy_seconds=1.0)
    except driver().Error as exc:
        raise translate(exc, path) from exc
    schema.refuse_newer(path, version)
    return version


def _writable(path: Path) -> bool:
    """Whether the file and its directory, or the nearest directory that exists, may be written by this process."""
    effective = os.access in os.supports_effective_ids
    nearest = path.parent
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    places = [nearest, path] if path.exists() else [nearest]
    return nearest.is_dir() and all(os.access(place, os.W_OK, effective_ids=effective) for place in places)
