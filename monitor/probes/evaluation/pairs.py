"""AUROC within folds, by groups: counted once as pairs of groups, so that a bootstrap over groups is a matrix product.

The AUROC is the share of pairs (a positive row, a negative row, **both held out in the same fold**) in which the positive
scores higher, a tie counting one half (Mann and Whitney, Annals of Mathematical Statistics 18, 1947; Hanley and McNeil,
Radiology 143, 1982). Rows of different folds are never compared: they were scored by different fits, and where labels are
balanced a fit on the other folds is pushed the other way (a fold with more positives leaves fewer to train on), so that
pooled scores fall below 0.5 where there is nothing to find.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from monitor.probes.evaluation.base import Floats, Ints, Task

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class FoldPairs:
    """One fold. ``wins`` has shape (groups of the fold, groups of the fold): entry g, h is the number of pairs of a
    positive of g and a negative of h that the positive wins. ``members`` are the fold's groups as columns of the weights.
    """

    members: Ints
    wins: Floats
    positives: Floats
    negatives: Floats


@dataclass(frozen=True, slots=True)
class Pairs:
    """All folds that have rows of both labels. ``columns`` is the number of groups over all rows of the task."""

    folds: tuple[FoldPairs, ...]
    columns: int

    @property
    def comparable(self) -> float:
        """How many pairs there are to compare."""
        return float(sum(one.positives.sum() * one.negatives.sum() for one in self.folds))

    @property
    def auroc(self) -> float:
        """The share of pairs that the positive wins; NaN where there is no pair."""
        if not self.folds:
            return float("nan")
        return float(sum(one.wins.sum() for one in self.folds) / self.comparable)

    @property
    def support(self) -> tuple[int, int]:
        """In how many groups there is a positive row, and in how many a negative one."""
        positive = {int(g) for one in self.folds for g in one.members[one.positives > 0]}
        negative = {int(g) for one in self.folds for g in one.members[one.negatives > 0]}
        return len(positive), len(negative)

    def drawn(self, weights: Floats) -> Floats:
        """The AUROC where each group counts as often as its weight says. ``weights``: (draws, columns). Shape (draws,)."""
        wins, whole = np.zeros(len(weights)), np.zeros(len(weights))
        for one in self.folds:
            mine = weights[:, one.members]
            wins += np.einsum("bg,bg->b", mine @ one.wins.astype(mine.dtype), mine)
            whole += (mine @ one.positives) * (mine @ one.negatives)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(wins / whole)

    def influence(self) -> Floats:
        """How much each group moves the AUROC: what all pairs with a row of it add to it. Shape (columns,).

        With r = wins - AUROC · (pairs), the pairs inside a group count once, as they are there once.
        """
        found = np.zeros(self.columns)
        for one in self.folds:
            rest = self._rest(one)
            np.add.at(found, one.members, rest.sum(axis=0) + rest.sum(axis=1) - np.diag(rest))
        return found / self.comparable

    @property
    def variance(self) -> float:
        """The variance of the AUROC over groups, the fits taken as given.

        The sum of the squared influences counts what is particular to two groups twice (once for either), so it is
        taken off once: the unbiased estimate for a U-statistic. Without it, as in DeLong's variance (Biometrics 44,
        1988) and in a bootstrap, the result is too large where folds have few groups. Never below half of the sum.
        """
        influence = self.influence()
        whole = float(influence @ influence)
        twice = 0.0
        for one in self.folds:
            rest = self._rest(one)
            both = rest + rest.T
            np.fill_diagonal(both, 0.0)
            twice += float((both * both).sum()) / 2
        return max(whole - twice / self.comparable**2, whole / 2)

    def _rest(self, one: FoldPairs) -> Floats:
        return np.asarray(one.wins - self.auroc * np.outer(one.positives, one.negatives))


def count_pairs(task: Task, fold: Ints, scores: Floats) -> Pairs:
    """Count the pairs within each fold. Rows with fold -1 are left out; so are folds with one label only."""
    names, column = np.unique(task.groups, return_inverse=True)
    found = []
    for number in np.unique(fold[fold >= 0]):
        rows = np.flatnonzero(fold == number)
        labels = task.labels[rows]
        if labels.any() and not labels.all():
            found.append(_one_fold(labels, column[rows], scores[rows]))
    return Pairs(tuple(found), len(names))


def _one_fold(labels: np.ndarray, column: Ints, scores: Floats) -> FoldPairs:
    members, local = np.unique(column, return_inverse=True)
    size = len(members)
    wins = np.zeros((size, size))
    negative = np.flatnonzero(~labels)
    negative = negative[np.argsort(local[negative], kind="stable")]
    owners, starts = np.unique(local[negative], return_index=True)
    against = scores[negative][None, :]
    positive = np.flatnonzero(labels)
    for begin in range(0, len(positive), _CHUNK):
        part = positive[begin : begin + _CHUNK]
        mine = scores[part][:, None]
        won = (mine > against).astype(np.float32) + np.float32(0.5) * (mine == against)
        by_owner = np.zeros((len(part), size))
        by_owner[:, owners] = np.add.reduceat(won, starts, axis=1)
        np.add.at(wins, local[part], by_owner)
    return FoldPairs(
        members.astype(np.int64),
        wins,
        np.bincount(local[labels], minlength=size).astype(np.float64),
        np.bincount(local[~labels], minlength=size).astype(np.float64),
    )
