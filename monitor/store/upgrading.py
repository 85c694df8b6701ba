"""``monitor db upgrade``: what would be done to a store of an older schema, a backup that is verified, and the upgrade."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from monitor.errors import StoreUnavailableError
from monitor.store.opening import locate
from monitor.store.schema import SCHEMA_VERSION, backup_stamp, missing, refuse_newer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a store in a file, made by the database's own means, read back and compared: ``events`` hashes agree."""

    path: Path
    events: int


@dataclass(frozen=True, slots=True)
class UpgradeReport:
    """An upgrade from one schema to another. ``steps`` are the migrations between them, one line each.

    ``backup`` was made before anything was changed; it is None where nothing was to be done, on a dry run, and where none
    was wanted. ``done`` tells whether the steps were taken.
    """

    url: str
    version: int
    newest: int
    steps: tuple[str, ...]
    backup: Backup | None = None
    done: bool = False


def upgrade(
    url: str,
    *,
    dry_run: bool = False,
    backup: bool = True,
    busy_seconds: float = 30.0,
    listener: Callable[[str], None] = lambda _: None,
) -> UpgradeReport:
    """Bring the store at ``url`` to the newest schema, having made a backup of it.

    ``listener`` is told what is being done. A backup of a file lies beside it, one of a server's database in the working
    directory. The upgrade is one transaction: where it fails, the store is what it was.

    Raises:
        ConfigError: the URL is wrong.
        StoreFormatError: there is no monitor database, or a newer version wrote it.
        StoreUnavailableError: it cannot be reached or written, or no backup can be made and one is wanted.
    """
    backend = locate(url, busy_seconds=busy_seconds)
    facts = backend.facts()
    version = facts.schema_version
    if version is None:
        raise StoreUnavailableError(
            facts.problem or f"{backend.place}: there is no store here yet; `monitor run` makes one, or name another"
        )
    refuse_newer(backend.place, version)
    report = UpgradeReport(backend.url, version, SCHEMA_VERSION, tuple(missing(version)))
    if dry_run or not report.steps:
        return report
    if backup:
        listener("making a backup and comparing it")
        report = replace(report, backup=backend.backup(backup_stamp(version)))
    listener("upgrading")
    backend.upgrade()
    return replace(report, done=True)
