"""Every baseline of the design's list: what reads the text, what reads the model, and the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monitor.probes.evaluation import texts
from monitor.probes.evaluation.asking import answers
from monitor.probes.evaluation.base import Given, Method, Task
from monitor.probes.evaluation.refitted import Discriminant, standardised_columns
from monitor.probes.evaluation.texts import Columns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from monitor.probes.evaluation.base import Ints
    from monitor.probes.evaluation.survey import Survey
    from monitor.probes.local_model import LocalModel

ASKED, RULES, EMBEDDING = "the model asked, yes or no", "policy rules", "layer-0 embedding"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What rules said of a text: their findings weighted by level, and the codepoints that fired (half open)."""

    score: float
    spans: tuple[tuple[int, int], ...] = ()


def of_text(written: Sequence[str], surveyed: Survey, found: Sequence[Evidence]) -> list[Method]:
    """What reading the trace tells: words, characters, length, and the rules where they were run."""
    trace: list[Method] = [
        texts.words(written),
        texts.characters(written),
        texts.length(written, surveyed.tokens.astype(np.float64)),
    ]
    if found:
        trace.append(Given(RULES, np.array([one.score for one in found], dtype=np.float64)))
    return trace


def of_activations(surveyed: Survey) -> list[Method]:
    """The embedding's mean, the mean log probability of the text's tokens, and the norms of all surveyed layers."""
    norms = np.stack([surveyed.norm[k] for k in sorted(surveyed.norm)], axis=1).astype(np.float64)
    return [
        Discriminant([standardised_columns(surveyed.embedding)], name=EMBEDDING),
        Columns("mean log probability", surveyed.logprob[:, None].astype(np.float64)),
        Columns("activation norm", np.log(norms + 1e-9)),
    ]


def asking(
    model: LocalModel,
    written: Sequence[str],
    rows: Ints,
    question: str,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Given:
    """The same model's own answer, log p(yes) - log p(no), for ``rows``; NaN for the others.

    Raises:
        ProbeError: the model cannot be asked.
    """
    values = np.full(len(written), np.nan)
    values[rows] = answers(model, [written[row] for row in rows], question, on_progress=on_progress)
    return Given(ASKED, values)


def groups_at_most(task: Task, limit: int, seed: int = 0) -> Ints:
    """All rows, or rows of whole groups by chance up to ``limit`` (0: no limit), of two groups at least."""
    if not limit or len(task) <= limit:
        return np.arange(len(task))
    names, sizes = np.unique(task.groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    count = max(2, int((np.cumsum(sizes[order]) <= limit).sum()))
    return np.flatnonzero(np.isin(task.groups, names[order[:count]]))


def discriminant(surveyed: Survey, poolings: Collection[str], *, folds: int, seed: int) -> Discriminant:
    """The discriminant that stands in for the probe in the null: every surveyed layer but the embedding.

    ``poolings`` are those that the probe may have; where it pools scores, the mean stands for it.
    """
    layers = sorted({k for k, _ in surveyed.features.pooled} - {0}) or [0]
    hows = [how for how in ("last", "mean") if how in poolings] or ["mean"]
    arrays = [standardised_columns(surveyed.features.pooled[k, how]) for k in layers for how in hows]
    return Discriminant(arrays, folds=folds, seed=seed)
