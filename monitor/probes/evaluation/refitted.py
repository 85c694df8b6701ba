"""Methods on activations: the probe's own recipe, refitted with its choices inside of the training rows; layer 0; and a
discriminant in closed form, quick enough for hundreds of permutations.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.model_selection import GroupKFold

from monitor.probes.candidates import choose, fit_candidate, score_rows
from monitor.probes.metrics import auroc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from monitor.probes.candidates import Candidate, Choice
    from monitor.probes.evaluation.base import Bools, Floats, Ints
    from monitor.probes.features import Features
    from monitor.probes.kinds import Probe
    from monitor.probes.words import Array

SHRINKAGE = 0.1
PROBE = "probe"


@dataclass(frozen=True, slots=True, eq=False)
class Refitted:
    """The probe as it is trained: the best of ``candidates`` in grouped folds of the training rows, fitted on all of them.

    ``tried`` has the comparison of each choice that was made. A fit on the same rows and labels is made once.
    """

    features: Features
    candidates: Sequence[Candidate]
    folds: int = 3
    seed: int = 0
    name: str = PROBE
    learns: bool = True
    tried: list[list[Choice]] = field(default_factory=list)
    fits: dict[bytes, tuple[Probe, Candidate]] = field(default_factory=dict)

    def scores(self, labels: Bools, groups: Ints, train: Ints, test: Ints) -> Floats:
        """See ``base.Method``."""
        probe, best = self.fitted(labels, groups, train)
        return np.asarray(score_rows(probe, best.layer, self.features, test))

    def fitted(self, labels: Bools, groups: Ints, train: Ints) -> tuple[Probe, Candidate]:
        """The probe from these rows, and what was chosen for it."""
        key = hashlib.sha256(train.tobytes() + labels[train].tobytes()).digest()
        if key not in self.fits:
            best = self.candidates[0]
            if len(self.candidates) > 1:
                count = min(self.folds, len(np.unique(groups[train])))
                names = [str(group) for group in groups]
                choices = choose(self.features, labels, names, self.candidates, rows=train, folds=count, seed=self.seed)
                best = choices[0].candidate
                self.tried.append(choices)
            self.fits[key] = fit_candidate(best, self.features, labels, train, seed=self.seed), best
        return self.fits[key]

    def sweep(self) -> dict[int, float]:
        """The best mean AUROC of each layer in the folds of training rows, over all calls; empty for one candidate."""
        best: dict[int, list[float]] = {}
        for choices in self.tried:
            of_call: dict[int, float] = {}
            for choice in choices:
                layer = choice.candidate.layer
                of_call[layer] = max(of_call.get(layer, 0.0), choice.auroc or 0.0)
            for layer, value in of_call.items():
                best.setdefault(layer, []).append(value)
        return {layer: float(np.mean(best[layer])) for layer in sorted(best)}


@dataclass(frozen=True, slots=True, eq=False)
class Discriminant:
    """w = S⁻¹(μ₁ - μ₀), S the covariance of all training rows shrunk by a tenth towards its mean variance.

    Up to its length that is Fisher's discriminant: for two classes the total covariance gives the same direction as the one
    within classes. S knows no label, so its factor is kept, and a fit on other labels takes a millisecond. With several
    arrays the best is chosen in grouped folds of the training rows, as a probe's layer is.
    """

    arrays: Sequence[Array]
    name: str = "discriminant"
    folds: int = 3
    seed: int = 0
    learns: bool = True
    known: dict[bytes, Any] = field(default_factory=dict)

    def scores(self, labels: Bools, groups: Ints, train: Ints, test: Ints) -> Floats:
        """See ``base.Method``."""
        best = 0
        if len(self.arrays) > 1:
            parts = self._parts(groups, train)
            each = [
                np.nanmean([auroc(self._fitted(which, labels, *part), labels[part[1]]) for part in parts])
                for which in range(len(self.arrays))
            ]
            best = int(np.argmax(each))
        return self._fitted(best, labels, train, test)

    def _parts(self, groups: Ints, train: Ints) -> list[tuple[Ints, Ints]]:
        """Folds of the training rows, by groups and without a look at labels: the same for every set of labels."""
        count = min(self.folds, len(np.unique(groups[train])))
        splitter = GroupKFold(count, shuffle=True, random_state=self.seed)
        parts = splitter.split(train[:, None], groups=groups[train])
        return [(train[inner], train[outer]) for inner, outer in parts]

    def _fitted(self, which: int, labels: Bools, train: Ints, test: Ints) -> Floats:
        array, truth = self.arrays[which], labels[train]
        if truth.all() or not truth.any():
            return np.zeros(len(test))
        rows = array[train]
        shares = np.where(truth, 1 / truth.sum(), -1 / (~truth).sum()).astype(array.dtype)
        factor = self._factor(which, train)
        centred = rows - rows.mean(axis=0)
        weights = centred.T @ cho_solve(factor, shares) if _is_wide(rows) else cho_solve(factor, centred.T @ shares)
        return np.asarray(array[test] @ weights, dtype=np.float64)

    def _factor(self, which: int, train: Ints) -> Any:
        key = bytes([which]) + train.tobytes()
        if key not in self.known:
            rows = self.arrays[which][train]
            centred = rows - rows.mean(axis=0)
            products = (centred @ centred.T if _is_wide(rows) else centred.T @ centred) / len(rows)
            level = float(np.trace(products)) / rows.shape[1] or 1.0  # the trace is the same, whichever way round
            products *= 1 - SHRINKAGE
            products[np.diag_indices_from(products)] += SHRINKAGE * level
            self.known[key] = cho_factor(products, check_finite=False)
        return self.known[key]


def _is_wide(rows: Array) -> bool:
    return len(rows) < int(rows.shape[1])


def standardised_columns(array: Array) -> Array:
    """Each dimension with mean 0 and deviation 1 over all rows (no label is used): a few dimensions of a model's residual
    stream are a hundred times as large as the rest. Shape as given.
    """
    spread = array.std(axis=0)
    return np.asarray((array - array.mean(axis=0)) / np.where(spread > 1e-12, spread, 1), dtype=np.float32)
