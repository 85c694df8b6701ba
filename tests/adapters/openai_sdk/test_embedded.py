"""The real SDK on a real model: the embedded server, whose answers nobody scripted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI

import monitor
from monitor.models.embedded_server import start
from monitor.settings import EmbeddedOptions

if TYPE_CHECKING:
    from tests.adapters.wire_desk import Desk

pytestmark = pytest.mark.embedded


def test_a_real_model_s_answer_is_in_the_record(desk: Desk) -> None:
    address = start(EmbeddedOptions())
    client = monitor.wrap(OpenAI(base_url=address.url, api_key=address.api_key), db=desk.db, policy=["core"])
    desk.clients.append(client)
    with monitor.observed_run("Ask", db=desk.db, policy=["core"]):
        answer = client.chat.completions.create(
            model="embedded", messages=[{"role": "user", "content": "What is the capital of France?"}], max_tokens=12
        )
        chunks = list(
            client.chat.completions.create(
                model="embedded", messages=[{"role": "user", "content": "Say hello."}], max_tokens=12, stream=True
            )
        )
    outputs: list[Any] = [subcall.observation.output for subcall in desk.subcalls() if subcall.observation]
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert sorted(outputs) == sorted([answer.choices[0].message.content or "", streamed])
    assert all(subcall.observation and subcall.observation.usage_reported for subcall in desk.subcalls())
