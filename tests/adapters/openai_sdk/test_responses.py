"""Responses of the real SDK, wrapped: as for Chat Completions, with items of reasoning and of the provider's tools."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel

import monitor
from monitor.adapters.openai_sdk.responses import Responses
from monitor.adapters.openai_sdk.wire import Event
from monitor.errors import Blocked, BudgetExceeded, ConfigError
from monitor.records import Limits, Observation, Outcome, Reasoning, ReasoningState
from tests.adapters.openai_sdk.test_chat import WAYS, plain, wrapped, wrapped_async

if TYPE_CHECKING:
    from tests.adapters.wire_desk import Desk

TOOL: Any = {
    "type": "function",
    "name": "look_up",
    "description": "Look a word up.",
    "parameters": {"type": "object", "properties": {"word": {"type": "string", "const": "ALARM"}}},
    "strict": True,
}


class Place(BaseModel):
    name: str


def asked(desk: Desk, way: str, given: Any, **more: Any) -> list[Any]:
    """What the caller gets one way or another: events, or one response."""
    if way == "create":
        return [wrapped(desk).responses.create(model="m", input=given, **more)]
    if way == "stream":
        return list(wrapped(desk).responses.create(model="m", input=given, stream=True, **more))

    async def main() -> list[Any]:
        async with wrapped_async(desk) as client:
            if way == "async create":
                return [await client.responses.create(model="m", input=given, **more)]
            stream = await client.responses.create(model="m", input=given, stream=True, **more)
            return [event async for event in stream]

    return asyncio.run(main())


def response_of(answers: list[Any]) -> Any:
    return getattr(answers[-1], "response", answers[-1])


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_back_is_what_came_without_us(desk: Desk, way: str) -> None:
    given = "[[stub:reasoning]] How far is the Moon?"
    bare = plain(desk).responses
    expected: list[Any] = (
        list(bare.create(model="m", input=given, stream=True))
        if "stream" in way
        else [bare.create(model="m", input=given)]
    )
    answers = asked(desk, way, given)
    assert [type(answer) for answer in answers] == [type(answer) for answer in expected]
    assert [answer.model_dump() for answer in answers] == [answer.model_dump() for answer in expected]
    (subcall,) = desk.subcalls()
    seen = subcall.observation
    assert seen is not None
    assert (subcall.state, subcall.call.task, seen.finish_reason) == ("ok", given, "stop")
    assert seen.output == response_of(answers).output_text
    assert seen.reasoning.state is ReasoningState.SUMMARY
    assert seen.reasoning.text == response_of(answers).output[0].summary[0].text
    assert seen.usage.output_tokens == response_of(answers).usage.output_tokens


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["reasoning", "output", "arguments", "history"])
def test_a_planted_word_is_caught_and_withheld(desk: Desk, way: str, where: str) -> None:
    more: dict[str, Any] = {}
    given: Any = [{"role": "user", "content": "[[stub:say=All is well.]] Hello"}]
    if where == "reasoning":
        given = "[[stub:reasoning=ALARM]] Hello"
    elif where == "output":
        given = "[[stub:say=This is an ALARM.]] Hello"
    elif where == "arguments":
        given, more = "[[stub:tool]] Hello", {"tools": [TOOL]}
    else:
        given += [
            {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "ALARM: do as I say"},
        ]
    with pytest.raises(Blocked, match=f"planted_{where}"):
        asked(desk, way, given, **more)
    (subcall,) = desk.subcalls()
    assert (subcall.state, desk.run().state) == ("blocked", "blocked")


@pytest.mark.parametrize("way", WAYS)
def test_what_a_rule_redacts_is_covered_in_the_sdk_s_objects(desk: Desk, way: str) -> None:
    answers = asked(desk, way, "[[stub:reasoning]][[stub:say=The key is SECRET, so be it.]] Hello")
    response = response_of(answers)
    assert response.output_text == "The key is ██████, so be it."
    assert response.output[0].encrypted_content == "c2VhbGVk"
    assert "SECRET" not in "".join(answer.model_dump_json() for answer in answers)
    if "stream" in way:
        deltas = [event.delta for event in answers if event.type == "response.output_text.delta"]
        assert deltas == [response.output_text]
        assert [event.sequence_number for event in answers] == list(range(len(answers)))


def test_helpers_parse_and_follow_what_is_released(desk: Desk) -> None:
    client = wrapped(desk)
    parsed = client.responses.parse(model="m", input="Where?", text_format=Place)
    assert isinstance(parsed.output_parsed, Place)
    with client.responses.stream(model="m", input="[[stub:say=A SECRET]] x") as stream:
        assert "response.output_text.delta" in {event.type for event in stream}
        assert stream.get_final_response().output_text == "A ██████"
    raw = client.responses.with_raw_response.create(model="m", input="Hello")
    assert raw.parse().status == "completed"
    with pytest.raises(Blocked):
        client.responses.with_raw_response.create(model="m", input="[[stub:say=ALARM]] x")


def test_reasoning_items_and_tool_calls_come_back_in_the_history(desk: Desk) -> None:
    tool: Any = {**TOOL, "parameters": {"type": "object", "properties": {}}}
    client = wrapped(desk)
    first = client.responses.create(model="m", input="[[stub:tool]][[stub:reasoning]] Hello", tools=[tool])
    history: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        *first.output,
        {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": "42"},  # type: ignore[union-attr]  # it is a call
    ]
    client.responses.create(model="m", input=history, instructions="Be brief.")
    sent = desk.bodies()[-1]["input"]
    assert (sent[1]["type"], sent[1]["encrypted_content"]) == ("reasoning", "c2VhbGVk")
    (second,) = desk.subcalls()
    handed = second.call.messages
    assert [message.role for message in handed] == ["system", "user", "assistant", "assistant", "tool"]
    assert handed[2].content.startswith("<think>First I think of ")
    assert handed[3].tool_calls[0].name == "look_up"
    assert (handed[4].content, handed[4].tool_call_id) == ("42", handed[3].tool_calls[0].id)


def test_the_longest_output_is_what_remains(desk: Desk) -> None:
    client = wrapped(desk, budget=Limits(output_tokens=5))
    with pytest.raises(BudgetExceeded):
        client.responses.create(model="m", input="[[stub:say=one two three four five six seven]] x")
    assert desk.bodies()[0]["max_output_tokens"] == 5
    answer = client.responses.create(model="m", input="[[stub:say=one two three four]] x", max_output_tokens=3)
    assert answer.status == "incomplete"


@pytest.mark.parametrize("mode", ["429", "500", "cut"])
def test_errors_are_recorded_and_raised_as_they_are(desk: Desk, mode: str) -> None:
    for stream in (False, True):
        with pytest.raises(openai.APIError):
            wrapped(desk).responses.create(model="m", input=f"[[stub:{mode}]] x", stream=stream)
        (subcall,) = desk.subcalls()
        assert subcall.state == "failed"
    if mode == "cut":
        assert subcall.observation is not None
        assert subcall.observation.output


def test_what_would_be_fetched_unjudged_is_refused(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="background"):
        wrapped(desk).responses.create(model="m", input="x", background=True)
    assert (desk.bodies(), desk.all_runs()) == ([], [])


def test_200_concurrent_calls_have_the_right_parents(desk: Desk) -> None:
    client = wrapped_async(desk)

    @monitor.subcall("parent")
    async def parent(number: int) -> str:
        return (await client.responses.create(model="m", input=f"[[stub:say=answer {number}]] x")).output_text

    async def main() -> list[str]:
        async with client, monitor.observed_run("x", db=desk.db, policy=[], budget=Limits(calls=200)):
            return await asyncio.gather(*(parent(number) for number in range(200)))

    assert asyncio.run(main()) == [f"answer {number}" for number in range(200)]
    subcalls = {subcall.call.span_id: subcall for subcall in desk.subcalls()}
    for subcall in subcalls.values():
        if subcall.call.role == "assistant":
            assert subcall.call.parent_id is not None
            assert subcall.observation is not None
            number = subcall.observation.output.removeprefix("answer ")
            assert subcalls[subcall.call.parent_id].call.task == f'{{"number":{number}}}'


# ------------------------------------------------------------------------------ what the stub has not: the format itself


def test_tools_of_the_provider_are_in_the_record_and_can_be_covered() -> None:
    item = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"query": "the SECRET"}}
    picture = {"id": "ig_1", "type": "image_generation_call", "result": "A" * 5_000}
    answer = {"status": "completed", "output": [item, picture]}
    heard = Responses().heard(answer)
    assert [(call.id, call.name) for call in heard.tool_calls] == [
        ("ws_1", "web_search_call"),
        ("ig_1", "image_generation_call"),
    ]
    assert len(heard.tool_calls[1].arguments) < 200
    seen = Observation(outcome=Outcome.OK, tool_calls=heard.tool_calls)
    covered = heard.tool_calls[0].model_copy(update={"arguments": '{"action": {"query": "the ██████"}}'})
    released = seen.model_copy(update={"tool_calls": (covered, heard.tool_calls[1])})
    changed = Responses().replaced(answer, seen, released)
    assert changed["output"] == [{**item, "action": {"query": "the ██████"}}, picture]


def test_what_a_stream_says_on_its_way_only_is_heard_too() -> None:
    said = [
        {"type": "response.output_text.delta", "output_index": 0, "delta": "AL"},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "ARM"},
        {"type": "response.completed", "response": {"status": "completed", "output": []}},
    ]
    answer = Responses().merged([Event(json.dumps(event)) for event in said])
    assert Responses().heard(answer).text == "ALARM"


@pytest.mark.parametrize(
    ("item", "state", "text"),
    [
        ({"summary": [], "content": [{"type": "reasoning_text", "text": "I see."}]}, ReasoningState.PLAIN, "I see."),
        ({"summary": [{"type": "summary_text", "text": "It saw."}]}, ReasoningState.SUMMARY, "It saw."),
        ({"summary": [], "encrypted_content": "x"}, ReasoningState.ENCRYPTED, ""),
        ({"summary": []}, ReasoningState.ABSENT, ""),
    ],
)
def test_reasoning_is_what_it_is(item: dict[str, Any], state: ReasoningState, text: str) -> None:
    heard = Responses().heard({"status": "completed", "output": [{"type": "reasoning", **item}]})
    assert (heard.state, heard.reasoning) == (state, text)


def test_what_a_person_says_instead_stands_where_the_calls_were() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    answer = {"status": "completed", "output": [call]}
    heard = Responses().heard(answer)
    seen = Observation(outcome=Outcome.OK, tool_calls=heard.tool_calls, reasoning=Reasoning())
    released = seen.model_copy(update={"tool_calls": (), "output": "No."})
    changed = Responses().replaced(answer, seen, released)
    assert Responses().heard(changed).text == "No."
    assert Responses().merged(Responses().streamed(changed)) == changed


def test_a_stream_that_broke_off_is_read_part_by_part_and_once() -> None:
    def delta(item: int, part: int, text: str, kind: str = "output_text") -> dict[str, Any]:
        counter = "summary_index" if "summary" in kind else "content_index"
        return {"type": f"response.{kind}.delta", "output_index": item, counter: part, "delta": text}

    message = {"type": "message", "status": "completed", "content": [{"type": "output_text", "text": "All is well."}]}
    events = [
        delta(0, 0, "Hm", "reasoning_summary_text"),
        delta(0, 1, "so", "reasoning_summary_text"),
        delta(1, 0, "All is "),
        delta(1, 0, "well."),
        {"type": "response.output_item.done", "output_index": 1, "item": message},
        delta(2, 0, "d"),  # which is in no text, though in many a name
        delta(2, 1, "And"),
    ]
    answer = Responses().merged([Event(json.dumps(event), event["type"]) for event in events])
    heard = Responses().heard(answer)
    assert heard.reasoning == "Hm\n\nso"
    assert sorted(heard.text.split("\n\n")) == ["All is well.", "And", "d"]
    assert not heard.is_whole
