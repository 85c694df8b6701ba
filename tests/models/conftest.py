"""What the tests of models share: a stub server in this process, and requests of one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from monitor.models.base import ModelRequest
from monitor.records import Message
from tests.stubs.openai_stub import OpenAIStub

MakeRequest = Callable[..., ModelRequest]


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as server:
        yield server


@pytest.fixture
def ask() -> MakeRequest:
    """Make a request of one user message."""

    def make(text: str = "Name a colour.", *, max_output_tokens: int = 200, **others: Any) -> ModelRequest:
        message = Message(role="user", content=text)
        return ModelRequest(messages=(message,), max_output_tokens=max_output_tokens, **others)

    return make
