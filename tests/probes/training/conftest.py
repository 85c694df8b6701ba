"""The embedded model, loaded once for all tests of training, and a small set that one can train on in a second."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REAL_CACHE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.probes.local_model import LocalModel


@pytest.fixture(scope="session")
def embedded() -> LocalModel:
    import torch

    from monitor.probes.local_model import LocalModel

    torch.set_num_threads(1)
    before = os.environ.get("MONITOR_CACHE")
    os.environ["MONITOR_CACHE"] = REAL_CACHE
    try:
        model = LocalModel.load("embedded", device="cpu")
    finally:
        if before is None:
            del os.environ["MONITOR_CACHE"]
        else:
            os.environ["MONITOR_CACHE"] = before
    return model


NAMES = (
    "Ada",
    "Ben",
    "Cleo",
    "Dan",
    "Eve",
    "Finn",
    "Gia",
    "Hugo",
    "Ivy",
    "Jan",
    "Kim",
    "Leo",
    "Mia",
    "Ned",
    "Ona",
    "Pam",
)
CONFIG = """\
probe: praise
finds: praise
max_tokens: 64
data:
  - file: praise.csv
    tag_columns: {sort: sort}
    licence: CC0-1.0
    source: made for this test
held_out: {share: 0.5}
folds: 2
layers: [6, 0.5]
poolings: [last, mean]
kinds:
  difference_of_means:
  lda: {shrinkage: [auto, 0.5]}
calibrate: [0.4]
"""


@pytest.fixture
def praise(tmp_path: Path) -> Callable[..., Path]:
    """Write a small set (praise is label 1) and a configuration, with parts of it replaced; return the latter's path."""

    def write(*changes: tuple[str, str]) -> Path:
        said = [("did that wonderfully well", 1), ("did that terribly badly", 0)]
        rows = [
            f"{name} {what}{end},{label},{name},{sort}"
            for name in NAMES
            for what, label in said
            for end, sort in ((".", "calm"), ("!", "loud"))
        ]
        (tmp_path / "praise.csv").write_text("text,label,group,sort\n" + "\n".join(rows) + "\n")
        text = CONFIG
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "train.yaml"
        path.write_text(text)
        return path

    return write
