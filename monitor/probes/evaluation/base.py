"""What the parts of the evaluation hand to one another: rows with labels and groups, methods, scores, estimates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from monitor.errors import ProbeDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Names: TypeAlias = np.ndarray[Any, np.dtype[np.str_]]
Told: TypeAlias = "Callable[[str, int, int], None]"
"""Told of progress: the stage, how much of it is done, and of how much."""


@runtime_checkable
class Method(Protocol):
    """Something that scores rows, higher for what is to be found.

    ``learns`` is False where the scores of a row do not depend on any training row (a length, a fixed probe).
    """

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    @property
    def learns(self) -> bool:
        """Whether it has to be trained."""
        ...

    def scores(self, labels: Bools, groups: Ints, train: Ints, test: Ints) -> Floats:
        """The scores of the rows ``test``, shape (len(test),), from a fit on the rows ``train`` alone.

        ``labels`` and ``groups`` have an entry for every row; only those of ``train`` may be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be told apart: for every row its label and the code of its group, both of shape (rows,)."""

    labels: Bools
    groups: Ints

    def __post_init__(self) -> None:
        if self.labels.shape != self.groups.shape or self.labels.ndim != 1:
            raise ProbeDataError(
                f"expected a label and a group for each row, found shapes {self.labels.shape} and {self.groups.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def relabelled(self, labels: Bools) -> Task:
        """The same rows and groups with other labels."""
        return Task(np.asarray(labels, dtype=bool), self.groups)


def as_task(labels: Sequence[bool] | Bools, groups: Sequence[str] | Ints) -> Task:
    """A task from labels and the names of groups. Groups are numbered in the order of their names.

    Raises:
        ProbeDataError: fewer than two groups, or only one of the two labels.
    """
    truth = np.asarray(labels, dtype=bool)
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise ProbeDataError(f"expected rows of at least two groups, found {len(names)}: nothing could be held out")
    if truth.all() or not truth.any():
        raise ProbeDataError(f"expected rows of both labels, found {len(truth)} rows of one: nothing to tell apart")
    return Task(truth, codes.astype(np.int64))


@dataclass(frozen=True, slots=True)
class Given:
    """A method that is a score for each row, whatever it is trained on. ``values`` has shape (rows,)."""

    name: str
    values: Floats
    learns: bool = False

    def scores(self, labels: Bools, groups: Ints, train: Ints, test: Ints) -> Floats:
        """The given scores of ``test``."""
        return self.values[test]


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of a method on held-out rows.

    ``fold`` is the fold in which a row was held out, -1 where it was not scored; ``scores`` is NaN there. Both have shape
    (rows,). Scores of different folds come from different fits, and may not share a scale. ``halves`` has shape (2, rows):
    the scores of the same rows by fits on two halves of the training groups with no group in common; None if not asked for.
    """

    name: str
    fold: Ints
    scores: Floats
    learns: bool = True
    halves: Floats | None = None

    @property
    def rows(self) -> Ints:
        """Indices of the rows that were scored."""
        return np.flatnonzero(self.fold >= 0)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval at ``level``. ``value`` is NaN where it could not be measured; ``note`` says why, or what
    limits it.
    """

    value: float
    low: float
    high: float
    level: float = 0.95
    note: str = ""

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "unmeasured"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @property
    def measured(self) -> bool:
        """Whether there is a figure."""
        return not np.isnan(self.value)


def unmeasured(note: str) -> Estimate:
    """No figure, and why."""
    return Estimate(float("nan"), float("nan"), float("nan"), note=note)


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
