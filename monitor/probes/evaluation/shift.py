"""Trained on one kind of text, tested on another: whether a probe holds, fades or turns round.

A probe that was trained on one polarity may rank the other the wrong way round: AUROC well below 0.5. Such a probe does not
merely know nothing there, it is wrong with conviction; it raises an alarm, and is not attached unless someone insists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from monitor.probes.evaluation.base import Estimate, Scored, silent
from monitor.probes.evaluation.folds import run
from monitor.probes.evaluation.metrics import auroc
from monitor.probes.evaluation.pairs import count_pairs
from monitor.probes.evaluation.resampling import DRAWS, draw_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.probes.evaluation.base import Bools, Floats, Ints, Method, Names, Task, Told

NEGATION, TEMPLATE, LENGTH, SET = "negation", "template", "length", "another data set"
TAGS = {"polarity": NEGATION, "template": TEMPLATE, "set": SET}
"""Which tag of the rows a shift goes by. Length needs none."""
_MOST_VALUES = 8
_FEWEST = 10


@dataclass(frozen=True, slots=True)
class Warned:
    """An inversion, in words. One that ``blocks`` keeps the probe from being attached unless forced."""

    message: str
    blocks: bool


@dataclass(frozen=True, slots=True)
class Shift:
    """One shift. ``kind`` is one of the four, ``trained`` and ``tested`` say on which rows; groups are held out all the
    same.

    ``auroc`` is that of rows of ``tested`` by fits on rows of ``trained``; ``within`` that of the same rows by fits on rows
    of every kind, what could be had; None where nothing was fitted. ``fresh`` is True where ``tested`` is what the finished
    probe may meet and does not know: texts that it was not trained on, or a set or template that stands for one more of
    its kind. It is False where the finished probe is trained on both sides, and leaving one out only tells why it has
    to be.
    """

    kind: str
    trained: str
    tested: str
    rows: int
    auroc: Estimate
    within: Estimate | None = None
    fresh: bool = True

    @property
    def inverted(self) -> bool:
        """Whether the AUROC is below 0.5 by more than its interval."""
        return _below_chance(self.auroc)

    @property
    def blocks(self) -> bool:
        """Whether the finished probe is to be kept from runs: it is inverted on what it may meet, or on what it knows."""
        return (self.inverted and self.fresh) or (self.within is not None and _below_chance(self.within))

    @property
    def describe(self) -> str:
        """What an alarm about it says, without the figure."""
        return f"inverted under {self.kind}, trained on {self.trained}, tested on {self.tested}"

    @property
    def alarm(self) -> Warned | None:
        """What is written into the sidecar; None where nothing is inverted."""
        if self.inverted:
            return Warned(f"{self.describe}: AUROC {self.auroc}", self.blocks)
        if self.blocks:
            return Warned(f"inverted on {self.tested} ({self.kind}): AUROC {self.within}", blocks=True)
        return None


def _below_chance(estimate: Estimate) -> bool:
    return estimate.measured and estimate.high < 0.5


@dataclass(frozen=True, slots=True)
class Side:
    """Two sets of rows, each of shape (rows,)."""

    kind: str
    trained: str
    tested: str
    train_on: Bools
    test_on: Bools
    fresh: bool = False


def sides(tags: Sequence[Mapping[str, str]], lengths: Ints, task: Task) -> tuple[list[Side], list[str]]:
    """The shifts that the rows allow, and for each kind that they do not, why.

    Sets with groups in common (a set and its negated twin) are left out together: with one of them in the training the
    other is no new set. A set or a template that is left out stands for one that the probe will meet, unless with it
    the last rows of a polarity are left out: that is half of the training.

    Args:
        tags: of each row.
        lengths: of each row, in characters.
        task: labels and groups.
    """
    found: list[Side] = []
    missing: list[str] = []

    def polarities(rows: Bools) -> set[str]:
        return {tags[row].get("polarity", "") for row in np.flatnonzero(rows).tolist()}

    for tag, kind in TAGS.items():
        values = np.array([one.get(tag, "") for one in tags])
        if kind == SET:
            values = _together(values, task)
        names = [str(name) for name in np.unique(values) if name]
        enough = [name for name in names if _has_enough(task, values == name)]
        if len(enough) < 2:
            missing.append(f"{kind}: rows of {len(enough)} values of the tag `{tag}`, two would be needed{_why(kind)}")
            continue
        for name in enough[:_MOST_VALUES]:
            others = np.isin(values, [one for one in enough if one != name])
            alone = len(enough) == 2
            label = next(one for one in enough if one != name) if alone else f"all but {name}"
            fresh = kind in {SET, TEMPLATE} and polarities(values == name) <= polarities(others)
            found.append(Side(kind, label, name, others, values == name, fresh))
    middle = np.median(lengths)
    short = lengths <= middle
    if _has_enough(task, short) and _has_enough(task, ~short):
        below, above = f"at most {middle:g} characters", f"more than {middle:g} characters"
        found += [Side(LENGTH, below, above, short, ~short), Side(LENGTH, above, below, ~short, short)]
    else:
        missing.append(f"{LENGTH}: fewer than {_FEWEST} rows of a label on a side of {middle:g} characters")
    return found, missing


def _why(kind: str) -> str:
    return " (sets with groups in common count as one)" if kind == SET else ""


def _together(values: Names, task: Task) -> Names:
    """The same, with one name for sets that have groups in common."""
    names = [str(name) for name in np.unique(values) if name]
    groups = {name: set(task.groups[values == name].tolist()) for name in names}
    joined: list[list[str]] = []
    for name in names:
        near = [one for one in joined if any(groups[name] & groups[other] for other in one)]
        joined = [one for one in joined if one not in near] + [[*(other for one in near for other in one), name]]
    known = {name: " + ".join(one) for one in joined for name in one}
    return np.array([known.get(str(value), "") for value in values])


def _has_enough(task: Task, rows: Bools) -> bool:
    positive = int(task.labels[rows].sum())
    return min(positive, int(rows.sum()) - positive) >= _FEWEST


def shifted(
    method: Method,
    task: Task,
    fold: Ints,
    tried: Sequence[Side],
    *,
    whole: Scored,
    draws: int = DRAWS,
    seed: int = 0,
    told: Told = silent,
) -> tuple[Shift, ...]:
    """Run the method over each shift, in the folds of everything else: a group is on one side of a split, shift or not.

    ``whole`` are the method's held-out scores by fits on rows of every kind.
    """
    weights = draw_groups(len(np.unique(task.groups)), draws, seed)
    found: list[Shift] = []
    for number, side in enumerate(tried, 1):
        scored = run(method, task, fold, train_on=side.train_on, test_on=side.test_on)
        across = _figure(task, scored, scored.fold, weights)
        within = _figure(task, whole, np.where(side.test_on, whole.fold, -1), weights)
        count = int(side.test_on.sum())
        found.append(Shift(side.kind, side.trained, side.tested, count, across, within, side.fresh))
        told("shift suite", number, len(tried))
    return tuple(found)


def parts(
    task: Task, scored: Scored, tags: Sequence[Mapping[str, str]], *, trained: str, draws: int = DRAWS, seed: int = 0
) -> tuple[Shift, ...]:
    """A finished probe on each kind of row by itself, where there are several."""
    weights = draw_groups(len(np.unique(task.groups)), draws, seed)
    found: list[Shift] = []
    for tag, kind in TAGS.items():
        values = np.array([one.get(tag, "") for one in tags])
        for name in [str(name) for name in np.unique(values) if name][:_MOST_VALUES]:
            rows = values == name
            if not rows.all() and _has_enough(task, rows):
                figure = _figure(task, scored, np.where(rows, scored.fold, -1), weights)
                found.append(Shift(kind, trained, name, int(rows.sum()), figure))
    return tuple(found)


def _figure(task: Task, scored: Scored, fold: Ints, weights: Floats) -> Estimate:
    part = Scored(scored.name, fold, scored.scores, scored.learns)
    return auroc(task, part, count_pairs(task, fold, scored.scores), weights)[0]


def alarms(shifts: Sequence[Shift]) -> tuple[Warned, ...]:
    """What is to be written into the sidecar: one line for each shift under which the probe turns round."""
    return tuple(found for shift in shifts if (found := shift.alarm) is not None)


def elsewhere(shifts: Sequence[Shift], level: float = 0.95) -> Estimate | None:
    """The AUROC to expect on one more data set of the kind that were left out in turn; None with fewer than three.

    A prediction interval: mean ± t s √(1 + 1/n) over the n sets, on the scale of log odds (Student's t with n - 1
    degrees of freedom). The interval of a figure on one set says nothing of another set; this one does, as far as few
    sets can.
    """
    found = [shift.auroc.value for shift in shifts if shift.kind == SET and shift.auroc.measured]
    if len(found) < 3:
        return None
    odds = np.log(np.clip(found, 0.001, 0.999) / (1 - np.clip(found, 0.001, 0.999)))
    reach = float(stats.t.ppf((1 + level) / 2, len(odds) - 1) * odds.std(ddof=1) * np.sqrt(1 + 1 / len(odds)))
    middle = float(odds.mean())
    low, value, high = (float(1 / (1 + np.exp(-one))) for one in (middle - reach, middle, middle + reach))
    return Estimate(value, low, high, level, f"from {len(found)} sets, each left out of the training in turn")
