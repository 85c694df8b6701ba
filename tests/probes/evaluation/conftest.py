"""Short texts that the embedded model has read once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.probes.evaluation.worlds import sentences

if TYPE_CHECKING:
    from monitor.probes.evaluation.survey import Survey
    from monitor.probes.local_model import LocalModel


@pytest.fixture(scope="session")
def read_once(embedded: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Survey]:
    """240 short texts, two in each of 120 groups, and their activations at one layer."""
    from monitor.probes.evaluation.survey import survey
    from monitor.probes.reading import read_plain

    texts = sentences(np.random.default_rng(0), 240)
    before = os.environ.get("MONITOR_CACHE")
    os.environ["MONITOR_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    try:
        return texts, survey(embedded, [read_plain(embedded, text) for text in texts], layers=[9])
    finally:
        if before is None:
            del os.environ["MONITOR_CACHE"]
        else:
            os.environ["MONITOR_CACHE"] = before
