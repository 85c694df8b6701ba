"""The SDK's own modules, whose import name is ``agents``: so is a folder of this project, which is no package."""

from __future__ import annotations

import importlib
from typing import Any

from monitor.errors import MissingExtraError


def load(module: str = "") -> Any:
    """A module of the SDK. Raises MissingExtraError."""
    try:
        importlib.import_module("agents.tracing")
    except ImportError:
        raise MissingExtraError("the OpenAI Agents SDK", "agents") from None
    return importlib.import_module(f"agents.{module}" if module else "agents")
