"""The audit-budget curve: if people can read n subcalls, which ones, and what share of the known bad is among them.

Subcalls with the same score are read in an order by chance, and the curve has the exact expectation over those orders: in a
tie of t subcalls with b bad ones, reading k of them finds k·b/t on the average. Reading at random is one tie of all: n of N
find n/N of the bad, and how far chance strays from that is hypergeometric. Intervals are from drawing whole groups again,
at the same **share** of subcalls read, since a draw has more or fewer of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from monitor.probes.evaluation.base import Estimate
from monitor.probes.evaluation.resampling import by_lot, draw_groups, of_share, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.audit.evaluation.measured import Measured
    from monitor.probes.evaluation.base import Bools, Floats

RANDOM = "at random"
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)
_POINTS = 200
_WIDTH = 1e-9  # of an interval that says nothing


@dataclass(frozen=True, slots=True)
class Point:
    """``read`` subcalls are read; ``caught`` is the share of the bad ones that is expected among them."""

    read: int
    caught: Estimate


@dataclass(frozen=True, slots=True)
class BudgetCurve:
    """One order of reading. ``points`` are at ``SHARES`` of all cases, ``curve`` is (read, share caught) to be drawn.

    ``order`` are the cases' keys as they would be read; ``tied`` says of each how many share its score, itself included:
    among those the order is by chance, decided by SHA-256 of seed and key.
    """

    name: str
    points: tuple[Point, ...]
    curve: tuple[tuple[float, float], ...]
    order: tuple[str, ...] = ()
    tied: tuple[int, ...] = ()


def curves(found: Measured, *, seed: int = 0, draws: int = 2000, shares: Sequence[float] = SHARES) -> list[BudgetCurve]:
    """The curve of each ranking, and of reading at random."""
    task, count = found.task, len(found.task)
    at = sorted({max(1, round(share * count)) for share in shares})
    groups = np.unique(task.groups, return_inverse=True)[1]
    weights = draw_groups(found.groups, draws, seed)[:, groups]
    keys = [case.key for case in found.cases.cases]
    made = []
    for ranking in found.rankings:
        if len(np.unique(ranking.scores)) == 1:  # one tie of all: to read in its order is to read at random
            chance = tuple(Point(read, _by_lot(read, found.bad, count)) for read in at)
            made.append(BudgetCurve(ranking.name, chance, ((0.0, 0.0), (float(count), 1.0))))
            continue
        value = caught(task.labels, ranking.scores, np.array(at, dtype=np.float64))
        drawn = _drawn(task.labels, ranking.scores, weights, np.array(at) / count)
        points = [
            Point(read, _estimate(value[place], drawn[:, place], found.groups_with_bad, most=read / found.bad))
            for place, read in enumerate(at)
        ]
        every = np.unique(np.linspace(0, count, min(count, _POINTS) + 1).round())
        shown = zip(every.tolist(), caught(task.labels, ranking.scores, every).round(5).tolist(), strict=True)
        order = sorted(range(count), key=lambda row, r=ranking: (-r.scores[row], _by_chance(seed, keys[row])))  # type: ignore[misc]  # mypy has no type for the default
        values, times = np.unique(ranking.scores, return_counts=True)
        tied = times[np.searchsorted(values, ranking.scores)]
        made.append(
            BudgetCurve(
                ranking.name,
                tuple(points),
                tuple(shown),
                tuple(keys[row] for row in order),
                tuple(int(tied[row]) for row in order),
            )
        )
    chance = tuple(Point(read, _by_lot(read, found.bad, count)) for read in at)
    return [*made, BudgetCurve(RANDOM, chance, ((0.0, 0.0), (float(count), 1.0)))]


def caught(labels: Bools, scores: Floats, read: Floats) -> Floats:
    """The expected share of bad cases among the ``read`` with the highest scores, ties in an order by chance.

    ``read`` has shape (points,), numbers of cases, whole or not; so has the result. NaN where nothing is bad.
    """
    return np.asarray(_drawn(labels, scores, np.ones((1, len(labels))), read / len(labels))[0])


def _drawn(labels: Bools, scores: Floats, weights: Floats, shares: Floats) -> Floats:
    """The same where each case counts as often as its weight says, at shares of the whole weight: (draws, shares)."""
    order = np.argsort(-scores, kind="stable")
    ordered, truth = scores[order], labels[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)  # the last case of each tie
    found = np.full((len(weights), len(shares)), np.nan)
    for number, mine in enumerate(weights[:, order]):
        whole, bad = np.cumsum(mine)[ends], np.cumsum(mine * truth)[ends]
        if bad[-1] > 0:
            upto = np.concatenate([[0.0], whole])
            found[number] = np.interp(shares * whole[-1], upto, np.concatenate([[0.0], bad])) / bad[-1]
    return found


def _estimate(value: float, drawn: Floats, groups: int, *, most: float) -> Estimate:
    """``most`` is the share that is caught if all that are read are bad.

    Where every draw gives the same (all that are read are bad, one in each group), the interval is Wilson's for the share
    of bad ones among those read, with groups as the sample: no draw shows that the next one might not be bad.
    """
    edges = wilson(float(value), groups) if groups else (0.0, 1.0)
    found = of_share(float(value), drawn, edges=edges, groups=groups)
    if found.high - found.low > _WIDTH or not 0 < value < 1:
        return found
    low, high = wilson(min(1.0, value / most), max(1, min(groups, round(value * groups))))
    return replace(found, low=min(found.low, low * most), high=max(found.high, min(1.0, high * most)))


def _by_lot(read: int, bad: int, count: int) -> Estimate:
    """What reading at random finds: the expectation, and the middle 95 % of what chance gives (hypergeometric)."""
    low, high = by_lot(read, bad, count)
    note = "the range is that of chance, for these cases"
    return Estimate(read / count, low / bad, high / bad, note=note)


def _by_chance(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed}\0{key}".encode()).hexdigest()
