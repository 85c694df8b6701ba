"""Packs written in a test, loaded as files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from monitor import policy
from tests.policy.packs import pack

if TYPE_CHECKING:
    from pathlib import Path


class Write(Protocol):
    def __call__(self, text: str, name: str = "pack.yaml") -> Path: ...


class LoadDetection(Protocol):
    def __call__(self, detection: str, level: str = "medium") -> policy.PolicySet: ...


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file and give its path."""

    def write(text: str, name: str = "pack.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def load_detection(write: Write) -> LoadDetection:
    """Load a pack of one rule with this detection."""

    def load(detection: str, level: str = "medium") -> policy.PolicySet:
        return policy.load([write(pack(detection, level))])

    return load
