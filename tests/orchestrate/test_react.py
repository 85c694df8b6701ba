"""An agent of LangChain's whose every model and tool call is a bounded subcall."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache

import monitor
from monitor.errors import MissingExtraError
from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import Limits, Outcome, ToolCall, VerdictValue
from tests.orchestrate.conftest import RECIPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from monitor.models.base import ModelRequest
    from monitor.orchestrate.ending import RunResult
    from monitor.records import Event, StoredSubcall
    from tests.orchestrate.conftest import Desk

AGENT = str(RECIPES / "agent.py")
TASK = "What is 6 times 7?"


def asks(*calls: tuple[str, str], text: str = "", ids: str = "same") -> Reply:
    """A reply that asks for tools; all with one id, as a careless provider sends them."""
    return Reply(text=text, tool_calls=tuple(ToolCall(id=ids, name=name, arguments=given) for name, given in calls))


def calculates(expression: str) -> tuple[str, str]:
    return ("calculate", json.dumps({"expression": expression}))


def worked(desk: Desk, model: ScriptedModel, recipe: str = "agent", **arguments: Any) -> RunResult:
    return desk.run(f"{AGENT}:{recipe}", model, TASK, **arguments)


def shape(subcalls: list[StoredSubcall]) -> list[tuple[Any, ...]]:
    """What was handed to whom, and what came back, without ids and times."""
    own = re.compile("|".join(item.call.span_id for item in subcalls))  # the message of a failed tool names its subcall
    return [
        (
            item.call.kind,
            item.call.task,
            [message.model_copy(update={"content": own.sub("", message.content)}) for message in item.call.messages],
            item.call.depth,
            item.observation and item.observation.output,
        )
        for item in subcalls
    ]


def test_model_and_tool_calls_are_subcalls_in_the_tree(desk: Desk) -> None:
    model = ScriptedModel([asks(calculates("6 * 7"), text="<think>I multiply.</think>"), "<think>Done.</think>42"])
    result = worked(desk, model)
    assert (result.outcome, result.answer) == (Outcome.OK, "42")
    assert (result.usage.calls, result.usage.tool_calls) == (2, 1)
    first, tool, last = desk.subcalls()
    assert [first.call.kind, tool.call.kind, last.call.kind] == ["model", "tool", "model"]
    assert tool.call.parent_id == first.call.span_id
    assert (first.call.depth, tool.call.depth, last.call.depth) == (1, 2, 1)
    assert last.call.messages[-1].content == "42"
    assert first.observation is not None
    assert first.observation.reasoning.text == "I multiply."


@pytest.mark.parametrize(
    "replies",
    [
        [asks(calculates("6 * 7")), "42"],
        [asks(calculates("1 +"), text="a \x00 hostile ␛ text"), asks(("calculate", "{}"), text="again"), "enough"],
        [asks(("shell", '{"cmd": "ls"}'), ("calculate", "no JSON"), ("calculate", "[1]"), calculates("2 ** 10")), "so"],
    ],
)
def test_langchains_loop_hands_over_what_ours_does(desk: Desk, replies: list[Reply | str]) -> None:
    """Word for word, hostile texts, failures and refusals included: the record does not tell whose loop it was."""
    assert worked(desk, ScriptedModel(replies)).outcome is Outcome.OK
    agents = desk.subcalls()
    assert worked(desk, ScriptedModel(replies), "native").outcome is Outcome.OK
    assert shape(agents) == shape(desk.subcalls())


def test_a_refused_call_is_recorded_never_run_and_told(desk: Desk) -> None:
    model = ScriptedModel([asks(("shell", '{"cmd": "ls"}'), ("calculate", "no JSON")), "I may not."])
    result = worked(desk, model)
    assert (result.outcome, result.usage.tool_calls) == (Outcome.OK, 0)
    asked, last = desk.subcalls()
    assert asked.observation is not None
    refused = [call.refused for call in asked.observation.tool_calls]
    assert refused == ["not in the role's tools (calculate, slow)", "its arguments are not JSON"]
    told = [message.content for message in last.call.messages if message.role == "tool"]
    assert told == [f"refused: {why}" for why in refused]


def test_a_run_budget_of_two_calls_is_two_calls(desk: Desk) -> None:
    model = ScriptedModel(lambda _: asks(calculates("1 + 1")))
    result = worked(desk, model, budget=Limits(calls=2))
    assert (result.outcome, model.calls) == (Outcome.BUDGET_EXCEEDED, 2)
    assert [exceeded.owner for exceeded in result.exceeded] == ["run"]


def test_agents_side_by_side_share_a_budget(desk: Desk) -> None:
    model = ScriptedModel(lambda _: asks(calculates("1 + 1")))
    assert worked(desk, model, "team", budget=Limits(calls=5)).outcome is Outcome.BUDGET_EXCEEDED
    assert model.calls <= 5


def test_a_tool_budget_holds(desk: Desk) -> None:
    model = ScriptedModel(lambda _: asks(calculates("1 + 1"), calculates("2 + 2")))
    result = worked(desk, model, budget=Limits(tool_calls=3))
    assert (result.outcome, result.usage.tool_calls) == (Outcome.BUDGET_EXCEEDED, 3)


def test_a_loop_that_never_ends_is_ended(desk: Desk) -> None:
    model = ScriptedModel(lambda _: asks(calculates("1 + 1")))
    result = worked(desk, model)
    assert (result.outcome, model.calls) == (Outcome.FAILED, 16)
    assert result.error is not None
    assert "asked for tools 16 times" in result.error.message


def test_parallel_tool_calls_run_side_by_side_and_are_answered_in_order(desk: Desk) -> None:
    calls = [("slow", '{"seconds": 0.2}'), calculates("6 * 7"), ("slow", '{"seconds": 0.2}')]
    result = worked(desk, ScriptedModel([asks(*calls), "done"]), concurrency=3)
    assert (result.outcome, result.usage.tool_calls) == (Outcome.OK, 3)
    first, *tools, last = desk.subcalls()
    told = [message.content for message in last.call.messages if message.role == "tool"]
    assert told == ["slept 0.2", "42", "slept 0.2"]
    assert {tool.call.parent_id for tool in tools} == {first.call.span_id}
    assert len({tool.call.key for tool in tools}) == 3  # the two equal calls are told apart


def test_parallel_tool_calls_take_places_like_model_calls(desk: Desk) -> None:
    in_flight: set[str] = set()
    seen: list[int] = []

    def listen(event: Event) -> None:
        if event.kind == "started":
            in_flight.add(event.span_id)
        elif event.kind == "observed":
            in_flight.remove(event.span_id)
        seen.append(len(in_flight))

    calls = [calculates(f"{number} + 1") for number in range(6)]
    result = worked(desk, ScriptedModel([asks(*calls), "done"]), concurrency=2, listener=listen)
    assert (result.outcome, result.usage.tool_calls) == (Outcome.OK, 6)
    assert max(seen) == 2


@pytest.mark.parametrize("middleware", ["", "swallow", "retry"])
def test_a_withheld_answer_ends_the_run_blocked_whatever_langchain_makes_of_it(
    desk: Desk, policy: Callable[..., str], middleware: str
) -> None:
    model = ScriptedModel([asks(calculates("6 * 7")), "a bomb", "fine", "fine"])
    result = worked(desk, model, policies=[policy("bomb")], options={"middleware": middleware})
    assert (result.outcome, result.verdict.value, result.answer) == (Outcome.BLOCKED, VerdictValue.BLOCK, "")
    assert model.calls == 2  # nobody asked again


@pytest.mark.parametrize("middleware", ["", "swallow", "retry"])
def test_a_withheld_tool_result_ends_the_run_blocked(desk: Desk, policy: Callable[..., str], middleware: str) -> None:
    model = ScriptedModel([asks(calculates("6 * 7")), "never told"])
    pack = policy('"42"', fields=["output"])
    result = worked(desk, model, policies=[pack], options={"middleware": middleware})
    assert (result.outcome, result.answer, model.calls) == (Outcome.BLOCKED, "", 1)


def test_what_a_middleware_puts_in_is_handed_over_and_on_record(desk: Desk) -> None:
    worked(desk, ScriptedModel(["42"]), options={"middleware": "interject"})
    (subcall,) = desk.subcalls()
    assert [message.content for message in subcall.call.messages[-2:]] == [TASK, "hurry ␛0000 up"]


def test_an_answer_that_no_role_gave_is_no_answer(desk: Desk) -> None:
    result = worked(desk, ScriptedModel([]), options={"middleware": "forge"})
    assert (result.outcome, result.answer) == (Outcome.FAILED, "")
    assert result.error is not None
    assert "ended before the role gave an answer" in result.error.message


def test_a_middleware_can_add_no_tool(desk: Desk) -> None:
    result = worked(desk, ScriptedModel(["42"]), options={"middleware": "smuggle"})
    assert (result.outcome, result.usage.calls) == (Outcome.FAILED, 0)
    assert result.error is not None
    assert "smuggled, which the role was not handed" in result.error.message


@pytest.fixture
def cached() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


@pytest.mark.usefixtures("cached")
def test_langchains_cache_answers_nothing(desk: Desk) -> None:
    """An answer from there would be one that was not stored and judged in this run."""
    model = ScriptedModel(["first", "second"])
    assert [worked(desk, model).answer, worked(desk, model).answer] == ["first", "second"]


def test_a_resumed_agent_calls_nothing_again_that_was_judged(desk: Desk) -> None:
    first = ScriptedModel([asks(calculates("6 * 7"), calculates("6 * 7")), asks(calculates("1 + 1"))])
    stopped = worked(desk, first, budget=Limits(calls=2))
    assert (stopped.outcome, stopped.usage.calls, stopped.usage.tool_calls) == (Outcome.BUDGET_EXCEEDED, 2, 3)
    second = ScriptedModel(["42 and 2"])
    result = monitor.resume_sync(stopped.run_id, model=second, db=desk.db, budget=Limits(calls=3), retry_failed=True)
    assert (result.outcome, result.answer, second.calls) == (Outcome.OK, "42 and 2", 1)
    assert (result.usage.calls, result.usage.tool_calls) == (3, 3)
    again = monitor.resume_sync(stopped.run_id, model=ScriptedModel([]), db=desk.db)
    assert (again.answer, again.usage.calls) == ("42 and 2", 3)


def test_an_agent_waits_for_a_person_and_goes_on(desk: Desk, policy: Callable[..., str]) -> None:
    model = ScriptedModel([asks(calculates("6 * 7"), text="may I"), "42"])
    suspended = worked(desk, model, policies=[policy("may I", "ask_human", ["raw", "output"])])
    assert (suspended.outcome, len(suspended.pending), suspended.usage.tool_calls) == (None, 1, 0)
    decision = monitor.decide(
        f"{suspended.run_id}/{suspended.pending[0]}", "approve", why="sums are harmless", db=desk.db
    )
    asyncio.run(decision)
    result = monitor.resume_sync(suspended.run_id, model=model, db=desk.db)
    assert (result.outcome, result.answer, model.calls) == (Outcome.OK, "42", 2)


# ------------------------------------------------------------------------------------ the recipe that is shipped


def test_the_shipped_recipe_reads_a_folder_through_confined_tools(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "hours.md").write_text("The library is open from 9 to 17.\n", encoding="utf-8")

    def work(request: ModelRequest) -> Reply:
        last = request.messages[-1].content
        if "9 to 17" in last:
            return Reply(text="<think>It says so.</think>From 9 to 17.")
        return asks(("read_file", '{"path": "hours.md"}'), text="<think>I look it up.</think>")

    options = {"folder": str(tmp_path / "notes")}
    result = desk.run("react", ScriptedModel(work), "When is the library open?", options=options)
    assert (result.outcome, result.answer, result.usage.tool_calls) == (Outcome.OK, "From 9 to 17.", 1)
    assert {spec for item in desk.subcalls() for spec in item.call.tools} == {"calculate", "read_file", "search_corpus"}


def test_tools_that_need_a_folder_say_so(desk: Desk) -> None:
    result = desk.run("react", ScriptedModel([]), options={"tools": ["read_file"]})
    assert result.error is not None
    assert "read_file needs a folder" in result.error.message


def test_without_langchain_the_recipe_says_what_to_install(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "monitor.orchestrate.langchain_agent", raising=False)
    monkeypatch.setitem(sys.modules, "langchain.agents", None)
    result = desk.run("react", ScriptedModel([]))
    assert (result.outcome, result.usage.calls) == (Outcome.FAILED, 0)
    assert result.error is not None
    assert result.error.message == str(MissingExtraError("LangChain, whose agent this is,", "models"))
