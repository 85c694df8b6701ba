"""Edits of a store's file, each by a seed: through SQL with every trigger put back as it was, and of raw bytes."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.errors import MonitorError
from monitor.store import Store
from monitor.store.ledger import leaf_hash_of
from monitor.store.sqlite import driver

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

TABLES = {
    "events": ("leaf_index", "run_id", "span_id", "seq", "kind", "at", "canonical", "leaf_hash"),
    "texts": ("commitment", "sha256", "salt", "body"),
    "message_nodes": ("node_hash", "parent_hash", "payload"),
    "checkpoints": ("number", "tree_size", "root", "origin", "note", "peaks", "at"),
}
KEYS = {"events": "leaf_index", "texts": "commitment", "message_nodes": "node_hash", "checkpoints": "number"}


def copied(source: Path, target: Path) -> Path:
    """A copy of a file and its log, which nobody has open for writing."""
    for tail in ("", "-wal"):
        if Path(f"{source}{tail}").exists():
            shutil.copyfile(f"{source}{tail}", f"{target}{tail}")
    return target


def records(path: Path) -> Any:
    """All that a reader gets of a store: every row by plain SQL, and every run and subcall through the store itself.

    What cannot be read is its error: another record than the one that was there.
    """
    found: list[Any] = []
    work = path.with_name(f"read-{path.name}")
    for tail in ("", "-wal", "-shm"):
        Path(f"{work}{tail}").unlink(missing_ok=True)
    copied(path, work)
    try:
        connection = driver().connect(str(work))
        try:
            for table, columns in TABLES.items():
                query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {KEYS[table]}"
                found.append(connection.execute(query).fetchall())
        finally:
            connection.close()
        with Store.open(str(work), create=False) as store:
            for run in store.runs():
                found += [run, store.subcalls(run.start.run_id), store.reviews(run.start.run_id)]
                found += store.redactions(run.start.run_id)
    except (driver().Error, MonitorError, UnicodeError, ValueError, TypeError, KeyError, OverflowError) as failure:
        return type(failure).__name__
    return found


# ----------------------------------------------------------------------------------------------------------- by SQL


class Editor:
    """A file open for edits; triggers are gone while it is open, and put back with the very same words."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.chance = chance
        self.sql = driver().connect(str(path), isolation_level=None)
        self.sql.execute("PRAGMA foreign_keys = OFF")
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid"
        self._triggers = self.sql.execute(query).fetchall()
        for name, _ in self._triggers:
            self.sql.execute(f"DROP TRIGGER {name}")

    def close(self) -> None:
        for _, statement in self._triggers:
            self.sql.execute(statement)
        self.sql.close()

    def row(self, table: str) -> tuple[Any, ...]:
        columns = ", ".join(TABLES[table])
        rows = self.sql.execute(f"SELECT {columns} FROM {table} ORDER BY {KEYS[table]}").fetchall()
        chosen: tuple[Any, ...] = self.chance.choice(rows)
        return chosen

    def set(self, table: str, key: Any, column: str, value: Any) -> None:
        self.sql.execute(f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {KEYS[table]} = ?", (value, key))


def changed(chance: random.Random, value: Any) -> Any:
    """Another value, of the same type or another."""
    if isinstance(value, int):
        return chance.choice([value + 1, value - 1, str(value) + "x", None, float(value) + 0.5])
    if isinstance(value, bytes):
        at = chance.randrange(len(value)) if value else 0
        return value[:at] + bytes([(value[at] + 1) % 256]) + value[at + 1 :] if value else b"x"
    if value is None:
        return chance.choice(["", "x", 0])
    at = chance.randrange(len(value)) if value else 0
    return chance.choice(
        [
            value[:at] + ("x" if value[at : at + 1] != "x" else "y") + value[at + 1 :],
            value + " ",
            "",
            None,
            value.encode(),
        ]
    )


def edit_value(edit: Editor) -> None:
    table = edit.chance.choice(["events", "events", "texts", "message_nodes", "checkpoints"])
    row = edit.row(table)
    place = edit.chance.randrange(len(row))
    try:
        edit.set(table, row[TABLES[table].index(KEYS[table])], TABLES[table][place], changed(edit.chance, row[place]))
    except driver().Error:  # a type or NULL that the table refuses
        edit.set(table, row[TABLES[table].index(KEYS[table])], TABLES[table][-1], "another value")


def rewrite_event(edit: Editor) -> None:
    """Another event with every hash and column made to fit."""
    leaf, run, span, seq, kind, at, canonical, _ = edit.row("events")
    event = json.loads(canonical)
    event["at"] = at[:-2] + ("1" if at[-2] != "1" else "2") + "Z"
    text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    edit.sql.execute(
        "UPDATE events SET at = ?, canonical = ?, leaf_hash = ? WHERE leaf_index = ?",
        (event["at"], text, leaf_hash_of(text), leaf),
    )
    del run, span, seq, kind


def rewrite_verdict(edit: Editor) -> None:
    """``unmeasured`` becomes ``pass``, and the leaf's hash is made to fit."""
    rows = edit.sql.execute("SELECT leaf_index, canonical FROM events WHERE kind = 'judged'").fetchall()
    leaf, canonical = edit.chance.choice(rows)
    text = canonical.replace('"applicable":', '"applicable":1', 1).replace('"value":"unmeasured"', '"value":"pass"')
    edit.sql.execute(
        "UPDATE events SET canonical = ?, leaf_hash = ? WHERE leaf_index = ?", (text, leaf_hash_of(text), leaf)
    )


def delete_row(edit: Editor) -> None:
    table = edit.chance.choice(list(TABLES))
    row = edit.row(table)
    edit.sql.execute(f"DELETE FROM {table} WHERE {KEYS[table]} = ?", (row[TABLES[table].index(KEYS[table])],))


def delete_and_close_up(edit: Editor) -> None:
    """An event goes, and those behind it move up: no gap is left."""
    (leaf, *_) = edit.row("events")
    edit.sql.execute("DELETE FROM events WHERE leaf_index = ?", (leaf,))
    for (later,) in edit.sql.execute(
        "SELECT leaf_index FROM events WHERE leaf_index > ? ORDER BY 1", (leaf,)
    ).fetchall():
        edit.sql.execute("UPDATE events SET leaf_index = ? WHERE leaf_index = ?", (later - 1, later))


def delete_run(edit: Editor) -> None:
    """A whole run goes, and the log is closed up behind it."""
    run = edit.row("events")[1]
    edit.sql.execute("DELETE FROM events WHERE run_id = ?", (run,))
    rows = edit.sql.execute("SELECT leaf_index FROM events ORDER BY 1").fetchall()
    for place, (leaf,) in enumerate(rows):
        edit.sql.execute("UPDATE events SET leaf_index = ? WHERE leaf_index = ?", (place, leaf))


def insert_event(edit: Editor) -> None:
    """A copy of an event under a span of its own, with hashes that fit, and what is behind it moves down."""
    leaf, run, span, seq, kind, at, canonical, _ = edit.row("events")
    for (later,) in edit.sql.execute(
        "SELECT leaf_index FROM events WHERE leaf_index >= ? ORDER BY 1 DESC", (leaf,)
    ).fetchall():
        edit.sql.execute("UPDATE events SET leaf_index = ? WHERE leaf_index = ?", (later + 1, later))
    append_event(edit, (leaf, run, span, seq, kind, at, canonical))


def append_event(edit: Editor, row: tuple[Any, ...]) -> None:
    leaf, run, span, seq, kind, at, canonical = row
    other = f"{edit.chance.getrandbits(64):016x}"
    text = canonical.replace(span, other)
    edit.sql.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (leaf, run, other, seq, kind, at, text, leaf_hash_of(text)),
    )


def insert_text(edit: Editor) -> None:
    salt = edit.chance.randbytes(32)
    body = f"planted {edit.chance.random()}"
    sha256, commitment = hashlib.sha256(body.encode()).hexdigest(), hmac.digest(salt, body.encode(), "sha256").hex()
    edit.sql.execute("INSERT INTO texts VALUES (?, ?, ?, ?)", (commitment, sha256, salt, body))


def insert_node(edit: Editor) -> None:
    _, _, payload = edit.row("message_nodes")
    text = payload.replace('"role":', '"role" :')
    edit.sql.execute("INSERT INTO message_nodes SELECT ?, NULL, ?", (hashlib.sha256(text.encode()).hexdigest(), text))


def swap_order(edit: Editor) -> None:
    """Two events change places in the log."""
    (first, *_), (second, *_) = edit.row("events"), edit.row("events")
    if first == second:
        second = (first + 1) if first == 0 else 0
    for old, new in ((first, -1), (second, first), (-1, second)):
        edit.sql.execute("UPDATE events SET leaf_index = ? WHERE leaf_index = ?", (new, old))


def swap_texts(edit: Editor) -> None:
    """Two texts change bodies, with salts and hashes."""
    one, two = edit.row("texts"), edit.row("texts")
    if one[0] == two[0]:
        delete_row(edit)
        return
    edit.sql.execute("UPDATE texts SET sha256 = NULL WHERE commitment = ?", (two[0],))
    for target, source in ((one, two), (two, one)):
        edit.sql.execute(
            "UPDATE OR REPLACE texts SET sha256 = ?, salt = ?, body = ? WHERE commitment = ?", (*source[1:], target[0])
        )


def erase_silently(edit: Editor) -> None:
    """A text is erased as a redaction erases it, and no event says so."""
    rows = edit.sql.execute("SELECT commitment FROM texts WHERE body IS NOT NULL").fetchall()
    edit.sql.execute(
        "UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE commitment = ?", edit.chance.choice(rows)
    )


def cut_tail(edit: Editor) -> None:
    """The last events go, and every checkpoint with them."""
    (last,) = edit.sql.execute("SELECT max(leaf_index) FROM events").fetchone()
    edit.sql.execute("DELETE FROM events WHERE leaf_index > ?", (last - edit.chance.randint(1, last),))
    edit.sql.execute("DELETE FROM checkpoints")


def cut_tail_cleanly(edit: Editor) -> None:
    """The last events go, with the checkpoints and all that only they referred to: what is left is a whole store."""
    (last,) = edit.sql.execute("SELECT max(leaf_index) FROM events").fetchone()
    cut_after(edit, last - edit.chance.randint(1, 10))


def cut_after(edit: Editor, leaf: int) -> None:
    edit.sql.execute("DELETE FROM events WHERE leaf_index > ?", (leaf,))
    edit.sql.execute("DELETE FROM checkpoints")
    while True:
        kept = " ".join(row[0] for row in edit.sql.execute("SELECT canonical FROM events"))
        kept += " ".join(row[0] for row in edit.sql.execute("SELECT payload FROM message_nodes"))
        gone = [
            (table, key, name)
            for table, key in (("message_nodes", "node_hash"), ("texts", "commitment"))
            for (name,) in edit.sql.execute(f"SELECT {key} FROM {table}").fetchall()
            if name not in kept
        ]
        for table, key, name in gone:
            edit.sql.execute(f"DELETE FROM {table} WHERE {key} = ?", (name,))
        if not gone:
            return


def drop_index(edit: Editor) -> None:
    rows = edit.sql.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql NOT NULL").fetchall()
    (name,) = edit.chance.choice(rows)
    edit.sql.execute(f"DROP INDEX {name}")


def change_view(edit: Editor) -> None:
    """A view that shows another verdict."""
    name = edit.chance.choice(["subcalls", "runs", "findings"])
    (statement,) = edit.sql.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    edit.sql.execute(f"DROP VIEW {name}")
    edit.sql.execute(statement.replace("verdict.value", "verdict.note").replace("'$.status'", "'$.level'"))


BY_SQL: tuple[Callable[[Editor], None], ...] = (
    edit_value,
    edit_value,
    edit_value,
    rewrite_event,
    rewrite_verdict,
    delete_row,
    delete_and_close_up,
    delete_run,
    insert_event,
    insert_text,
    insert_node,
    swap_order,
    swap_texts,
    erase_silently,
    cut_tail,
    cut_tail_cleanly,
    drop_index,
    change_view,
)


# --------------------------------------------------------------------------------------------------------- raw bytes


def flip_bytes(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 16)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def flip_in_a_row(path: Path, chance: random.Random) -> None:
    """One letter of something that is surely a value."""
    data = bytearray(path.read_bytes())
    words = (b"answer", b"thought", b"question", b"forty-two", b"judged", b"observed", b'"verdict"', b"because")
    word = chance.choice([word for word in words if word in data])
    places = [at for at in range(len(data)) if data.startswith(word, at)]
    data[chance.choice(places) + chance.randrange(len(word))] ^= 1
    path.write_bytes(data)


def _pages(path: Path) -> tuple[bytearray, int, int]:
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[16:18], "big") or 4096
    return data, size, len(data) // size


def zero_a_page(path: Path, chance: random.Random) -> None:
    data, size, pages = _pages(path)
    page = chance.randrange(pages)
    data[page * size : (page + 1) * size] = bytes(size)
    path.write_bytes(data)


def swap_pages(path: Path, chance: random.Random) -> None:
    data, size, pages = _pages(path)
    one, two = (chance.randrange(pages) * size for _ in range(2))
    data[one : one + size], data[two : two + size] = data[two : two + size], data[one : one + size]
    path.write_bytes(data)


def copy_page(path: Path, chance: random.Random) -> None:
    data, size, pages = _pages(path)
    one, two = (chance.randrange(pages) * size for _ in range(2))
    data[one : one + size] = data[two : two + size]
    path.write_bytes(data)


def truncate(path: Path, chance: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: chance.randrange(len(data))])


def flip_in_an_index(path: Path, chance: random.Random) -> None:
    """Bytes of an index's first page, which no row is in."""
    connection = driver().connect(str(path))
    roots = [row[0] for row in connection.execute("SELECT rootpage FROM sqlite_master WHERE type = 'index'")]
    connection.close()
    data, size, _ = _pages(path)
    page = (chance.choice(roots) - 1) * size
    for _ in range(chance.randint(1, 4)):
        data[page + chance.randrange(size)] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


OF_BYTES: tuple[Callable[[Path, random.Random], None], ...] = (
    flip_bytes,
    flip_in_a_row,
    flip_in_a_row,
    zero_a_page,
    swap_pages,
    copy_page,
    truncate,
    flip_in_an_index,
)


def flip_wal(path: Path, chance: random.Random) -> None:
    flip_bytes(Path(f"{path}-wal"), chance)


def cut_wal(path: Path, chance: random.Random) -> None:
    truncate(Path(f"{path}-wal"), chance)


def delete_wal(path: Path, chance: random.Random) -> None:
    del chance
    Path(f"{path}-wal").unlink()


OF_THE_LOG: tuple[Callable[[Path, random.Random], None], ...] = (flip_wal, flip_wal, cut_wal, delete_wal)
