"""Full-text search over the text files of one folder, by SQLite's FTS5 in memory: BM25, with lines and passages."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = (".md", ".markdown", ".rst", ".txt")
MAX_FILES = 2_000
MAX_FILE_BYTES = 1_000_000
MAX_BYTES = 16_000_000
MAX_TERMS = 16
MAX_QUERY_CHARS = 300
MAX_RESULTS = 20
MAX_LINE_CHARS = 4_000
MAX_PASSAGE_LINES = 12
SNIPPET_TOKENS = 40


def search_corpus(query: str, results: int = 5, *, folder: Path) -> str:
    """Search the text files for passages that have all the words; "words in quotes" are a phrase, begin* finds beginnings.

    Answers with file, line and the passage, the best first; words that were found are between « and ».
    """
    terms = _terms(query)
    wanted = max(1, min(results, MAX_RESULTS))
    root = folder.resolve()
    with closing(sqlite3.connect(":memory:")) as database:
        try:
            database.execute("CREATE VIRTUAL TABLE p USING fts5(text, file UNINDEXED, line UNINDEXED)")
        except sqlite3.OperationalError as exc:
            raise RuntimeError(f"this Python's SQLite has no full-text search: {exc}") from None
        read, skipped = _fill(database, root)
        found = _search(database, " AND ".join(terms), wanted)
        note = f"\n\n({read} files were searched; {skipped} were left out for their size or number)" if skipped else ""
        if not found:
            counts = [f"{term}: {len(_search(database, term, 100))}" for term in terms] if len(terms) > 1 else []
            tip = f" Passages with each alone: {', '.join(counts)}. Try fewer words." if counts else " Try other words."
            return f"No passage of {read} files has it.{tip}{note}"
        return "\n\n".join(f"{file}:{line}\n{text}" for file, line, text in found) + note


def _terms(query: str) -> list[str]:
    """The query as FTS5 strings: each a phrase in quotes, perhaps with a star; nothing else of FTS5's language passes."""
    if len(query) > MAX_QUERY_CHARS:
        raise ValueError(f"the query has {len(query)} characters; at most {MAX_QUERY_CHARS} are read")
    pieces: list[str] = []
    for number, part in enumerate(query.replace("“", '"').replace("”", '"').split('"')):
        if number % 2:
            pieces.append(part)
            continue
        if part.startswith("*") and pieces:
            pieces[-1] += "*"  # a star after a phrase
        pieces += part.removeprefix("*").split()
    terms = [
        f'"{words}"{" *" if piece.rstrip().endswith("*") else ""}'
        for piece in pieces
        if (words := " ".join("".join(char if char.isalnum() else " " for char in piece).split()))
    ]
    if not terms:
        raise ValueError('the query has no words: give words, a "phrase", or begin*')
    if len(terms) > MAX_TERMS:
        raise ValueError(f"the query has {len(terms)} words and phrases; at most {MAX_TERMS} are searched for")
    return terms


def _search(database: sqlite3.Connection, match: str, limit: int) -> list[tuple[str, int, str]]:
    found = database.execute(
        f"SELECT file, line, snippet(p, 0, '«', '»', '…', {SNIPPET_TOKENS}) FROM p WHERE p MATCH ? "  # noqa: S608 - a number
        "ORDER BY bm25(p), file, line LIMIT ?",
        (match, limit),
    )
    return [(str(file), int(line), str(text)) for file, line, text in found]


def _fill(database: sqlite3.Connection, root: Path) -> tuple[int, int]:
    """Index the passages of the files; returns how many files were read, and how many left out."""
    read = skipped = size = 0
    for path in _files(root):
        data = _content(path) if read < MAX_FILES and size < MAX_BYTES else None
        if data is None or size + len(data) > MAX_BYTES:
            skipped += 1
            continue
        read, size = read + 1, size + len(data)
        name = path.relative_to(root).as_posix().encode(errors="replace").decode()
        rows = ((text, name, line) for line, text in _passages(data.decode("utf-8", errors="replace")))
        database.executemany("INSERT INTO p VALUES (?, ?, ?)", rows)
    return read, skipped


def _files(root: Path) -> Iterator[Path]:
    """The text files below a folder in order of their names; symbolic links and hidden folders are not followed."""
    for folder, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink():
                yield path


def _content(path: Path) -> bytes | None:
    """A file's bytes; None for one that cannot be read or is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= MAX_FILE_BYTES else None


def _passages(text: str) -> Iterator[tuple[int, str]]:
    """The paragraphs of a text, each with the number of its first line; long ones in parts."""
    first, lines = 1, list[str]()
    for number, line in enumerate(text.replace("\0", " ").splitlines(), 1):
        if line.strip():
            first = first if lines else number
            lines.append(line[:MAX_LINE_CHARS])
        if lines and (not line.strip() or len(lines) == MAX_PASSAGE_LINES):
            yield first, "\n".join(lines)
            lines = []
    if lines:
        yield first, "\n".join(lines)
