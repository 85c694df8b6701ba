"""The test double keeps to its script."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from monitor.errors import ConfigError, ProviderError
from monitor.models.base import ModelRequest, Progress, ReportedUsage
from monitor.models.script_file import load
from monitor.models.scripted import Reply, ScriptedModel, ScriptExhaustedError
from monitor.models.tokens import byte_bound
from monitor.records import ReasoningState, ToolCall

if TYPE_CHECKING:
    from pathlib import Path

    from tests.models.conftest import MakeRequest


def test_steps_are_played_in_order_and_requests_are_kept(ask: MakeRequest) -> None:
    model = ScriptedModel(["one", Reply(text="two", reasoning="Hm.")])
    first, second = model.complete_sync(ask("a")), model.complete_sync(ask("b"))

    assert [first.text, second.text] == ["one", "two"]
    assert (first.reasoning_state, second.reasoning_state) == (ReasoningState.ABSENT, ReasoningState.PLAIN)
    assert [request.messages[0].content for request in model.requests] == ["a", "b"]
    assert model.calls == 2


def test_a_script_that_is_at_its_end_says_so(ask: MakeRequest) -> None:
    model = ScriptedModel(["one"])
    model.complete_sync(ask("a"))

    with pytest.raises(ScriptExhaustedError, match="1 steps and none is left for request 2, which ends in: 'more'"):
        model.complete_sync(ask("more"))


def test_steps_are_matched_by_what_they_are_for(ask: MakeRequest) -> None:
    def about_cats(request: ModelRequest) -> bool:
        return "cat" in request.messages[-1].content

    model = ScriptedModel([Reply(text="meow", when=about_cats, times=None), "other"])

    assert [model.complete_sync(ask(text)).text for text in ("a dog", "a cat", "two cats")] == ["other", "meow", "meow"]


def test_an_answer_may_be_a_function_of_the_request(ask: MakeRequest) -> None:
    model = ScriptedModel(lambda request: Reply(text=request.messages[-1].content.upper()))

    assert model.complete_sync(ask("shout")).text == "SHOUT"


def test_concurrent_calls_each_take_one_step(ask: MakeRequest) -> None:
    model = ScriptedModel([Reply(text=str(number), delay=0.001 * (number % 3)) for number in range(32)])

    async def all_at_once() -> list[str]:
        replies = await asyncio.gather(*(model.complete(ask(), Progress()) for _ in range(32)))
        return [reply.text for reply in replies]

    assert asyncio.run(all_at_once()) == [str(number) for number in range(32)]


def test_errors_come_after_the_pieces_that_had_arrived(ask: MakeRequest) -> None:
    model = ScriptedModel([Reply(chunks=("half of ", "an ans"), error=ProviderError("cut", kind="connection"))])
    progress = Progress()

    with pytest.raises(ProviderError, match="cut"):
        model.complete_sync(ask(), progress)
    assert progress.text == ["half of ", "an ans"]


def test_a_step_that_hangs_can_be_cancelled(ask: MakeRequest) -> None:
    model = ScriptedModel([Reply(chunks=("half",), hang=True)])
    progress = Progress()

    async def impatient() -> None:
        async with asyncio.timeout(0.05):
            await model.complete(ask(), progress)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    assert progress.text == ["half"]


def test_counted_usage_is_within_what_was_allowed_and_given_usage_need_not_be(ask: MakeRequest) -> None:
    model = ScriptedModel(["x" * 1000, Reply(text="x", usage=ReportedUsage(9, 999)), Reply(text="x", usage=None)])
    request = ask(max_output_tokens=5)
    counted, given, none = (model.complete_sync(request).usage for _ in range(3))

    assert counted is not None
    assert (counted.output_tokens, given, none) == (5, ReportedUsage(9, 999), None)
    assert counted.input_tokens <= byte_bound(request).tokens


def test_it_bounds_as_it_is_told(ask: MakeRequest) -> None:
    bound = asyncio.run(ScriptedModel([], input_tokens=42).bound_input(ask()))

    assert (bound.tokens, bound.exact) == (42, True)


SCRIPT = """
context_tokens: 4096
price: {input: 1.0, output: 2.0}
steps:
  - when: sub-questions
    text: {reasoning: Two parts., questions: [First?, Zweitens ü?]}
    times: forever
  - reasoning: Let me think.
    text: Paris.
    delay: 0.001
    usage: {input_tokens: 900, output_tokens: 12}
  - tool_calls: [{name: search, arguments: {query: Paris}}]
    usage: none
  - chunks: [half of an ans]
    error: {kind: rate_limit, status: 429, message: slow down}
"""


def test_a_script_file_says_the_same(tmp_path: Path, ask: MakeRequest) -> None:
    path = tmp_path / "demo.yaml"
    path.write_text(SCRIPT, "utf-8")
    model = load(path)

    assert (model.name, model.context_tokens) == (f"scripted:{path}", 4096)
    assert model.price is not None
    assert model.price.cost(input_tokens=10**6, cached_tokens=0, output_tokens=10**6) == 3.0
    for _ in range(2):
        asked = model.complete_sync(ask("Which sub-questions?"))
        assert asked.text == '{"reasoning": "Two parts.", "questions": ["First?", "Zweitens ü?"]}'
    paris, search = model.complete_sync(ask("a")), model.complete_sync(ask("b"))
    assert (paris.text, paris.reasoning, paris.usage) == ("Paris.", "Let me think.", ReportedUsage(900, 12))
    assert search.tool_calls == (ToolCall(id="call_0", name="search", arguments='{"query": "Paris"}'),)
    assert (search.usage, search.finish_reason) == (None, "tool_calls")
    with pytest.raises(ProviderError, match="slow down") as caught:
        model.complete_sync(ask("c"))
    assert (caught.value.status, caught.value.retryable, caught.value.billed_unknown) == (429, True, False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("steps: []", "steps: Tuple should have at least 1 item"),
        ("steps: [{txt: hi}]\nextra: 1", "steps.0.txt: Extra inputs"),
        ("steps: [{error: {kind: odd}}]", "steps.0.error.kind"),
        ("steps: [", "not YAML"),
        ("just words", "the file: Input should be"),
    ],
)
def test_a_file_that_is_no_script_is_a_clear_error(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content, "utf-8")

    with pytest.raises(ConfigError) as caught:
        load(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_script_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")
