"""Grouped splits, and no others: texts of one group are never on both sides.

A statement and its negated twin, or two steps of one chain, share nearly everything; a split that lets one of them into
training measures memory. There is no function here that splits without groups, so nothing can do so by omission.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from monitor.errors import ProbeDataError
from monitor.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Indices", "Split", "grouped_folds", "hold_out", "hold_out_groups"]

Indices: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Labels: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]] | Sequence[bool]"


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers, ascending: what is fitted on, and what is judged on. No group is in both."""

    train: Indices
    test: Indices


def grouped_folds(labels: Labels, groups: Sequence[str], *, folds: int = 5, seed: int = 0) -> list[Split]:
    """Split into ``folds`` parts, each once the test part, with labels balanced as far as whole groups allow.

    scikit-learn's ``StratifiedGroupKFold``, shuffled by ``seed``; the same input gives the same folds.

    Raises:
        ProbeDataError: a row has no group, there are fewer groups than folds, or a class is missing in a part of a fold.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # noqa: PLC0415 - takes a second; not every import needs it

    y = _checked(labels, groups, least=folds)
    if min(y.sum(), (~y).sum()) < folds:
        found = f"{int(y.sum())} positive and {int((~y).sum())} negative texts"
        raise ProbeDataError(f"{folds} folds need {folds} texts of each label at least; found {found}. Use fewer folds")
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    found_folds = [Split(train, test) for train, test in splitter.split(np.zeros((len(y), 1)), y, groups)]
    for number, split in enumerate(found_folds, 1):
        _require_classes(y, split, f"fold {number} of {folds}", "Use fewer folds, or groups of mixed labels")
    return found_folds


def hold_out(labels: Labels, groups: Sequence[str], *, share: float = 0.25, seed: int = 0) -> Split:
    """Hold out about ``share`` of the groups, drawn by ``seed`` (scikit-learn's ``GroupShuffleSplit``).

    Raises:
        ProbeDataError: a row has no group, there are fewer than two groups, or a class is missing in one of the parts.
    """
    from sklearn.model_selection import GroupShuffleSplit  # noqa: PLC0415 - as above

    if not 0 < share < 1:
        raise ProbeDataError(f"the share to hold out lies between 0 and 1, found {share}")
    y = _checked(labels, groups, least=2)
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    train, test = next(iter(splitter.split(np.zeros((len(y), 1)), y, groups)))
    split = Split(np.sort(train), np.sort(test))
    _require_classes(y, split, f"holding out {share:g} of the groups", "Hold out another share, or use another seed")
    return split


def hold_out_groups(labels: Labels, groups: Sequence[str], named: Iterable[str]) -> Split:
    """Hold out the groups that are named.

    Raises:
        ProbeDataError: a row has no group, no row has a named one, or a class is missing in one of the parts.
    """
    y = _checked(labels, groups, least=2)
    wanted, there = set(named), set(groups)
    if strangers := sorted(wanted - there):
        near = nearest(strangers[0], there)
        raise ProbeDataError(f"no text has the group {strangers[0]!r}{near}, which is to be held out")
    held = np.array([group in wanted for group in groups], dtype=bool)
    split = Split(np.flatnonzero(~held), np.flatnonzero(held))
    _require_classes(y, split, "holding out the named groups", "Name others")
    return split


def _checked(labels: Labels, groups: Sequence[str], *, least: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The labels as an array. Raises ProbeDataError."""
    y = np.asarray(labels, dtype=bool)
    if len(y) != len(groups):
        raise ProbeDataError(f"expected a group for each text, found {len(groups):,} groups and {len(y):,} texts")
    without = sum(not group for group in groups)
    if without:
        raise ProbeDataError(
            f"{without:,} of {len(groups):,} texts have no group. Give each the name that its twins share: texts of one "
            "group are never split, and without groups a score measures memory"
        )
    count = len(set(groups))
    if count < least:
        raise ProbeDataError(f"expected {least} groups at least, found {count}; a split keeps each group on one side")
    return y


def _require_classes(y: np.ndarray[Any, np.dtype[np.bool_]], split: Split, what: str, fix: str) -> None:
    for side, rows in (("training", split.train), ("test", split.test)):
        if len(rows) == 0 or y[rows].all() or not y[rows].any():
            label = "texts" if len(rows) == 0 else "positive texts" if not y[rows].any() else "negative texts"
            raise ProbeDataError(f"{what} leaves the {side} part without {label}. {fix}")
