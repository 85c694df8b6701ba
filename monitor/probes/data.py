"""Labelled texts from files: JSONL and CSV by columns, and chains of steps with the index of the first mistake.

Data decide what a probe learns, so they are read as strictly as policies: every fault of a file is told at once with its
line and what to write instead, and nothing is left out in silence. Texts are escaped where they enter, as everywhere else.

Numpy only; no model is needed to read data.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import re2

from monitor.canonical import escape_text
from monitor.errors import Fault, FileFaults, ProbeDataError, TooManyFaultsError
from monitor.probes.table import Row, read_table
from monitor.probes.words import Dataset, Labelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Columns", "Origin", "fingerprint", "join", "read", "read_steps", "refuse"]

_TRUE, _FALSE = {"1", "true"}, {"0", "false"}


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column has what. ``context`` and ``group`` may be missing in a file; ``tags`` maps a tag's name to its column.

    ``group_pattern`` is a regular expression (RE2) that is searched in the text: its first group, or all that it matched,
    is the row's group, and no column is read for it. ``positive`` is the label that the probe is to find.
    """

    text: str = "text"
    label: str = "label"
    group: str = "group"
    context: str = "context"
    tags: Mapping[str, str] = field(default_factory=dict)
    group_pattern: str = ""
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Origin:
    """Where data are from: said in the sidecar of every probe that was trained on them."""

    licence: str = ""
    source: str = ""


Where: TypeAlias = "tuple[Labelled, Row]"


def read(
    path: Path,
    *,
    columns: Columns | None = None,
    tags: Mapping[str, str] | None = None,
    origin: Origin | None = None,
    name: str = "",
    benign: bool = False,
) -> Dataset:
    """Read one file of labelled texts, ``.csv`` or ``.jsonl``.

    Args:
        path: The file; UTF-8, with a header (CSV) or one object a line (JSONL).
        columns: Which column has what.
        tags: Tags of every row of this file, such as ``{"polarity": "negated"}``.
        origin: Licence and source, for the sidecar.
        name: How the data are called; default: the file's name without its suffix.
        benign: The file is of harmless texts, for calibration: a row without a label counts as one (label False), and
            a row without a group is a group of its own.

    Returns:
        The rows in the order of the file. Two groups in which the very same text (after the same context) stands are
        made one: a split between them would have that text on both sides.

    Raises:
        ProbeDataError: with every fault of the file.
    """
    wanted = columns or Columns()
    faults = FileFaults()
    pairs: list[Where] = []
    try:
        group_of = _group_reader(wanted, str(path), faults)
        for row in _rows(path, wanted, benign=benign, faults=faults):
            labelled = _labelled(row, wanted, group_of, tags or {}, benign=benign, faults=faults)
            if labelled is not None:
                pairs.append((labelled, row))
        if not pairs and not faults:
            faults.append(Fault(str(path), 1, 1, "the file has no rows.", "A probe learns from labelled texts."))
    except TooManyFaultsError:
        faults.give_up()
    refuse(faults)
    return _dataset(name or path.stem, [labelled for labelled, _ in pairs], origin)


def read_steps(
    path: Path, *, tags: Mapping[str, str] | None = None, origin: Origin | None = None, name: str = ""
) -> Dataset:
    """Read chains of thought with the index of their first mistake, as BIG-Bench Mistake has them, one object a line.

    An object has ``input`` (the task), ``steps`` (texts) and ``mistake_index`` (from 0; null: no mistake). Each step up to
    and including the first mistake is a row: its label is True where the step is the mistake, its group is the task, its
    context the task and the steps before it. Steps after the first mistake are left out: nobody labelled them. The tag
    ``step`` is ``first`` or ``later``: where no chain's first step is a mistake, it is told from others by its looks alone.

    Raises:
        ProbeDataError: with every fault of the file.
    """
    faults = FileFaults()
    rows: list[Labelled] = []
    try:
        for row in read_table(path, faults, needed=("input", "steps", "mistake_index")):
            rows += _steps(row, tags or {}, faults)
        if not rows and not faults:
            faults.append(Fault(str(path), 1, 1, "the file has no chains.", "One JSON object a line is a chain."))
    except TooManyFaultsError:
        faults.give_up()
    refuse(faults)
    return _dataset(name or path.stem, rows, origin)


def join(datasets: Sequence[Dataset], name: str = "") -> Dataset:
    """All rows one after the other. Groups of the same name are one group, which is what twins in two files need.

    Raises:
        ProbeDataError: there are no data sets.
    """
    if not datasets:
        raise ProbeDataError("expected a data set at least, found none; name a file")
    rows = [row for dataset in datasets for row in dataset.rows]
    licences = dict.fromkeys(dataset.licence for dataset in datasets if dataset.licence)
    sources = dict.fromkeys(dataset.source for dataset in datasets if dataset.source)
    origin = Origin("; ".join(licences), "; ".join(sources))
    return _dataset(name or "+".join(dataset.name for dataset in datasets), rows, origin)


def fingerprint(rows: Iterable[Labelled]) -> str:
    """SHA-256 (hex) over text, label, group and context of each row, in their order; each as JSON on a line of its own."""
    digest = hashlib.sha256()
    for row in rows:
        line = json.dumps([row.text, row.label, row.group, row.context], ensure_ascii=True, separators=(",", ":"))
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def refuse(faults: Sequence[Fault]) -> None:
    """Raise ProbeDataError with all faults, one a line, if there are any."""
    if faults:
        raise ProbeDataError("\n".join(str(fault) for fault in faults))


def _dataset(name: str, rows: list[Labelled], origin: Origin | None) -> Dataset:
    joined = _join_groups(rows)
    where = origin or Origin()
    return Dataset(name, tuple(joined), licence=where.licence, source=where.source, sha256=fingerprint(joined))


def _join_groups(rows: list[Labelled]) -> list[Labelled]:
    """Give groups that share a text the name of the first of them. Linear: each group points at one before it."""
    leader: dict[str, str] = {}

    def find(group: str) -> str:
        while (above := leader.setdefault(group, group)) != group:
            leader[group] = leader[above]
            group = above
        return group

    first: dict[tuple[str, str], str] = {}
    for row in rows:
        here, there = find(row.group), find(first.setdefault((row.text, row.context), row.group))
        if here != there:
            leader[here] = there
    return [row if find(row.group) == row.group else replace(row, group=find(row.group)) for row in rows]


def _rows(path: Path, columns: Columns, *, benign: bool, faults: FileFaults) -> Iterator[Row]:
    needed = [columns.text, *columns.tags.values()]
    if not benign:
        needed += [columns.label, *([] if columns.group_pattern else [columns.group])]
    return read_table(path, faults, needed=tuple(needed))


def _group_reader(columns: Columns, path: str, faults: FileFaults) -> Callable[[Row, str], str | None]:
    """What finds the group of a row; None where it has none."""
    if not columns.group_pattern:
        return lambda row, _text: _text_of(row.get(columns.group))
    try:
        pattern = re2.compile(columns.group_pattern)
    except re2.error as exc:
        problem = f"the pattern for groups is no regular expression of RE2: {exc}."
        faults.append(Fault(path, 1, 1, problem, "Write one such as word '([^']+)'."))
        return lambda _row, _text: "unread"

    def search(_row: Row, text: str) -> str | None:
        found = pattern.search(text)
        return (found[1] if pattern.groups else found[0]) if found else None

    return search


def _is_empty(value: Any) -> bool:
    return value is None or value == ""


def _text_of(value: Any) -> str | None:
    """A group or a tag as text: numbers and words alike; None for anything else, and for what is empty."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return escape_text(str(value).strip()) or None


def _labelled(
    row: Row,
    columns: Columns,
    group_of: Callable[[Row, str], str | None],
    tags: Mapping[str, str],
    *,
    benign: bool,
    faults: FileFaults,
) -> Labelled | None:
    """One row; None where it has faults, which are appended."""
    before = len(faults)
    given = row.get(columns.text)
    text = escape_text(given) if isinstance(given, str) else ""
    if not text.strip():
        faults.append(row.fault(f"`{columns.text}` has no text.", "Write the text, or take the row out."))
    label = False if benign and _is_empty(row.get(columns.label)) else _label(row, columns, faults)
    group = group_of(row, text)
    if group is None and benign:
        group = f"{row.name}:{row.line}"
    if group is None and text:
        which = "the pattern for groups matches nothing" if columns.group_pattern else f"`{columns.group}` is empty"
        fix = "Every text needs a group: what its twins share, and no other text does."
        faults.append(row.fault(f"{which} here.", fix))
    context = row.get(columns.context)
    if context is not None and not isinstance(context, str):
        faults.append(row.fault(f"`{columns.context}` is not text.", "Write text, or leave it out."))
    found = {tag: _text_of(row.get(column)) or "" for tag, column in columns.tags.items()}
    if len(faults) > before:
        return None
    context = escape_text(context) if isinstance(context, str) else ""
    return Labelled(text, label, group or "", context=context, tags={**tags, **found})


def _label(row: Row, columns: Columns, faults: FileFaults) -> bool:
    value = row.get(columns.label)
    word = str(value).strip().lower() if isinstance(value, (str, bool, int)) else ""
    if word not in _TRUE | _FALSE:
        shown = "nothing" if _is_empty(value) else json.dumps(value, default=str)[:80]
        faults.append(row.fault(f"`{columns.label}` is {shown}.", "A label is 0, 1, false or true."))
        return False
    return (word in _TRUE) is columns.positive


def _steps(row: Row, tags: Mapping[str, str], faults: FileFaults) -> list[Labelled]:
    task, steps, mistake = row.get("input"), row.get("steps"), row.get("mistake_index")
    before = len(faults)
    if not isinstance(task, str) or not task.strip():
        faults.append(row.fault("`input` has no text.", "Write the task that the steps solve."))
    is_list = isinstance(steps, list) and steps and all(isinstance(step, str) and step.strip() for step in steps)
    if not is_list:
        faults.append(row.fault("`steps` is not a list of texts.", "Write one text for each step."))
    elif mistake is not None and (isinstance(mistake, bool) or not isinstance(mistake, int)):
        faults.append(row.fault("`mistake_index` is no whole number.", "Write the step's number from 0, or null."))
    elif mistake is not None and not 0 <= mistake < len(steps):
        problem = f"`mistake_index` is {mistake}, and there are {len(steps)} steps."
        faults.append(row.fault(problem, "The first step is 0."))
    if len(faults) > before:
        return []
    task, steps = escape_text(task), [escape_text(step) for step in steps]
    read_to = len(steps) if mistake is None else mistake + 1
    return [
        Labelled(
            step,
            index == mistake,
            task,
            context="\n".join([task, *steps[:index]]),
            tags={**tags, "step": "later" if index else "first"},
        )
        for index, step in enumerate(steps[:read_to])
    ]
