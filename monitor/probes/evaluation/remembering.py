"""Scores of a finished probe, kept on disk by what they depend on; and which groups a probe was fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.probes import data, splits
from monitor.probes.cache import remembered
from monitor.probes.evaluation.survey import digest, of_model
from monitor.probes.training import datasets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.probes.applying import Applied
    from monitor.probes.config import Training
    from monitor.probes.evaluation.base import Floats
    from monitor.probes.words import Array


def scores_of(
    applied: Applied, texts: Sequence[str], *, on_progress: Callable[[int, int], None] | None = None
) -> Floats:
    """The probe's score of each text, shape (texts,). A text without a token of its own is NaN.

    Raises:
        ProbeError: the model cannot read a text.
    """
    read = [applied.read(text) for text in texts]
    where = applied.reading.surface
    kept = [number for number, one in enumerate(read) if one.mask(where).any()]
    found = np.full(len(texts), np.nan)
    if not kept:
        return found

    def make() -> dict[str, Array]:
        scored = applied.score_many([(texts[number], "") for number in kept], on_progress=on_progress)
        return {"scores": np.array([one.score for one in scored])}

    key: dict[str, Any] = {
        "what": "probe scores 1",
        "probe": applied.artefact.sidecar.model_dump_json(include={"kind", "hyper", "pooling", "layer", "tensors"}),
        "device": applied.model.device.type,
        "texts": digest([read[number] for number in kept]),
        **of_model(applied.model.facts),
    }
    found[kept] = remembered(key, make)["scores"]
    return found


def fitted_groups(config: Training) -> frozenset[str]:
    """The groups that a probe of this configuration is fitted on: those that are not held out.

    Raises:
        ProbeDataError: its data cannot be read.
    """
    whole = data.join(datasets_of(config), config.written.probe)
    held = config.written.held_out
    if held.share is None:
        split = splits.hold_out_groups(whole.labels, whole.groups, held.groups)
    else:
        split = splits.hold_out(whole.labels, whole.groups, share=held.share, seed=config.written.seed)
    return frozenset(whole.groups[row] for row in split.train)
