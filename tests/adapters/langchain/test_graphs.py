"""Graphs of several shapes, other middleware, structured answers, and how invocations can end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents.middleware import ModelRetryMiddleware
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputValidationError, ToolStrategy
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import BaseModel, SecretStr

from monitor.adapters.langchain import MonitorCallbackHandler, MonitorMiddleware
from monitor.errors import Blocked, BudgetExceeded, ConfigError, Halted
from monitor.records import Limits
from tests.adapters.langchain.conftest import Scripted, agent_of, calls, says, stored

if TYPE_CHECKING:
    from collections.abc import Callable

ASK: Any = {"messages": "Say it"}


class City(BaseModel):
    """A city."""

    name: str


def note(number: int, why: str = "") -> str:
    """Read a note."""
    return f"note {number}"


def door(db: str, packs: list[str] | None = None, **options: Any) -> MonitorMiddleware:
    return MonitorMiddleware(policy=packs or [], db=db, **options)


def test_redacted_arguments_are_what_the_tool_gets(db: str, pack: Callable[..., list[str]]) -> None:
    got: list[str] = []

    def send(text: str) -> str:
        """Send a text."""
        got.append(text)
        return "sent"

    agent = agent_of(
        says(calls("send", text="x PLANTED"), "done"), [send], middleware=[door(db, pack("arguments", "redact"))]
    )
    agent.invoke(ASK)
    assert got == ["x ███████"]


def test_a_structured_answer_is_handed_on_and_withheld_rather_than_covered(
    db: str, pack: Callable[..., list[str]]
) -> None:
    answer = calls("City", name="Rome")
    agent = agent_of(says(answer), [note], middleware=[door(db, pack())], response_format=ToolStrategy(City))
    assert agent.invoke(ASK)["structured_response"] == City(name="Rome")
    ((_, (subcall,)),) = stored(db)
    assert subcall.observation is not None
    assert subcall.observation.tool_calls[0].refused is None
    covered = door(db, pack("arguments", "redact"))
    agent = agent_of(
        says(calls("City", name="PLANTED")), [note], middleware=[covered], response_format=ToolStrategy(City)
    )
    with pytest.raises(Blocked):
        agent.invoke(ASK)


def test_an_answer_of_another_structure_is_stored_and_the_error_is_langchain_s(
    db: str, pack: Callable[..., list[str]]
) -> None:
    agent = agent_of(says("no JSON"), [], middleware=[door(db)], response_format=ProviderStrategy(City))
    with pytest.raises(StructuredOutputValidationError):
        agent.invoke(ASK)
    ((run, (subcall,)),) = stored(db)
    assert subcall.observation is not None
    assert (run.state, subcall.observation.output) == ("failed", "no JSON")
    caught = door(db, pack())
    with pytest.raises(Blocked):
        agent_of(says("PLANTED"), [], middleware=[caught], response_format=ProviderStrategy(City)).invoke(ASK)


def test_a_retry_of_another_middleware_is_a_call_of_its_own(db: str) -> None:
    model = says(LookupError("try again"), "fine")
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
    agent = agent_of(model, [], middleware=[retry, door(db)])
    assert agent.invoke(ASK)["messages"][-1].content == "fine"
    ((run, subcalls),) = stored(db)
    assert (run.state, [item.state for item in subcalls]) == ("ok", ["failed", "ok"])


def test_agents_in_a_graph_that_nobody_wrapped_are_one_run(db: str) -> None:
    first = agent_of(says("one"), [], name="first", middleware=[door(db, budget=Limits(calls=9))])
    second = agent_of(says("two"), [], name="second", middleware=[door(db, budget=Limits(calls=9))])
    graph: Any = StateGraph(MessagesState)
    graph.add_node("first", first)
    graph.add_node("second", lambda state: {"messages": second.invoke(state)["messages"][-1:]})
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", END)
    assert graph.compile().invoke(ASK)["messages"][-1].content == "two"
    ((run, subcalls),) = stored(db)
    assert (run.state, [item.call.role for item in subcalls]) == ("ok", ["first", "second"])


def test_tools_at_once_and_tools_that_answer_with_commands(db: str) -> None:
    def hand_over(to: str) -> Any:
        """Hand over."""
        return Command(update={"messages": [{"role": "tool", "content": f"with {to}", "tool_call_id": "2"}]})

    asked = AIMessage(
        "",
        tool_calls=[
            {"name": "note", "args": {"number": 1}, "id": "1"},
            {"name": "hand_over", "args": {"to": "Ann"}, "id": "2"},
            {"name": "note", "args": {"number": "many"}, "id": "3"},
            {"name": "nothing", "args": {}, "id": "4"},
        ],
    )
    answer = agent_of(says(asked, "done"), [note, hand_over], middleware=[door(db)]).invoke(ASK)
    assert answer["messages"][-1].content == "done"
    ((_, subcalls),) = stored(db)
    said = {
        item.call.task: item.observation.output for item in subcalls if item.observation and item.call.kind == "tool"
    }
    assert said['{"number":1}'] == "note 1"
    assert "with Ann" in said['{"to":"Ann"}']
    assert "number" in said['{"number":"many"}']
    assert subcalls[0].observation is not None
    assert [call.refused is None for call in subcalls[0].observation.tool_calls] == [True, True, True, False]


def test_halt_ends_the_run_whatever_is_made_of_it(db: str, pack: Callable[..., list[str]]) -> None:
    agent = agent_of(says("PLANTED"), [], middleware=[door(db, pack("output", "halt"), on_block="message")])
    with pytest.raises(Halted):
        agent.invoke(ASK)
    ((run, _),) = stored(db)
    assert run.state == "blocked"


def test_a_cancelled_invocation_is_recorded_as_that(db: str) -> None:
    begun = asyncio.Event()

    class Slow(Scripted):
        async def _agenerate(self, *_: Any, **__: Any) -> Any:
            begun.set()
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(agent_of(Slow(answers=[], asked=[]), [], middleware=[door(db)]).ainvoke(ASK))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    ((run, (subcall,)),) = stored(db)
    assert (run.state, subcall.state) == ("cancelled", "cancelled")


def test_a_stream_that_nobody_reads_to_its_end_ends_the_run(db: str) -> None:
    agent = agent_of(says(calls("note", number=1), "done"), [note], middleware=[door(db)])
    for _ in agent.stream(ASK):
        break
    ((run, _),) = stored(db)
    assert run.state in {"cancelled", "ok"}


def test_events_have_nothing_that_is_not_judged(db: str, pack: Callable[..., list[str]]) -> None:
    agent = agent_of(says("All is PLANTED here"), [], middleware=[door(db, pack())])
    seen: list[str] = []

    async def listen() -> None:
        async for event in agent.astream_events(ASK, version="v2"):
            seen.append(str(event))  # noqa: PERF401 - what came before the error is what counts

    with pytest.raises(Blocked):
        asyncio.run(listen())
    assert seen
    assert not any("PLANTED" in event for event in seen)


def test_what_a_retriever_finds_is_a_result_like_a_tool_s(db: str, pack: Callable[..., list[str]]) -> None:
    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            return [Document(f"about {query}"), Document("PLANTED")]

    handler = MonitorCallbackHandler(policy=pack("result"), db=db)
    with pytest.raises(Blocked):
        (Shelf() | RunnableLambda(str)).invoke("tea", {"callbacks": [handler]})
    ((run, (subcall,)),) = stored(db)
    assert (run.state, subcall.call.kind, subcall.call.task) == ("blocked", "tool", "tea")


def test_what_is_asked_for_and_is_not_there_is_said_at_once(db: str) -> None:
    with pytest.raises(ConfigError, match="on_block"):
        MonitorMiddleware(on_block="ignore")  # type: ignore[arg-type]  # what a user may write
    with pytest.raises(ConfigError, match="streams"):
        MonitorCallbackHandler(streams="yes")  # type: ignore[arg-type]  # as above
    with pytest.raises(ConfigError, match="max_tokens"):
        agent_of(says("x"), [], middleware=[door(db, budget=Limits(cost=1.0))]).invoke(ASK)


def test_a_key_that_a_provider_repeats_is_not_in_the_record(db: str) -> None:
    class Keyed(Scripted):
        api_key: SecretStr = SecretStr("sk-very-secret-4711")

    model = Keyed(answers=[LookupError("no access with sk-very-secret-4711")], asked=[])
    with pytest.raises(LookupError):
        agent_of(model, [], middleware=[door(db)]).invoke(ASK)
    ((run, (subcall,)),) = stored(db)
    assert subcall.observation is not None
    assert "4711" not in f"{run}{subcall}"


def test_what_the_user_s_own_limit_cut_short_is_an_answer(db: str) -> None:
    cut = AIMessage("Once upon a", response_metadata={"finish_reason": "length"})
    assert agent_of(says(cut), [], middleware=[door(db)]).invoke(ASK)["messages"][-1].content == "Once upon a"
    bounded = door(db, budget=Limits(output_tokens=3))
    with pytest.raises(BudgetExceeded):
        agent_of(says(cut), [], middleware=[bounded]).invoke(ASK)


def test_a_plain_tool_in_an_agent_that_is_awaited_has_its_place(db: str) -> None:
    inner = agent_of(says("inner"), [])

    def research(topic: str) -> str:
        """Ask another agent, and wait for it."""
        return str(inner.invoke({"messages": topic})["messages"][-1].content)

    agent = agent_of(says(calls("research", topic="a"), "done"), [research], middleware=[door(db)])
    asyncio.run(agent.ainvoke(ASK))
    ((_, subcalls),) = stored(db)
    nested = next(item.call for item in subcalls if item.call.task == "a")
    assert nested.parent_id == next(item.call.span_id for item in subcalls if item.call.kind == "tool")


def test_an_exit_ends_the_run_and_nothing_else(db: str) -> None:
    def leave() -> str:
        """Leave."""
        raise SystemExit(3)

    agent = agent_of(says(calls("leave"), "done"), [leave], middleware=[door(db)])
    with pytest.raises(SystemExit):
        agent.invoke(ASK)
    assert agent_of(says("fine"), [], middleware=[door(db)]).invoke(ASK)["messages"][-1].content == "fine"
    assert sorted(run.state for run, _ in stored(db)) == ["cancelled", "ok"]
