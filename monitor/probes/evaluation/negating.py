"""Negations of plain statements, written by rule: for a probe of truth whose data have one polarity only.

The rule knows the first ``is``, ``are``, ``was``, ``were``, ``can``, ``will``, ``has been`` or ``means`` of a text, and
puts a ``not`` behind it (``does not mean``). It is right for statements such as those that truth probes are trained on, and
for little else; so it is used only where somebody says that labels turn round with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import re2

from monitor.errors import ProbeDataError
from monitor.probes.data import fingerprint
from monitor.probes.words import Dataset

if TYPE_CHECKING:
    from monitor.probes.words import Labelled

_VERB = re2.compile(r"\b(is|are|was|were|can|will|has been|means)\b( not\b)?")
_DOES_NOT = re2.compile(r"\b(does|do|did) not ([a-z]+)\b")
LEAST = 0.8
"""The share of texts that the rule has to fit."""


def negation(text: str) -> str | None:
    """The negation of a statement, or of a negation the statement; None where the rule does not know one."""
    does = _DOES_NOT.search(text)
    if does:
        verb = f"{does[2]}s" if does[1] == "does" else does[2]
        return f"{text[: does.start()]}{verb}{text[does.end() :]}"
    found = _VERB.search(text)
    if not found:
        return None
    if found[2]:
        return f"{text[: found.start(2)]}{text[found.end(2) :]}"
    if found[1] == "means":
        return f"{text[: found.start()]}does not mean{text[found.end() :]}"
    if found[1] == "has been":
        return f"{text[: found.start()]}has not been{text[found.end() :]}"
    return f"{text[: found.end(1)]} not{text[found.end(1) :]}"


def negations(dataset: Dataset) -> tuple[Dataset, list[int]]:
    """The negations of the rows that the rule knows one for, labels turned round; and the rows that they are of.

    Raises:
        ProbeDataError: the rule fits fewer than 80 % of the rows.
    """
    rows: list[Labelled] = []
    origins: list[int] = []
    for number, row in enumerate(dataset.rows):
        text = negation(row.text)
        if text is not None:
            rows.append(replace(row, text=text, label=not row.label))
            origins.append(number)
    if len(rows) < LEAST * len(dataset.rows):
        raise ProbeDataError(
            f"a negation can be written by rule for {len(rows):,} of {len(dataset.rows):,} texts of {dataset.name}; leave "
            "--negate out, and give negated texts of your own with a tag `polarity`"
        )
    name = f"{dataset.name}, negated by rule"
    return Dataset(name, tuple(rows), dataset.licence, dataset.source, fingerprint(rows)), origins
