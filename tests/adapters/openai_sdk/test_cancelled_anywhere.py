"""A wrapped client whose caller is cancelled at any moment: what was handed on is in the record, and every record ends."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

import monitor
from monitor.records import Outcome
from tests.adapters.openai_sdk.test_chat import user
from tests.anywhere import cancellable, run_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.records import Event
    from tests.adapters.wire_desk import Desk

pytestmark = pytest.mark.sqlite("what is counted is steps of the loop; a server makes them longer, not others")

WORDS = [f"word{number} " for number in range(12)]
STEPS = (0, 1, 3, 8, 21, 55)
"""After how many steps of the loop since an event the caller is cancelled."""


def chunk(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    said = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [said]}).encode() + b"\n\n"


async def answer(_request: httpx2.Request) -> httpx2.Response:
    """A word for each step of the loop: over a socket the steps would be other ones each time."""

    async def body() -> AsyncIterator[bytes]:
        for word in WORDS:
            await asyncio.sleep(0)
            yield chunk({"content": word})
        yield chunk({}, "stop") + b"data: [DONE]\n\n"

    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body())


@pytest.mark.parametrize("in_a_run", [True, False])
@pytest.mark.parametrize("stream", ["judged", "window"])
def test_nothing_that_was_handed_on_is_lost(desk: Desk, stream: Any, *, in_a_run: bool) -> None:
    got: list[str] = []

    async def ask(client: openai.AsyncOpenAI) -> None:
        async for part in await client.chat.completions.create(model="m", messages=user("x"), stream=True):
            got.extend(choice.delta.content or "" for choice in part.choices)

    async def run(seen: list[Event], target: asyncio.Future[asyncio.Task[Any]]) -> None:
        options: dict[str, Any] = {"db": desk.db, "policy": [desk.pack], "listener": seen.append}
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        client = openai.AsyncOpenAI(base_url="http://127.0.0.1", api_key="k", http_client=http)
        async with (
            monitor.wrap(client, stream=stream, **options) as wrapped,
            monitor.observed_run("x", **options) if in_a_run else nullcontext(),
        ):
            await cancellable(ask(wrapped), target)

    every = asyncio.run(run_until(run))
    assert "".join(got) == "".join(WORDS)
    for events, steps in itertools.product(range(every), STEPS):
        got.clear()
        before, at = desk.run(), f"{steps} steps after {events} events"
        asyncio.run(run_until(run, events, steps))
        if desk.run().start.run_id == before.start.run_id:
            assert not got
            continue
        subcalls = desk.subcalls()
        assert desk.run().state in {Outcome.OK, Outcome.CANCELLED}, at
        assert {subcall.state for subcall in subcalls} <= {Outcome.OK, Outcome.CANCELLED}, at
        assert "".join(one.observation.output for one in subcalls if one.observation).startswith("".join(got)), at
