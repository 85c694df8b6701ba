"""The client for OpenAI-compatible endpoints, over real HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from monitor.errors import ProviderError
from monitor.models.base import ModelReply, ModelRequest, Progress, ToolSpec
from monitor.models.openai_client import OpenAIModel
from monitor.records import Message, ReasoningState, ToolCall
from tests.stubs.openai_stub import HOSTILE, OpenAIStub

if TYPE_CHECKING:
    from tests.models.conftest import MakeRequest

SCHEMA = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "answer": {"type": "string", "maxLength": 20}},
    "required": ["reasoning", "answer"],
    "additionalProperties": False,
}
SEARCH = ToolSpec("search", "Search.", {"type": "object", "properties": {"query": {"type": "string"}}})


def call(stub: OpenAIStub, request: ModelRequest, progress: Progress | None = None, **options: Any) -> ModelReply:
    async def once() -> ModelReply:
        model = OpenAIModel("small", base_url=stub.base_url, **options)
        try:
            return await model.complete(request, progress if progress is not None else Progress())
        finally:
            await model.aclose()

    return asyncio.run(once())


def failure(stub: OpenAIStub, request: ModelRequest, progress: Progress | None = None, **options: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        call(stub, request, progress, **options)
    return caught.value


def test_an_answer_comes_with_usage_finish_reason_and_progress(stub: OpenAIStub, ask: MakeRequest) -> None:
    progress = Progress()

    reply = call(stub, ask("hello [[stub:say=Hello there.]][[stub:cached]]"), progress)

    assert (reply.text, reply.finish_reason, reply.model) == ("Hello there.", "stop", "stub:small")
    assert reply.usage is not None
    assert reply.usage.cached_tokens == reply.usage.input_tokens // 2 > 0
    assert "".join(progress.text) == reply.text
    assert len(progress.text) > 1
    assert (reply.reasoning_state, reply.tokens) == (ReasoningState.ABSENT, None)


def test_the_body_has_the_limit_and_nothing_that_was_not_asked_for(stub: OpenAIStub, ask: MakeRequest) -> None:
    """A strict server refuses unknown fields."""
    call(stub, ask("hi", max_output_tokens=7, seed=3, temperature=0.5))

    assert stub.requests[0].body == {
        "model": "small",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_openai_itself_is_sent_max_completion_tokens() -> None:
    """Its reasoning models refuse ``max_tokens``."""
    assert OpenAIModel("gpt-5")._limit_field == "max_completion_tokens"


def test_a_conversation_with_tools_is_sent_as_it_was(stub: OpenAIStub) -> None:
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="hi"),
        Message(role="assistant", tool_calls=(ToolCall(id="c1", name="search", arguments='{"query": '),)),
        Message(role="tool", content="nothing", tool_call_id="c1"),
    )

    call(stub, ModelRequest(messages=messages, max_output_tokens=9, tools=(SEARCH,)))

    body = stub.requests[0].body
    assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "search", "arguments": '{"query": '}
    assert body["messages"][3] == {"role": "tool", "content": "nothing", "tool_call_id": "c1"}
    assert body["tools"][0]["function"]["parameters"] == SEARCH.parameters


@pytest.mark.parametrize("mode", ["", "ignore-stream", "no-stream", "no-stream-options"])
def test_the_answer_is_the_same_whether_the_server_streams_or_not(
    stub: OpenAIStub, ask: MakeRequest, mode: str
) -> None:
    stub.modes = {mode: ""} if mode else {}
    request = ask("think [[stub:reasoning]]", output_schema=SCHEMA)

    reply = call(stub, request)

    assert set(json.loads(reply.text)) == {"reasoning", "answer"}
    assert reply.reasoning.startswith("First I think of")
    assert (reply.reasoning_state, reply.finish_reason) == (ReasoningState.PLAIN, "stop")
    assert reply.usage is not None
    assert stub.requests[-1].body["response_format"]["json_schema"]["strict"] is True


def test_a_server_that_refuses_streams_is_asked_so_only_once(stub: OpenAIStub, ask: MakeRequest) -> None:
    stub.modes = {"no-stream": ""}

    async def twice() -> None:
        model = OpenAIModel("small", base_url=stub.base_url)
        await model.complete(ask(), Progress())
        await model.complete(ask(), Progress())
        await model.aclose()

    asyncio.run(twice())
    assert [request.body.get("stream", False) for request in stub.requests] == [True, False, False]


@pytest.mark.parametrize("mode", ["", "[[stub:ignore-stream]]"])
def test_tool_calls_keep_the_text_of_their_arguments(stub: OpenAIStub, ask: MakeRequest, mode: str) -> None:
    good = call(stub, ask(f"[[stub:tool]]{mode}", tools=(SEARCH,))).tool_calls
    bad = call(stub, ask(f"[[stub:bad-tool]]{mode}", tools=(SEARCH,)))

    assert good[0].name == "search"
    assert set(json.loads(good[0].arguments)) == {"query"}
    assert [(one.name, one.arguments) for one in bad.tool_calls] == [("search", '{"unfinished": "')]
    assert bad.finish_reason == "tool_calls"


def test_a_refusal_is_text(stub: OpenAIStub, ask: MakeRequest) -> None:
    assert call(stub, ask("[[stub:refusal]]")).text == "I cannot help with that."


@pytest.mark.parametrize("mode", ["", "[[stub:ignore-stream]]"])
def test_hostile_text_comes_through_unharmed(stub: OpenAIStub, ask: MakeRequest, mode: str) -> None:
    reply = call(stub, ask(f"[[stub:hostile]][[stub:reasoning]]{mode}"))

    assert reply.text.endswith(HOSTILE)
    assert reply.reasoning.endswith(HOSTILE)


@pytest.mark.parametrize("mode", ["", "[[stub:ignore-stream]]"])
def test_ten_megabytes_come_through(stub: OpenAIStub, ask: MakeRequest, mode: str) -> None:
    assert len(call(stub, ask(f"[[stub:big=10000000]]{mode}")).text) >= 10_000_000


def test_more_tokens_than_allowed_are_reported_as_they_are(stub: OpenAIStub, ask: MakeRequest) -> None:
    usage = call(stub, ask("[[stub:over]]", max_output_tokens=10)).usage

    assert usage is not None
    assert usage.output_tokens == 10_000


def test_usage_that_was_not_reported_is_none(stub: OpenAIStub, ask: MakeRequest) -> None:
    assert call(stub, ask("[[stub:no-usage]]")).usage is None


Fault = tuple[str, str, int | None, bool, bool]


@pytest.mark.parametrize(
    "fault",
    [
        ("400", "bad_request", 400, False, False),
        ("401", "auth", 401, False, False),
        ("403", "auth", 403, False, False),
        ("429", "rate_limit", 429, True, False),
        ("500", "server_error", 500, True, False),
        ("503", "server_error", 503, True, False),
        ("cut", "connection", None, True, True),
        ("cut-before", "connection", None, True, True),
        ("malformed", "invalid_response", None, False, True),
    ],
)
@pytest.mark.parametrize("streams", [True, False])
def test_faults_become_provider_errors(stub: OpenAIStub, ask: MakeRequest, fault: Fault, streams: bool) -> None:
    """Each with its kind, its status, whether it may pass, and whether the provider may have charged for it."""
    mode, *expected = fault
    marker = f"[[stub:{mode}]]" + ("" if streams else "[[stub:ignore-stream]]")

    error = failure(stub, ask(marker))

    assert [error.kind, error.status, error.retryable, error.billed_unknown] == expected
    assert len(stub.requests) == 1, "a client never retries by itself"
    assert (error.__cause__, error.__context__) == (None, None)


def test_what_arrived_before_the_cut_is_kept(stub: OpenAIStub, ask: MakeRequest) -> None:
    progress = Progress()

    failure(stub, ask("[[stub:cut]][[stub:say=The answer is forty-two.]]"), progress)

    assert "The answer is forty-two.".startswith("".join(progress.text))
    assert progress.text


def test_a_call_that_hangs_times_out_and_keeps_what_arrived(stub: OpenAIStub, ask: MakeRequest) -> None:
    progress = Progress()

    error = failure(stub, ask("[[stub:hang]][[stub:say=The answer is forty-two.]]", timeout=0.5), progress)

    assert (error.kind, error.retryable, error.billed_unknown) == ("timeout", True, True)
    assert progress.text


def test_a_cancelled_call_keeps_what_arrived_and_ends_as_cancelled(stub: OpenAIStub, ask: MakeRequest) -> None:
    progress = Progress()

    async def cancel() -> None:
        model = OpenAIModel("small", base_url=stub.base_url)
        request = ask("[[stub:hang]][[stub:say=The answer is forty-two.]]")
        task = asyncio.create_task(model.complete(request, progress))
        while not progress.text:  # noqa: ASYNC110 - progress is a plain list: there is no event to wait for
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await model.aclose()

    asyncio.run(cancel())
    assert progress.text


def test_a_server_that_is_not_there_was_certainly_not_paid(ask: MakeRequest) -> None:
    with OpenAIStub() as gone:
        pass

    error = failure(gone, ask())

    assert (error.kind, error.retryable, error.billed_unknown) == ("connection", True, False)


def test_a_client_serves_one_event_loop_after_another(stub: OpenAIStub, ask: MakeRequest) -> None:
    model = OpenAIModel("small", base_url=stub.base_url)

    async def once() -> str:
        reply = await model.complete(ask(), Progress())
        await model.aclose()
        return reply.text

    assert asyncio.run(once()) == asyncio.run(once())


def test_no_proxy_stands_before_loopback(stub: OpenAIStub, ask: MakeRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert call(stub, ask("[[stub:say=direct]]")).text == "direct"
