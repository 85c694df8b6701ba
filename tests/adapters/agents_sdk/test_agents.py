"""The real Agents SDK on a loopback stub: one tree of models, tools, handoffs and agents as tools, in one budget."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("agents.tracing")  # "agents" alone is also a folder of this project

import httpx
import openai
from openai import AsyncOpenAI
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseStreamEvent,
)
from pydantic import TypeAdapter

import monitor
from monitor.adapters.agents_sdk import run, run_sync, watch
from monitor.errors import Blocked, BudgetExceeded, ConfigError, SubcallFailed
from monitor.records import Limits, StoredSubcall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.adapters.wire_desk import Desk

agents: Any = importlib.import_module("agents")
Agent, Model, Runner = agents.Agent, agents.Model, agents.Runner
ModelResponse, Usage, function_tool = agents.ModelResponse, agents.Usage, agents.function_tool
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _no_tracing() -> None:
    """The SDK would send its traces to OpenAI."""
    agents.set_tracing_disabled(True)


class Script(Model):  # type: ignore[misc,valid-type]  # of a package that may not be there
    """A model that says its lines, one after the other; (name, arguments) is a tool call."""

    def __init__(self, *lines: str | tuple[str, str]) -> None:
        self.lines = list(lines)
        self.calls = 0
        self.limits: list[int | None] = []

    async def get_response(self, *given: Any, **named: Any) -> Any:
        settings: Any = named.get("model_settings", given[2] if len(given) > 2 else None)
        self.limits.append(settings.max_tokens)
        line = self.lines[min(self.calls, len(self.lines) - 1)]
        self.calls += 1
        if isinstance(line, tuple):
            name, arguments = line
            call_id = f"call_{id(self)}_{self.calls}"
            item: Any = ResponseFunctionToolCall(
                type="function_call", call_id=call_id, name=name, arguments=arguments, id=f"fc_{self.calls}"
            )
        else:
            part = ResponseOutputText(type="output_text", text=line, annotations=[])
            item = ResponseOutputMessage(
                id=f"m{self.calls}", type="message", role="assistant", status="completed", content=[part]
            )
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
        return ModelResponse(output=[item], usage=usage, response_id=None)

    async def stream_response(self, *given: Any, **named: Any) -> AsyncIterator[Any]:
        raise NotImplementedError
        yield


def ask(desk: Desk, agent: Any, given: str = "Hello", **more: Any) -> Any:
    return run_sync(agent, given, db=desk.db, policy=[desk.pack], **more)


def by_role(desk: Desk) -> dict[str, StoredSubcall]:
    return {subcall.call.role: subcall for subcall in desk.subcalls()}


def test_an_agent_s_answer_is_in_the_record(desk: Desk) -> None:
    result = ask(desk, Agent(name="poet", instructions="Be brief.", model=Script("All is well.")))
    assert result.final_output == "All is well."
    (subcall,) = desk.subcalls()
    assert (subcall.call.role, subcall.call.adapter, subcall.state) == ("poet", "openai-agents", "ok")
    assert [message.role for message in subcall.call.messages] == ["system", "user"]
    assert subcall.observation is not None
    assert (subcall.observation.output, subcall.observation.usage.output_tokens) == ("All is well.", 5)
    assert desk.run().state == "ok"


def test_a_planted_word_is_caught_wherever_it_is(desk: Desk) -> None:
    @function_tool  # type: ignore[untyped-decorator]  # as above
    def look_up(word: str) -> str:
        """Look a word up."""
        return "ALARM" if word == "bad" else "fine"

    cases = {
        "output": Script("This is an ALARM."),
        "reasoning": Script("<think>ALARM</think>All is well."),
        "arguments": Script(("look_up", '{"word": "ALARM"}'), "done"),
        "history|output": Script(("look_up", '{"word": "bad"}'), "done"),
    }
    for rule, model in cases.items():
        with pytest.raises(Blocked, match=f"planted_({rule})"):
            ask(desk, Agent(name="a", model=model, tools=[look_up]))
        assert desk.run().state == "blocked"
        assert model.calls == 1


def test_what_a_rule_redacts_is_covered(desk: Desk) -> None:
    assert ask(desk, Agent(name="a", model=Script("A SECRET."))).final_output == "A ██████."


def test_agents_as_tools_and_handoffs_form_the_tree(desk: Desk) -> None:
    @function_tool  # type: ignore[untyped-decorator]  # as above
    def look_up(word: str) -> str:
        """Look a word up."""
        return f"{word}: fine"

    helper = Agent(name="helper", model=Script(("look_up", '{"word": "x"}'), "helped"), tools=[look_up])
    writer = Agent(name="writer", model=Script("written"))
    boss = Agent(
        name="boss",
        model=Script(("ask_helper", '{"input": "help"}'), ("transfer_to_writer", "{}")),
        tools=[helper.as_tool("ask_helper", "Ask.")],
        handoffs=[writer],
    )
    assert ask(desk, boss).final_output == "written"
    subcalls = desk.subcalls()
    assert sorted(subcall.call.role for subcall in subcalls) == [
        *("ask_helper", "boss", "boss", "helper", "helper", "look_up", "transfer_to_writer", "writer")
    ]
    at = by_role(desk)
    root = desk.run().start.span_id
    assert {subcall.call.parent_id for subcall in subcalls if subcall.call.role == "boss"} == {root}
    assert at["ask_helper"].call.parent_id == root
    for name in ("helper", "look_up"):
        assert at[name].call.parent_id == at["ask_helper"].call.span_id
    assert at["writer"].call.parent_id == at["transfer_to_writer"].call.span_id


def test_two_calls_are_two_however_deep(desk: Desk) -> None:
    """An agent in a tool of an agent in a tool; the SDK would tell the model of the error and go on."""
    inner = Script("inner")
    deepest = Agent(name="deepest", model=inner)
    middle_model = Script(("ask_deepest", '{"input": "x"}'), "middle")
    middle = Agent(name="middle", model=middle_model, tools=[deepest.as_tool("ask_deepest", "Ask.")])
    outer = Script(("ask_middle", '{"input": "x"}'), "outer")
    boss = Agent(name="boss", model=outer, tools=[middle.as_tool("ask_middle", "Ask.")])
    with pytest.raises(BudgetExceeded):
        ask(desk, boss, budget=Limits(calls=2))
    assert (outer.calls, middle_model.calls, inner.calls) == (1, 1, 0)
    assert desk.run().state == "budget_exceeded"


def test_the_longest_output_is_what_remains(desk: Desk) -> None:
    model = Script("short")
    with pytest.raises(BudgetExceeded):
        ask(desk, Agent(name="a", model=model), budget=Limits(output_tokens=4))
    assert model.limits == [4]


@pytest.mark.parametrize("where", ["model", "tool"])
def test_the_seconds_of_a_budget_end_what_is_under_way(desk: Desk, where: str) -> None:
    class Slow(Script):
        async def get_response(self, *given: Any, **named: Any) -> Any:
            await asyncio.sleep(30)

    @function_tool  # type: ignore[untyped-decorator]  # as above
    async def wait() -> str:
        """Wait."""
        await asyncio.sleep(30)
        return "done"

    model = Slow("x") if where == "model" else Script(("wait", "{}"), "done")
    with pytest.raises(BudgetExceeded, match="seconds"):
        ask(desk, Agent(name="a", model=model, tools=[wait]), budget=Limits(seconds=1))
    assert desk.run().state == "budget_exceeded"


def test_models_by_name_come_from_the_provider_and_streams_are_judged(desk: Desk) -> None:
    async def main() -> list[str]:
        async with AsyncOpenAI(base_url=desk.stub.base_url, api_key="k", max_retries=0) as client:
            provider = agents.OpenAIProvider(openai_client=client, use_responses=True)
            nested = Agent(name="nested", model="m")
            agent = Agent(name="a", model="m", tools=[nested.as_tool("ask_nested", "Ask.")])
            config = watch(agent, agents.RunConfig(model_provider=provider))
            said: list[str] = []

            async def stream(text: str) -> None:
                streaming = Runner.run_streamed(agent, text, run_config=config)
                async for event in streaming.stream_events():
                    if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                        said.append(event.data.delta)  # noqa: PERF401 - what came before an error counts, too

            async with monitor.observed_run("x", db=desk.db, policy=[desk.pack]):
                for text in ("[[stub:say=fine]] x", "[[stub:say=A SECRET]] x"):
                    await stream(text)
                with pytest.raises(Blocked):
                    await stream("[[stub:say=ALARM]] x")
                assert (await run(agent, "[[stub:say=by name]] x", run_config=config)).final_output == "by name"
            return said

    assert asyncio.run(main()) == ["fine", "A ██████"]
    assert {subcall.call.role for subcall in desk.subcalls()} == {"a"}
    assert [subcall.call.model for subcall in desk.subcalls()] == ["m"] * 4


@pytest.mark.parametrize("use_responses", [True, False])
def test_an_agent_that_another_runner_runs_is_seen_when_it_comes_back(desk: Desk, *, use_responses: bool) -> None:
    from monitor.adapters.agents_sdk import late

    async def main(text: str) -> None:
        async with AsyncOpenAI(base_url=desk.stub.base_url, api_key="k", max_retries=0) as client:
            chat = agents.OpenAIChatCompletionsModel
            hidden = Agent(name="hidden", model=(agents.OpenAIResponsesModel if use_responses else chat)("m", client))

            @function_tool  # type: ignore[untyped-decorator]  # as above
            async def ask_hidden() -> str:
                """Ask."""
                result = (
                    await importlib.import_module("agents.run").AgentRunner().run(hidden, f"[[stub:reasoning]]{text}")
                )
                return str(result.final_output)

            boss = Agent(name="boss", model=Script(("ask_hidden", "{}"), "done"), tools=[ask_hidden])
            await run(boss, "x", db=desk.db, policy=[desk.pack])

    agents.set_trace_processors([late.register()])
    agents.set_tracing_disabled(False)
    asyncio.run(main("[[stub:say=fine]] x"))
    at = by_role(desk)
    hidden = at[late.UNWATCHED]
    assert hidden.call.parent_id == at["ask_hidden"].call.span_id
    assert hidden.observation is not None
    assert (hidden.observation.output, hidden.call.model) == ("fine", "stub:m" if use_responses else "m")
    assert hidden.observation.usage_reported
    assert sorted(subcall.call.role for subcall in desk.subcalls()) == ["ask_hidden", "boss", "boss", late.UNWATCHED]
    with pytest.raises(Blocked, match="planted_output"):
        asyncio.run(main("[[stub:say=ALARM]] x"))
    assert desk.run().state == "blocked"
    assert sorted(subcall.state for subcall in desk.subcalls()) == ["blocked", "failed", "ok"]


@pytest.mark.parametrize("way", ["tool", "guardrail"])
def test_an_agent_that_is_run_by_itself_is_held_to_the_budget_and_judged(desk: Desk, way: str) -> None:
    """Nobody wrapped it, and the SDK's tracing is off."""

    def case(*lines: str | tuple[str, str], **how: Any) -> tuple[Script, Any]:
        model = Script(*lines)
        hidden = Agent(name="hidden", model=model, tools=[look_up])

        async def ask_hidden() -> str:
            """Ask."""
            return str((await Runner.run(hidden, "x")).final_output)

        async def guard(*_: Any) -> Any:
            return agents.GuardrailFunctionOutput(await ask_hidden(), tripwire_triggered=False)

        if way == "tool":
            boss = Agent(name="boss", model=Script(("ask_hidden", "{}"), "done"), tools=[function_tool(ask_hidden)])
        else:
            boss = Agent(name="boss", model=Script("done"), output_guardrails=[agents.OutputGuardrail(guard)])
        return model, lambda: ask(desk, boss, **how)

    @function_tool  # type: ignore[untyped-decorator]  # as above
    def look_up(word: str) -> str:
        """Look a word up."""
        return word

    calls = ("look_up", '{"word": "x"}'), "said"
    model, go = case(*calls)
    go()
    at, below = by_role(desk), by_role(desk).get("ask_hidden")
    assert sorted(subcall.call.role for subcall in desk.subcalls() if subcall.call.role in {"hidden", "look_up"}) == [
        *("hidden", "hidden", "look_up")
    ]
    assert at["hidden"].call.parent_id == (below.call.span_id if below else desk.run().start.span_id)
    model, go = case(*calls, budget=Limits(calls=2))
    with pytest.raises(BudgetExceeded):
        go()
    assert model.calls == 1
    model, go = case("ALARM")
    with pytest.raises(Blocked, match="planted_output"):
        go()
    runs = len(desk.all_runs())
    assert asyncio.run(Runner.run(Agent(name="again", model=Script("free")), "x")).final_output == "free"
    assert len(desk.all_runs()) == runs


def test_a_run_is_blocked_where_the_sdk_raises_an_error_of_its_own_because_of_it(desk: Desk) -> None:
    @function_tool  # type: ignore[untyped-decorator]  # as above
    def look_up(word: str) -> str:
        """Look a word up."""
        return "ALARM"

    agent = Agent(name="a", model=Script(("look_up", '{"word": "x"}')), tools=[look_up])

    async def main() -> None:
        async with monitor.observed_run("x", db=desk.db, policy=[desk.pack]):
            await Runner.run(agent, "x", run_config=watch(agent))

    with pytest.raises(agents.UserError):
        asyncio.run(main())
    assert desk.run().state == "blocked"


def test_who_is_watched_again_is_watched_by_what_is_said_then(desk: Desk, new_database: Callable[[], str]) -> None:
    @function_tool  # type: ignore[untyped-decorator]  # as above
    def look_up(word: str) -> str:
        """Look a word up."""
        return word

    agent = Agent(name="a", model=Script(("look_up", '{"word": "x"}'), "done"), tools=[look_up])
    watch(agent, db=new_database(), policy=[])
    config = watch(agent, {"workflow_name": "w"}, db=desk.db, policy=[])
    assert config.workflow_name == "w"
    asyncio.run(Runner.run(agent, "x", run_config=config))
    assert [subcall.call.role for subcall in desk.subcalls()] == ["a", "look_up", "a"]
    bounded = watch(agent, db=desk.db, policy=[], budget=Limits(calls=1))
    agent.model.inner.calls = 0
    with pytest.raises(BudgetExceeded):
        asyncio.run(Runner.run(agent, "x", run_config=bounded))
    with pytest.raises(ConfigError, match="around run_streamed"):
        Runner.run_streamed(agent, "x", run_config=bounded)


def test_errors_are_recorded_and_raised_as_they_are(desk: Desk) -> None:
    async def main() -> None:
        async with AsyncOpenAI(base_url=desk.stub.base_url, api_key="k", max_retries=0) as client:
            model = agents.OpenAIResponsesModel("m", client)
            await run(Agent(name="a", model=model), "[[stub:429]] x", db=desk.db, policy=[])

    import openai

    with pytest.raises(openai.RateLimitError):
        asyncio.run(main())
    (subcall,) = desk.subcalls()
    assert subcall.state == "failed"


@pytest.mark.parametrize("end", ["cut", "cancelled"])
def test_what_had_come_of_a_stream_that_breaks_off_is_in_the_record_and_judged(desk: Desk, end: str) -> None:
    class Breaking(Script):
        def __init__(self) -> None:
            super().__init__()
            self.is_half_told = asyncio.Event()

        async def stream_response(self, *given: Any, **named: Any) -> AsyncIterator[Any]:
            adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
            at = {"item_id": "m", "output_index": 0, "content_index": 0, "logprobs": []}
            for number, text in enumerate(["an AL", "ARM, half told"]):
                event = {"type": "response.output_text.delta", "delta": text, "sequence_number": number, **at}
                yield adapter.validate_python(event)
            self.is_half_told.set()
            if end == "cancelled":
                await asyncio.Event().wait()
            raise ConnectionError("the line is dead")

    async def main() -> None:
        model = Breaking()
        config = watch(agent := Agent(name="a", model=model))
        async with monitor.observed_run("x", db=desk.db, policy=[desk.pack]):
            streaming = Runner.run_streamed(agent, "x", run_config=config)
            if end == "cancelled":
                await model.is_half_told.wait()
                streaming.cancel()
            with pytest.raises(SubcallFailed) if end == "cut" else contextlib.nullcontext():
                async for event in streaming.stream_events():
                    assert event.type != "raw_response_event"

    asyncio.run(main())
    (subcall,) = desk.subcalls()
    assert subcall.state == {"cut": "failed", "cancelled": "cancelled"}[end]
    assert subcall.observation is not None
    assert subcall.observation.output == "an ALARM, half told"
    assert subcall.judgement is not None
    assert subcall.judgement.verdict.catches == ("planted_output",)


def test_agents_side_by_side_have_the_right_parents(desk: Desk) -> None:
    @monitor.subcall("one")
    async def one(number: int) -> str:
        agent = Agent(name="a", model=Script(f"answer {number}"))
        return str((await run(agent, "x")).final_output)

    async def main() -> list[str]:
        async with monitor.observed_run("x", db=desk.db, policy=[], budget=Limits(calls=200)):
            return await asyncio.gather(*(one(number) for number in range(100)))

    assert asyncio.run(main()) == [f"answer {number}" for number in range(100)]
    subcalls = {subcall.call.span_id: subcall for subcall in desk.subcalls()}
    for subcall in subcalls.values():
        if subcall.call.role == "a":
            assert subcall.call.parent_id is not None
            assert subcall.observation is not None
            number = subcall.observation.output.removeprefix("answer ")
            assert subcalls[subcall.call.parent_id].call.task == f'{{"number":{number}}}'


def test_what_the_answer_with_an_error_says_is_judged(desk: Desk) -> None:
    class Broken(Script):
        async def get_response(self, *given: Any, **named: Any) -> Any:
            body = {"message": "the call cannot be read", "failed_generation": "ALARM"}
            request = httpx.Request("POST", "http://127.0.0.1/v1")
            answer: Any = httpx.Response(400, json={"error": body}, request=request)
            raise openai.BadRequestError("x", response=answer, body=body)

    with pytest.raises(SubcallFailed, match="planted_output"):
        ask(desk, Agent(name="a", model=Broken("never said")))
