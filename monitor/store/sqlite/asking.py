"""A question to a SQLite file, answered by a process of its own: see ``asked_child`` for what confines it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import re2

from monitor.errors import StoreError
from monitor.store.asking.answers import Answer, QueryError, QueryLimits
from monitor.store.asking.views import FUNCTIONS, VIEWS
from monitor.store.sqlite import schema
from monitor.store.sqlite.connection import connect_reader, driver, translate

if TYPE_CHECKING:
    from collections.abc import Mapping

_HIDDEN = re2.compile(
    r"(?i)(?:^|[^A-Za-z0-9_$\x{80}-\x{10ffff}])"
    r"(events|texts|shown_texts|message_nodes|checkpoints|scan_(?:headers|checks|parts|results)|alembic_version|search_[a-z_]+|sqlite_[a-z_0-9]+|pragma_[a-z_]+|fts5?[a-z]*)"
    r"(?:$|[^A-Za-z0-9_$\x{80}-\x{10ffff}])"
)
_CHILD = Path(__file__).with_name("asked_child.py")
_GRACE = 2.0  # seconds beyond the limit until the process is killed: one step of SQLite may take long


def ask_file(
    path: Path, sql: str, parameters: Mapping[str, Any], limits: QueryLimits, *, busy_seconds: float
) -> Answer:
    """Answer one SELECT over the views of the file. Raises QueryError, StoreError."""
    _check(sql, parameters)
    schema.prepare(path, create=False, busy_seconds=busy_seconds)
    try:
        with contextlib.closing(connect_reader(path, busy_seconds=busy_seconds)) as keeper:
            keeper.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            # The keeper holds the file's shared memory open, which a process that may write nothing could not make.
            is_shared = path.with_name(f"{path.name}-shm").exists()
            mode = "mode=ro" if is_shared else "mode=ro&immutable=1"
            asked = {
                "uri": f"file:{quote(str(path))}?{mode}",
                "sql": sql,
                "parameters": dict(parameters),
                "views": VIEWS,
                "functions": sorted(FUNCTIONS),
                "busy_seconds": busy_seconds,
                "seconds": limits.seconds,
                "rows": limits.rows,
                "bytes": limits.bytes,
                "memory": limits.memory,
            }
            said = _run(asked, limits)
    except driver().Error as failure:
        raise translate(failure, path, busy_seconds=busy_seconds) from failure
    return _read(said, limits)


def _check(sql: str, parameters: Mapping[str, Any]) -> None:
    """Refuse a statement in which the name of a table stands, wherever: SQLite has no other way to write a name.

    Views can then be had under their names, and what they read cannot.
    """
    found = _HIDDEN.search(sql)
    if found:
        raise QueryError(
            f"refused: {found.group(1)} is a table, and a query may read the views ({', '.join(VIEWS)}). Where it is no "
            "name but a value, give it as a parameter (:name, --param name=VALUE)"
        )
    for name, value in parameters.items():
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise QueryError(f"the value of :{name} is beyond the 64 bits that an integer has in a SQLite file")
        if f":{name}" not in sql:
            raise QueryError(f"there is no :{name} in the query, and a value for it was given")


def _run(asked: Mapping[str, Any], limits: QueryLimits) -> str:
    command = [sys.executable, "-I", str(_CHILD)]
    try:
        done = subprocess.run(  # noqa: S603 - our own file
            command,
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=limits.seconds + _GRACE,
            check=False,
            env={"PATH": ""},
        )
    except subprocess.TimeoutExpired:
        raise QueryError(limits.too_slow()) from None
    if done.returncode < 0:
        raise QueryError(limits.too_slow())  # its processor time was over
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        if "MemoryError" in last[0]:
            raise QueryError(_no_memory(limits))
        raise StoreError(f"the process that reads the file failed: {last[0]}")
    return done.stdout


def _read(said: str, limits: QueryLimits) -> Answer:
    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = []
    ended = False
    for line in said.splitlines():
        value = json.loads(line)
        if isinstance(value, list):
            rows += [
                tuple(bytes.fromhex(cell["bytes"]) if isinstance(cell, dict) else cell for cell in row) for row in value
            ]
        elif "columns" in value:
            columns = tuple(value["columns"])
        elif "error" in value:
            raise QueryError(_explained(value, limits))
        else:
            ended = True
    if not ended:
        raise StoreError("the process that reads the file ended in the middle of the answer; ask again")
    return Answer(columns, rows[: limits.rows], is_cut=len(rows) > limits.rows)


def _explained(value: Mapping[str, Any], limits: QueryLimits) -> str:
    error, code = str(value["error"]), str(value["code"])
    if value["refused"]:
        return (
            f"refused: {', '.join(value['refused'])}. A query may read the views ({', '.join(VIEWS)}) and call functions "
            "that compute; docs/auditing.md lists them"
        )
    if code == "SQLITE_INTERRUPT" or "interrupted" in error:
        return limits.too_slow()
    if code == "TOOBIG" or "too big" in error:
        return limits.too_large()
    if code == "SQLITE_NOMEM" or "out of memory" in error or "unable to allocate" in error:
        return _no_memory(limits)
    if code == "EMPTY":
        return "expected one SELECT, found a statement that gives no rows"
    if "one statement" in error:
        return "expected one statement, found several; ask them one by one"
    return f"the query is wrong: {error}"


def _no_memory(limits: QueryLimits) -> str:
    return (
        f"the query was stopped: it needs more than {limits.memory // 2**20} MiB of memory; "
        "sort, group or join less at once"
    )
