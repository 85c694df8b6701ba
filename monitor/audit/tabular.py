"""Answers to queries as files: CSV that a spreadsheet does not run, JSON, Parquet."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

from monitor.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.store.asking import Answer

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that spreadsheets take for a formula. Models and the world write the texts that are exported."""


def to_csv(answer: Answer, *, exact: bool = False) -> str:
    """The answer as CSV (RFC 4180): a header, lines that end in CR and LF, NULL as an empty field.

    A text that a spreadsheet would take for a formula gets an apostrophe in front; with ``exact`` none does.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(answer.columns)
    writer.writerows([[_field(value, exact=exact) for value in row] for row in answer.rows])
    return out.getvalue()


def _field(value: Any, *, exact: bool) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if not exact and isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def to_objects(answer: Answer) -> list[dict[str, Any]]:
    """The rows as JSON objects by column; of two columns with one name the second is ``NAME:1`` and so on."""
    names = unique(answer.columns)
    return [dict(zip(names, [_json(value) for value in row], strict=True)) for row in answer.rows]


def _json(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def unique(names: tuple[str, ...]) -> list[str]:
    """Names of columns, each different: JSON and Parquet have no two columns of one name."""
    taken: set[str] = set()
    found = []
    for name in names:
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{name}:{number}"
        taken.add(candidate)
        found.append(candidate)
    return found


def write_parquet(answer: Answer, path: Path) -> None:
    """Write the answer as one Parquet file (Zstandard). Raises MissingExtraError, OSError.

    A column's type is that of its values: integers of 64 bits, else floats, else text; one without a value is of type null.
    """
    try:
        import pyarrow as arrow  # noqa: PLC0415 - optional, and slow to import
        from pyarrow import parquet  # noqa: PLC0415 - as above
    except ImportError as exc:
        raise MissingExtraError("pyarrow, which writes Parquet,", "audit") from exc
    columns = list(zip(*answer.rows, strict=True)) if answer.rows else [()] * len(answer.columns)
    arrays = [arrow.array(*_column(values, arrow)) for values in columns]
    table = arrow.Table.from_arrays(arrays, names=unique(answer.columns))
    parquet.write_table(table, path, compression="zstd")


def _column(values: tuple[Any, ...], arrow: Any) -> tuple[list[Any], Any]:
    present = [value for value in values if value is not None]
    if not present:
        return [None] * len(values), arrow.null()
    if all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in present):
        return list(values), arrow.int64()
    if all(isinstance(value, (int, float)) for value in present):
        return [None if value is None else float(value) for value in values], arrow.float64()
    if all(isinstance(value, bytes) for value in present):
        return list(values), arrow.binary()
    return [None if value is None else _text(value) for value in values], arrow.string()


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else str(value)
