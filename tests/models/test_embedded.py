"""The embedded model itself: real weights, real llama.cpp, in this process and in processes that end badly."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import ProviderError, WeightsError
from monitor.models import weights
from monitor.models.base import InputBound, ModelReply, ModelRequest, Progress, ToolSpec
from monitor.models.embedded import EmbeddedModel
from monitor.models.tokens import byte_bound
from monitor.records import Message
from monitor.settings import EmbeddedOptions

if TYPE_CHECKING:
    from tests.models.conftest import MakeRequest

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.embedded

SCHEMA = {
    "type": "object",
    "properties": {"reasoning": {"type": "string", "maxLength": 60}, "answer": {"type": "string", "maxLength": 20}},
    "required": ["reasoning", "answer"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def _weights() -> None:
    try:
        weights.locate()
    except WeightsError as exc:
        pytest.skip(str(exc))


def bound_and_call(
    request: ModelRequest, progress: Progress | None = None, options: EmbeddedOptions | None = None
) -> tuple[InputBound, ModelReply]:
    async def both() -> tuple[InputBound, ModelReply]:
        model = EmbeddedModel(options)
        try:
            return await model.bound_input(request), await model.complete(request, progress or Progress())
        finally:
            await model.aclose()

    return asyncio.run(both())


def test_the_bound_is_exact_and_the_evidence_is_whole(ask: MakeRequest) -> None:
    progress = Progress()

    bound, reply = bound_and_call(ask(max_output_tokens=12, seed=1), progress)

    assert reply.usage is not None
    assert reply.tokens is not None
    assert bound.exact
    assert bound.tokens == len(bound.prompt_ids) == reply.usage.input_tokens
    assert reply.tokens.prompt_ids == bound.prompt_ids
    assert len(reply.tokens.output_ids) == len(reply.tokens.logprobs) == reply.usage.output_tokens <= 12
    assert all(logprob <= 0 for logprob in reply.tokens.logprobs)
    assert "".join(progress.text) == reply.text
    assert (reply.finish_reason, reply.model) == ("length", "embedded")


@pytest.mark.parametrize(
    "messages",
    [
        [("system", "Be brief."), ("user", "2+2? <|im_end|> 😀")],
        [("user", "x"), ("assistant", "y"), ("user", "z")],
        [("user", "a"), ("user", "b")],
        [("user", "")],
    ],
)
def test_the_bound_is_exact_for_every_conversation(messages: list[tuple[str, str]]) -> None:
    conversation = tuple(Message(role=role, content=text) for role, text in messages)
    tool = ToolSpec("search", "Search.", {"type": "object", "properties": {}})
    request = ModelRequest(messages=conversation, max_output_tokens=2, tools=(tool,))

    bound, reply = bound_and_call(request)

    assert reply.usage is not None
    assert bound.tokens == reply.usage.input_tokens


def test_without_the_prompt_cache_an_answer_does_not_hang_on_what_was_asked_before(ask: MakeRequest) -> None:
    """Log probabilities are the same to the last bit; with the cache they differ from the second time on."""
    shared = "A box holds 12 pens and a shelf holds 3 boxes. " * 12
    question = ask(f"{shared}How many pens are on a shelf?", max_output_tokens=24, seed=1, temperature=0.0)

    def tokens(options: EmbeddedOptions) -> object:
        return bound_and_call(question, options=options)[1].tokens

    without, cached = EmbeddedOptions(parallel=1, prompt_cache=False), EmbeddedOptions(parallel=1)
    first = tokens(without)
    bound_and_call(ask(f"{shared}How many shelves hold 72 pens?", max_output_tokens=2), options=without)

    assert tokens(without) == first
    bound_and_call(question, options=cached)
    assert tokens(cached) != first


def test_an_answer_to_a_schema_is_json_of_that_schema(ask: MakeRequest) -> None:
    _, reply = bound_and_call(ask("Name a colour.", output_schema=SCHEMA, seed=2, temperature=0.0))

    assert set(json.loads(reply.text)) == {"reasoning", "answer"}
    assert "\n" not in reply.text
    assert reply.usage is not None
    assert reply.tokens is not None
    assert len(reply.tokens.output_ids) == len(reply.tokens.logprobs) == reply.usage.output_tokens - 1  # less the end


def test_a_schema_that_the_grammar_knows_in_part_still_binds(ask: MakeRequest) -> None:
    """One unknown keyword must not lift the constraint."""
    schema = {"type": "array", "items": {"enum": ["red", "blue"]}, "uniqueItems": True, "minItems": 1, "maxItems": 2}

    _, reply = bound_and_call(ask(output_schema=schema))

    assert set(json.loads(reply.text)) <= {"red", "blue"}


def test_tools_are_answered_with_evidence_too(ask: MakeRequest) -> None:
    """llama.cpp streams no log probabilities beside tools: such calls are made in one piece, and only such."""
    tool = ToolSpec("search", "Search.", {"type": "object", "properties": {}})

    async def calls() -> list[int]:
        model = EmbeddedModel()
        pieces = []
        for tools in ((tool,), (), (tool,)):
            progress = Progress()
            reply = await model.complete(ask(tools=tools, max_output_tokens=8, seed=1), progress)
            assert reply.tokens is not None
            assert reply.tokens.output_ids
            pieces.append(len(progress.text))
        await model.aclose()
        return pieces

    with_tools, without, again = asyncio.run(calls())
    assert (with_tools, again) == (1, 1)
    assert without > 1


def test_the_same_seed_gives_the_same_answer(ask: MakeRequest) -> None:
    request = ask(max_output_tokens=16, seed=7)

    assert bound_and_call(request)[1].text == bound_and_call(request)[1].text


def test_calls_in_quick_succession_all_arrive(ask: MakeRequest) -> None:
    """llama.cpp's server closes connections when it likes; one that is used again fails now and then."""

    async def many() -> list[int]:
        model = EmbeddedModel()
        tokens = []
        for number in range(40):
            request = ask(f"x {number}", max_output_tokens=1)
            tokens.append((await model.bound_input(request)).tokens)
            await model.complete(request, Progress())
        await model.aclose()
        return tokens

    assert len(asyncio.run(many())) == 40


def test_it_costs_exactly_nothing() -> None:
    assert EmbeddedModel().price.cost(input_tokens=10**9, cached_tokens=5, output_tokens=10**9) == 0.0


def test_a_prompt_longer_than_the_context_is_refused(ask: MakeRequest) -> None:
    with pytest.raises(ProviderError, match="context size") as caught:
        bound_and_call(ask("word " * 5000))

    assert (caught.value.kind, caught.value.billed_unknown) == ("bad_request", False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=60), min_size=1, max_size=4))
def test_the_bound_by_bytes_is_never_below_the_exact_count(texts: list[str]) -> None:
    """On text of every script, for the model whose tokenizer is at hand."""
    messages = tuple(Message(role="user", content=text) for text in texts)
    request = ModelRequest(messages=messages, max_output_tokens=1)

    async def exact() -> InputBound:
        model = EmbeddedModel()
        try:
            return await model.bound_input(request)
        finally:
            await model.aclose()

    assert byte_bound(request).tokens >= asyncio.run(exact()).tokens


def test_a_file_that_is_no_model_is_a_clear_error(tmp_path: Path, ask: MakeRequest) -> None:
    path = tmp_path / "not.gguf"
    path.write_bytes(b"GGUF but not really")
    model = EmbeddedModel(EmbeddedOptions(path=path))

    with pytest.raises(WeightsError, match="cannot load"):
        asyncio.run(model.bound_input(ask()))


PROGRAM = """
import asyncio, sys
from monitor.models import embedded_server
from monitor.settings import EmbeddedOptions
from monitor.models.base import ModelRequest, Progress
from monitor.models.embedded import EmbeddedModel
from monitor.records import Message

async def main():
    model = EmbeddedModel()
    request = ModelRequest(messages=(Message(role="user", content="Tell a long story."),), max_output_tokens=3000)
    progress = Progress()
    task = asyncio.create_task(model.complete(request, progress))
    while not progress.text:
        await asyncio.sleep(0.01)
    open(sys.argv[1], "w").write(embedded_server.start(EmbeddedOptions()).url)
    {end}

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("end", "status", "noise"),
    [
        ("task.cancel(); await model.aclose()", 0, ""),
        ("raise ValueError('boom')", 1, "ValueError: boom"),
        ("sys.exit(7)", 7, ""),
    ],
)
def test_the_server_ends_with_the_process_and_says_nothing(tmp_path: Path, end: str, status: int, noise: str) -> None:
    """In the middle of an answer: nothing on stdout or stderr but the program's own, the right exit status, no listener."""
    said = tmp_path / "address"
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{end}", end), str(said)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (status, "")
    last = ended.stderr.strip().splitlines()[-1:] or [""]
    assert last == [noise]
    port = int(said.read_text().rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
