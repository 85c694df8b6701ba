"""Rows of a CSV or JSONL file with the line that each begins on; what is wrong is told with that line."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.errors import Fault
from monitor.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from monitor.errors import FileFaults

__all__ = ["MAX_BYTES", "Row", "read_table"]

MAX_BYTES = 256_000_000
_MAX_FIELD = 4_000_000  # codepoints in one field of a CSV file


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its values by column, and where it begins."""

    path: str
    line: int
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the file."""
        return Path(self.path).name

    def get(self, column: str) -> Any:
        """The value in ``column``; None where there is none."""
        return self.values.get(column)

    def fault(self, problem: str, fix: str) -> Fault:
        """Something that is wrong in this row."""
        return Fault(self.path, self.line, 1, problem, fix)


def read_table(path: Path, faults: FileFaults, *, needed: Sequence[str]) -> Iterator[Row]:
    """Read the rows of a ``.csv``, ``.jsonl`` or ``.ndjson`` file one after the other; faults are appended.

    A row without a column that is ``needed`` is a fault: once for a CSV file, whose header lacks it, else at each row.

    Raises:
        TooManyFaultsError: as ``FileFaults.append``.
    """
    text = _text(Path(path), faults)
    if text is None:
        return
    if path.suffix.lower() == ".csv":
        yield from _csv(text, str(path), faults, needed)
    elif path.suffix.lower() in {".jsonl", ".ndjson"}:
        yield from _jsonl(text, str(path), faults, needed)
    else:
        problem = f"the kind of file is not known by its name (`{path.suffix or 'no suffix'}`)."
        faults.append(Fault(str(path), 1, 1, problem, "Labelled texts are read from .csv and .jsonl files."))


def _text(path: Path, faults: FileFaults) -> str | None:
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as exc:
        faults.append(Fault(str(path), 1, 1, f"the file cannot be read: {exc.strerror}.", "Check the path."))
        return None
    if size > MAX_BYTES:
        problem = f"the file has {size:,} bytes; at most {MAX_BYTES:,} are read."
        faults.append(Fault(str(path), 1, 1, problem, "Split it into several files."))
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        faults.append(Fault(str(path), line, 1, "the file is not UTF-8 text.", "Save it as UTF-8."))
        return None


def _csv(text: str, path: str, faults: FileFaults, needed: Sequence[str]) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    before = csv.field_size_limit(_MAX_FIELD)
    try:
        header = next(reader, [])
        if not _is_header(header, path, faults, needed):
            return
        line = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(header):
                problem = f"the row has {len(cells)} fields, the header {len(header)}."
                fix = "A text with a comma or a line break stands in double quotes."
                faults.append(Fault(path, line, 1, problem, fix))
            elif cells:
                yield Row(path, line, dict(zip(header, cells, strict=True)))
            line = reader.line_num + 1
    except csv.Error as exc:
        fix = 'A quote inside of a quoted text is written twice: "".'
        faults.append(Fault(path, max(1, reader.line_num), 1, f"this is no CSV: {exc}.", fix))
    finally:
        csv.field_size_limit(before)


def _is_header(header: list[str], path: str, faults: FileFaults, needed: Sequence[str]) -> bool:
    twice = sorted({name for name in header if header.count(name) > 1})
    for name in twice:
        faults.append(Fault(path, 1, 1, f"two columns are named `{name}`.", "Rename one of them."))
    missing = [name for name in dict.fromkeys(needed) if name not in header]
    for name in missing:
        known = ", ".join(f"`{column}`" for column in header) or "none"
        problem = f"there is no column `{name}`{nearest(name, header)}; there are: {known}."
        faults.append(Fault(path, 1, 1, problem, "Name the column that is meant."))
    return not twice and not missing


def _jsonl(text: str, path: str, faults: FileFaults, needed: Sequence[str]) -> Iterator[Row]:
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            value = json.loads(written, object_pairs_hook=_once)
        except json.JSONDecodeError as exc:
            fix = "One JSON object stands on each line."
            faults.append(Fault(path, line, exc.colno, f"this is no JSON: {exc.msg}.", fix))
            continue
        except (ValueError, RecursionError) as exc:
            said = str(exc) if isinstance(exc, ValueError) else "it is nested too deep"
            faults.append(Fault(path, line, 1, f"this cannot be read: {said}.", "Write it plainly."))
            continue
        if not isinstance(value, dict):
            faults.append(Fault(path, line, 1, "this is no JSON object.", 'Write {"text": …, "label": …}.'))
            continue
        row = Row(path, line, value)
        missing = [name for name in dict.fromkeys(needed) if name not in value]
        for name in missing:
            problem = f"there is no `{name}`{nearest(name, value)}."
            faults.append(row.fault(problem, "Write it in, or name the key that is meant."))
        if not missing:
            yield row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ. Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return found
