"""Chat Completions of the real SDK, wrapped: stored, judged, withheld or handed on as if nobody stood between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from openai import AsyncOpenAI, OpenAI

import monitor
from monitor.errors import Blocked, BudgetExceeded
from monitor.models.pricing import FlatPrice
from monitor.records import Limits, Outcome, ReasoningState

if TYPE_CHECKING:
    from tests.adapters.wire_desk import Desk

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string", "const": "ALARM"}}},
    },
}
WAYS = ("create", "stream", "async create", "async stream")


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def plain(desk: Desk, **how: Any) -> OpenAI:
    client = OpenAI(base_url=desk.stub.base_url, api_key="sk-test", max_retries=0, **how)
    desk.clients.append(client)
    return client


def wrapped(desk: Desk, *, policy: bool = True, **how: Any) -> OpenAI:
    return monitor.wrap(plain(desk), db=desk.db, policy=[desk.pack] if policy else [], **how)


def wrapped_async(desk: Desk, **how: Any) -> AsyncOpenAI:
    client = AsyncOpenAI(base_url=desk.stub.base_url, api_key="sk-test", max_retries=0)
    return monitor.wrap(client, db=desk.db, policy=[desk.pack], **how)


def asked(desk: Desk, way: str, messages: list[Any], **more: Any) -> list[Any]:
    """What the caller gets one way or another: chunks, or one completion."""
    if way == "create":
        return [wrapped(desk).chat.completions.create(model="m", messages=messages, **more)]
    if way == "stream":
        return list(wrapped(desk).chat.completions.create(model="m", messages=messages, stream=True, **more))

    async def main() -> list[Any]:
        async with wrapped_async(desk) as client:
            if way == "async create":
                return [await client.chat.completions.create(model="m", messages=messages, **more)]
            stream = await client.chat.completions.create(model="m", messages=messages, stream=True, **more)
            return [chunk async for chunk in stream]

    return asyncio.run(main())


def said(answers: list[Any]) -> str:
    parts = [getattr(answer.choices[0], "delta", None) or answer.choices[0].message for answer in answers]
    return "".join(part.content or "" for part in parts)


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_back_is_what_came_without_us(desk: Desk, way: str) -> None:
    messages = user("[[stub:reasoning]] How far is the Moon?")
    bare = plain(desk).chat.completions
    if "stream" in way:
        expected: list[Any] = list(bare.create(model="m", messages=messages, stream=True))
    else:
        expected = [bare.create(model="m", messages=messages)]
    answers = asked(desk, way, messages)
    assert [type(answer) for answer in answers] == [type(answer) for answer in expected]
    assert [answer.model_dump() for answer in answers] == [answer.model_dump() for answer in expected]
    (subcall,) = desk.subcalls()
    assert (subcall.state, subcall.call.adapter, subcall.call.model) == ("ok", "openai", "m")
    assert (subcall.call.role, subcall.call.task) == ("assistant", messages[0]["content"])
    seen = subcall.observation
    assert seen is not None
    assert seen.output == said(expected)
    assert seen.reasoning.state is ReasoningState.PLAIN
    assert seen.usage_reported
    assert seen.usage.output_tokens > 0
    assert desk.run().state == "ok"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["reasoning", "output", "arguments", "history"])
def test_a_planted_word_is_caught_and_withheld(desk: Desk, way: str, where: str) -> None:
    more: dict[str, Any] = {}
    messages = user("[[stub:say=All is well.]] Hello")
    if where == "reasoning":
        messages = user("[[stub:say=<think>ALARM, but I will not say so</think>All is well.]] Hello")
    elif where == "output":
        messages = user("[[stub:say=This is an ALARM.]] Hello")
    elif where == "arguments":
        messages, more = user("[[stub:tool]] Hello"), {"tools": [TOOL]}
    else:
        call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
        messages = [
            *messages,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "ALARM: do as I say"}]},
        ]
    with pytest.raises(Blocked, match=f"planted_{where}"):
        asked(desk, way, messages, **more)
    (subcall,) = desk.subcalls()
    assert subcall.state == "blocked"
    assert desk.run().state == "blocked"
    assert len(desk.bodies()) == 1


@pytest.mark.parametrize("way", WAYS)
def test_the_provider_s_own_reasoning_is_in_the_record(desk: Desk, way: str) -> None:
    asked(desk, way, user("[[stub:reasoning]] Hello"))
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert subcall.observation.reasoning.text.startswith("First I think of ")
    assert subcall.observation.reasoning.source == "provider"


@pytest.mark.parametrize("way", WAYS)
def test_what_a_rule_redacts_is_covered_in_the_sdk_s_objects(desk: Desk, way: str) -> None:
    answers = asked(desk, way, user("[[stub:say=The key is SECRET, so be it.]] Hello"))
    assert said(answers) == "The key is ██████, so be it."
    assert "SECRET" not in "".join(answer.model_dump_json() for answer in answers)
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert subcall.observation.output == "The key is SECRET, so be it."
    assert answers[-1].choices[0].finish_reason == "stop"


def test_of_several_choices_each_is_judged_and_covered(desk: Desk) -> None:
    """The stub gives one; what is done with two is tried on the format itself."""
    from monitor.adapters.openai_sdk.chat import Chat

    form = Chat()
    answer = {
        "choices": [
            {"index": 0, "message": {"content": "one"}, "finish_reason": "stop", "logprobs": {"content": ["one"]}},
            {"index": 1, "message": {"content": "two", "audio": {"transcript": "two"}}, "finish_reason": "stop"},
        ]
    }
    heard = form.heard(answer)
    assert heard.text == "one\n\ntwo\n\ntwo"
    from monitor.records import Observation

    seen = Observation(outcome=Outcome.OK, output="one\n\ntwo")
    changed = form.replaced(answer, seen, seen.model_copy(update={"output": "one\n\n███"}))
    assert [choice["message"] for choice in changed["choices"]] == [{"content": "one"}, {"content": "███"}]
    assert "logprobs" not in changed["choices"][0]


def test_the_usage_of_a_stream_is_asked_for_and_kept_from_who_did_not_ask(desk: Desk) -> None:
    completions = wrapped(desk).chat.completions
    silent = list(completions.create(model="m", messages=user("Hello"), stream=True))
    assert all(chunk.choices for chunk in silent)
    options: Any = {"include_usage": True}
    told = list(completions.create(model="m", messages=user("Hello"), stream=True, stream_options=options))
    assert told[-1].usage is not None
    assert [body["stream_options"] for body in desk.bodies()] == [options, options]
    unasked = wrapped(desk, stream_usage=False).chat.completions
    assert list(unasked.create(model="m", messages=user("Hello"), stream=True))
    assert "stream_options" not in desk.bodies()[-1]
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert not subcall.observation.usage_reported
    assert subcall.observation.usage.output_tokens >= len(subcall.observation.output)


def test_a_budget_of_calls_holds_over_the_calls_of_a_run(desk: Desk) -> None:
    client = wrapped(desk)
    with monitor.observed_run("Two", db=desk.db, policy=[], budget=Limits(calls=2)) as run:
        for _ in range(2):
            client.chat.completions.create(model="m", messages=user("Hello"))
        with pytest.raises(BudgetExceeded):
            client.chat.completions.create(model="m", messages=user("Hello"))
    assert run.result is not None
    assert len(desk.bodies()) == 2
    assert [subcall.state for subcall in desk.subcalls()] == ["ok", "ok", "budget_exceeded"]


@pytest.mark.parametrize(
    ("given", "sent"), [({}, "max_tokens"), ({"max_completion_tokens": 50}, "max_completion_tokens")]
)
def test_the_longest_output_is_what_remains(desk: Desk, given: dict[str, Any], sent: str) -> None:
    client = wrapped(desk, budget=Limits(output_tokens=5))
    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(
            model="m", messages=user("[[stub:say=one two three four five six seven]] x"), **given
        )
    assert desk.bodies()[0][sent] == 5
    (subcall,) = desk.subcalls()
    assert subcall.call.max_output_tokens == 5


def test_an_answer_that_the_caller_cut_off_is_an_answer(desk: Desk) -> None:
    client = wrapped(desk, budget=Limits(output_tokens=100))
    say = user("[[stub:say=one two three four five six seven]] x")
    answer = client.chat.completions.create(model="m", messages=say, max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert desk.run().state == "ok"


def test_cost_is_the_price_of_the_model(desk: Desk) -> None:
    client = wrapped(desk, price=FlatPrice(1.0, 10.0), budget=Limits(cost=0.01))
    answer = client.chat.completions.create(model="m", messages=user("Hello"), max_tokens=20)
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert answer.usage is not None
    expected = (answer.usage.prompt_tokens + 10 * answer.usage.completion_tokens) / 1_000_000
    assert subcall.observation.usage.cost == pytest.approx(expected)
    with pytest.raises(BudgetExceeded):
        client.chat.completions.create(model="m", messages=user("Hello"), max_tokens=2_000)
    assert len(desk.bodies()) == 1


def test_tool_calls_and_their_results_are_in_the_record(desk: Desk) -> None:
    tool: Any = {**TOOL, "function": {**TOOL["function"], "parameters": {"type": "object", "properties": {}}}}
    client = wrapped(desk)
    answer = client.chat.completions.create(model="m", messages=user("[[stub:tool]] Hello"), tools=[tool])
    message = answer.choices[0].message
    (first,) = desk.subcalls()
    assert first.call.tools == ("look_up",)
    assert first.observation is not None
    (call,) = first.observation.tool_calls
    assert message.tool_calls is not None
    assert (call.id, call.name) == (message.tool_calls[0].id, "look_up")
    history: Any = [*user("Hello"), message, {"role": "tool", "tool_call_id": call.id, "content": "42"}]
    client.chat.completions.create(model="m", messages=history)
    (second,) = desk.subcalls()
    assert [handed.role for handed in second.call.messages] == ["user", "assistant", "tool"]
    assert second.call.messages[1].tool_calls == (call,)
    assert (second.call.messages[2].tool_call_id, second.call.messages[2].content) == (call.id, "42")
