"""The embedded model as transformers has it, loaded once for all tests of probes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from monitor.errors import WeightsError
from monitor.models import weights
from tests.conftest import REAL_CACHE

if TYPE_CHECKING:
    from monitor.probes.local_model import LocalModel


@pytest.fixture(scope="session")
def embedded() -> LocalModel:
    import torch

    from monitor.probes.local_model import LocalModel

    torch.set_num_threads(1)
    before = os.environ.get("MONITOR_CACHE")
    os.environ["MONITOR_CACHE"] = REAL_CACHE
    try:
        weights.locate()
        return LocalModel.load(device="cpu")
    except WeightsError as exc:
        pytest.skip(str(exc))
    finally:
        if before is None:
            del os.environ["MONITOR_CACHE"]
        else:
            os.environ["MONITOR_CACHE"] = before
