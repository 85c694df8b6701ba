"""Text files under one folder, and what is in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_BYTES = 64_000
MAX_FILE_BYTES = 64_000_000
MAX_ENTRIES = 500


def read_file(path: str, first_line: int = 1, last_line: int | None = None, *, folder: Path) -> str:
    """Read a text file, or lines of it (from 1), or list a folder. Paths are relative to the one folder that can be read.

    "." lists that folder; names of folders end in a slash.
    """
    if "\0" in path or first_line < 1 or (last_line is not None and last_line < first_line):
        raise ValueError("expected a path, and lines from 1 on: first_line not after last_line")
    root = folder.resolve()
    try:
        place = (root / path).resolve()
    except (OSError, RuntimeError):
        raise ValueError(f"{path}: the path cannot be followed") from None
    if not place.is_relative_to(root):
        raise PermissionError(f'{path} is outside of the folder: give a path inside it; "." lists what is there')
    try:
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        there = next(parent for parent in (*place.parents, root) if parent.is_dir() and parent.is_relative_to(root))
        where = there.relative_to(root).as_posix()
        raise FileNotFoundError(f'{path}: there is no such file; reading "{where}" lists what is there') from None
    except OSError as exc:
        raise PermissionError(f"{path} cannot be read: {exc.strerror}") from None
    try:
        facts = os.fstat(fd)
        if stat.S_ISDIR(facts.st_mode):
            return _listed(place, path)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError(f"{path} is neither a file nor a folder")
        if facts.st_size > MAX_FILE_BYTES:
            raise ValueError(f"{path} has {facts.st_size} bytes; files of at most {MAX_FILE_BYTES} are read")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return _lines(file.read(MAX_FILE_BYTES + 1), path, first_line, last_line)
    finally:
        os.close(fd)


def _lines(data: bytes, path: str, first: int, last: int | None) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    if "\0" in text:
        raise ValueError(f"{path} is not text: it has NUL bytes")
    lines = text.splitlines(keepends=True)
    if first > max(1, len(lines)):
        raise ValueError(f"{path} has {len(lines)} lines; line {first} was asked for")
    wanted = "".join(lines[first - 1 : last])
    size = len(wanted.encode())
    if size > MAX_BYTES:
        raise ValueError(
            f"{path} has {len(lines)} lines and these are {size} bytes; at most {MAX_BYTES} are read at once: "
            "ask for fewer with first_line and last_line"
        )
    return wanted


def _listed(place: Path, path: str) -> str:
    try:
        with os.scandir(place) as entries:
            names = sorted(_printable(entry.name) + "/" * entry.is_dir(follow_symlinks=False) for entry in entries)
    except OSError as exc:
        raise PermissionError(f"{path} cannot be listed: {exc.strerror}") from None
    if not names:
        return "(an empty folder)"
    more = [f"… and {len(names) - MAX_ENTRIES} more"] if len(names) > MAX_ENTRIES else []
    return "\n".join(names[:MAX_ENTRIES] + more)


def _printable(name: str) -> str:
    """A file's name in one line of text, whatever bytes it has."""
    plain = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in plain)
