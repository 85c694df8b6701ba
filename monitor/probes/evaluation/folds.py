"""Which rows are held out together, and methods run over such folds."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from monitor.errors import ProbeDataError
from monitor.probes.evaluation.base import Scored

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.probes.evaluation.base import Bools, Floats, Ints, Method, Task


def grouped(task: Task, folds: int, seed: int = 0) -> Ints:
    """The fold of each row, shape (rows,): rows of a group are in one fold, labels are about as frequent in each.

    Raises:
        ProbeDataError: fewer groups than ``folds``.
    """
    count = len(np.unique(task.groups))
    if count < folds:
        raise ProbeDataError(
            f"expected at least {folds} groups for {folds} folds, found {count}: "
            "collect more groups, or ask for fewer folds"
        )
    return _folds(StratifiedGroupKFold(folds, shuffle=True, random_state=seed), task)


def ungrouped(task: Task, folds: int, seed: int = 0) -> Ints:
    """The fold of each row, shape (rows,), by row: a group is in several folds. For the control task only.

    Raises:
        ProbeDataError: fewer rows of a label than ``folds``.
    """
    least = min(int(task.labels.sum()), int((~task.labels).sum()))
    if least < folds:
        raise ProbeDataError(f"expected at least {folds} rows of each label for {folds} folds, found {least}")
    return _folds(StratifiedKFold(folds, shuffle=True, random_state=seed), task)


def _folds(splitter: StratifiedGroupKFold | StratifiedKFold, task: Task) -> Ints:
    fold = np.full(len(task), -1, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # a class in few groups: folds without it are reported, not warned of
        for number, (_, test) in enumerate(splitter.split(np.zeros((len(task), 1)), task.labels, task.groups)):
            fold[test] = number
    return fold


def run(
    method: Method,
    task: Task,
    fold: Ints,
    *,
    train_on: Bools | None = None,
    test_on: Bools | None = None,
    halves: bool = False,
    on_fold: Callable[[int, int], None] | None = None,
    seed: int = 0,
) -> Scored:
    """Score every row by a fit that never saw its fold.

    Args:
        method: what scores.
        task: labels and groups.
        fold: the fold of each row, as ``grouped`` gives it.
        train_on: rows that may be trained on, shape (rows,); None for all.
        test_on: rows that are scored, shape (rows,); None for all.
        halves: also score by fits on two halves of the training groups, see ``Scored``; ignored if the method learns
            nothing.
        on_fold: told how many folds are done, and of how many.
        seed: of the halves.

    A fold whose training rows have one label only is left unscored, unless the method learns nothing.
    """
    every = np.ones(len(task), dtype=bool)
    may_train, may_test = every if train_on is None else train_on, every if test_on is None else test_on
    held = np.full(len(task), -1, dtype=np.int64)
    scores = np.full(len(task), np.nan)
    split = halves and method.learns
    by_half = np.full((2, len(task)), np.nan)
    numbers = np.unique(fold[fold >= 0])
    for done, number in enumerate(numbers, 1):
        test = np.flatnonzero((fold == number) & may_test)
        train = np.flatnonzero((fold != number) & (fold >= 0) & may_train)
        if len(test) and (not method.learns or has_both(task.labels[train])):
            scores[test] = method.scores(task.labels, task.groups, train, test)
            held[test] = number
            if split:
                by_half[:, test] = _by_halves(method, task, train, test, seed)
        if on_fold:
            on_fold(done, len(numbers))
    return Scored(method.name, held, scores, method.learns, by_half if split else None)


def has_both(labels: Bools) -> bool:
    """Whether both labels occur."""
    return bool(labels.any() and not labels.all())


def _by_halves(method: Method, task: Task, train: Ints, test: Ints, seed: int) -> Floats:
    """Shape (2, test rows); NaN where the training rows cannot be halved so that both halves have both labels."""
    nothing = np.full((2, len(test)), np.nan)
    names = np.unique(task.groups[train])
    chosen = np.random.default_rng(seed).permutation(names)[: len(names) // 2]
    first = np.isin(task.groups[train], chosen)
    parts = [train[first], train[~first]]
    if not all(has_both(task.labels[part]) for part in parts):
        return nothing
    return np.stack([method.scores(task.labels, task.groups, part, test) for part in parts])
