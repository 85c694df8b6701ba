"""The desk of ``tests.adapters.wire_desk``, for the tests in here."""

from __future__ import annotations

from tests.adapters.wire_desk import desk

__all__ = ["desk"]
