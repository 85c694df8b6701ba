"""How much is spent on an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.candidates import Candidate


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is spent. ``asked`` is the most texts that the model is asked about, ``candidates`` the most that are
    compared in each fit (0: no limit).
    """

    name: str
    folds: int
    inner: int
    draws: int
    permutations: int
    halves: bool
    asked: int
    candidates: int
    causal_texts: int
    randoms: int


QUICK = Effort("quick", 3, 3, 1000, 39, halves=False, asked=600, candidates=5, causal_texts=16, randoms=9)
FULL = Effort("full", 5, 4, 2000, 199, halves=True, asked=0, candidates=10, causal_texts=48, randoms=29)


def shortlist(candidates: Sequence[Candidate], most: int) -> tuple[Candidate, ...]:
    """At most ``most`` candidates, one for each layer: of the kind, pooling and hyper-parameters that are first in the
    recipe; layers as far apart as can be. All of them for 0.
    """
    if not most or len(candidates) <= most:
        return tuple(candidates)
    first = candidates[0]
    same = [
        one
        for one in candidates
        if (one.kind, str(one.pooling), one.all_hyper) == (first.kind, str(first.pooling), first.all_hyper)
    ]
    places = np.unique(np.linspace(0, len(same) - 1, min(most, len(same))).round().astype(int))
    return tuple(same[place] for place in places)
