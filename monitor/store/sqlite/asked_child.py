"""The process that reads a SQLite file for a question; run as a script, on its own, by ``monitor.store.sqlite.asking``.

It gives up what it does not need before it looks at the question: it can write no file, has a bounded heap and bounded
processor time. Then the authorizer lets a statement read views, and call functions of a list; nothing else.

Standard input has one JSON object; standard output gets one JSON value a line.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from typing import Any

try:
    import pysqlite3 as sqlite
except ImportError:  # it has wheels for Linux only
    import sqlite3 as sqlite

_STEPS = 5_000  # virtual machine steps between looks at the clock
_CHUNK = 200
_ADDRESS_SPACE = 256 * 2**20  # beside the heap: the interpreter, the library, the map of the shared memory
_RECURSIVE = getattr(sqlite, "SQLITE_RECURSIVE", 33)
_INNER_VIEWS = ("shown_texts",)  # what views read, and no question names
_READ_BY_VIEWS = "events", "texts", "message_nodes", "scan_headers", "scan_checks", "scan_parts", "scan_results"
_TABLES = f"SELECT name FROM sqlite_master WHERE type = 'table' AND name IN {_READ_BY_VIEWS}"  # noqa: S608 - our names
_JSON_TABLES = frozenset({"json_each", "json_tree"})


class Refusals:
    """The authorizer: an allow-list. ``said`` has what was refused, for the message.

    Tables are read from inside of views alone. SQLite names the innermost view as the place from which a table is read, but
    also a common table expression; so whoever starts this process has made sure that the statement names no table.
    """

    def __init__(self, views: list[str], tables: list[str], functions: list[str]) -> None:
        self._views, self._tables, self._functions = frozenset(views), frozenset(tables), frozenset(functions)
        self.said: list[str] = []

    def __call__(self, action: int, first: str | None, second: str | None, base: str | None, view: str | None) -> int:
        """Decide about one thing that the statement would do."""
        if action in {sqlite.SQLITE_SELECT, _RECURSIVE}:
            return int(sqlite.SQLITE_OK)
        if action == sqlite.SQLITE_READ:
            if self._may_read(first or "", second or "", inside=view is not None):
                return int(sqlite.SQLITE_OK)
            return self._refuse(f"to read {first}")
        if action == sqlite.SQLITE_FUNCTION:
            if (second or "").lower() in self._functions:
                return int(sqlite.SQLITE_OK)
            return self._refuse(f"the function {second}")
        return self._refuse(_WORDS.get(action, f"action {action}") + (f" {first}" if first else ""))

    def _may_read(self, table: str, column: str, *, inside: bool) -> bool:
        if table in self._views or table in _JSON_TABLES:
            return True
        if table in self._tables:
            return inside or not column  # where a view is merged into the question, no place is named for a mere count
        return not column and not table.lower().startswith(("sqlite_", "pragma_"))  # a common table expression

    def _refuse(self, what: str) -> int:
        if what not in self.said:
            self.said.append(what)
        return int(sqlite.SQLITE_DENY)


_ACTIONS = """
ALTER_TABLE ANALYZE ATTACH CREATE_INDEX CREATE_TABLE CREATE_TEMP_INDEX CREATE_TEMP_TABLE CREATE_TEMP_TRIGGER
CREATE_TEMP_VIEW CREATE_TRIGGER CREATE_VIEW CREATE_VTABLE DELETE DETACH DROP_INDEX DROP_TABLE DROP_TRIGGER
DROP_VIEW DROP_VTABLE INSERT PRAGMA REINDEX SAVEPOINT TRANSACTION UPDATE
"""
_WORDS = {getattr(sqlite, f"SQLITE_{name}", None): name.replace("_", " ") for name in _ACTIONS.split()}


def main() -> None:
    """Answer the question on standard input."""
    asked = json.loads(sys.stdin.read())
    _confine(asked)
    connection = sqlite.connect(asked["uri"], uri=True, isolation_level=None, timeout=asked["busy_seconds"])
    said: list[str] = []
    try:
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute(f"PRAGMA hard_heap_limit = {int(asked['memory'])}")
        tables = [*(name for (name,) in connection.execute(_TABLES)), *_INNER_VIEWS]
        refusals = Refusals(asked["views"], tables, asked["functions"])
        said = refusals.said
        connection.execute("PRAGMA query_only = ON")
        _limit(connection, asked["bytes"])
        deadline = time.monotonic() + asked["seconds"]
        connection.set_authorizer(refusals)
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _STEPS)
        _answer(connection, asked)
    except sqlite.Error as failure:
        code = str(getattr(failure, "sqlite_errorname", ""))
        _say({"error": str(failure), "code": code, "refused": said})
    except sqlite.Warning as failure:  # more than one statement
        _say({"error": str(failure), "code": "", "refused": []})
    except MemoryError:
        _say({"error": "out of memory", "code": "SQLITE_NOMEM", "refused": []})


def _confine(asked: dict[str, Any]) -> None:
    seconds = math.ceil(asked["seconds"]) + 2
    room = int(asked["memory"]) + int(asked["bytes"]) * 4 + _ADDRESS_SPACE
    for limit, value in (
        (resource.RLIMIT_AS, room),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (wanted, wanted))


def _limit(connection: Any, size: int) -> None:
    """Limits that Python's own module can set, where it is the one in use; ``hard_heap_limit`` is there in any case."""
    set_limit = getattr(connection, "setlimit", None)
    if set_limit is not None:
        set_limit(sqlite.SQLITE_LIMIT_LENGTH, size)
        set_limit(sqlite.SQLITE_LIMIT_ATTACHED, 0)


def _answer(connection: Any, asked: dict[str, Any]) -> None:
    cursor = connection.execute(asked["sql"], asked["parameters"])
    if cursor.description is None:
        _say({"error": "the statement gives no rows", "code": "EMPTY", "refused": []})
        return
    _say({"columns": [column[0] for column in cursor.description]})
    count, size = 0, 0
    while rows := cursor.fetchmany(min(_CHUNK, asked["rows"] + 1 - count)):
        line = json.dumps([[_plain(value) for value in row] for row in rows])
        count, size = count + len(rows), size + len(line)
        if size > asked["bytes"]:
            _say({"error": "too large", "code": "TOOBIG", "refused": []})
            return
        sys.stdout.write(line + "\n")
        if count > asked["rows"]:
            break
    _say({"end": True})


def _plain(value: Any) -> Any:
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
