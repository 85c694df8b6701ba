"""Frameworks in one another: an OpenAI client in a LangChain tool in an agent of the OpenAI Agents SDK, in one tree."""

from __future__ import annotations

import asyncio
import importlib
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("agents.tracing")  # "agents" alone is also a folder of this project

from langchain_core.tools import tool
from openai import AsyncOpenAI, OpenAI

import monitor
from monitor.adapters.agents_sdk import run
from monitor.adapters.langchain import MonitorCallbackHandler, MonitorMiddleware
from monitor.errors import BudgetExceeded
from monitor.records import Limits, StoredSubcall
from monitor.store import Store
from tests.adapters.agents_sdk.test_agents import Script
from tests.adapters.langchain.conftest import agent_of, calls, says
from tests.adapters.wire_desk import Desk, desk
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["desk"]

sdk: Any = importlib.import_module("agents")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
AT_ONCE = 40


@pytest.fixture(autouse=True)
def _no_tracing() -> None:
    """The SDK would send its traces to OpenAI."""
    sdk.set_tracing_disabled(True)


def said(number: int) -> Any:
    """What is asked of the stub for one number, which it answers."""
    return {"model": "m", "messages": [{"role": "user", "content": f"[[stub:say=answer {number}]] {number}"}]}


class Office:
    """An agent of the Agents SDK, whose tool runs an agent of LangChain's, whose tool asks an OpenAI client."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.client = monitor.wrap(OpenAI(base_url=desk.stub.base_url, api_key="k"), role="client")
        self.async_client = monitor.wrap(AsyncOpenAI(base_url=desk.stub.base_url, api_key="k"), role="client")

    def ask(self, number: int) -> str:
        """Ask the model."""
        return self.client.chat.completions.create(**said(number)).choices[0].message.content or ""

    async def ask_async(self, number: int) -> str:
        """Ask the model."""
        answer = await self.async_client.chat.completions.create(**said(number))
        return answer.choices[0].message.content or ""

    def inner(self, number: int, ask: Callable[..., Any]) -> Any:
        """The agent of LangChain's."""
        named = tool("ask_client")(ask)
        model = says(calls("ask_client", number=number), f"inner {number}")
        return agent_of(model, [named], name="inner", middleware=[MonitorMiddleware()])

    def outer(self, number: int, way: str) -> Any:
        """The agent of the Agents SDK's."""

        async def research() -> str:
            """Find it out."""
            asked: Any = {"messages": f"research {number}"}
            if way == "async":
                answer = await self.inner(number, self.ask_async).ainvoke(asked)
            else:  # LangChain's tools run in threads of its own, and the whole agent in one of asyncio's
                answer = await asyncio.to_thread(self.inner(number, self.ask).invoke, asked)
            return str(answer["messages"][-1].content)

        model = Script((f"research_{number}", "{}"), f"outer {number}")
        named = sdk.function_tool(research, name_override=f"research_{number}")
        return sdk.Agent(name=f"outer_{number}", model=model, tools=[named])


def tree(desk: Desk) -> dict[str, StoredSubcall]:
    return {subcall.call.span_id: subcall for subcall in desk.subcalls()}


def path_of(subcall: StoredSubcall, at: dict[str, StoredSubcall], root: str) -> list[str]:
    """The roles from the top of the run down to the subcall."""
    path = [subcall.call.role]
    while subcall.call.parent_id != root:
        assert subcall.call.parent_id is not None
        subcall = at[subcall.call.parent_id]
        path.insert(0, subcall.call.role)
    return path


@pytest.mark.parametrize("way", ["async", "thread"])
def test_parents_are_right_at_every_level_of_many_trees_at_once(desk: Desk, way: str) -> None:
    office = Office(desk)

    async def main() -> list[Any]:
        async with office.async_client, monitor.observed_run("x", db=desk.db, policy=[], budget=Limits(calls=10_000)):
            return await asyncio.gather(*(run(office.outer(number, way), f"do {number}") for number in range(AT_ONCE)))

    answers = [result.final_output for result in asyncio.run(main())]
    office.client.close()
    assert answers == [f"outer {number}" for number in range(AT_ONCE)]
    at, root = tree(desk), desk.run().start.span_id
    assert len(at) == 7 * AT_ONCE
    found: dict[int, list[str]] = {number: [] for number in range(AT_ONCE)}
    for subcall in at.values():
        path = path_of(subcall, at, root)
        if subcall.call.role == "client":
            assert subcall.observation is not None
            number = int(subcall.observation.output.removeprefix("answer "))
            assert path == [f"research_{number}", "ask_client", "client"]
            found[number].append(subcall.call.span_id)
            above = at[subcall.call.parent_id or ""]
            assert above.call.task == f'{{"number":{number}}}'
        elif subcall.call.role in {"inner", "ask_client"}:
            assert len(path) == 2
        else:
            assert len(path) == 1
        assert subcall.call.depth == len(path)
    assert all(len(spans) == 1 for spans in found.values())


def test_two_calls_are_two_however_the_frameworks_are_nested(desk: Desk) -> None:
    office = Office(desk)

    async def main() -> None:
        async with office.async_client:
            await run(office.outer(1, "async"), "do", db=desk.db, policy=[], budget=Limits(calls=2))

    with pytest.raises(BudgetExceeded):
        asyncio.run(main())
    office.client.close()
    assert [subcall.call.role for subcall in desk.subcalls() if subcall.charged.calls] == ["outer_1", "inner"]
    assert not desk.stub.requests


def test_200_calls_at_once_of_all_adapters_have_no_mixed_up_parents(desk: Desk) -> None:
    office = Office(desk)
    handler = MonitorCallbackHandler()

    async def agent(number: int) -> str:
        return str((await run(sdk.Agent(name="agent", model=Script(f"said {number}")), f"{number}")).final_output)

    async def middleware(number: int) -> str:
        answer = await agent_of(says(f"said {number}"), middleware=[MonitorMiddleware()]).ainvoke(
            {"messages": f"{number}"}
        )
        return str(answer["messages"][-1].content)

    async def callback(number: int) -> str:
        return str((await says(f"said {number}").ainvoke(f"{number}", {"callbacks": [handler]})).content)

    async def client(number: int) -> str:
        return (await office.async_client.chat.completions.create(**said(number))).choices[0].message.content or ""

    async def thread(number: int) -> str:
        return await asyncio.to_thread(office.ask, number)

    ways = [agent, middleware, callback, client, thread]

    @monitor.subcall("parent")
    async def parent(number: int) -> str:
        return await ways[number % len(ways)](number)

    async def main() -> list[str]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
        async with office.async_client, monitor.observed_run("x", db=desk.db, policy=[], budget=Limits(calls=1_000)):
            return await asyncio.gather(*(parent(number) for number in range(200)))

    answers = asyncio.run(main())
    office.client.close()
    assert [answer.split()[-1] for answer in answers] == [str(number) for number in range(200)]
    at = tree(desk)
    below = [subcall for subcall in at.values() if subcall.call.role != "parent"]
    assert (len(at), len(below)) == (400, 200)
    for subcall in below:
        assert subcall.observation is not None
        number = subcall.observation.output.split()[-1]
        assert at[subcall.call.parent_id or ""].call.task == f'{{"number":{number}}}'
        assert at[subcall.call.parent_id or ""].call.role == "parent"


KILLED = {
    "agents-sdk": """
from agents import Agent
from monitor.adapters.agents_sdk import run_sync
from tests.adapters.agents_sdk.test_agents import Script

class Dying(Script):
    async def get_response(self, *given, **named):
        die()

run_sync(Agent(name="a", model=Dying("x")), "Will this be found?", db=db, policy=[])
""",
    "callback": """
from monitor.adapters.langchain import MonitorCallbackHandler
from tests.adapters.langchain.conftest import Scripted

model = Scripted(answers=lambda messages: die(), asked=[])
model.invoke("Will this be found?", {"callbacks": [MonitorCallbackHandler(policy=[], db=db)]})
""",
    "python": """
import monitor

@monitor.subcall(db=db, policy=[])
def ask(text):
    die()

ask("Will this be found?")
""",
}
HEAD = """
import os, signal, sys
db = sys.argv[1]

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("adapter", KILLED)
def test_a_process_that_is_killed_in_a_call_leaves_its_start(desk: Desk, adapter: str) -> None:
    """Those of the OpenAI client and of the middleware are in tests of their own."""
    ended = subprocess.run([sys.executable, "-c", HEAD + KILLED[adapter], desk.db], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    with Store.open(desk.db) as store:
        (held,) = store.runs()
        (subcall,) = store.subcalls(held.start.run_id)
    assert (held.state, subcall.state) == ("started", "started")
    assert "Will this be found?" in subcall.call.task
