"""Every started subcall ends in a terminal event, whatever goes wrong; nothing is released before it is judged."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.errors import ConfigError, ProviderError, RecipeError, StoreError
from monitor.models.base import ReportedUsage
from monitor.models.scripted import Reply, ScriptedModel
from monitor.orchestrate import ending
from monitor.orchestrate.calls import total
from monitor.records import (
    Limits,
    Outcome,
    ReasoningState,
    Status,
    StoredSubcall,
    ToolCall,
    VerdictValue,
)
from monitor.settings import Settings
from monitor.store import Store
from tests.store.databases import Database
from tests.stubs.openai_stub import OpenAIStub

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.records import Event
    from tests.orchestrate.conftest import Desk


def ends(subcalls: list[StoredSubcall]) -> list[str]:
    """The final outcomes in order; every subcall must have one."""
    assert all(subcall.judgement for subcall in subcalls), "a started subcall has no terminal event"
    return [subcall.state for subcall in subcalls]


def test_an_answer_is_stored_judged_and_returned(desk: Desk) -> None:
    result = desk.run("single", ScriptedModel(["Paris."]))
    assert (result.outcome, result.answer) == (Outcome.OK, "Paris.")
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert subcall.observation.output == "Paris."
    assert [message.role for message in subcall.call.messages] == ["system", "user"]
    assert subcall.call.reserved.calls == 1
    assert result.usage == subcall.observation.usage


@pytest.mark.parametrize(
    ("kind", "status", "outcomes"),
    [
        ("rate_limit", 429, ["failed", "ok"]),
        ("server_error", 500, ["failed", "ok"]),
        ("auth", 401, ["failed"]),
        ("bad_request", 400, ["failed"]),
    ],
)
def test_a_provider_error_is_an_attempt_of_its_own(desk: Desk, kind: str, status: int, outcomes: list[str]) -> None:
    retryable = kind in {"rate_limit", "server_error"}
    model = ScriptedModel([ProviderError("no", kind=kind, status=status, retryable=retryable), "Paris."])
    result = desk.run("single", model)
    subcalls = desk.subcalls()
    assert outcomes == ends(subcalls)
    assert result.outcome == outcomes[-1]
    assert [subcall.call.attempt for subcall in subcalls] == list(range(1, len(outcomes) + 1))
    assert {subcall.call.parent_id for subcall in subcalls[1:]} <= {subcalls[0].call.span_id}
    assert result.usage.calls == len(outcomes)
    assert len({subcall.call.seed for subcall in subcalls}) == 1


def test_a_malformed_answer_is_sampled_again_with_another_seed(desk: Desk) -> None:
    good = '{"reasoning": "I know this one.", "answer": "Paris"}'
    result = desk.run("answer", ScriptedModel(["not JSON", '{"answer": 7}', good]))
    subcalls = desk.subcalls()
    assert ends(subcalls) == ["failed", "failed", "ok"]
    errors = [subcall.observation.error for subcall in subcalls if subcall.observation]
    assert [error.kind for error in errors if error] == ["malformed_output", "malformed_output"]
    assert len({subcall.call.seed for subcall in subcalls}) == 3
    assert [subcall.call.temperature for subcall in subcalls] == [0, 0.7, 0.7], "a greedy model would say it again"
    assert result.answer == "Paris"
    assert result.usage.calls == 3


def test_an_answer_that_stays_malformed_fails_the_run(desk: Desk) -> None:
    result = desk.run("answer", ScriptedModel(["nonsense"] * 3))
    assert ends(desk.subcalls()) == ["failed"] * 3
    assert (result.outcome, result.answer) == (Outcome.FAILED, "")
    assert result.error is not None
    assert "malformed_output" in result.error.message


def test_an_exception_in_the_model_is_recorded_and_raised(desk: Desk) -> None:
    result = desk.run("single", ScriptedModel([RuntimeError("the client broke")]))
    assert ends(desk.subcalls()) == ["failed"]
    assert result.error is not None
    assert "the client broke" in result.error.message


def test_a_hung_call_is_cancelled_at_its_deadline_and_keeps_its_partial_output(desk: Desk) -> None:
    model = ScriptedModel([Reply(chunks=("Par", "is is"), hang=True)])
    result = desk.run("single", model, budget=Limits(seconds=0.3))
    (subcall,) = desk.subcalls()
    assert ends([subcall]) == ["budget_exceeded"]
    assert subcall.observation is not None
    assert subcall.observation.output == "Paris is"
    assert [item.limit for item in subcall.observation.exceeded] == ["seconds"]
    assert subcall.observation.usage == subcall.call.reserved
    assert result.outcome is Outcome.BUDGET_EXCEEDED
    assert [item.owner for item in result.exceeded] == ["run"]


def test_an_answer_cut_at_its_length_is_a_budget_exceeded_with_the_partial_kept(desk: Desk) -> None:
    result = desk.run("single", ScriptedModel([Reply(text="Paris is the", finish_reason="length")]))
    (subcall,) = desk.subcalls()
    assert ends([subcall]) == ["budget_exceeded"]
    assert subcall.observation is not None
    assert subcall.observation.output == "Paris is the"
    assert result.answer == ""


def test_every_exceeded_limit_is_reported_the_outermost_first(desk: Desk) -> None:
    result = desk.run("single", ScriptedModel(["never"]), budget=Limits(calls=0, input_tokens=1))
    assert [item.limit for item in result.exceeded] == ["calls", "input_tokens"]
    (subcall,) = desk.subcalls()
    assert ends([subcall]) == ["budget_exceeded"]
    assert subcall.charged.calls == 0


def test_a_refused_call_costs_nothing_and_the_cost_stays_known(desk: Desk) -> None:
    result = desk.run("single", ScriptedModel(["never"]), budget=Limits(calls=0))
    assert result.usage.cost == 0.0


def test_waiting_for_a_turn_uses_no_time_of_the_roles_own(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "clerk.md").write_text("---\nname: clerk\ndescription: a clerk\nbudget: {seconds: 0.6}\n---\nAnswer.\n")
    (tmp_path / "queue.py").write_text(
        "async def queue(ctx, task: str) -> str:\n"
        '    return str(len(await ctx.map("clerk", [{"task": str(n)} for n in range(4)], concurrency=1)))\n'
    )
    result = desk.run(f"{tmp_path}/queue.py", ScriptedModel(lambda _: Reply(text="fine", delay=0.25)))
    assert (result.outcome, result.answer) == (Outcome.OK, "4")


def test_a_nested_recipe_finds_the_roles_beside_it(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "porter.md").write_text("---\nname: porter\ndescription: a porter\n---\nAnswer.\n")
    (tmp_path / "inner" / "gate.py").write_text(
        'async def gate(ctx, task: str) -> str:\n    return (await ctx.call("porter", task=task)).text\n'
    )
    (tmp_path / "outer.py").write_text(
        f'async def outer(ctx, task: str) -> str:\n    return await ctx.recipe("{tmp_path}/inner/gate.py", task)\n'
    )
    result = desk.run(f"{tmp_path}/outer.py", ScriptedModel(["open"]))
    assert result.answer == "open"
    assert [subcall.call.recipe for subcall in desk.subcalls()] == ["gate"]


def test_policies_by_relative_path_are_found_again_from_anywhere(
    desk: Desk, policy: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy("zebra")
    monkeypatch.chdir(tmp_path)
    refused = ProviderError("no", kind="auth", status=401)
    result = desk.run("single", ScriptedModel([refused]), policies=["./withhold.yaml"])
    monkeypatch.chdir("/")
    again = monitor.resume_sync(result.run_id, db=desk.db, model=ScriptedModel(["a zebra"]), retry_failed=True)
    assert again.outcome is Outcome.BLOCKED


def test_a_run_stops_at_its_number_of_calls(desk: Desk) -> None:
    model = ScriptedModel(lambda _: "fine")
    result = desk.run("many", model, options={"count": 6}, budget=Limits(calls=4))
    assert result.outcome is Outcome.BUDGET_EXCEEDED
    assert model.calls == result.usage.calls <= 4
    ends(desk.subcalls())


@pytest.mark.parametrize(
    ("mode", "outcome", "kind"),
    [
        ("429", "failed", "rate_limit"),
        ("500", "failed", "server_error"),
        ("cut", "failed", "connection"),
        ("cut-before", "failed", "connection"),
        ("malformed", "failed", "invalid_response"),
    ],
)
def test_what_a_real_server_does_wrong_is_recorded(desk: Desk, mode: str, outcome: str, kind: str) -> None:
    with OpenAIStub() as stub:
        result = desk.run("single", task=f"please [[stub:{mode}]]", **desk.served(stub.base_url))
    subcalls = desk.subcalls()
    assert set(ends(subcalls)) == {outcome}
    first = subcalls[0].observation
    assert first is not None
    assert first.error is not None
    assert first.error.kind == kind
    assert result.outcome == outcome
    if mode == "cut":
        assert first.output, "what had arrived before the connection was cut is kept"
        assert first.usage == subcalls[0].call.reserved


def test_a_refused_tool_call_is_recorded_and_the_role_goes_on(desk: Desk, tmp_path: Path) -> None:
    write_tool_recipe(tmp_path)
    calls = (ToolCall(id="1", name="launch", arguments='{"target": "x"}'), ToolCall(id="2", name="add", arguments="no"))
    model = ScriptedModel([Reply(tool_calls=calls), "I may not."])
    result = desk.run(f"{tmp_path}/tools.py", model)
    subcalls = desk.subcalls()
    assert ends(subcalls) == ["ok", "ok"]
    assert subcalls[0].observation is not None
    refused = [tool_call.refused for tool_call in subcalls[0].observation.tool_calls]
    assert refused == ["not in the role's tools (add)", "its arguments are not JSON"]
    assert subcalls[0].judgement is not None
    caught = {finding.name for finding in subcalls[0].judgement.findings if finding.status is Status.MATCH}
    assert any("tool" in name for name in caught), "the shipped pack sees a tool outside its list"
    assert result.outcome in {Outcome.OK, Outcome.BLOCKED}


def test_a_tool_runs_as_a_subcall_of_its_own_after_the_call_that_asked_is_judged(desk: Desk, tmp_path: Path) -> None:
    write_tool_recipe(tmp_path)
    asked = Reply(tool_calls=(ToolCall(id="1", name="add", arguments='{"a": 2, "b": 40}'),))
    model = ScriptedModel([asked, "It is 42."])
    events: list[tuple[str, str]] = []
    result = desk.run(f"{tmp_path}/tools.py", model, listener=lambda event: events.append((event.kind, event.span_id)))
    assert result.answer == "It is 42."
    first, tool, last = desk.subcalls()
    assert [first.call.kind, tool.call.kind, last.call.kind] == ["model", "tool", "model"]
    assert tool.call.parent_id == first.call.span_id
    assert tool.observation is not None
    assert tool.observation.output == "42"
    assert events.index(("judged", first.call.span_id)) < events.index(("started", tool.call.span_id))
    assert model.requests[1].messages[-1].content == "42"
    assert result.usage.tool_calls == 1


def test_a_tool_that_makes_calls_itself_takes_no_place_from_them(desk: Desk, tmp_path: Path) -> None:
    """There is one place, and the call that the tool makes needs it."""
    write_tool_recipe(tmp_path)
    (tmp_path / "roles" / "boss.md").write_text(
        "---\nname: boss\ndescription: asks\ntrust: trusted\ntools: [delegate]\n---\nAsk.\n"
    )
    (tmp_path / "tools.py").write_text(
        "def add(a: int, b: int) -> int:\n"
        '    """Add two numbers."""\n'
        "    return a + b\n\n"
        "async def tools(ctx, task: str) -> str:\n"
        "    async def delegate(question: str) -> str:\n"
        '        """Ask a worker."""\n'
        '        return (await ctx.map("worker", [{"task": question}], tools=[add]))[0].text\n\n'
        '    return (await ctx.call("boss", task=task, tools=[delegate])).text\n'
    )
    model = ScriptedModel(
        [
            Reply(tool_calls=(ToolCall(id="1", name="delegate", arguments='{"question": "2 + 40"}'),)),
            Reply(tool_calls=(ToolCall(id="1", name="add", arguments='{"a": 2, "b": 40}'),)),
            "It is 42.",
            "42",
        ]
    )
    result = desk.run(f"{tmp_path}/tools.py", model, concurrency=1, budget=Limits(seconds=60))
    assert result.error is None
    assert (result.answer, result.usage.tool_calls) == ("42", 2)


def test_a_withheld_error_of_a_tool_reaches_neither_model_nor_caller(
    desk: Desk, tmp_path: Path, policy: Callable[..., str]
) -> None:
    """What a failing tool says comes from outside like any result: a rule on tool results sees it and can withhold it."""
    write_tool_recipe(tmp_path)
    source = (tmp_path / "tools.py").read_text().replace("return a + b", "raise ValueError('a zebra came in')")
    (tmp_path / "tools.py").write_text(source)
    asked = Reply(tool_calls=(ToolCall(id="1", name="add", arguments='{"a": 2, "b": 40}'),))
    model = ScriptedModel([asked, "I see."])
    desk.run(f"{tmp_path}/tools.py", model, policies=[policy("zebra", fields=("tool.result",))])
    _, tool, _ = desk.subcalls()
    assert tool.judgement is not None
    assert tool.judgement.verdict.catches == ("the_word",)
    told = model.requests[1].messages[-1].content
    assert "withheld" in told
    assert "zebra" not in told


def test_a_failing_tool_is_told_to_the_model_and_a_tool_budget_holds(desk: Desk, tmp_path: Path) -> None:
    write_tool_recipe(tmp_path)
    bad = Reply(tool_calls=(ToolCall(id="1", name="add", arguments='{"a": "two"}'),), times=None)
    result = desk.run(f"{tmp_path}/tools.py", ScriptedModel([bad]), budget=Limits(tool_calls=1))
    assert result.outcome is Outcome.BUDGET_EXCEEDED
    assert ends(desk.subcalls()) == ["ok", "failed", "ok", "budget_exceeded"]


def write_tool_recipe(folder: Path) -> None:
    (folder / "roles").mkdir(exist_ok=True)
    (folder / "roles" / "worker.md").write_text(
        "---\nname: worker\ndescription: uses tools\ntools: [add]\n---\nUse your tools.\n"
    )
    (folder / "tools.py").write_text(
        "def add(a: int, b: int) -> int:\n"
        '    """Add two numbers."""\n'
        "    return a + b\n\n"
        "async def tools(ctx, task: str) -> str:\n"
        '    return (await ctx.call("worker", task=task, tools=[add])).text\n'
    )


def cancel_in_flight(desk: Desk, recipe: str, model: ScriptedModel) -> None:
    """Cancel a run once its first call has been in flight for a moment."""

    async def cancelled() -> None:
        in_flight = asyncio.Event()
        task = asyncio.create_task(desk.start(recipe, model, listener=lambda event: _tell(event, in_flight)))
        await in_flight.wait()
        await asyncio.sleep(0.1)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


def _tell(event: Event, in_flight: asyncio.Event) -> None:
    if event.kind == "started":
        in_flight.set()


def test_a_cancelled_run_says_so_and_resumes(desk: Desk) -> None:
    cancel_in_flight(desk, "many", ScriptedModel([Reply(hang=True, times=None)]))
    subcalls = desk.subcalls()
    assert set(ends(subcalls)) == {"cancelled"}
    with Store.open(desk.db) as store:
        run = store.runs()[0]
    assert run.state == Outcome.CANCELLED
    model = ScriptedModel(lambda _: "fine", name="scripted")
    result = monitor.resume_sync(run.start.run_id, db=desk.db, model=model)
    assert (result.outcome, result.answer) == (Outcome.OK, "fine fine fine fine")
    after = desk.subcalls()
    assert [subcall.call.retry_of for subcall in after if subcall.call.attempt == 2] == [
        subcall.call.span_id for subcall in subcalls
    ]
    assert result.usage == total(subcall.charged for subcall in after)


def test_a_recipe_that_swallows_its_cancellation_gets_nothing_more(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "clerk.md").write_text("---\nname: clerk\ndescription: a clerk\n---\nAnswer.\n")
    (tmp_path / "deaf.py").write_text(
        "import asyncio\n"
        "async def deaf(ctx, task: str) -> str:\n"
        "    for number in range(3):\n"
        "        try:\n"
        '            await ctx.call("clerk", task=f"{task} {number}")\n'
        "        except (Exception, asyncio.CancelledError):\n"
        "            pass\n"
        '    return "I went on"\n'
    )
    model = ScriptedModel([Reply(hang=True, times=None)])
    cancel_in_flight(desk, f"{tmp_path}/deaf.py", model)
    assert model.calls == 1
    with Store.open(desk.db) as store:
        assert store.runs()[0].state == Outcome.CANCELLED


def test_a_group_of_errors_ends_a_run_as_its_gravest_one(
    desk: Desk, tmp_path: Path, policy: Callable[..., str]
) -> None:
    (tmp_path / "clerk.md").write_text("---\nname: clerk\ndescription: a clerk\n---\nAnswer.\n")
    (tmp_path / "group.py").write_text(
        "import asyncio\n"
        "async def group(ctx, task: str) -> str:\n"
        "    async with asyncio.TaskGroup() as tasks:\n"
        "        for number in range(2):\n"
        '            tasks.create_task(ctx.call("clerk", task=f"{task} {number}"))\n'
        '    return "never"\n'
    )
    result = desk.run(f"{tmp_path}/group.py", ScriptedModel(lambda _: "a zebra"), policies=[policy("zebra")])
    assert result.outcome is Outcome.BLOCKED
    assert "the_word" in (result.error.message if result.error else "")


def test_a_recipe_that_leaves_the_process_from_a_branch_fails(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "leave.py").write_text(
        "import sys\n"
        "async def leave(ctx, task: str) -> str:\n"
        "    async def branch() -> str:\n"
        "        sys.exit(0)\n"
        "    await ctx.gather([branch])\n"
        '    return "never"\n'
    )
    result = desk.run(f"{tmp_path}/leave.py", ScriptedModel([]))
    assert result.outcome is Outcome.FAILED
    assert "sys.exit" in (result.error.message if result.error else "")


def test_a_cancelled_call_keeps_what_had_arrived(desk: Desk) -> None:
    cancel_in_flight(desk, "single", ScriptedModel([Reply(chunks=("so ", "far"), hang=True)]))
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert subcall.observation.output == "so far"


def test_the_first_failing_branch_cancels_its_siblings(desk: Desk) -> None:
    def answer(request: Any) -> Reply:
        if request.messages[-1].content.endswith(" 1"):
            return Reply(error=ProviderError("no", kind="auth", status=401))
        return Reply(hang=True)

    result = desk.run("many", ScriptedModel(answer), concurrency=4)
    assert result.outcome is Outcome.FAILED
    subcalls = desk.subcalls()
    assert sorted(ends(subcalls)) == ["cancelled", "cancelled", "cancelled", "failed"]
    assert result.usage == total(subcall.charged for subcall in subcalls)


def test_64_siblings_share_one_budget_without_overshoot(desk: Desk) -> None:
    """Calls in flight together, each of which could spend a twentieth of the budget and spends as it pleases."""
    model = ScriptedModel(lambda request: Reply(text="fine", delay=0.001 * (request.seed or 0 % 7) / 2**31))
    limits = Limits(calls=40, output_tokens=20 * 64, input_tokens=10**6)
    result = desk.run("many", model, options={"count": 64}, budget=limits, concurrency=64)
    assert result.outcome is Outcome.BUDGET_EXCEEDED
    assert model.calls == 40
    assert result.usage.calls == 40
    assert result.usage == total(subcall.charged for subcall in desk.subcalls())


def test_64_siblings_and_a_provider_that_reports_more_than_it_was_allowed(desk: Desk) -> None:
    """What is reported beyond a reservation is recorded and charged; nothing is reserved past the limit after it."""
    over = ReportedUsage(input_tokens=50, output_tokens=500)
    model = ScriptedModel(lambda _: Reply(text="fine", usage=over))
    result = desk.run(
        "many", model, options={"count": 64}, policies=[], budget=Limits(output_tokens=20 * 64), concurrency=64
    )
    assert result.outcome is Outcome.BUDGET_EXCEEDED
    subcalls = desk.subcalls()
    in_flight = 20  # as many worst cases of 64 tokens as fit into the limit
    assert model.calls <= in_flight
    assert {finding.name for _, finding in result.findings} == {"usage_over_reservation"}
    reserved = sum(subcall.call.reserved.output_tokens for subcall in subcalls if subcall.charged.calls)
    assert reserved <= 20 * 64
    assert result.usage.output_tokens == 500 * model.calls


def test_a_withheld_answer_reaches_nobody(desk: Desk, policy: Callable[..., str]) -> None:
    result = desk.run("single", ScriptedModel(["the zebra is out"]), policies=[policy("zebra")])
    assert (result.outcome, result.answer) == (Outcome.BLOCKED, "")
    assert "zebra" not in (result.error.message if result.error else "")
    assert result.verdict.value is VerdictValue.BLOCK
    assert result.verdict.catches == ("the_word",)
    assert [finding.name for _, finding in result.findings] == ["the_word"]
    (subcall,) = desk.subcalls()
    assert subcall.observation is not None
    assert subcall.observation.output == "the zebra is out"


def test_the_demonstration_of_a_catch_is_one(desk: Desk) -> None:
    culprit = Path(__file__).parents[2] / "docs" / "examples" / "culprit.yaml"
    result = desk.run("answer", f"scripted:{culprit}", "Do the tests pass?")
    assert result.outcome is Outcome.BLOCKED
    assert set(result.verdict.catches) == {
        "hides_from_oversight",
        "tampers_with_tests",
        "claims_success_after_failure",
        "claims_tests_without_a_run",
    }


def test_a_halt_stops_the_run_even_where_the_recipe_would_go_on(
    desk: Desk, policy: Callable[..., str], tmp_path: Path
) -> None:
    recipe = tmp_path / "stubborn.py"
    (tmp_path / "clerk.md").write_text("---\nname: clerk\ndescription: a clerk\n---\nAnswer.\n")
    recipe.write_text(
        "async def stubborn(ctx, task: str) -> str:\n"
        "    for number in range(5):\n"
        "        try:\n"
        '            await ctx.call("clerk", task=f"{task} {number}")\n'
        "        except Exception:\n"
        "            pass\n"
        '    return "I went on"\n'
    )
    model = ScriptedModel(lambda _: "a zebra")
    result = desk.run(str(recipe), model, policies=[policy("zebra", "halt")])
    assert (result.outcome, result.answer) == (Outcome.BLOCKED, "")
    assert model.calls == 1


@pytest.mark.parametrize(
    "first",
    [
        Reply(text="not JSON", reasoning="a zebra"),
        Reply(chunks=("<think>a zebra</think>",), error=ProviderError("busy", kind="rate_limit", status=429)),
    ],
)
def test_an_attempt_that_would_be_made_again_halts_all_the_same(
    desk: Desk, policy: Callable[..., str], first: Reply
) -> None:
    """Neither a malformed answer nor an outage behind what halts earns another attempt, now or on a resume."""
    model = ScriptedModel([first, Reply(text='{"reasoning": "because it is so", "answer": "fine"}', times=None)])
    result = desk.run("answer", model, policies=[policy("zebra", "halt", ["reasoning"])])
    assert (result.outcome, result.answer, model.calls) == (Outcome.BLOCKED, "", 1)
    assert result.error is not None
    assert "halted the run: caught by the_word" in result.error.message


def test_a_run_without_a_policy_is_unmeasured(desk: Desk) -> None:
    result = desk.run("single", ScriptedModel(["fine"]), policies=[])
    assert result.outcome is Outcome.OK
    assert result.verdict.value is VerdictValue.UNMEASURED
    assert "no check was configured" in result.verdict.note


def test_a_provider_that_reports_more_than_was_reserved_is_a_finding(desk: Desk) -> None:
    model = ScriptedModel([Reply(text="fine", usage=ReportedUsage(input_tokens=10**6, output_tokens=10**6))])
    result = desk.run("single", model)
    assert [finding.name for _, finding in result.findings] == ["unusual_usage", "usage_over_reservation"]
    assert result.usage.output_tokens == 10**6


def test_a_cost_limit_without_a_price_is_an_error_before_anything_is_spent(desk: Desk) -> None:
    model = ScriptedModel(["never"], price=None)
    with pytest.raises(ConfigError, match="price"):
        desk.run("single", model, budget=Limits(cost=1.0))
    assert model.calls == 0


def test_reasoning_is_found_wherever_it_hides(desk: Desk) -> None:
    structured = '{"reasoning": "It is a capital.", "answer": "Paris"}'
    for recipe, reply, source in [
        ("single", Reply(text="<think>Hm.</think>Paris"), "think_tag"),
        ("single", Reply(text="Paris", reasoning="Hm.", reasoning_state=ReasoningState.SUMMARY), "provider"),
        ("answer", Reply(text=structured), "schema"),
    ]:
        result = desk.run(recipe, ScriptedModel([reply]))
        (subcall,) = desk.subcalls(result.run_id)
        assert subcall.observation is not None
        assert subcall.observation.reasoning.source == source
        assert result.answer == "Paris"
        assert "Hm" not in subcall.observation.output


@pytest.mark.parametrize("kind", ["observed", "judged"])
def test_nothing_is_released_before_its_commit(desk: Desk, kind: str, tmp_path: Path) -> None:
    """A fault between the answer and its commit: the recipe never sees the answer, and the record stays resumable."""
    seen: list[str] = []
    recipe = tmp_path / "leaky.py"
    (tmp_path / "clerk.md").write_text("---\nname: clerk\ndescription: a clerk\n---\nAnswer.\n")
    recipe.write_text(
        "released = []\n"
        "async def leaky(ctx, task: str) -> str:\n"
        '    answer = await ctx.call("clerk", task=task)\n'
        "    released.append(answer)\n"
        "    return answer.text\n"
    )
    Store.open(desk.db).close()
    broken = Database(desk.db)
    broken.refuse(kind)
    with pytest.raises(StoreError):
        desk.run(str(recipe), ScriptedModel(["secret"]), listener=lambda event: seen.append(event.kind))
    broken.allow()
    broken.close()
    from monitor.catalog import load_recipe

    assert load_recipe(str(recipe)).function.__globals__["released"] == []
    assert kind not in seen
    (subcall,) = desk.subcalls()
    assert subcall.state == {"observed": "started", "judged": "observed"}[kind]
    # What was observed is judged on resume, not called again; what was not observed is.
    model = ScriptedModel(["secret"])
    result = monitor.resume_sync(subcall.call.run_id, db=desk.db, model=model)
    assert result.answer == "secret"
    assert model.calls == {"observed": 1, "judged": 0}[kind]


HOSTILE = {
    "surrogates and NUL": "lone \ud800 and \udfff, nul \0, escape ␛",
    "numbers": '{"a": NaN, "b": 9223372036854775808, "c": 1e400}',
    "right to left": "\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd",
    "combining": "e\u0301\u0327" * 50,
    "terminal": "\x1b[2J\x1b]0;owned\x07 [bold]markup[/bold]",
    "ten megabytes": "x" * 10_000_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_output_is_stored_checked_and_shown(desk: Desk, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from monitor.canonical import unescape_text
    from monitor.cli import main

    text = HOSTILE[name]
    model = ScriptedModel([Reply(text=text, reasoning=text[:2000])])
    result = desk.run("single", model)
    (subcall,) = desk.subcalls()
    assert ends([subcall]) == [result.outcome]
    assert subcall.observation is not None
    assert unescape_text(subcall.observation.raw or subcall.observation.output) == text
    assert unescape_text(subcall.observation.reasoning.text) == text[:2000]
    assert subcall.judgement is not None
    assert all(finding.status is not Status.UNKNOWN for finding in subcall.judgement.findings)
    for view in (["show", result.run_id], ["show", result.run_id, "--subcall", subcall.call.span_id], ["list"]):
        assert main([*view, "--db", desk.db]) == 0
        shown = capsys.readouterr().out
        assert shown.isprintable() or not set(shown) & {"\0", "\x1b", "\x07", "\u202e", "\u202c"}


def test_hostile_structured_answers_reach_the_recipe_as_they_were_judged(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "numbers.md").write_text(
        "---\nname: numbers\ndescription: gives numbers\noutput:\n  type: object\n  required: [value, words]\n"
        "  properties:\n    value: {type: number}\n    words: {type: string}\n---\nGive a number.\n"
    )
    (tmp_path / "hostile.py").write_text(
        "async def hostile(ctx, task: str) -> str:\n"
        '    data = (await ctx.call("numbers", task=task)).data\n'
        "    return repr((data['value'], data['words']))\n"
    )
    model = ScriptedModel(['{"value": 9223372036854775808, "words": "a\\u0000b\\ud800"}'])
    result = desk.run(f"{tmp_path}/hostile.py", model)
    assert result.answer == "(9223372036854775808, 'a␛0000b␛d800')"


def test_a_resumed_run_that_ended_well_is_returned_as_it_is(desk: Desk) -> None:
    result = desk.run("single", ScriptedModel(["fine"]))
    again = monitor.resume_sync(result.run_id, db=desk.db, model=ScriptedModel([]))
    assert again.answer == "fine"


def test_failures_are_final_on_resume_unless_asked_for(desk: Desk) -> None:
    refused = ProviderError("no", kind="auth", status=401)
    result = desk.run("single", ScriptedModel([refused]))
    assert result.outcome is Outcome.FAILED
    again = monitor.resume_sync(result.run_id, db=desk.db, model=ScriptedModel([]))
    assert again.outcome is Outcome.FAILED
    again = monitor.resume_sync(result.run_id, db=desk.db, model=ScriptedModel(["fine"]), retry_failed=True)
    assert (again.outcome, again.answer) == (Outcome.OK, "fine")


def test_a_resume_can_raise_the_budget(desk: Desk) -> None:
    model = ScriptedModel(lambda _: "fine")
    result = desk.run("many", model, options={"count": 4}, budget=Limits(calls=2), concurrency=1)
    assert result.outcome is Outcome.BUDGET_EXCEEDED
    again = monitor.resume_sync(result.run_id, db=desk.db, model=model, budget=Limits(calls=10), retry_failed=True)
    assert again.outcome is Outcome.OK
    assert again.usage.calls == model.calls == 4


def test_a_run_that_is_being_executed_cannot_be_resumed(desk: Desk) -> None:
    async def scenario() -> None:
        started = asyncio.Event()
        slow = ScriptedModel([Reply(text="slow", delay=0.5)])
        task = asyncio.create_task(desk.start("single", slow, listener=lambda event: _tell(event, started)))
        await started.wait()
        with Store.open(desk.db) as store:
            run_id = store.runs()[0].start.run_id
        with pytest.raises(ConfigError, match="still being executed"):
            await monitor.resume(run_id, db=desk.db, model=ScriptedModel([]))
        await task

    asyncio.run(scenario())


def test_of_two_that_resume_a_run_at_once_one_does(desk: Desk) -> None:
    result = desk.run("single", ScriptedModel([ProviderError("no", kind="auth", status=401)]))
    model = ScriptedModel([Reply(text="fine", delay=0.1)])

    async def scenario() -> list[Any]:
        both = [monitor.resume(result.run_id, db=desk.db, model=model, retry_failed=True) for _ in range(2)]
        return await asyncio.gather(*both, return_exceptions=True)

    first, second = sorted(asyncio.run(scenario()), key=lambda end: isinstance(end, Exception))
    assert first.answer == "fine"
    assert isinstance(second, ConfigError)
    assert ends(desk.subcalls()) == ["failed", "ok"]
    assert model.calls == 1
    with Store.open(desk.db) as store:
        assert len(store.runs()[0].resumes) == 1


def test_a_role_that_used_up_its_calls_can_be_tried_again_with_other_seeds(desk: Desk) -> None:
    result = desk.run("answer", ScriptedModel(["no", "no", "no"]))
    assert result.outcome is Outcome.FAILED
    again = ScriptedModel(["no", '{"reasoning": "because it is", "answer": "y"}'])
    result = monitor.resume_sync(result.run_id, db=desk.db, model=again, retry_failed=True)
    assert (result.outcome, result.usage.calls) == (Outcome.OK, 5)
    seeds = [subcall.call.seed for subcall in desk.subcalls() if subcall.call.reserved.calls]
    assert len(set(seeds)) == len(seeds) == 5


# ------------------------------------------------------------------------------------ recipes and tools that misbehave

WILD = """
import asyncio
import sys


async def _one(ctx):
    return await ctx.call("answer", task="one")


async def spawns(ctx, task):
    asyncio.create_task(_one(ctx))
    await asyncio.sleep(0.2)
    return "early"


async def sleeps(ctx, task):
    await _one(ctx)
    await asyncio.sleep(60)


async def leaves(ctx, task):
    await _one(ctx)
    sys.exit(0)


async def raises(ctx, task):
    raise ValueError("bad \\ud800 \\x00 text")


async def wants(ctx, task, depth):
    return "never"


async def bare(ctx):
    return "never"
"""


@pytest.fixture
def wild(tmp_path: Path) -> str:
    path = tmp_path / "wild.py"
    path.write_text(WILD)
    return str(path)


def test_a_call_that_the_recipe_never_awaited_is_cut_off_and_charged(desk: Desk, wild: str) -> None:
    result = desk.run(f"{wild}:spawns", ScriptedModel([Reply(hang=True)]))
    assert (result.outcome, result.answer) == (Outcome.OK, "early")
    assert ends(desk.subcalls()) == ["cancelled"]
    assert result.usage.calls == 1


def test_a_recipe_that_never_comes_back_is_cut_off_after_the_deadline(
    desk: Desk, wild: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "GRACE_SECONDS", 0.1)
    model = ScriptedModel(['{"reasoning": "because it is", "answer": "y"}'])
    result = desk.run(f"{wild}:sleeps", model, budget=Limits(seconds=0.5))
    assert (result.outcome, [item.limit for item in result.exceeded]) == (Outcome.BUDGET_EXCEEDED, ["seconds"])
    assert result.seconds < 10
    assert ends(desk.subcalls()) == ["ok"]


def test_a_recipe_that_leaves_the_process_fails_the_run(desk: Desk, wild: str) -> None:
    result = desk.run(f"{wild}:leaves", ScriptedModel(['{"reasoning": "because it is", "answer": "y"}']))
    assert result.outcome is Outcome.FAILED
    assert result.error is not None
    assert "sys.exit(0)" in result.error.message
    assert ends(desk.subcalls()) == ["ok"]


def test_a_recipe_that_raises_hostile_text_fails_the_run(desk: Desk, wild: str) -> None:
    result = desk.run(f"{wild}:raises", ScriptedModel(["unused"]))
    assert result.error is not None
    assert result.error.message == "ValueError: bad ␛d800 ␛0000 text"


def test_a_provider_error_of_hostile_text_is_stored(desk: Desk) -> None:
    result = desk.run("single", ScriptedModel([ProviderError("a\ud800b\0", kind="auth", status=401)]))
    assert result.outcome is Outcome.FAILED
    assert ends(desk.subcalls()) == ["failed"]


@pytest.mark.parametrize("name", ["wants", "bare"])
def test_a_recipe_that_cannot_be_called_is_told_before_anything_is_stored(desk: Desk, wild: str, name: str) -> None:
    with pytest.raises(RecipeError, match=f"recipe {name} takes a context, a task and options"):
        desk.run(f"{wild}:{name}", ScriptedModel(["unused"]))
    assert desk.stores_nothing()


def test_a_listener_that_fails_costs_the_run_nothing(desk: Desk) -> None:
    def broken(_: Event) -> None:
        raise BrokenPipeError

    result = desk.run("single", ScriptedModel(["fine"]), listener=broken)
    assert result.answer == "fine"
    with Store.open(desk.db) as store:
        assert store.runs()[0].state == "ok"


@pytest.mark.usefixtures("default_database")
@pytest.mark.parametrize("trust", ["trusted", "untrusted"])
def test_a_tool_that_hangs_keeps_nobody_from_leaving(tmp_path: Path, trust: str) -> None:
    """In this process, and in one of its own."""
    (tmp_path / "clerk.md").write_text(
        f"---\nname: clerk\ndescription: d\ntrust: {trust}\ntools: [hang]\nbudget: {{seconds: 1}}\n---\nUse tools.\n"
    )
    (tmp_path / "mine.py").write_text(
        "import time\n\ndef hang() -> str:\n    time.sleep(60)\n    return 'late'\n\n"
        "async def mine(ctx, task):\n    return await ctx.call('./clerk.md', task=task, tools=[hang])\n"
    )
    (tmp_path / "script.yaml").write_text("steps: [{tool_calls: [{name: hang}]}, {text: done}]\n")
    command = [sys.executable, "-m", "monitor", "run", "./mine.py", "x", "--model", "scripted:script.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 4, done.stderr


def test_a_tool_that_leaves_the_process_fails_and_leaks_no_key(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_API_KEY", "planted-key-12345")
    (tmp_path / "clerk.md").write_text(
        "---\nname: clerk\ndescription: d\ntrust: trusted\ntools: [out, tell]\n---\nUse tools.\n"
    )
    (tmp_path / "mine.py").write_text(
        "import os\nimport sys\n\ndef out() -> str:\n    sys.exit(0)\n\n"
        "async def tell() -> str:\n    raise ValueError(os.environ['THEIR_API_KEY'])\n\n"
        "async def mine(ctx, task):\n    return await ctx.call('./clerk.md', task=task, tools=[out, tell])\n"
    )
    calls = (ToolCall(id="1", name="out", arguments="{}"), ToolCall(id="2", name="tell", arguments="{}"))
    result = desk.run(str(tmp_path / "mine.py"), ScriptedModel([Reply(tool_calls=calls), "done"]))
    assert result.answer == "done"
    assert ends(desk.subcalls()) == ["ok", "failed", "failed", "ok"]
    assert "planted-key-12345" not in str(desk.subcalls())
    assert "[key removed]" in str(desk.subcalls())


@pytest.mark.sqlite("the name of its file is looked for")
def test_settings_come_from_one_place(tmp_path: Path) -> None:
    settings = Settings(db=str(tmp_path / "elsewhere.db"), policies=[])
    result = monitor.run_sync(
        "answer", "x", settings=settings, model=ScriptedModel(['{"reasoning": "because it is", "answer": "y"}'])
    )
    assert "elsewhere.db" in result.db
    assert result.verdict.value is VerdictValue.UNMEASURED
