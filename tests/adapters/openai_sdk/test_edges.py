"""What comes back hostile, broken, late or not at all; and what people put in its place."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest

import monitor
from monitor.adapters.openai_sdk.chat import Chat
from monitor.adapters.openai_sdk.wire import Event, read_events, write_events
from monitor.errors import AwaitingHuman, BudgetExceeded, SubcallFailed
from monitor.records import Choice, Decision, Limits, StoredSubcall, now
from tests.adapters.openai_sdk.test_chat import WAYS, asked, plain, said, user, wrapped, wrapped_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.adapters.wire_desk import Desk

ASKING = """
pack: asking
version: 1.0.0
rules:
  - title: x
    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7c00
    name: asks
    level: high
    action: ask_human
    detection: {s: {written|contains: maybe}, condition: s}
"""


@pytest.mark.parametrize("stream", [False, True])
def test_hostile_text_is_stored_and_comes_back_as_it_was(desk: Desk, *, stream: bool) -> None:
    def ask(client: Any) -> Any:
        answer = client.chat.completions.create(model="m", messages=user("[[stub:hostile]] x"), stream=stream)
        return said(list(answer) if stream else [answer])

    expected = ask(plain(desk))
    assert "\0" in expected
    assert "\ud800" in expected or "\ufffd" in expected
    assert ask(wrapped(desk)) == expected
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert "\0" not in subcall.observation.output


def test_what_nobody_can_read_is_looked_at_all_the_same(desk: Desk, tmp_path: Path) -> None:
    client = wrapped(desk)
    with pytest.raises(json.JSONDecodeError):
        plain(desk).chat.completions.create(model="m", messages=user("[[stub:malformed]] x"))
    with pytest.raises(json.JSONDecodeError):
        client.chat.completions.create(model="m", messages=user("[[stub:malformed]] x"))
    (subcall,) = desk.subcalls()
    assert subcall.state == "failed"
    assert subcall.observation is not None
    assert subcall.observation.output.startswith("data: ")
    pack = tmp_path / "m.yaml"
    pack.write_text(
        ASKING.replace("ask_human", "withhold").replace("written|contains: maybe", "output|contains: delta")
    )
    strict = monitor.wrap(plain(desk), db=desk.db, policy=[str(pack)])
    with pytest.raises(SubcallFailed, match="withheld"):
        strict.chat.completions.with_raw_response.create(model="m", messages=user("[[stub:malformed]] x"))


def test_a_timeout_is_the_sdk_s_and_recorded(desk: Desk) -> None:
    with pytest.raises(openai.APITimeoutError):
        wrapped(desk).with_options(timeout=0.2).chat.completions.create(model="m", messages=user("[[stub:delay=5]] x"))
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert subcall.observation.error is not None
    assert subcall.observation.error.kind == "timeout"


@pytest.mark.parametrize("mode", ["delay=5", "hang"])
@pytest.mark.parametrize("way", ["create", "stream", "async"])
def test_the_seconds_of_a_budget_end_a_call(desk: Desk, mode: str, way: str) -> None:
    given: dict[str, Any] = {"model": "m", "messages": user(f"[[stub:{mode}]] x"), "stream": way != "create"}
    with pytest.raises(BudgetExceeded, match="seconds"):
        ask_late(desk, given, is_async=way == "async")
    (subcall,) = desk.subcalls()
    assert subcall.state == "budget_exceeded"
    assert subcall.observation is not None
    assert bool(subcall.observation.output) == (mode == "hang" and way != "create")


def ask_late(desk: Desk, given: dict[str, Any], *, is_async: bool) -> None:
    async def ask() -> None:
        async with wrapped_async(desk, budget=Limits(seconds=1)) as client:
            await client.chat.completions.create(**given)

    if is_async:
        asyncio.run(ask())
    else:
        wrapped(desk, budget=Limits(seconds=1)).chat.completions.create(**given)


def test_a_cancelled_call_is_recorded_as_that(desk: Desk) -> None:
    async def main() -> None:
        async with wrapped_async(desk) as client, monitor.observed_run("x", db=desk.db, policy=[]):
            task = asyncio.ensure_future(
                client.chat.completions.create(model="m", messages=user("[[stub:delay=5]] x"), stream=True)
            )
            while not desk.stub.requests:  # noqa: ASYNC110 - a server in another thread says nothing to this loop
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert [subcall.state for subcall in desk.subcalls()] == ["cancelled"]
    assert desk.run().state == "ok"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["say=maybe", "tool"])
def test_what_a_person_puts_in_its_place_is_what_comes(desk: Desk, tmp_path: Path, mode: str, *, stream: bool) -> None:
    async def decide(subcall: StoredSubcall) -> Decision:
        assert subcall.awaits_human
        return Decision(choice=Choice.MODIFY, why="x", by="me", output="certainly", via="call", at=now())

    pack = tmp_path / "asking.yaml"
    pack.write_text(ASKING)
    parameters = {"type": "object", "properties": {"word": {"const": "maybe"}}}
    tools: Any = [{"type": "function", "function": {"name": "f", "description": "", "parameters": parameters}}]
    more: dict[str, Any] = {"tools": tools} if mode == "tool" else {}
    client = monitor.wrap(plain(desk), db=desk.db, policy=[str(pack)], decider=decide)
    answer: Any = client.chat.completions.create(model="m", messages=user(f"[[stub:{mode}]] x"), stream=stream, **more)
    answers = list(answer) if stream else [answer]
    assert said(answers) == "certainly"
    assert answers[-1].choices[0].finish_reason == "stop"
    assert "maybe" not in "".join(part.model_dump_json() for part in answers)


def test_what_waits_for_a_person_is_not_handed_on(desk: Desk, tmp_path: Path) -> None:
    pack = tmp_path / "asking.yaml"
    pack.write_text(ASKING)
    client = monitor.wrap(plain(desk), db=desk.db, policy=[str(pack)])
    with pytest.raises(AwaitingHuman):
        client.chat.completions.create(model="m", messages=user("[[stub:say=maybe]] x"))
    (subcall,) = desk.subcalls()
    assert (subcall.state, desk.run().state) == ("awaiting_human", "awaiting_human")


@pytest.mark.parametrize("way", WAYS)
def test_a_thought_in_tags_stays_in_front_of_what_is_covered(desk: Desk, way: str) -> None:
    answers = asked(desk, way, user("[[stub:say=<think>I know</think>It is SECRET]] x"))
    assert said(answers) == "<think>I know</think>It is ██████"


def test_a_stream_is_read_and_written_as_it_is() -> None:
    events = [Event('{"a": 1}'), Event("two\nlines", "named"), Event("[DONE]")]
    assert read_events(write_events(events)) == events
    assert read_events(b": a comment\r\n\r\ndata: x\r\n\r\ndata: cut") == [Event("x"), Event("cut")]


def test_other_places_of_a_thought_are_known() -> None:
    details = [{"type": "reasoning.text", "text": "I "}, {"type": "reasoning.text", "text": "see."}]
    chunks = [{"choices": [{"index": 0, "delta": {"reasoning_details": [detail]}}]} for detail in details]
    answer = Chat().merged([Event(json.dumps(chunk)) for chunk in chunks])
    assert Chat().heard(answer).reasoning == "I see."


HALF = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"half of it"}}]}\n\n'


def test_what_had_come_of_a_stream_that_is_cancelled_is_in_the_record_and_judged(desk: Desk) -> None:
    came = asyncio.Event()

    async def half(_request: httpx2.Request) -> httpx2.Response:
        async def body() -> AsyncIterator[bytes]:
            yield HALF
            came.set()
            await asyncio.Event().wait()

        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body())

    async def main() -> None:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(half))
        client = monitor.wrap(openai.AsyncOpenAI(base_url="http://127.0.0.1", api_key="k", http_client=http))
        async with client, monitor.observed_run("x", db=desk.db, policy=[desk.pack]):
            asking = client.chat.completions.create(model="m", messages=user("x"), stream=True)
            task = asyncio.ensure_future(asking)
            await came.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    (subcall,) = desk.subcalls()
    assert subcall.state == "cancelled"
    assert subcall.observation is not None
    assert subcall.observation.output == "half of it"
    assert subcall.observation.usage == subcall.call.reserved
    assert not subcall.observation.usage_reported
    assert subcall.judgement is not None
    assert len(subcall.judgement.findings) > 1


def test_what_came_just_before_whoever_asked_was_cancelled_is_in_the_record(desk: Desk) -> None:
    @monitor.subcall("quick")
    async def quick() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()  # takes effect where the task waits next: for its verdict
        return "all of it"

    async def main() -> None:
        async with monitor.observed_run("x", db=desk.db, policy=[]):
            for _ in range(20):
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.ensure_future(quick())

    asyncio.run(main())
    assert [subcall.observation.output for subcall in desk.subcalls() if subcall.observation] == ["all of it"] * 20
