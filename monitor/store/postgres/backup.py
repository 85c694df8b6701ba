"""A backup of a PostgreSQL database: made by ``pg_dump`` from one snapshot, read back, and compared with that snapshot."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING

from psycopg.conninfo import make_conninfo

from monitor.errors import StoreFormatError, StoreUnavailableError
from monitor.store.ledger import leaf_hash_of
from monitor.store.upgrading import Backup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from monitor.store.postgres.address import Address
    from monitor.store.postgres.connection import Connection

_ROWS_AT_ONCE = 500
_MODULUS = 2**256
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_SECRETS = ("password", "sslpassword")


def back_up(connection: Connection, address: Address, stamp: str) -> Backup:
    """Dump the database into a file in the working directory and compare it with what ``connection`` sees.

    Raises:
        StoreUnavailableError: there is no ``pg_dump``, or it failed; what it said is in the message, without passwords.
        StoreFormatError: the dump is not equal to the database.
    """
    programs = shutil.which("pg_dump"), shutil.which("pg_restore")
    if not all(programs):
        raise StoreUnavailableError(
            f"{address.shown}: no backup can be made, for pg_dump and pg_restore are not on PATH: install PostgreSQL's "
            "client programs, or make a backup by other means and add --no-backup"
        )
    path = Path(f"monitor-{connection.info.dbname}-{stamp}.dump".replace("/", "_")).absolute()
    connection.patience = None
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        _dump(str(programs[0]), address, str(row[0]), path)
        with connection.cursor("live") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            live = _digest(canonical for (canonical,) in cursor.execute("SELECT canonical FROM events"))
    dumped = _digest(_read_back(str(programs[1]), path))
    if dumped != live:
        raise StoreFormatError(f"{path}: the backup is not equal to {address.shown}; nothing was upgraded")
    return Backup(path, live[0])


def _dump(program: str, address: Address, snapshot: str, path: Path) -> None:
    """Run pg_dump; the password goes by the environment, never by the arguments, which others can see."""
    keywords = {name: value for name, value in address.keywords.items() if name not in _SECRETS}
    environment = dict(os.environ)
    if "password" in address.keywords:
        environment["PGPASSWORD"] = address.keywords["password"]
    path.touch(mode=0o600)  # it holds every thought in the database
    options = ["--format=custom", "--no-password", f"--snapshot={snapshot}", f"--file={path}"]
    command = [program, *options, f"--dbname={make_conninfo('', **keywords)}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, and no text of a model's
    if done.returncode:
        path.unlink()
        said = address.hide(" ".join(done.stderr.split()))
        raise StoreUnavailableError(
            f"{address.shown}: no backup was made: pg_dump says: {said}; mend it, or make a backup by other means and "
            "add --no-backup. Nothing was upgraded"
        )


def _digest(canonicals: Iterable[str]) -> tuple[int, int]:
    """How many events there are, and the sum of their leaf hashes, each computed anew: the same in any order."""
    count = total = 0
    for canonical in canonicals:
        count += 1
        total = (total + int(leaf_hash_of(canonical), 16)) % _MODULUS
    return count, total


def _read_back(program: str, path: Path) -> Iterator[str]:
    """The canonical texts of the events in a dump, as pg_restore would load them. Raises StoreFormatError."""
    command = [program, "--data-only", "--table=events", "--file=-", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8") as process:  # noqa: S603 - as above
        assert process.stdout is not None
        yield from _copied(process.stdout)
    if process.returncode:
        raise StoreFormatError(f"{path}: the backup cannot be read back by pg_restore; nothing was upgraded")


def _copied(lines: IO[str]) -> Iterator[str]:
    """The column ``canonical`` of a COPY block. Lines end in a line feed only, whatever else the texts hold."""
    place: int | None = None
    for line in lines:
        if place is None:
            if line.startswith("COPY "):
                columns = line.partition("(")[2].partition(")")[0].split(", ")
                place = columns.index("canonical")
        elif line == "\\.\n":
            place = None
        else:
            yield _unescaped(line.removesuffix("\n").split("\t")[place])


def _unescaped(text: str) -> str:
    """Undo the escapes of COPY's text format."""
    first, *others = text.split("\\")
    parts = [first]
    escaped_backslash = False
    for part in others:
        if escaped_backslash:  # the part after a doubled backslash is as it stands
            parts.append(part)
            escaped_backslash = False
        elif part:
            parts.append(_ESCAPES.get(part[0], part[0]) + part[1:])
        else:
            parts.append("\\")
            escaped_backslash = True
    return "".join(parts)
