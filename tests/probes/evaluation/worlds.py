"""Rows made by chance, and a plain method for them, so that what is true of them is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monitor.probes.evaluation.base import Task

if TYPE_CHECKING:
    from monitor.probes.evaluation.base import Bools, Floats, Ints


@dataclass(frozen=True)
class Ridge:
    """Ridge regression on the label: a linear probe that fits in a millisecond."""

    features: Floats
    name: str = "ridge"
    learns: bool = True

    def scores(self, labels: Bools, groups: Ints, train: Ints, test: Ints) -> Floats:
        known, truth = self.features[train], labels[train].astype(float)
        centred = known - known.mean(axis=0)
        gram = centred.T @ centred + np.eye(centred.shape[1])
        weights = np.linalg.solve(gram, centred.T @ (truth - truth.mean()))
        return np.asarray(self.features[test] @ weights)


def pairs_world(seed: int, groups: int, width: int, effect: float, *, half: float = 0.5) -> tuple[Task, Floats]:
    """Groups of one true and one false row, in either order; ``effect`` is how far apart the labels are in one direction.

    ``half`` of the variance of a row is its group's.
    """
    dice = np.random.default_rng(seed)
    code = np.repeat(np.arange(groups), 2)
    labels = np.stack([dice.permutation([True, False]) for _ in range(groups)]).ravel()
    shared = dice.normal(size=(groups, width))[code]
    features = np.sqrt(half) * shared + np.sqrt(1 - half) * dice.normal(size=(2 * groups, width))
    features[:, 0] += effect * (labels - 0.5)
    return Task(labels, code), features


_WHO = (
    "the cook",
    "a nurse",
    "my aunt",
    "the pilot",
    "an old man",
    "the judge",
    "a child",
    "our guide",
    "the smith",
    "a poet",
)
_DID = ("painted", "sold", "found", "carried", "forgot", "mended", "hid", "washed", "broke", "drew")
_WHAT = (
    "a red door",
    "the boat",
    "two lamps",
    "a map",
    "some bread",
    "the clock",
    "a small key",
    "the fence",
    "a coat",
)
_WHERE = ("in spring", "by the lake", "at noon", "for a friend", "in the rain", "on Monday", "near the mill", "again")


def sentences(dice: np.random.Generator, count: int) -> list[str]:
    """Short sentences that say nothing of any label."""
    return [
        f"{dice.choice(_WHO)} {dice.choice(_DID)} {dice.choice(_WHAT)} {dice.choice(_WHERE)}".capitalize() + "."
        for _ in range(count)
    ]
