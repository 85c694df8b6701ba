"""LangChain's own classes behind our client: ChatOpenAI over real HTTP, and a small model with reasoning blocks."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI

from monitor.errors import ConfigError, ProviderError
from monitor.models.base import ModelReply, ModelRequest, Progress, ToolSpec
from monitor.models.langchain_client import LangChainModel
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


def call(stub: OpenAIStub, request: ModelRequest, progress: Progress | None = None) -> ModelReply:
    chat = ChatOpenAI(model="small", base_url=stub.base_url, api_key="planted-key-0123", max_retries=0)
    return asyncio.run(LangChainModel(chat, name="lc:small").complete(request, progress or Progress()))


class Thinker(BaseChatModel):
    """A chat model of LangChain's kind that answers one fixed message."""

    message: AIMessage
    max_tokens: int = 0
    seen: list[int] = []  # noqa: RUF012 - pydantic copies it for each instance

    @property
    def _llm_type(self) -> str:
        return "thinker"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.seen.append(self.max_tokens)
        return ChatResult(generations=[ChatGeneration(message=self.message)])


def think(message: AIMessage, request: ModelRequest, progress: Progress | None = None) -> ModelReply:
    model = LangChainModel(Thinker(message=message), name="thinker")
    return asyncio.run(model.complete(request, progress or Progress()))


def test_an_answer_is_streamed_with_usage_and_limit(stub: OpenAIStub, ask: MakeRequest) -> None:
    progress = Progress()

    reply = call(stub, ask("[[stub:say=Hello there.]][[stub:cached]]", max_output_tokens=9, seed=4), progress)

    assert (reply.text, reply.finish_reason, reply.model) == ("Hello there.", "stop", "stub:small")
    assert reply.usage is not None
    assert reply.usage.cached_tokens == reply.usage.input_tokens // 2 > 0
    assert "".join(progress.text) == "Hello there."
    assert len(progress.text) > 1
    body = stub.requests[0].body
    assert (body.get("max_completion_tokens") or body.get("max_tokens"), body["seed"]) == (9, 4)


def test_hostile_text_comes_through_unharmed(stub: OpenAIStub, ask: MakeRequest) -> None:
    assert call(stub, ask("[[stub:hostile]]")).text.endswith(HOSTILE)


def test_an_answer_to_a_schema_is_the_models_own_text(stub: OpenAIStub, ask: MakeRequest) -> None:
    reply = call(stub, ask(output_schema=SCHEMA))

    assert set(json.loads(reply.text)) == {"reasoning", "answer"}
    assert reply.tool_calls == ()
    assert "response_format" in stub.requests[0].body


def test_an_answer_that_breaks_its_schema_is_kept_as_it_is(stub: OpenAIStub, ask: MakeRequest) -> None:
    """Judging it is the caller's."""
    assert call(stub, ask("[[stub:bad-json]]", output_schema=SCHEMA)).text == '{"answer": "unfinished'


def test_tool_calls_keep_the_text_of_their_arguments(stub: OpenAIStub, ask: MakeRequest) -> None:
    good = call(stub, ask("[[stub:tool]]", tools=(SEARCH,))).tool_calls
    bad = call(stub, ask("[[stub:bad-tool]]", tools=(SEARCH,))).tool_calls

    assert [(one.name, set(json.loads(one.arguments))) for one in good] == [("search", {"query"})]
    assert [(one.name, one.arguments) for one in bad] == [("search", '{"unfinished": "')]


def test_with_tools_the_schema_is_one_more_tool_and_its_call_the_answer(ask: MakeRequest) -> None:
    message = AIMessage("", tool_calls=[{"name": "answer", "args": {"answer": "42"}, "id": "c1"}])

    class Caller(Thinker):
        def bind_tools(self, tools: Any, **_: Any) -> Any:
            assert [tool["function"]["name"] for tool in tools] == ["search", "answer"]
            return self

    model = LangChainModel(Caller(message=message), name="caller")
    reply = asyncio.run(model.complete(ask(tools=(SEARCH,), output_schema=SCHEMA), Progress()))

    assert (json.loads(reply.text), reply.tool_calls) == ({"answer": "42"}, ())


def test_a_conversation_with_tools_is_sent_as_it_was(stub: OpenAIStub) -> None:
    calls = (
        ToolCall(id="c1", name="search", arguments='{"query": "x"}'),
        ToolCall(id="c2", name="search", arguments="{"),
    )
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="hi"),
        Message(role="assistant", tool_calls=calls),
        Message(role="tool", content="nothing", tool_call_id="c1"),
        Message(role="tool", content="malformed", tool_call_id="c2"),
    )

    call(stub, ModelRequest(messages=messages, max_output_tokens=9))

    sent = stub.requests[0].body["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool", "tool"]
    assert [one["function"]["arguments"] for one in sent[2]["tool_calls"]] == ['{"query": "x"}', "{"]


@pytest.mark.parametrize(
    ("content", "reasoning", "state"),
    [
        ([{"type": "reasoning", "reasoning": "Let me see."}], "Let me see.", ReasoningState.PLAIN),
        (
            [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "I saw."}], "reasoning": "I saw."}],
            "I saw.",
            ReasoningState.SUMMARY,
        ),
        ([{"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}], "", ReasoningState.ENCRYPTED),
        ([{"type": "redacted_thinking", "data": "xyz"}], "", ReasoningState.REDACTED),
        ([], "", ReasoningState.ABSENT),
    ],
)
def test_reasoning_blocks_are_found_with_their_state(
    ask: MakeRequest, content: list[Any], reasoning: str, state: ReasoningState
) -> None:
    reply = think(AIMessage([*content, {"type": "text", "text": "42"}]), ask())

    assert (reply.text, reply.reasoning, reply.reasoning_state) == ("42", reasoning, state)


@pytest.mark.parametrize(
    ("provider", "content", "reasoning", "state"),
    [
        ("anthropic", [{"type": "thinking", "thinking": "Hm.", "signature": "s"}], "Hm.", ReasoningState.PLAIN),
        ("anthropic", [{"type": "redacted_thinking", "data": "xyz"}], "", ReasoningState.REDACTED),
        (
            "openai",
            [{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "I saw."}]}],
            "I saw.",
            ReasoningState.SUMMARY,
        ),
        (
            "openai",
            [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}],
            "",
            ReasoningState.ENCRYPTED,
        ),
    ],
)
def test_providers_own_blocks_are_found_with_their_state(
    ask: MakeRequest, provider: str, content: list[Any], reasoning: str, state: ReasoningState
) -> None:
    """In the form in which LangChain's integrations leave them in ``content``."""
    message = AIMessage([*content, {"type": "text", "text": "42"}], response_metadata={"model_provider": provider})

    reply = think(message, ask())

    assert (reply.text, reply.reasoning, reply.reasoning_state) == ("42", reasoning, state)


def test_finish_reasons_are_given_their_usual_words(ask: MakeRequest) -> None:
    message = AIMessage("cut", response_metadata={"stop_reason": "max_tokens"})

    assert think(message, ask()).finish_reason == "length"


def test_each_call_has_its_own_limit(ask: MakeRequest) -> None:
    chat = Thinker(message=AIMessage("x"))
    model = LangChainModel(chat, name="thinker")

    for limit in (5, 7):
        asyncio.run(model.complete(ask(max_output_tokens=limit), Progress()))

    assert (chat.seen, chat.max_tokens) == ([5, 7], 0)


def test_a_class_without_a_limit_is_refused() -> None:
    class Unbounded(BaseChatModel):
        @property
        def _llm_type(self) -> str:
            return "unbounded"

        def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
            raise AssertionError

    with pytest.raises(ConfigError, match="cannot be bounded"):
        LangChainModel(Unbounded(), name="unbounded")


@pytest.mark.parametrize(
    ("mode", "kind", "billed_unknown"),
    [
        ("401", "auth", False),
        ("429", "rate_limit", False),
        ("500", "server_error", False),
        ("cut", "connection", True),
        ("malformed", "invalid_response", True),
    ],
)
def test_faults_become_provider_errors(
    stub: OpenAIStub, ask: MakeRequest, mode: str, kind: str, billed_unknown: bool
) -> None:
    with pytest.raises(ProviderError) as caught:
        call(stub, ask(f"[[stub:{mode}]]"))

    assert (caught.value.kind, caught.value.billed_unknown) == (kind, billed_unknown)
    assert len(stub.requests) == 1


def test_a_call_that_hangs_times_out_and_keeps_what_arrived(stub: OpenAIStub, ask: MakeRequest) -> None:
    progress = Progress()

    with pytest.raises(ProviderError) as caught:
        call(stub, ask("[[stub:hang]][[stub:say=The answer is forty-two.]]", timeout=0.5), progress)

    assert caught.value.kind == "timeout"
    assert progress.text


def test_a_cancelled_call_ends_as_cancelled_and_keeps_what_arrived(stub: OpenAIStub, ask: MakeRequest) -> None:
    progress = Progress()

    async def cancel() -> None:
        chat = ChatOpenAI(model="small", base_url=stub.base_url, api_key="planted-key-0123", max_retries=0)
        request = ask("[[stub:hang]][[stub:say=The answer is forty-two.]]")
        task = asyncio.create_task(LangChainModel(chat, name="lc").complete(request, progress))
        while not progress.text:  # noqa: ASYNC110 - progress is a plain list: there is no event to wait for
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())


def test_one_event_loop_after_another_is_served(stub: OpenAIStub, ask: MakeRequest) -> None:
    """LangChain keeps its connections for the process, past the loop in which they were made."""
    assert call(stub, ask()).text == call(stub, ask()).text
    assert len(stub.requests) == 2
