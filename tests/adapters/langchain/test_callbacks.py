"""``MonitorCallbackHandler`` on the real chains and chat models: a block really blocks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

import monitor
from monitor.adapters.langchain import MonitorCallbackHandler, MonitorMiddleware
from monitor.errors import Blocked, BudgetExceeded, ConfigError
from monitor.records import Limits
from tests.adapters.langchain.conftest import PLANTED, Scripted, agent_of, calls, says, stored, thinks

if TYPE_CHECKING:
    from collections.abc import Callable

both = pytest.mark.parametrize("mode", ["sync", "async"])


@tool
def note(number: int) -> str:
    """Read a note."""
    return f"note {number}: PLANTED" if number == 13 else f"note {number}"


def invoke(chain: Any, given: Any, handler: Any, mode: str = "sync") -> Any:
    config = {"callbacks": [handler]}
    return chain.invoke(given, config) if mode == "sync" else asyncio.run(chain.ainvoke(given, config))


def chain_of(*answers: Any) -> Any:
    return ChatPromptTemplate.from_messages([("user", "About {topic}")]) | says(*answers) | StrOutputParser()


@both
def test_a_chain_is_one_run_and_its_model_call_a_subcall(db: str, mode: str) -> None:
    handler = MonitorCallbackHandler(policy=[], db=db, name="chain")
    assert invoke(chain_of("fine"), {"topic": "x"}, handler, mode) == "fine"
    ((run, (subcall,)),) = stored(db)
    assert run.end is not None
    assert (run.start.recipe, run.start.task, run.state, run.end.answer) == (
        "observed:chain",
        "About x",
        "ok",
        "fine",
    )
    assert subcall.observation is not None
    assert (subcall.call.task, subcall.observation.output) == ("About x", "fine")


@both
def test_a_bare_chat_model_is_a_run_of_its_own(db: str, mode: str) -> None:
    handler = MonitorCallbackHandler(policy=[], db=db)
    assert invoke(says("fine"), "How?", handler, mode).content == "fine"
    ((run, (subcall,)),) = stored(db)
    assert (run.state, subcall.call.task) == ("ok", "How?")


@both
@pytest.mark.parametrize("surface", sorted(PLANTED))
def test_what_is_planted_is_raised_in_place_of_the_answer(
    db: str, pack: Callable[..., list[str]], surface: str, mode: str
) -> None:
    handler = MonitorCallbackHandler(policy=pack(surface), db=db)
    model = says(*PLANTED[surface])
    used: list[Any] = []

    def use(answer: Any) -> Any:
        used.extend(note.invoke(call) for call in answer.tool_calls)
        return answer

    with pytest.raises(Blocked, match="planted"):
        invoke(model | RunnableLambda(use), "Look", handler, mode)
    assert used == []
    ((run, subcalls),) = stored(db)
    assert (run.state, subcalls[-1].state) == ("blocked", "blocked")


@both
def test_what_is_redacted_is_covered_in_the_message(db: str, pack: Callable[..., list[str]], mode: str) -> None:
    handler = MonitorCallbackHandler(policy=pack("output", "redact"), db=db)
    assert invoke(chain_of("x PLANTED y"), {"topic": "x"}, handler, mode) == "x ███████ y"
    assert invoke(says(thinks("hm", "x PLANTED y")), "z", handler, mode).text == "x ███████ y"


@both
def test_a_budget_refuses_the_call_before_it_is_made(db: str, mode: str) -> None:
    model = says("one", "two", "three")
    twice = (
        model | RunnableLambda(lambda said: said.content) | model | RunnableLambda(lambda said: said.content) | model
    )
    with pytest.raises(BudgetExceeded):
        invoke(twice, "x", MonitorCallbackHandler(policy=[], db=db, budget=Limits(calls=2)), mode)
    assert len(model.asked) == 2


@both
def test_errors_are_raised_as_they_are_and_recorded(db: str, mode: str) -> None:
    broken = LookupError("no such model")
    with pytest.raises(LookupError) as caught:
        invoke(chain_of(broken), {"topic": "x"}, MonitorCallbackHandler(policy=[], db=db), mode)
    assert caught.value is broken
    ((run, (subcall,)),) = stored(db)
    assert (run.state, subcall.state) == ("failed", "failed")


def test_a_streamed_answer_is_refused_unless_it_may_only_be_observed(db: str) -> None:
    seen: list[str] = []

    def listen(**options: Any) -> None:
        handler = MonitorCallbackHandler(policy=[], db=db, **options)
        for chunk in says("a b").stream("x", {"callbacks": [handler]}):
            seen.append(str(chunk.content))  # noqa: PERF401 - what came before an error counts

    with pytest.raises(ConfigError, match="streamed"):
        listen()
    assert seen == []
    listen(streams="observe")
    assert "".join(seen).strip() == "a b"


@both
def test_an_agent_in_a_tool_that_nobody_wrapped_is_held_to_the_budget(db: str, mode: str) -> None:
    models = []

    def research(topic: str) -> str:
        """Ask another agent."""
        models.append(says(calls("note", number=1), "inner", "inner"))
        inner = agent_of(models[-1], [note])
        return str(inner.invoke({"messages": topic})["messages"][-1].content)

    async def aresearch(topic: str) -> str:
        """Ask another agent."""
        models.append(says(calls("note", number=1), "inner", "inner"))
        inner = agent_of(models[-1], [note])
        return str((await inner.ainvoke({"messages": topic}))["messages"][-1].content)

    ask = research if mode == "sync" else aresearch
    outer = says(calls(ask.__name__, topic="a"), "done")
    door = MonitorMiddleware(policy=[], db=db, budget=Limits(calls=2))
    agent = agent_of(outer, [ask], middleware=[door])
    with pytest.raises(BudgetExceeded):
        asyncio.run(agent.ainvoke({"messages": "x"})) if mode == "async" else agent.invoke({"messages": "x"})
    assert len(outer.asked) + sum(len(model.asked) for model in models) == 2
    ((run, subcalls),) = stored(db)
    assert run.state == "budget_exceeded"
    parents = {item.call.span_id: item.call for item in subcalls}
    inner = next(item.call for item in subcalls if item.call.task == '{"number":1}')
    assert parents[inner.parent_id or ""].role == ask.__name__


def test_an_agent_in_a_chain_that_is_observed_belongs_to_its_run(db: str) -> None:
    agent = agent_of(says("inner"), [], middleware=[MonitorMiddleware(policy=[], db=db)])
    chain = says("topic") | RunnableLambda(lambda said: agent.invoke({"messages": said.content}))
    with monitor.observed_run("All", policy=[], db=db):
        invoke(chain, "x", MonitorCallbackHandler(policy=[]))
    ((_, subcalls),) = stored(db)
    assert len(subcalls) == 2


def test_50_chains_at_once_have_no_mixed_up_parents(db: str) -> None:
    async def ask(number: int) -> str:
        said: str = await chain_of(f"said {number}").ainvoke({"topic": f"n{number}"})
        return said

    outer = RunnableLambda(lambda number: number) | RunnableLambda(ask)

    async def main() -> list[str]:
        handler = MonitorCallbackHandler(policy=[], db=db, budget=Limits(calls=1))
        return await asyncio.gather(*(outer.ainvoke(number, {"callbacks": [handler]}) for number in range(50)))

    assert asyncio.run(main()) == [f"said {number}" for number in range(50)]
    runs = stored(db)
    assert len(runs) == 50
    for run, (subcall,) in runs:
        assert (run.state, run.start.task) == ("ok", subcall.call.task)


@both
def test_an_answer_out_of_langchain_s_cache_is_an_answer(db: str, mode: str) -> None:
    """LangChain writes a cost of 0 into it, where the usage is that other messages have."""
    model = Scripted(answers=["once"], asked=[], cache=InMemoryCache())
    handler = MonitorCallbackHandler(policy=[], db=db, budget=Limits(calls=1))
    assert [invoke(model, "x", handler, mode).content for _ in range(2)] == ["once", "once"]
    agent = agent_of(model, [], middleware=[MonitorMiddleware(policy=[], db=db)])
    assert agent.invoke({"messages": "x"})["messages"][-1].content == "once"
    for (run, (subcall,)), used in zip(stored(db)[::-1], (None, 0, 0), strict=True):
        assert subcall.observation is not None
        assert run.state == "ok"
        assert used is None or subcall.observation.usage.output_tokens == used
