"""A store that fails at any commit of a wrapped client's stream: what was handed on is in the record, and nothing hangs."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

import monitor
from monitor.errors import StoreError
from monitor.store import Store
from tests.adapters.openai_sdk.test_cancelled_anywhere import WORDS, answer
from tests.adapters.openai_sdk.test_chat import user

if TYPE_CHECKING:
    from tests.adapters.wire_desk import Desk
    from tests.failing_disk import FailingDisk

pytestmark = pytest.mark.sqlite("the commits to a file are made to fail")


@pytest.mark.parametrize(("in_a_run", "lasting"), [(True, False), (False, True)])
@pytest.mark.parametrize("stream", ["judged", "window"])
def test_what_was_handed_on_is_in_the_record(
    desk: Desk,
    disk: FailingDisk,
    stream: Any,
    *,
    in_a_run: bool,
    lasting: bool,
) -> None:
    Store.open(desk.db).close()
    got: list[str] = []
    options: dict[str, Any] = {"db": desk.db, "policy": [desk.pack]}

    async def ask(client: openai.AsyncOpenAI) -> None:
        async for part in await client.chat.completions.create(model="m", messages=user("x"), stream=True):
            got.extend(choice.delta.content or "" for choice in part.choices)

    async def run() -> None:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        client = openai.AsyncOpenAI(base_url="http://127.0.0.1", api_key="k", http_client=http)
        async with (
            asyncio.timeout(30),
            monitor.wrap(client, stream=stream, **options) as wrapped,
            monitor.observed_run("x", **options) if in_a_run else nullcontext(),
        ):
            await ask(wrapped)

    number, known = 0, 0
    while number == 0 or disk.commits >= number:
        number += 1
        got.clear()
        disk.fail(number, lasting=lasting)
        failure: Exception | None = None
        try:
            asyncio.run(run())
        except StoreError as exc:
            failure = exc
        disk.mend()
        with Store.open(desk.db) as store:
            runs = store.runs()
            subcalls = [one for run in runs[: len(runs) - known] for one in store.subcalls(run.start.run_id)]
        known = len(runs)
        assert len(subcalls) <= 1, number
        judged = "".join(one.observation.output for one in subcalls if one.observation and one.judgement)
        released = "".join(part.output for one in subcalls for part in one.released)
        assert max(judged, released, key=len).startswith("".join(got)), number
        assert failure is not None or "".join(got) == "".join(WORDS) == judged, number
    assert number > 5, "a run and a call: five commits at least"
