"""How often the evaluation's intervals cover what is true, on rows made by chance. Prints a table for the docs.

    python bench/probe_intervals.py [DATA SETS, default 300]

The truth of a data set is the mean AUROC of its folds' own fits on 2,000 new rows. ``plain`` is a bootstrap over groups
that takes the fits as given.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_auc_score

from monitor.probes.evaluation.base import Scored, Task
from monitor.probes.evaluation.folds import grouped, run
from monitor.probes.evaluation.metrics import measure

if TYPE_CHECKING:
    from monitor.probes.evaluation.base import Bools, Floats, Ints

FOLDS = 5
FRESH = 2000


@dataclass(frozen=True)
class World:
    """Groups of ``rows`` rows with ``width`` features, of which one tells labels apart by ``effect``."""

    said: str
    groups: int
    rows: int
    width: int
    effect: float
    labels: str

    def made(self, dice: np.random.Generator, groups: int) -> tuple[Task, Floats]:
        """Rows of ``groups`` groups."""
        code = np.repeat(np.arange(groups), self.rows)
        count = len(code)
        if self.labels == "half of each group":
            half = [True, False] * (self.rows // 2)
            labels = np.concatenate([dice.permutation(half) for _ in range(groups)])
        elif self.labels == "by group":
            labels = np.repeat(dice.permutation(np.arange(groups) % 2 == 0), self.rows)
        else:
            labels = dice.random(count) < (0.1 if self.labels == "one in ten" else 0.5)
        scale = 1 / np.sqrt(np.arange(1, self.width + 1))
        place = min(3, self.width - 1)
        shared = dice.normal(size=(groups, self.width))[code]
        features = (shared + dice.normal(size=(count, self.width))) / np.sqrt(2) * scale
        features[:, place] += self.effect * scale[place] * (labels - 0.5)
        return Task(labels, code), features


@dataclass(frozen=True)
class Ridge:
    """Ridge regression on the label."""

    features: Floats
    name: str = "ridge"
    learns: bool = True

    def scores(self, labels: Bools, groups: Ints, train: Ints, test: Ints) -> Floats:
        """See ``base.Method``."""
        known, truth = self.features[train], labels[train].astype(float)
        centred = known - known.mean(axis=0)
        weights = np.linalg.solve(centred.T @ centred + np.eye(centred.shape[1]), centred.T @ (truth - truth.mean()))
        return np.asarray(self.features[test] @ weights)


WORLDS = (
    World("random labels, 40 groups of 4", 40, 4, 50, 0, "half of each group"),
    World("random labels, one for each of 40 groups of 4", 40, 4, 50, 0, "by group"),
    World("random labels by row, 40 groups of 4", 40, 4, 50, 0, "by row"),
    World("random labels, 12 groups of 6", 12, 6, 20, 0, "half of each group"),
    World("random labels, 150 pairs, 300 features", 150, 2, 300, 0, "half of each group"),
    World("random labels by row, 100 groups of 2, one feature", 100, 2, 1, 0, "by row"),
    World("random labels, one row in ten, 100 groups of 3", 100, 3, 3, 0, "one in ten"),
    World("150 pairs, 300 features, a weak signal", 150, 2, 300, 0.7, "half of each group"),
    World("40 groups of 4, a weak signal", 40, 4, 50, 0.7, "half of each group"),
    World("150 pairs, 20 features", 150, 2, 20, 1.5, "half of each group"),
    World("150 pairs, 20 features, a strong signal", 150, 2, 20, 3, "half of each group"),
    World("100 groups of 3, one row in ten", 100, 3, 10, 1.5, "one in ten"),
    World("20 pairs, 10 features", 20, 2, 10, 1.5, "half of each group"),
)


def tried(world: World, seed: int) -> tuple[bool, bool, float]:
    """Whether the interval covers, whether a plain one does, and what is true."""
    dice = np.random.default_rng(seed)
    task, features = world.made(dice, world.groups)
    fold = grouped(task, FOLDS, seed)
    truth = 0.5
    if world.effect:
        fresh, new = world.made(dice, FRESH // world.rows)
        whole = Ridge(np.concatenate([features, new]))
        labels, later = np.append(task.labels, fresh.labels), np.arange(len(task), len(task) + len(fresh))
        each = [whole.scores(labels, task.groups, np.flatnonzero(fold != k), later) for k in range(FOLDS)]
        truth = float(np.mean([roc_auc_score(fresh.labels, one) for one in each]))
    scored = run(Ridge(features), task, fold, halves=True, seed=seed)
    found = measure(task, scored, draws=500, seed=seed, rates=()).auroc
    plain = measure(task, Scored("", fold, scored.scores, learns=False), draws=500, seed=seed, rates=()).auroc
    return found.low <= truth <= found.high, plain.low <= truth <= plain.high, truth


def main(count: int) -> None:
    """Print the table."""
    print("| data | true AUROC | covered | by a plain bootstrap |\n|---|---|---|---|")
    for world in WORLDS:
        found = np.array([tried(world, seed) for seed in range(count)], dtype=float).mean(axis=0)
        print(f"| {world.said} | {found[2]:.2f} | {100 * found[0]:.1f} % | {100 * found[1]:.1f} % |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
