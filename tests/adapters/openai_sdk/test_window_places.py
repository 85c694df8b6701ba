"""The window mode: a stream that is open is nobody else's run, however and wherever it ends."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.adapters.places import current
from monitor.errors import Blocked
from monitor.store import Store
from tests.adapters.openai_sdk.test_chat import plain, user, wrapped, wrapped_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.adapters.wire_desk import Desk

WORDS = " ".join(["word"] * 200)
ASKED = user(f"[[stub:say={WORDS}]] x")


def windowed(desk: Desk) -> Any:
    return wrapped(desk, policy=False, stream="window")


def test_calls_while_a_stream_is_open_are_held_to_their_own_policy(desk: Desk, new_database: Callable[[], str]) -> None:
    other = monitor.wrap(plain(desk), db=new_database(), policy=[desk.pack])
    with windowed(desk).chat.completions.create(model="m", messages=ASKED, stream=True) as stream:
        next(iter(stream))
        assert current() is None
        with pytest.raises(Blocked, match="planted_output"):
            other.chat.completions.create(model="m", messages=user("[[stub:say=ALARM]] x"))
    (subcall,) = desk.subcalls()
    assert subcall.state == "cancelled"


def test_a_stream_that_nobody_reads_on_leaves_what_had_come(desk: Desk) -> None:
    for chunk in windowed(desk).chat.completions.create(model="m", messages=ASKED, stream=True):
        if chunk.choices and chunk.choices[0].delta.content:
            break
    assert current() is None
    gc.collect()
    (subcall,) = desk.subcalls()
    assert subcall.state == "cancelled"
    assert subcall.observation is not None
    assert subcall.observation.output.startswith("word")
    with monitor.observed_run("later", db=desk.db, policy=[]) as later:
        wrapped(desk).chat.completions.create(model="m", messages=user("x"))
    with Store.open(desk.db) as store:
        assert len(list(store.subcalls(later.run_id))) == 1


def test_a_stream_may_be_read_and_closed_in_another_task(desk: Desk) -> None:
    async def read(stream: Any, most: int) -> int:
        count = 0
        async with stream:
            async for _ in stream:
                count += 1
                if count == most:
                    break
        return count

    async def main() -> list[int]:
        async with wrapped_async(desk, stream="window") as client:
            streams = [await client.chat.completions.create(model="m", messages=ASKED, stream=True) for _ in range(2)]
            assert current() is None
            return await asyncio.gather(*(read(stream, most) for stream, most in zip(streams, (2, 1000), strict=True)))

    few, many = asyncio.run(main())
    assert (few, many > few) == (2, True)
    with Store.open(desk.db) as store:
        states = [item.state for run in store.runs() for item in store.subcalls(run.start.run_id)]
    assert sorted(states) == ["cancelled", "ok"]


PROGRAM = """
import sys
import monitor
from openai import OpenAI

url, db, said = sys.argv[1:]
client = monitor.wrap(OpenAI(base_url=url, api_key="sk-test", max_retries=0), db=db, policy=[], stream="window")
for chunk in client.chat.completions.create(model="m", messages=[{"role": "user", "content": said}], stream=True):
    if chunk.choices and chunk.choices[0].delta.content:
        break
"""


def test_a_process_that_stopped_reading_ends_and_the_record_has_what_had_come(desk: Desk) -> None:
    command = [sys.executable, "-c", PROGRAM, desk.stub.base_url, desk.db, ASKED[0]["content"]]
    subprocess.run(command, check=True, timeout=60, cwd=Path(__file__).parents[3])
    (subcall,) = desk.subcalls()
    assert subcall.state == "cancelled"
    assert subcall.observation is not None
    assert subcall.observation.output.startswith("word")
    assert desk.run().state == "ok"
