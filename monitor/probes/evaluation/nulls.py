"""What the same method finds where there is nothing to find: a permutation null over groups, and a control task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monitor.probes.evaluation.base import Estimate, silent, unmeasured
from monitor.probes.evaluation.folds import run, ungrouped
from monitor.probes.evaluation.metrics import auroc
from monitor.probes.evaluation.pairs import Pairs, count_pairs
from monitor.probes.evaluation.resampling import DRAWS, draw_groups, of_difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.evaluation.base import Bools, Floats, Ints, Method, Scored, Task, Told


@dataclass(frozen=True, slots=True)
class PermutationNull:
    """The AUROC of the method on permuted labels. ``p`` is (k + 1) / (n + 1), k of n permutations at or above the observed.

    (Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 9, 2010: never 0.) With n
    permutations no p below 1 / (n + 1) can be seen.
    """

    observed: float
    permuted: tuple[float, ...]
    p: float

    @property
    def least_p(self) -> float:
        """The smallest p that as many permutations can give."""
        return 1 / (len(self.permuted) + 1)


@dataclass(frozen=True, slots=True)
class Control:
    """Hewitt and Liang's control task (EMNLP 2019): each group gets a label by chance, on an **ungrouped** split.

    A method that can tell groups apart can memorise such labels, since most groups are on both sides. ``real`` is the AUROC
    of the true labels on the same ungrouped split, ``control`` that of the chance labels, ``selectivity`` the difference;
    ``accuracies`` are the two shares of rows called rightly, real and control. ``shared`` is the share of rows with another
    row of their group to be memorised from; where it is small, the control task shows little.
    """

    real: Estimate
    control: Estimate
    selectivity: Estimate
    accuracies: tuple[float, float]
    shared: float
    draws: int
    note: str = ""


def permuted(task: Task, seed: int) -> Bools:
    """Labels by chance that keep what the groups look like: labels are shuffled within each group, and groups of equal size
    swap their labels. Shape (rows,).

    Either alone would be no null: swapping does nothing where every group has one true and one false row in the same order,
    shuffling within groups nothing where a group has one label.
    """
    dice = np.random.default_rng(seed)
    order = np.argsort(task.groups, kind="stable")
    _, starts, sizes = np.unique(task.groups[order], return_index=True, return_counts=True)
    labels = np.zeros(len(task), dtype=bool)
    for size in np.unique(sizes):
        rows = order[starts[sizes == size][:, None] + np.arange(size)[None, :]]
        labels[rows] = dice.permuted(task.labels[dice.permutation(rows)], axis=1)
    return labels


def permutation_null(
    method: Method, task: Task, fold: Ints, *, observed: Scored, rounds: int, seed: int = 0, told: Told = silent
) -> PermutationNull:
    """Run the whole method, everything that it chooses included, on permuted labels and the same folds, ``rounds``
    times.
    """
    value = count_pairs(task, fold, observed.scores).auroc
    found: list[float] = []
    for number in range(rounds):
        shuffled = task.relabelled(permuted(task, seed + number))
        scored = run(method, shuffled, fold)
        result = count_pairs(shuffled, scored.fold, scored.scores).auroc
        found.append(0.5 if np.isnan(result) else result)
        told("permutation null", number + 1, rounds)
    above = sum(one >= value for one in found)
    return PermutationNull(value, tuple(found), (above + 1) / (rounds + 1))


def control_labels(task: Task, seed: int) -> Bools:
    """One label by chance for each group, half of the groups (rounded down) positive. Shape (rows,)."""
    names, column = np.unique(task.groups, return_inverse=True)
    chosen = np.zeros(len(names), dtype=bool)
    chosen[np.random.default_rng(seed).permutation(len(names))[: len(names) // 2]] = True
    return chosen[column]


def control_task(
    method: Method, task: Task, *, folds: int, rounds: int = 1, draws: int = DRAWS, seed: int = 0, told: Told = silent
) -> Control:
    """Run the method on true labels and on ``rounds`` sets of control labels, on an ungrouped split. See ``Control``."""
    sizes = np.bincount(task.groups)
    shared = float((sizes[task.groups] > 1).mean())
    if shared == 0:
        note = "every group has one row: there is nothing to memorise"
        return Control(*(unmeasured(note),) * 3, (float("nan"), float("nan")), shared, 0, note)
    fold = ungrouped(task, folds, seed)
    real = run(method, task, fold)
    weights = draw_groups(len(np.unique(task.groups)), draws, seed)
    told("control task", 1, rounds + 1)
    controls: list[tuple[Task, Scored]] = []
    for number in range(rounds):
        labelled = task.relabelled(control_labels(task, seed + number))
        controls.append((labelled, run(method, labelled, fold)))
        told("control task", number + 2, rounds + 1)
    true_pairs, pairs = _pairs(task, real), [_pairs(*one) for one in controls]
    drawn = np.mean([one.drawn(weights) for one in pairs], axis=0)
    value = float(np.mean([one.auroc for one in pairs]))
    first = auroc(*controls[0], pairs[0], weights)[0]
    groups = min(true_pairs.support)
    selectivity = of_difference(true_pairs.auroc - value, true_pairs.drawn(weights) - drawn, groups=groups)
    accuracies = (_accuracy(task, real), float(np.mean([_accuracy(*one) for one in controls])))
    control = Estimate(value, first.low - first.value + value, first.high - first.value + value)
    return Control(auroc(task, real, true_pairs, weights)[0], control, selectivity, accuracies, shared, rounds)


def _pairs(task: Task, scored: Scored) -> Pairs:
    return count_pairs(task, scored.fold, scored.scores)


def _accuracy(task: Task, scored: Scored) -> float:
    """The share of rows called rightly where each fold calls as many positive as the other folds' share of positives
    says.
    """
    right: list[Sequence[bool] | Floats] = []
    for number in np.unique(scored.fold[scored.fold >= 0]):
        rows = scored.fold == number
        share = float(task.labels[~rows].mean())
        right.append((scored.scores[rows] > np.quantile(scored.scores[rows], 1 - share)) == task.labels[rows])
    return float(np.concatenate(right).mean()) if right else float("nan")
