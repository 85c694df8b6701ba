"""The schema's version, and the one history of migrations that both databases go through.

Alembic takes time to import; a store that is up to date, which is nearly every one, never loads it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.errors import StoreFormatError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

SCHEMA_VERSION = 9
"""The newest schema this code knows: the number of its last migration."""

_MIGRATIONS = Path(__file__).with_name("migrations")


def refuse_newer(place: str, version: int) -> None:
    """Raise StoreFormatError if the schema ``version`` at ``place`` is newer than this code knows."""
    if version > SCHEMA_VERSION:
        raise StoreFormatError(
            f"{place}: written by a newer monitor (schema {version}; this one knows up to {SCHEMA_VERSION}); "
            "upgrade with: pip install -U factored-monitor. It was left as it was"
        )


def backup_stamp(version: int) -> str:
    """What tells the backup of a store of schema ``version`` from every other one."""
    return f"schema{version}-{datetime.now(UTC):%Y%m%dT%H%M%S_%fZ}"


def number_of(revision: object) -> int:
    """The version that a note of Alembic's stands for; one that is no number is newer than all that are."""
    return int(text) if (text := str(revision)).isdecimal() else SCHEMA_VERSION + 1


def migrate(connection: Connection, *, version_table: str = "alembic_version", target: str = "head") -> None:
    """Run the missing migrations on ``connection``, which is inside a write transaction. Raises the driver's errors."""
    from alembic import command  # noqa: PLC0415 - slow to import and needed only here

    config = _config()
    config.attributes["connection"] = connection
    config.attributes["version_table"] = version_table
    command.upgrade(config, target)


def missing(version: int) -> list[str]:
    """Return what the migrations after ``version`` do, one line each, in their order."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    after = [script for script in scripts if number_of(script.revision) > version]
    return [f"{script.revision}: {script.doc}" for script in reversed(after)]


def _config() -> Config:
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
