"""Answers of every shape, put together."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import ProviderError
from monitor.models.base import ModelReply, Progress
from monitor.models.chat_format import Answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["choices", "delta", "message", "content", "tool_calls", "function", "arguments", "usage", "prompt_tokens"]
FIELDS += ["logprobs", "completion_tokens", "finish_reason", "index", "id", "logprob", "token_ids", "reasoning"]
SHAPES = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=30,
)


def read(*chunks: Any, prompt_ids: tuple[int, ...] = ()) -> ModelReply:
    answer = Answer("test", Progress())
    for chunk in chunks:
        answer.add(chunk)
    return answer.reply(prompt_ids)


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


@given(st.lists(SHAPES, max_size=3))
def test_no_shape_of_answer_breaks_the_reader(chunks: list[Any]) -> None:
    """Fields of wrong types read as absent; the only error is the one for no answer at all."""
    with suppress(ProviderError):
        assert isinstance(read(*chunks).text, str)


def test_calls_of_several_tools_are_told_apart_by_their_index() -> None:
    reply = read(
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "one", "arguments": '{"x'}}]),
        delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "two", "arguments": "{}"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '": 1}'}}]),
    )

    assert [(call.id, call.name, call.arguments) for call in reply.tool_calls] == [
        ("a", "one", '{"x": 1}'),
        ("b", "two", "{}"),
    ]


def test_reasoning_sent_under_both_names_counts_once() -> None:
    assert read(delta(reasoning="Hm.", reasoning_content="Hm.")).reasoning == "Hm."


def test_vllms_token_ids_are_evidence() -> None:
    """vLLM: the prompt's ids at the top, the output's beside each delta."""
    logprobs = {"content": [{"token": "a", "logprob": -0.5}]}
    reply = read(
        {"prompt_token_ids": [1, 2, 3], **delta(role="assistant")},
        {"choices": [{"index": 0, "delta": {"content": "a"}, "token_ids": [7], "logprobs": logprobs}]},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
    )

    assert reply.tokens is not None
    assert (reply.tokens.prompt_ids, reply.tokens.output_ids, reply.tokens.logprobs) == ((1, 2, 3), (7,), (-0.5,))


def test_ids_that_are_not_all_there_are_no_evidence() -> None:
    logprobs = {"content": [{"id": 5, "logprob": -0.5}]}
    usage = {"prompt_tokens": 2, "completion_tokens": 3}
    reply = read(
        {"choices": [{"index": 0, "delta": {"content": "é"}, "logprobs": logprobs}], "usage": usage}, prompt_ids=(1, 2)
    )

    assert reply.tokens is not None
    assert (reply.tokens.prompt_ids, reply.tokens.output_ids, reply.tokens.logprobs) == ((1, 2), (), ())


def test_only_the_end_token_of_a_stream_may_be_missing() -> None:
    logprobs = {"content": [{"id": 5, "logprob": -0.5}]}
    chunk = {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": logprobs}]}

    def ids(finish_reason: str) -> tuple[int, ...]:
        end = {"choices": [{"delta": {}, "finish_reason": finish_reason}]}
        tokens = read(chunk, end, {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}, prompt_ids=(1,)).tokens
        return tokens.output_ids if tokens else ()

    assert (ids("stop"), ids("length")) == ((5,), ())


def test_an_answer_without_choices_is_an_error() -> None:
    with pytest.raises(ProviderError, match="no choices"):
        read({"object": "chat.completion", "choices": []})
