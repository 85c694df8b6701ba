"""What each format becomes: the tree, the thoughts, the tools, the usage, and nothing that was not there."""

from __future__ import annotations

import json
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from monitor.records import Outcome, ReasoningState, StoredSubcall
from tests.adapters.ingest.conftest import CHAT, DRONE, INSPECT, MAGENTIC, NESTED, STEPS, TRAJECTORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.adapters.ingest.conftest import Ingesting


def tree(subcalls: list[StoredSubcall], root: str) -> list[tuple[str, str, str]]:
    """(role, kind, role above it) of each subcall."""
    roles = {subcall.call.span_id: subcall.call.role for subcall in subcalls} | {root: "run"}
    return [(one.call.role, one.call.kind, roles[one.call.parent_id or ""]) for one in subcalls]


def seen(subcall: StoredSubcall) -> Any:
    assert subcall.observation is not None
    return subcall.observation


def chat_line(path: Path, *messages: dict[str, Any], **more: Any) -> Path:
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "Hello?"}, *messages], **more}), "utf-8")
    return path


def test_a_trajectory_of_messages(take: Ingesting) -> None:
    take(TRAJECTORY)
    (run,), subcalls = take.runs, take.subcalls()
    assert (run.start.recipe, run.state) == ("ingested:swe-agent", "ok")
    assert run.start.task.startswith("We're currently solving the following issue")
    found = tree(subcalls, run.start.span_id)
    assert found[:4] == [
        ("main", "model", "run"),
        ("find_file", "tool", "main"),
        ("main", "model", "run"),
        ("open", "tool", "main"),
    ]
    first, tool = subcalls[:2]
    assert [message.role for message in first.call.messages] == ["system", "user"]
    assert seen(first).reasoning.state is ReasoningState.PLAIN
    assert seen(first).reasoning.text.startswith("The `SyntaxError` in `missing_colon.py`")
    assert (seen(first).output, seen(first).raw) == ("", seen(first).reasoning.text)
    assert [(call.id, call.name) for call in seen(first).tool_calls] == [("call_PbWErNIge3YTrli3fiVvmIid", "find_file")]
    assert tool.call.task == '{"file_name":"missing_colon.py"}'
    assert seen(tool).output.startswith("Found 1 matches")
    assert {one.call.adapter for one in subcalls} == {"swe-agent"}
    assert (seen(first).usage_reported, first.call.model, seen(first).model_reported) == (False, "", "")


def test_a_trajectory_of_steps_has_their_thoughts_actions_and_observations(take: Ingesting, tmp_path: Path) -> None:
    trajectory = json.loads(STEPS.read_text("utf-8"))
    steps = trajectory["trajectory"]
    (tmp_path / "steps").write_text(json.dumps({"trajectory": steps}), "utf-8")
    take(tmp_path / "steps")
    model, tool = take.subcalls()[:2]
    assert seen(model).reasoning.text == steps[0]["thought"]
    assert (tool.call.role, tool.call.parent_id) == ("shell", model.call.span_id)
    assert json.loads(tool.call.task) == {"command": steps[0]["action"]}
    assert seen(tool).output == steps[0]["observation"]
    assert seen(tool).seconds == pytest.approx(steps[0]["execution_time"])


def test_what_a_trajectory_reports_of_its_usage_is_the_runs(take: Ingesting, tmp_path: Path) -> None:
    trajectory = json.loads(STEPS.read_text("utf-8"))
    stats = {"tokens_sent": 900, "tokens_received": 70, "api_calls": 3, "instance_cost": 0.25}
    (tmp_path / "t").write_text(
        json.dumps({**trajectory, "info": {"model_stats": stats, "submission": "diff"}}), "utf-8"
    )
    take(tmp_path / "t")
    (run,) = take.runs
    assert run.end is not None
    assert run.end.answer == "diff"
    used = run.end.usage
    assert (used.calls, used.input_tokens, used.output_tokens, used.cost) == (3, 900, 70, 0.25)


def test_a_message_list_of_magentic_one(take: Ingesting) -> None:
    take(MAGENTIC)
    (run,), subcalls = take.runs, take.subcalls()
    messages = json.loads(MAGENTIC.read_text("utf-8"))
    assert [one["role"] for one in messages] == [
        "human",
        "Orchestrator (thought)",
        "Orchestrator (thought)",
        "Orchestrator (-> WebSurfer)",
        "WebSurfer",
    ]
    assert tree(subcalls, run.start.span_id) == [
        ("Orchestrator", "model", "run"),
        ("Orchestrator", "model", "run"),
        ("Orchestrator", "model", "run"),
        ("WebSurfer", "model", "Orchestrator"),
    ]
    assert run.start.task == messages[0]["content"]
    assert (seen(subcalls[0]).reasoning.text, seen(subcalls[0]).output) == (messages[1]["content"], "")
    assert (seen(subcalls[2]).reasoning.state, seen(subcalls[2]).output) == (
        ReasoningState.ABSENT,
        messages[3]["content"],
    )
    assert subcalls[3].call.task == messages[3]["content"]
    assert subcalls[3].call.parent_id == subcalls[2].call.span_id
    assert subcalls[3].call.key == "message 5"  # as the labels of AgentRx count
    assert run.end is not None
    assert run.end.answer == ""  # the list has none


def test_each_line_of_chat_is_a_run(take: Ingesting) -> None:
    report = take(CHAT)
    assert (report.total("traces_taken"), report.total("subcalls_taken")) == (4, 7)
    run = next(run for run in take.runs if "tennis" in run.start.task)
    subcalls = take.subcalls(run)
    assert [len(one.call.messages) for one in subcalls] == [2, 4, 6, 8]
    assert [seen(one).output for one in subcalls][-1] == "It's easy to learn!"
    assert {seen(one).reasoning.state for one in subcalls} == {ReasoningState.ABSENT}
    assert run.end is not None
    assert run.end.answer == "It's easy to learn!"


def test_chat_with_tools(take: Ingesting) -> None:
    take(DRONE)
    (subcall,) = take.subcalls()
    assert subcall.call.tools == ("takeoff_drone", "reject_request")
    (asked,) = seen(subcall).tool_calls
    assert (asked.name, asked.arguments) == ("takeoff_drone", '{"altitude": 100}')


def test_the_result_of_a_tool_hangs_below_the_call_that_asked_for_it(take: Ingesting, tmp_path: Path) -> None:
    def ask(ident: str, name: str) -> dict[str, Any]:
        return {"id": ident, "type": "function", "function": {"name": name, "arguments": f'{{"of":"{name}"}}'}}

    path = chat_line(
        tmp_path / "x",
        {"role": "assistant", "content": None, "tool_calls": [ask("a", "look"), ask("b", "count")]},
        {"role": "tool", "tool_call_id": "b", "content": "3"},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "a tree"}]},
        {"role": "assistant", "content": "Three."},
    )
    take(path)
    (run,), subcalls = take.runs, take.subcalls()
    assert tree(subcalls, run.start.span_id) == [
        ("assistant", "model", "run"),
        ("count", "tool", "assistant"),
        ("look", "tool", "assistant"),
        ("assistant", "model", "run"),
    ]
    assert [(one.call.task, seen(one).output) for one in subcalls[1:3]] == [
        ('{"of":"count"}', "3"),
        ('{"of":"look"}', "a tree"),
    ]


@pytest.mark.parametrize(
    ("message", "state", "source", "thought", "output"),
    [
        ({"content": "4", "reasoning_content": "2 and 2"}, "plain", "provider", "2 and 2", "4"),
        ({"content": "<think>2 and 2</think>\n4"}, "plain", "think_tag", "2 and 2", "4"),
        (
            {"content": [{"type": "reasoning", "reasoning": "2 and 2"}, {"type": "text", "text": "4"}]},
            "plain",
            "provider",
            "2 and 2",
            "4",
        ),
        (
            {"content": [{"type": "reasoning", "reasoning": "Zm9v", "redacted": True}, {"type": "text", "text": "4"}]},
            "redacted",
            "provider",
            "",
            "4",
        ),
        (
            {"content": [{"type": "reasoning", "reasoning": "", "summary": "adds"}, {"type": "text", "text": "4"}]},
            "summary",
            "provider",
            "adds",
            "4",
        ),
        ({"content": "4"}, "absent", "", "", "4"),
        ({"content": "4", "reasoning_content": "2", "reasoning": "2 and 2"}, "plain", "provider", "2\n2 and 2", "4"),
        (
            {"content": [{"type": "thinking", "thinking": "2"}, {"type": "text", "text": "4"}], "reasoning": "and 2"},
            *("plain", "provider", "2\nand 2", "4"),
        ),
        ({"content": "4", "refusal": "I will not."}, "absent", "", "", "4\nI will not."),
        (
            {"content": "4", "thinking_blocks": [{"type": "thinking", "thinking": "2 and 2", "signature": "s"}]},
            *("plain", "provider", "2 and 2", "4"),
        ),
        (
            {"content": "4", "reasoning_details": [{"type": "reasoning.encrypted", "data": "Zm9v"}]},
            *("encrypted", "provider", "", "4"),
        ),
        ({"content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "absent", "", "", "[image_url]"),
    ],
)
def test_reasoning_is_found_where_it_is(  # noqa: PLR0917 - one for each column
    take: Ingesting, tmp_path: Path, message: dict[str, Any], state: str, source: str, thought: str, output: str
) -> None:
    take(chat_line(tmp_path / "x", {"role": "assistant", **message}))
    (subcall,) = take.subcalls()
    reasoning = seen(subcall).reasoning
    assert (reasoning.state.value, reasoning.source, reasoning.text) == (state, source, thought)
    assert seen(subcall).output == output


def test_a_log_of_inspect(take: Ingesting) -> None:
    take(INSPECT)
    (run,), (subcall,) = take.runs, take.subcalls()
    assert (run.start.recipe, run.start.model) == ("ingested:inspect", "anthropic/claude-sonnet-4-5")
    assert (subcall.call.role, subcall.call.kind) == ("generate", "model")
    assert subcall.call.at == "2025-11-07T15:59:47.540916Z"
    assert subcall.call.tools == ("web_search",)
    assert subcall.call.max_output_tokens == 32000
    assert seen(subcall).output.startswith("1 + 1 = 2")  # in the log it is an attachment
    assert seen(subcall).model_reported == "claude-sonnet-4-5-20250929"
    used = seen(subcall).usage
    assert (seen(subcall).usage_reported, used.input_tokens, used.output_tokens, used.cost) == (True, 587, 33, None)
    assert seen(subcall).seconds == pytest.approx(3.564326)


def inspect_log(path: Path, sample: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", json.dumps({"eval": {"model": "m/x"}}))
        archive.writestr("samples/1_epoch_1.json", json.dumps(sample))
    return path


def test_an_agent_that_is_another_ones_tool_hangs_below_it(take: Ingesting) -> None:
    """A log as a present Inspect writes it: Zstandard, messages in a pool, tools before what their agents do."""
    take(NESTED)
    (run,), subcalls = take.runs, take.subcalls()
    assert tree(subcalls, run.start.span_id) == [
        ("boss", "model", "run"),
        ("helper", "tool", "boss"),
        ("helper", "model", "helper"),
        ("add", "tool", "helper"),
        ("helper", "model", "helper"),
        ("boss", "model", "run"),
        ("fail", "tool", "boss"),
        ("boss", "model", "run"),
    ]
    spans = [one.call.span_id for one in subcalls]
    assert [one.call.parent_id for one in subcalls[2:5]] == [spans[1], spans[2], spans[1]]
    assert [one.call.depth for one in subcalls] == [1, 2, 3, 4, 3, 1, 2, 1]
    assert json.loads(subcalls[1].call.task) == {"input": "What is 2 + 3?"}
    assert seen(subcalls[4]).reasoning.text == "The helper thinks that it is five."
    assert [message.role for message in subcalls[4].call.messages] == ["system", "user", "assistant", "tool"]
    assert (seen(subcalls[6]).outcome, seen(subcalls[6]).error.message) == (Outcome.FAILED, "it is broken")
    assert run.end is not None
    assert run.end.answer == "The sum is five."


def test_a_log_in_zstandard_without_the_package_is_refused_by_name(
    take: Ingesting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    report = take(NESTED)
    assert report.refused == 2
    assert "pip install 'factored-monitor[ingest]'" in report.problems[0].why


def test_a_sample_that_ended_in_an_error_is_a_run_that_failed(take: Ingesting, tmp_path: Path) -> None:
    events = [{"event": "model", "uuid": "u", "model": "m/x", "input": [], "output": {}, "error": "no connection"}]
    take(inspect_log(tmp_path / "log", {"uuid": "s", "input": "x", "events": events, "error": {"message": "gave up"}}))
    (run,), (subcall,) = take.runs, take.subcalls()
    assert run.end is not None
    assert (run.end.outcome, run.end.error and run.end.error.message) == (Outcome.FAILED, "gave up")
    assert (seen(subcall).outcome, seen(subcall).error.message) == (Outcome.FAILED, "no connection")


def test_a_call_in_a_part_of_a_message_is_a_call_and_no_part_is_dropped(take: Ingesting, tmp_path: Path) -> None:
    """Anthropic writes calls and results so; what rules are for must not hide behind the name of a part."""
    asks = {"type": "tool_use", "id": "t1", "name": "bash", "input": {"command": "rm -rf /"}}
    told = {"type": "tool_result", "tool_use_id": "t1", "content": "gone"}
    thinks = {"type": "thinking", "thinking": "All of it.", "signature": "s"}
    record = (
        {"role": "assistant", "content": [thinks, {"type": "text", "text": "I clean up."}, asks]},
        {"role": "user", "content": [told]},
        {"role": "assistant", "content": "Done."},
    )
    take(chat_line(tmp_path / "x", *record))
    first, second = take.subcalls()
    (call,) = seen(first).tool_calls
    assert (call.id, call.name, json.loads(call.arguments)) == ("t1", "bash", {"command": "rm -rf /"})
    assert (seen(first).output, seen(first).reasoning.text) == ("I clean up.", "All of it.")
    assert "gone" in second.call.messages[-1].content


def test_a_log_of_inspect_in_one_json_file_is_the_same_run(take: Ingesting, tmp_path: Path) -> None:
    with zipfile.ZipFile(INSPECT) as archive:
        header = json.loads(archive.read("header.json"))
        names = sorted(name for name in archive.namelist() if name.startswith("samples/"))
        samples = [json.loads(archive.read(name)) for name in names]
    (tmp_path / "log.json").write_text(json.dumps({**header, "samples": [*samples, {"input": 3}]}), "utf-8")
    report = take(tmp_path / "log.json")
    assert [(problem.where, problem.is_refused) for problem in report.problems] == [(f"samples[{len(samples)}]", True)]
    assert take(INSPECT).total("traces_present") == len(samples) == 1
    (subcall,) = take.subcalls()
    assert seen(subcall).output.startswith("1 + 1 = 2")


def test_each_of_several_answers_is_in_the_record(take: Ingesting, tmp_path: Path) -> None:
    choices = [{"message": {"role": "assistant", "content": text}, "stop_reason": "stop"} for text in ("one", "two")]
    event = {"event": "model", "uuid": "u", "model": "m/x", "input": [], "output": {"choices": choices}}
    take(inspect_log(tmp_path / "log", {"uuid": "s", "input": "x", "events": [event]}))
    assert seen(take.subcalls()[0]).output == "one\n\ntwo"


def test_a_step_that_is_not_among_the_messages_is_a_subcall_too(take: Ingesting, tmp_path: Path) -> None:
    """A history that was cut short, or begun anew."""
    trajectory = json.loads(STEPS.read_text("utf-8"))
    steps, history = trajectory["trajectory"], trajectory["history"]
    own = [index for index, one in enumerate(history) if one["role"] == "assistant" and not one.get("is_demo")]
    (tmp_path / "x").write_text(json.dumps({**trajectory, "history": history[: own[0] + 1]}), "utf-8")
    take(tmp_path / "x")
    models = [one for one in take.subcalls() if one.call.kind == "model"]
    assert len(models) == len(steps)
    assert sorted(seen(one).raw or seen(one).output for one in models) == sorted(step["response"] for step in steps)
    assert len(models[-1].call.messages) == own[0]  # what each step was handed in any case; the rest is not known
