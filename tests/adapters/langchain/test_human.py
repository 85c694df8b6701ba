"""A rule that asks a person, in a real graph with a checkpointer and in one without."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

import monitor
from monitor.adapters.langchain import MonitorCallbackHandler, MonitorMiddleware, human
from monitor.errors import AwaitingHuman, BudgetExceeded, Rejected, Terminated
from monitor.records import Limits
from tests.adapters.langchain.conftest import agent_of, calls, says, stored

if TYPE_CHECKING:
    from collections.abc import Callable

both = pytest.mark.parametrize("mode", ["sync", "async"])
saver_of: Any = InMemorySaver
CONFIG: Any = {"configurable": {"thread_id": "t1"}}
ASK = {"messages": "Say it"}


def note(number: int) -> str:
    """Read a note."""
    return f"note {number}: PLANTED" if number == 13 else f"note {number}"


def run(agent: Any, given: Any, mode: str = "sync") -> Any:
    return agent.invoke(given, CONFIG) if mode == "sync" else asyncio.run(agent.ainvoke(given, CONFIG))


class Case:
    """An agent whose every answer with the word PLANTED is put before a person."""

    def __init__(self, db: str, packs: list[str], *answers: Any, budget: Limits | None = None) -> None:
        self.model = says(*answers)
        self.door: Any = lambda: MonitorMiddleware(policy=packs, db=db, budget=budget)
        self.saver = saver_of()

    def agent(self) -> Any:
        return agent_of(self.model, [note], middleware=[self.door()], checkpointer=self.saver)


@both
def test_the_graph_is_interrupted_and_an_approved_answer_goes_on(
    db: str, pack: Callable[..., list[str]], mode: str
) -> None:
    case = Case(db, pack("output", "ask_human"), AIMessage("It is PLANTED", additional_kwargs={"kept": True}))
    paused = run(case.agent(), ASK, mode)
    (asked,) = paused["__interrupt__"]
    assert "PLANTED" not in str(paused["messages"])
    assert asked.value["caught_by"] == ["planted"]
    assert "It is" not in str(asked.value)
    ((held, (subcall,)),) = stored(db)
    assert (held.state, subcall.state) == ("awaiting_human", "awaiting_human")
    assert asked.value["subcall"] == f"{held.start.run_id}/{subcall.call.span_id}"
    answer = run(case.agent(), Command(resume={"decision": "approve", "why": "harmless", "by": "Ann"}), mode)
    assert answer["messages"][-1].content == "It is PLANTED"
    assert answer["messages"][-1].additional_kwargs == {"kept": True}
    assert len(case.model.asked) == 1
    ((held, (subcall,)),) = stored(db)
    assert held.state == "ok"
    (decision,) = subcall.decisions
    assert (decision.choice, decision.why, decision.by) == ("approve", "harmless", "Ann")


@both
@pytest.mark.parametrize(
    ("resume", "error"), [("reject", Rejected), ({"decision": "terminate", "why": "enough"}, Terminated)]
)
def test_a_rejected_answer_reaches_nobody(
    db: str, pack: Callable[..., list[str]], resume: Any, error: type[Exception], mode: str
) -> None:
    case = Case(db, pack("output", "ask_human"), "It is PLANTED")
    run(case.agent(), ASK, mode)
    with pytest.raises(error):
        run(case.agent(), Command(resume=resume), mode)
    ((held, (subcall,)),) = stored(db)
    assert (held.state, subcall.state) == ("rejected", "rejected")


@both
def test_a_modified_result_takes_the_place_of_the_tool_s(db: str, pack: Callable[..., list[str]], mode: str) -> None:
    case = Case(db, pack("result", "ask_human"), calls("note", number=13), "done")
    run(case.agent(), ASK, mode)
    answer = run(case.agent(), Command(resume={"decision": "modify", "output": "an empty note"}), mode)
    assert [message.content for message in answer["messages"][-2:]] == ["an empty note", "done"]
    ((held, subcalls),) = stored(db)
    assert (held.state, [item.state for item in subcalls]) == ("ok", ["ok", "ok", "ok"])


def test_another_process_finds_what_was_decided_about_in_the_record(db: str, pack: Callable[..., list[str]]) -> None:
    case = Case(db, pack("output", "ask_human"), "It is PLANTED")
    run(case.agent(), ASK)
    human._kept.clear()
    assert run(case.agent(), Command(resume="approve"))["messages"][-1].content == "It is PLANTED"
    assert len(case.model.asked) == 1


def test_what_is_no_decision_is_asked_again_and_so_is_what_is_escalated(
    db: str, pack: Callable[..., list[str]]
) -> None:
    case = Case(db, pack("output", "ask_human"), "It is PLANTED")
    run(case.agent(), ASK)
    (again,) = run(case.agent(), Command(resume="perhaps"))["__interrupt__"]
    assert "perhaps" in again.value["problem"]
    (escalated,) = run(case.agent(), Command(resume="escalate"))["__interrupt__"]
    assert "problem" not in escalated.value
    assert run(case.agent(), Command(resume="approve"))["messages"][-1].content == "It is PLANTED"
    ((_, (subcall,)),) = stored(db)
    assert [decision.choice for decision in subcall.decisions] == ["escalate", "approve"]


def test_a_budget_goes_on_where_the_graph_does(db: str, pack: Callable[..., list[str]]) -> None:
    answers = [calls("note", number=13), "second", "third"]
    case = Case(db, pack("result", "ask_human"), *answers, budget=Limits(calls=1))
    run(case.agent(), ASK)
    with pytest.raises(BudgetExceeded):
        run(case.agent(), Command(resume={"decision": "modify", "output": "an empty note"}))
    assert len(case.model.asked) == 1


@both
def test_an_agent_in_a_tool_is_interrupted_too(db: str, pack: Callable[..., list[str]], mode: str) -> None:
    packs = pack("output", "ask_human")
    found: list[Any] = []
    inner_model = says("inner is PLANTED")
    inner = agent_of(inner_model, [], middleware=[MonitorMiddleware(policy=packs, db=db)])

    def research(topic: str) -> str:
        """Ask another agent."""
        found.append(inner.invoke({"messages": topic})["messages"][-1].content)
        return "found it"

    async def aresearch(topic: str) -> str:
        """Ask another agent."""
        found.append((await inner.ainvoke({"messages": topic}))["messages"][-1].content)
        return "found it"

    ask = research if mode == "sync" else aresearch
    outer = says(calls(ask.__name__, topic="a"), "done")
    door = MonitorMiddleware(policy=packs, db=db)
    agent = agent_of(outer, [ask], middleware=[door], checkpointer=saver_of())
    assert len(run(agent, ASK, mode)["__interrupt__"]) == 1
    answer = run(agent, Command(resume="approve"), mode)
    assert (answer["messages"][-1].content, found) == ("done", ["inner is PLANTED"])
    assert len(inner_model.asked) == 1
    ((held, subcalls),) = stored(db)
    assert held.state == "ok"
    assert sorted(item.state for item in subcalls) == ["cancelled", "ok", "ok", "ok", "ok"]


@both
@pytest.mark.parametrize("is_nested", [False, True])
def test_without_a_checkpointer_the_run_is_suspended_and_says_what_waits(
    db: str, pack: Callable[..., list[str]], is_nested: bool, mode: str
) -> None:
    packs = pack("output", "ask_human")
    asking = agent_of(says("It is PLANTED"), [], middleware=[MonitorMiddleware(policy=packs, db=db)])

    async def research(topic: str) -> str:
        """Ask another agent."""
        return str((await asking.ainvoke({"messages": topic}))["messages"][-1].content)

    def research_now(topic: str) -> str:
        """Ask another agent."""
        return str(asking.invoke({"messages": topic})["messages"][-1].content)

    ask = research_now if mode == "sync" else research
    outer = agent_of(
        says(calls(ask.__name__, topic="a"), "done"), [ask], middleware=[MonitorMiddleware(policy=packs, db=db)]
    )
    with pytest.raises(AwaitingHuman):
        run(outer if is_nested else asking, ASK, mode)
    ((held, subcalls),) = stored(db)
    assert (held.state, [item.state for item in subcalls].count("awaiting_human")) == ("awaiting_human", 1)


def test_a_decider_is_asked_there_and_then(db: str, pack: Callable[..., list[str]]) -> None:
    from monitor.orchestrate.deciding import make_decision

    counter = itertools.count()

    async def decider(subcall: Any) -> Any:
        next(counter)
        return make_decision(subcall, "approve", why="fine", by="Ann")

    door = MonitorMiddleware(policy=pack("output", "ask_human"), db=db, decider=decider)
    agent = agent_of(says("It is PLANTED"), [], middleware=[door], checkpointer=saver_of())
    assert run(agent, ASK)["messages"][-1].content == "It is PLANTED"
    assert next(counter) == 1


@both
def test_a_run_around_both_invocations_holds_the_decision_too(
    db: str, pack: Callable[..., list[str]], mode: str
) -> None:
    packs = pack("output", "ask_human")
    case = Case(db, packs, "It is PLANTED")
    with monitor.observed_run("Both", policy=packs, db=db):
        run(case.agent(), ASK, mode)
        assert run(case.agent(), Command(resume="approve"), mode)["messages"][-1].content == "It is PLANTED"
    ((held, (subcall,)),) = stored(db)
    assert (held.state, subcall.state, len(case.model.asked)) == ("ok", "ok", 1)


@both
@pytest.mark.parametrize("is_forgotten", [False, True])
def test_a_run_around_the_first_invocation_alone_is_suspended_and_ended_by_the_decision(
    db: str, pack: Callable[..., list[str]], is_forgotten: bool, mode: str
) -> None:
    packs = pack("output", "ask_human")
    case = Case(db, packs, "It is PLANTED")
    with monitor.observed_run("First", policy=packs, db=db) as first:
        run(case.agent(), ASK, mode)
    assert first.result is not None
    assert first.result.pending
    if is_forgotten:
        human._kept.clear()
    with monitor.observed_run("Second", policy=packs, db=db):
        assert run(case.agent(), Command(resume="approve"), mode)["messages"][-1].content == "It is PLANTED"
    assert [(held.start.task, held.state) for held, _ in stored(db)] == [("Second", "ok"), ("First", "ok")]
    assert len(case.model.asked) == 1


def test_a_tool_that_interrupts_by_itself_keeps_the_run_and_its_budget(db: str) -> None:
    def confirm(what: str) -> str:
        """Ask the user."""
        return str(interrupt(what))

    model = says(calls("confirm", what="sure?"), "done", "more")
    door = MonitorMiddleware(policy=[], db=db, budget=Limits(calls=1))
    agent = agent_of(model, [confirm], middleware=[door], checkpointer=saver_of())
    assert run(agent, ASK)["__interrupt__"][0].value == "sure?"
    ((held, _),) = stored(db)
    assert held.state == "awaiting_human"
    with pytest.raises(BudgetExceeded):
        run(agent, Command(resume="yes"))
    ((held, subcalls),) = stored(db)
    assert held.state == "budget_exceeded"
    assert [item.state for item in subcalls] == ["ok", "cancelled", "ok", "budget_exceeded"]


@both
@pytest.mark.parametrize("stops", [{"interrupt_before": ["tools"]}, {"interrupt_after": ["model"]}], ids=str)
@pytest.mark.parametrize("observer", ["middleware", "callbacks"])
def test_a_graph_that_stops_where_it_was_told_to_keeps_the_run_and_its_budget(
    db: str, mode: str, stops: Any, observer: str
) -> None:
    """A static interrupt: no callback tells of it, and the graph is gone on with by ``None``."""
    model, saver = says(calls("note", number=1), "done", "more"), saver_of()
    how: Any = {"policy": [], "db": db, "budget": Limits(calls=2)}

    def go(given: Any) -> Any:
        doors = [MonitorMiddleware(**how)] if observer == "middleware" else []
        agent = agent_of(model, [note], middleware=doors, checkpointer=saver, **stops)
        config = CONFIG if doors else {**CONFIG, "callbacks": [MonitorCallbackHandler(**how)]}
        return agent.invoke(given, config) if mode == "sync" else asyncio.run(agent.ainvoke(given, config))

    go(ASK)
    assert [held.state for held, _ in stored(db)] == ["awaiting_human"]
    assert go(None)["messages"][-1].content == "done"
    ((held, subcalls),) = stored(db)
    assert (held.state, [item.call.role for item in subcalls]) == ("ok", ["langchain", "note", "langchain"])
    assert held.end is not None
    assert held.end.usage.calls == 2
    go(ASK)  # another run, of the same thread
    assert [len(subcalls) for _, subcalls in stored(db)] == [1, 3]


def test_a_graph_that_stops_before_a_node_that_waits_for_several_keeps_the_run(db: str) -> None:
    asks = MonitorCallbackHandler(policy=[], db=db)

    def say(_: Any) -> Any:
        return {"messages": [says("said").invoke("Say it", {"callbacks": [asks]})]}

    graph: Any = StateGraph(MessagesState)
    for name in "abc":
        graph.add_node(name, say)
    for name in "ab":
        graph.add_edge(START, name)
    graph.add_edge(["a", "b"], "c")
    built = graph.compile(checkpointer=saver_of(), interrupt_before=["c"])
    states = []
    for given in (ASK, None):
        run(built, given)
        states.append([(held.state, len(subcalls)) for held, subcalls in stored(db)])
    assert states == [[("awaiting_human", 2)], [("ok", 3)]]


def test_two_tools_that_wait_are_decided_one_after_the_other(db: str, pack: Callable[..., list[str]]) -> None:
    both_calls = AIMessage(
        "", tool_calls=[{"name": "note", "args": {"number": 13}, "id": str(number)} for number in (1, 2)]
    )
    case = Case(db, pack("result", "ask_human"), both_calls, "done")
    first, second = run(case.agent(), ASK)["__interrupt__"]
    one = {"decision": "modify", "output": "one"}
    (left,) = run(case.agent(), Command(resume={first.id: one}))["__interrupt__"]
    assert left.value["subcall"] == second.value["subcall"]
    answer = run(case.agent(), Command(resume={left.id: {"decision": "modify", "output": "two"}}))
    assert sorted(message.content for message in answer["messages"][-3:]) == ["done", "one", "two"]
    ((held, subcalls),) = stored(db)
    assert (held.state, len(subcalls)) == ("ok", 4)
