"""Scores without the evidence that rules found: the tokens that fired rules are left out, and each text is scored again.

A probe whose score falls with those tokens repeats the rules; one whose score stays has seen something else. There are two
ways to leave them out. Tokens that are not pooled are not scored themselves, but later tokens have attended to them; text
that is cut out is not read at all, but what is left may read oddly. Both are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monitor.probes.capture import capture
from monitor.probes.evaluation.base import Estimate, Scored, unmeasured
from monitor.probes.evaluation.metrics import auroc
from monitor.probes.evaluation.pairs import count_pairs
from monitor.probes.evaluation.resampling import DRAWS, draw_groups
from monitor.probes.features import read_text
from monitor.probes.pooling import probed_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from monitor.probes.evaluation.base import Floats, Task
    from monitor.probes.features import Reading
    from monitor.probes.kinds import Probe
    from monitor.probes.local_model import LocalModel
    from monitor.probes.words import Activations, Dataset, Labelled


@dataclass(frozen=True, slots=True)
class Filtered:
    """What becomes of the scores. ``fired`` is the number of texts with evidence, ``bare`` how many of them had no token
    besides it and keep their score. The three AUROCs are over all texts: as scored, with the tokens not pooled, with the
    text cut out. ``changes`` are the mean changes of score of the texts with evidence, in standard deviations of all
    scores.
    """

    fired: int
    bare: int
    scored: Estimate
    not_pooled: Estimate
    cut_out: Estimate
    changes: tuple[float, float]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Again:
    not_pooled: float | None
    cut_out: float | None


def filtered(
    model: LocalModel,
    dataset: Dataset,
    task: Task,
    scored: Scored,
    *,
    spans: Mapping[int, Sequence[tuple[int, int]]],
    probe_of: Callable[[int], tuple[Probe, int]],
    reading: Reading,
    draws: int = DRAWS,
    seed: int = 0,
) -> Filtered:
    """Score the texts with evidence again.

    Args:
        model: The model that is read.
        dataset: The texts.
        task: Their labels and groups.
        scored: The probe's held-out scores.
        spans: Of each row that fired a rule, the codepoints of its text that did (half open).
        probe_of: The probe (and its layer) that scored a row: one that never saw its group.
        reading: How texts are read.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """
    rows = [row for row in sorted(spans) if scored.fold[row] >= 0 and spans[row]]
    if not rows:
        none = unmeasured("no rule fired on any text")
        return Filtered(0, 0, none, none, none, (float("nan"), float("nan")), none.note)
    left_out, cut = scored.scores.copy(), scored.scores.copy()
    bare = 0
    for row in rows:
        again = _again(model, dataset.rows[row], spans[row], fitted=probe_of(row), reading=reading)
        bare += again.not_pooled is None
        left_out[row] = scored.scores[row] if again.not_pooled is None else again.not_pooled
        cut[row] = scored.scores[row] if again.cut_out is None else again.cut_out
    weights = draw_groups(len(np.unique(task.groups)), draws, seed)

    def figure(scores: Floats) -> Estimate:
        one = Scored(scored.name, scored.fold, scores, scored.learns)
        return auroc(task, one, count_pairs(task, one.fold, scores), weights)[0]

    spread = float(np.std(scored.scores[scored.rows])) or 1.0
    changes = [float(np.mean(scores[rows] - scored.scores[rows])) / spread for scores in (left_out, cut)]
    whole, not_pooled, cut_out = (figure(scores) for scores in (scored.scores, left_out, cut))
    return Filtered(len(rows), bare, whole, not_pooled, cut_out, (changes[0], changes[1]))


def _again(
    model: LocalModel,
    labelled: Labelled,
    spans: Sequence[tuple[int, int]],
    *,
    fitted: tuple[Probe, int],
    reading: Reading,
) -> _Again:
    probe, layer = fitted

    def score(text: str, without: Sequence[tuple[int, int]]) -> float | None:
        if not text.strip():
            return None
        read = read_text(model, text, labelled.context, reading)

        def reduce(activations: Activations) -> float | None:
            at = probed_positions(activations, reading.surface)
            tokens = [activations.text.tokens[place] for place in at]
            kept = [
                place
                for place, token in zip(at, tokens, strict=True)
                if not any(token.start < end and start < token.end for start, end in without)
            ]
            return probe.score(activations.layers[layer][kept]) if kept else None

        return capture(model, [read], layers=[layer], reduce=reduce)[0]

    rest, at = "", 0
    for start, end in sorted(spans):
        rest += labelled.text[at : max(start, at)]
        at = max(at, end)
    return _Again(score(labelled.text, spans), score(rest + labelled.text[at:], ()))
