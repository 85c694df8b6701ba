"""What is called beside an agent that is observed: by LangChain's own middleware, and by others in the same graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents.middleware import SummarizationMiddleware
from langgraph.graph import START, MessagesState, StateGraph

import monitor
from monitor.adapters.langchain import MonitorCallbackHandler, MonitorMiddleware
from monitor.errors import Blocked, BudgetExceeded
from monitor.records import Limits
from tests.adapters.langchain.conftest import agent_of, calls, says, stored
from tests.adapters.langchain.test_middleware import both, note, run_agent

if TYPE_CHECKING:
    from collections.abc import Callable

ASK: Any = {"messages": [{"role": "user", "content": "What is in the note?"}]}


def summing(summary: str, door: Any) -> Any:
    """An agent that has its history summed up after its first call."""
    sums = SummarizationMiddleware(model=says(*[summary] * 9), trigger=("messages", 3), keep=("messages", 1))
    return agent_of(says(calls("note", number=1), "done"), [note], middleware=[sums, door])


@both
@pytest.mark.parametrize("is_around", [True, False])
def test_what_other_middleware_asks_a_model_is_observed(
    db: str, pack: Callable[..., list[str]], mode: str, *, is_around: bool
) -> None:
    packs = pack("output")
    if is_around:
        with monitor.observed_run("All", policy=packs, db=db):
            run_agent(summing("All is well.", MonitorMiddleware()), mode)
    else:
        run_agent(summing("All is well.", MonitorMiddleware(policy=packs, db=db)), mode)
    ((_, subcalls),) = stored(db)
    roles = [item.call.role for item in subcalls]
    assert roles == ["langchain", "note", "SummarizationMiddleware.before_model", "langchain"]
    door = MonitorMiddleware(policy=packs, db=db, budget=Limits(calls=1))
    with pytest.raises(BudgetExceeded):
        run_agent(summing("All is well.", door), mode)


def test_an_agent_beside_the_wrapped_one_is_judged_and_bounded(db: str, pack: Callable[..., list[str]]) -> None:
    def graph(*bare: Any, **how: Any) -> Any:
        built: Any = StateGraph(MessagesState)
        door = MonitorMiddleware(policy=pack("output"), db=db, **how)
        built.add_node("wrapped", agent_of(says("fine"), [], middleware=[door]))
        built.add_node("bare", agent_of(says(*bare), [note], name="bare"))
        built.add_edge(START, "wrapped")
        built.add_edge("wrapped", "bare")
        return built.compile()

    graph(calls("note", number=1), "fine too").invoke(ASK)
    ((run, subcalls),) = stored(db)
    assert [(item.call.role, item.call.parent_id == run.start.span_id) for item in subcalls] == [
        *(("langchain", True), ("bare", True), ("note", True), ("bare", True))
    ]
    with pytest.raises(Blocked):
        graph("PLANTED").invoke(ASK)
    with pytest.raises(BudgetExceeded):
        graph("never said", budget=Limits(calls=1)).invoke(ASK)


@both
def test_of_several_handlers_that_are_told_of_a_call_one_observes_it(db: str, mode: str) -> None:
    handler = MonitorCallbackHandler(policy=[], db=db)
    agent = summing("All is well.", MonitorMiddleware(policy=[], db=db)).with_config(callbacks=[handler])
    with monitor.observed_run("All", policy=[], db=db):
        run_agent(agent, mode)
    ((_, subcalls),) = stored(db)
    roles = sorted(item.call.role for item in subcalls)
    assert len(roles) == 4  # whichever of the handlers was told of the summary first gave it its name
    assert [role for role in roles if not role.startswith("Summarization")][-3:] == ["langchain", "langchain", "note"]
