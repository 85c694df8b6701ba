"""What is judged, and what the stages of an evaluation share."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.probes.evaluation.asking import QUESTION
from monitor.probes.evaluation.base import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.probes.applying import Applied
    from monitor.probes.candidates import Candidate
    from monitor.probes.evaluation.base import Ints, Scored, Task, Told
    from monitor.probes.evaluation.effort import Effort
    from monitor.probes.features import Reading
    from monitor.probes.local_model import LocalModel
    from monitor.probes.words import Dataset


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What is to be judged, and on what.

    ``parts`` are the files that the data set was joined from. ``candidates`` are what a recipe chooses from; for a finished
    probe it is ``fixed`` and they are empty. ``trained_on`` says what that was trained on, in words. With ``negate``
    negations of the texts are tried too, see ``negating``.
    """

    name: str
    finds: str
    model: LocalModel
    dataset: Dataset
    reading: Reading
    parts: tuple[Dataset, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    fixed: Applied | None = None
    question: str = QUESTION
    trained_on: str = ""
    negate: bool = False
    notes: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class Work:
    """What stages share."""

    judged: Judged
    effort: Effort
    seed: int
    told: Told
    task: Task
    fold: Ints
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    scored: dict[str, Scored] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how many seconds the stage took."""
        begun = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - begun, 2)
