"""``MonitorMiddleware`` in the real ``create_agent``: what is planted is caught, and reaches nobody."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage

import monitor
from monitor.adapters.langchain import MonitorMiddleware
from monitor.errors import Blocked, BudgetExceeded
from monitor.records import Limits
from tests.adapters.langchain.conftest import PLANTED, agent_of, calls, says, stored

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
ASK: Any = {"messages": [{"role": "user", "content": "What is in the note?"}]}


def note(number: int) -> str:
    """Read a note."""
    return f"note {number}: PLANTED" if number == 13 else f"note {number}"


def run_agent(agent: Any, mode: str, ask: Any = None) -> Any:
    given = ask or ASK
    return agent.invoke(given) if mode == "sync" else asyncio.run(agent.ainvoke(given))


both = pytest.mark.parametrize("mode", ["sync", "async"])


@both
def test_each_call_is_a_subcall_of_one_run(db: str, mode: str) -> None:
    model = says(calls("note", number=1), "It says: note 1.")
    agent = agent_of(model, [note], system_prompt="Read.", middleware=[MonitorMiddleware(policy=[], db=db)])
    answer = run_agent(agent, mode)
    assert answer["messages"][-1].content == "It says: note 1."
    ((run, subcalls),) = stored(db)
    assert (run.start.recipe, run.start.task, run.state) == ("observed:langchain", "What is in the note?", "ok")
    assert run.end is not None
    assert run.end.answer == "It says: note 1."
    assert [(item.call.kind, item.call.role, item.call.parent_id) for item in subcalls] == [
        ("model", "langchain", run.start.span_id),
        ("tool", "note", run.start.span_id),
        ("model", "langchain", run.start.span_id),
    ]
    first, tool, last = subcalls
    assert [message.role for message in last.call.messages] == ["system", "user", "assistant", "tool"]
    assert first.call.tools == ("note",)
    assert first.observation is not None
    assert first.observation.tool_calls[0].arguments == '{"number": 1}'
    assert (tool.call.task, tool.observation and tool.observation.output) == ('{"number":1}', "note 1")


@both
@pytest.mark.parametrize("surface", sorted(PLANTED))
def test_what_is_planted_is_caught_and_reaches_nobody(
    db: str, pack: Callable[..., list[str]], surface: str, mode: str
) -> None:
    model = says(*PLANTED[surface])
    agent = agent_of(model, [note], middleware=[MonitorMiddleware(policy=pack(surface), db=db)])
    with pytest.raises(Blocked, match="planted"):
        run_agent(agent, mode)
    ((run, subcalls),) = stored(db)
    assert (run.state, subcalls[-1].state) == ("blocked", "blocked")
    assert len(model.asked) == 1


@both
def test_a_withheld_answer_may_be_a_message_that_says_so(db: str, pack: Callable[..., list[str]], mode: str) -> None:
    door = MonitorMiddleware(policy=pack("output"), db=db, on_block="message")
    answer = run_agent(agent_of(says("All is PLANTED."), [note], middleware=[door]), mode)
    assert answer["messages"][-1].content == "The monitor withheld this answer."
    ((run, _),) = stored(db)
    assert run.end is not None
    assert (run.state, run.end.verdict.value) == ("ok", "block")


def test_a_withheld_result_may_be_a_message_to_the_model(db: str, pack: Callable[..., list[str]]) -> None:
    door = MonitorMiddleware(policy=pack("result"), db=db, on_block="message")
    model = says(calls("note", number=13), "I could not read it.")
    answer = agent_of(model, [note], middleware=[door]).invoke(ASK)
    assert answer["messages"][-1].content == "I could not read it."
    told = model.asked[1]["messages"][-1]
    assert (told.status, "PLANTED" in str(told)) == ("error", False)


@both
def test_what_a_rule_redacts_is_covered_in_what_the_agent_gets(
    db: str, pack: Callable[..., list[str]], mode: str
) -> None:
    agent = agent_of(
        says(calls("note", number=13), "done"),
        [note],
        middleware=[MonitorMiddleware(policy=pack("result", "redact"), db=db)],
    )
    answer = run_agent(agent, mode)
    assert answer["messages"][-2].content == "note 13: ███████"
    output = agent_of(says("x PLANTED y"), [], middleware=[MonitorMiddleware(policy=pack("output", "redact"), db=db)])
    assert run_agent(output, mode)["messages"][-1].content == "x ███████ y"


@both
def test_errors_of_model_and_tool_are_raised_as_they_are_and_recorded(db: str, mode: str) -> None:
    broken = LookupError("no such model")
    with pytest.raises(LookupError) as caught:
        run_agent(agent_of(says(broken), [], middleware=[MonitorMiddleware(policy=[], db=db)]), mode)
    assert caught.value is broken

    def fails() -> str:
        """Fail."""
        raise broken

    with pytest.raises(LookupError) as caught:
        run_agent(agent_of(says(calls("fails")), [fails], middleware=[MonitorMiddleware(policy=[], db=db)]), mode)
    assert caught.value is broken
    for run, subcalls in stored(db):
        assert run.state == "failed"
        seen = subcalls[-1].observation
        assert seen is not None
        assert seen.error is not None
        assert "no such model" in seen.error.message


@both
def test_a_budget_of_two_calls_is_two_however_deep(db: str, mode: str) -> None:
    """The inner agents have a middleware of their own, with no limit: the outer run's budget is what counts."""
    inner_models = []

    def research(topic: str) -> str:
        """Ask another agent."""
        inner_models.append(says("inner answer"))
        inner = agent_of(inner_models[-1], [], middleware=[MonitorMiddleware(policy=[], db=db)])
        return str(run_agent(inner, mode, {"messages": topic})["messages"][-1].content)

    outer = says(calls("research", topic="a"), calls("research", "2", topic="b"), "done")
    agent = agent_of(outer, [research], middleware=[MonitorMiddleware(policy=[], db=db, budget=Limits(calls=2))])
    with pytest.raises(BudgetExceeded):
        run_agent(agent, mode)
    assert len(outer.asked) + sum(len(model.asked) for model in inner_models) == 2
    ((run, subcalls),) = stored(db)
    assert run.state == "budget_exceeded"
    made = [item for item in subcalls if item.call.kind == "model" and item.state == "ok"]
    assert len(made) == 2
    tool = next(item for item in subcalls if item.call.kind == "tool")
    inner = next(item for item in subcalls if item.call.kind == "model" and item.call.task == "a")
    assert (inner.call.parent_id, inner.call.depth) == (tool.call.span_id, tool.call.depth + 1)


def test_an_observed_run_around_the_agent_is_the_run(db: str) -> None:
    agent = agent_of(says("one", "two"), [], middleware=[MonitorMiddleware(policy=[], db="/nonexistent/x.db")])
    with monitor.observed_run("Both", policy=[], db=db):
        agent.invoke(ASK)
        agent.invoke(ASK)
    ((run, subcalls),) = stored(db)
    assert (run.start.task, len(subcalls)) == ("Both", 2)


@both
def test_the_model_is_told_how_much_it_may_still_say(db: str, mode: str) -> None:
    model = says("short")
    agent = agent_of(model, [], middleware=[MonitorMiddleware(policy=[], db=db, budget=Limits(output_tokens=50))])
    run_agent(agent, mode)
    assert model.asked[0]["max_tokens"] == 50


@both
def test_nothing_is_streamed_before_it_is_judged(db: str, pack: Callable[..., list[str]], mode: str) -> None:
    agent = agent_of(says("All is PLANTED here"), [], middleware=[MonitorMiddleware(policy=pack(), db=db)])
    seen: list[str] = []

    async def collect() -> None:
        async for chunk, _ in agent.astream(ASK, stream_mode="messages"):
            seen.append(str(chunk.content))

    def listen() -> None:
        seen.extend(str(chunk.content) for chunk, _ in agent.stream(ASK, stream_mode="messages"))

    with pytest.raises(Blocked):
        asyncio.run(collect()) if mode == "async" else listen()
    assert seen == []
    whole = agent_of(says("All is well here"), [], middleware=[MonitorMiddleware(policy=pack(), db=db)])
    assert [str(chunk.content) for chunk, _ in whole.stream(ASK, stream_mode="messages")] == ["All is well here"]


def test_50_agents_at_once_have_no_mixed_up_parents(db: str) -> None:
    async def look(topic: str) -> str:
        """Ask another agent."""
        inner = agent_of(says(f"about {topic}"), [], middleware=[MonitorMiddleware(policy=[], db=db)])
        return str((await inner.ainvoke({"messages": topic}))["messages"][-1].content)

    async def one(number: int) -> str:
        model = says(calls("look", topic=f"t{number}"), f"done {number}")
        agent = agent_of(model, [look], middleware=[MonitorMiddleware(policy=[], db=db)])
        return str((await agent.ainvoke({"messages": f"q{number}"}))["messages"][-1].content)

    async def main() -> list[str]:
        async with monitor.observed_run("All", policy=[], db=db, budget=Limits(calls=200, tool_calls=200)):
            return await asyncio.gather(*(one(number) for number in range(50)))

    assert asyncio.run(main()) == [f"done {number}" for number in range(50)]
    ((_, subcalls),) = stored(db)
    assert len(subcalls) == 50 * 4
    by_span = {item.call.span_id: item for item in subcalls}
    inner = [item for item in subcalls if item.call.task.startswith("t")]
    assert len(inner) == 50
    for item in inner:
        assert by_span[item.call.parent_id or ""].call.task == f'{{"topic":"{item.call.task}"}}'


def test_an_agent_with_a_name_is_called_so_in_the_record(db: str) -> None:
    agent = agent_of(says("x"), [], name="librarian", middleware=[MonitorMiddleware(policy=[], db=db)])
    agent.invoke(ASK)
    ((_, (subcall,)),) = stored(db)
    assert subcall.call.role == "librarian"


KILLED = """
import os, signal, sys
from langchain.agents import create_agent
from monitor.adapters.langchain import MonitorMiddleware
from tests.adapters.langchain.conftest import Scripted

def die(messages):
    os.kill(os.getpid(), signal.SIGKILL)

agent = create_agent(Scripted(answers=die, asked=[]), [], middleware=[MonitorMiddleware(policy=[], db=sys.argv[1])])
agent.invoke({"messages": "Will this be found?"})
"""


def test_a_process_that_is_killed_in_a_call_leaves_its_start(db: str) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, db], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    ((run, (subcall,)),) = stored(db)
    assert (run.state, subcall.state, subcall.call.task) == ("started", "started", "Will this be found?")


def test_an_output_that_nobody_limited_breaks_no_bound(db: str, pack: Callable[..., list[str]]) -> None:
    answer = AIMessage("fine", usage_metadata={"input_tokens": 3, "output_tokens": 700, "total_tokens": 703})
    agent_of(says(answer), [], middleware=[MonitorMiddleware(policy=pack(), db=db)]).invoke(ASK)
    ((run, (subcall,)),) = stored(db)
    assert run.end is not None
    assert (run.end.verdict.value, run.end.usage.output_tokens) == ("pass", 700)
    assert subcall.observation is not None
    assert subcall.observation.usage_reported
