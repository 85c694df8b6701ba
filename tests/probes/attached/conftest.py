"""A probe of the embedded model, fitted on a handful of sentences: what it finds does not matter here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.probes.local_model import LocalModel
    from monitor.probes.sidecar import Calibration

    Make = Callable[..., Path]

LAYER = 12
TRUE = ("Paris is in France.", "Rome is in Italy.", "Oslo is in Norway.", "Two and two are four.")
FALSE = ("Paris is in Japan.", "Rome is in Chile.", "Oslo is in Kenya.", "Two and two are nine.")


@pytest.fixture
def probe(embedded: LocalModel, tmp_path: Path) -> Make:
    """Write an artefact; anything of its sidecar may be given. Returns its folder."""
    from monitor.probes import artefact
    from monitor.probes.capture import capture
    from monitor.probes.kinds import fit
    from monitor.probes.pooling import Pooling
    from monitor.probes.reading import read_plain
    from monitor.probes.sidecar import ModelPin, Sidecar, SplitPin

    def make(folder_name: str = "sample", *, called: str = "", pooling: str = "mean", **changes: Any) -> Path:
        texts = [read_plain(embedded, text) for text in TRUE + FALSE]
        means = capture(embedded, texts, layers=[LAYER], reduce=lambda found: found.layers[LAYER][1:].mean(axis=0))
        labels = np.array([True] * len(TRUE) + [False] * len(FALSE))
        fitted = fit("difference_of_means", np.stack(means), labels, pooling=Pooling.parse(pooling))
        values: dict[str, Any] = {
            "name": called or folder_name,
            "finds": "sentences like those it was shown",
            "kind": "difference_of_means",
            "pooling": pooling,
            "layer": LAYER,
            "surface": "output",
            "format": "plain",
            "max_tokens": 256,
            "model": ModelPin(**{field: getattr(embedded.facts, field) for field in ModelPin.model_fields}),
            "data": (),
            "split": SplitPin(
                by="share", share=0.0, seed=0, folds=0, train_texts=8, train_groups=8, test_texts=0, test_groups=0
            ),
            "seed": 0,
        }
        folder = tmp_path / folder_name
        artefact.save(folder, fitted, Sidecar(**{**values, **changes}))
        return folder

    return make


@pytest.fixture
def calibrated() -> Callable[..., Calibration]:
    """A calibration on harmless texts whose scores are given; one rate, that which 5 % of them reach."""
    from monitor.probes.calibration import calibrate
    from monitor.probes.words import Dataset, Labelled, Surface

    def make(scores: np.ndarray[Any, Any], name: str = "harmless", surface: str = "output") -> Calibration:
        rows = tuple(Labelled(f"text {number}", label=False, group=str(number)) for number in range(len(scores)))
        benign = Dataset(name, rows, sha256="0" * 64)
        return calibrate(scores, benign, surface=Surface(surface), format="plain", targets=[0.05])

    return make
