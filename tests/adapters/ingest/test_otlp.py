"""Spans of real instrumentors: the present conventions, the older ones, OpenInference; and spans in any order or state."""

from __future__ import annotations

import json
import tracemalloc
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.adapters.ingest.sources import read_file
from monitor.adapters.ingest.traces import Trace
from monitor.adapters.otel.mapping import NAMES, VERSION
from monitor.audit.integrity.verify import verify
from monitor.records import Event, Outcome, ReasoningState, RunStart, now
from tests.adapters.ingest.conftest import DATA
from tests.adapters.ingest.test_broken import JSON, places, problems, read_all, traces
from tests.adapters.ingest.test_formats import seen, tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.adapters.ingest.conftest import Ingesting

SPANS = DATA / "otlp"
CURRENT = SPANS / "openai-v2-2.4b0.jsonl"
WITHOUT = SPANS / "openai-v2-2.4b0-without-content.jsonl"
EVENTS = SPANS / "openai-v2-2.1b0.jsonl"
FLAT = SPANS / "traceloop-openai-0.40.14.jsonl"
OPENINFERENCE = SPANS / "openinference-langchain-0.1.80.jsonl"
TRACE, ROOT = "ab" * 16, "01" * 8


@pytest.mark.parametrize("path", [CURRENT, EVENTS, FLAT, OPENINFERENCE], ids=lambda path: path.stem)
def test_each_convention_says_the_same(take: Ingesting, path: Path) -> None:
    take(path)
    (run,) = take.runs
    first, last = (one for one in take.subcalls() if one.call.kind == "model")
    assert (run.start.recipe, run.start.task, run.state) == ("ingested:otlp", "What is 2 + 3?", "ok")
    assert [message.content for message in first.call.messages] == ["You add.", "What is 2 + 3?"]
    assert [message.role for message in last.call.messages] == ["system", "user", "assistant", "tool"]
    assert (last.call.messages[-1].content, last.call.messages[-1].tool_call_id) == ("5", "call_1")
    (asked,) = seen(first).tool_calls
    assert (asked.id, asked.name, json.loads(asked.arguments)) == ("call_1", "add", {"a": 2, "b": 3})
    assert (seen(first).output, seen(last).output) == ("", "The sum is five.")
    assert seen(last).reasoning.state is ReasoningState.ABSENT
    assert [seen(one).finish_reason for one in (first, last)] == ["tool_calls", "stop"]
    assert seen(last).model_reported == "stub-1"
    assert (seen(last).usage_reported, seen(last).usage.input_tokens, seen(last).usage.output_tokens) == (True, 20, 5)
    assert first.call.at < last.call.at
    assert run.end is not None
    assert run.end.answer == "The sum is five."


def test_ids_are_those_of_the_trace(take: Ingesting) -> None:
    take(CURRENT)
    (run,) = take.runs
    (export,) = (json.loads(line) for line in CURRENT.read_text("utf-8").splitlines())
    spans = export["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert run.start.run_id == spans[0]["traceId"]
    assert [one.call.span_id for one in take.subcalls()] == [span["spanId"] for span in spans]


def test_what_could_not_be_read_of_a_trace_is_on_record_and_verify_says_so(take: Ingesting, tmp_path: Path) -> None:
    (export,) = (json.loads(line) for line in CURRENT.read_text("utf-8").splitlines())
    spans = export["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans[-1]["spanId"] = "no id"
    path = tmp_path / "broken.jsonl"
    path.write_text(json.dumps(export) + "\n")
    report = take(path)
    (run,) = take.runs
    assert run.end is not None
    assert (report.refused, run.end.dropped) == (1, 1)
    (gap,) = [one for one in verify(take.store.url).gaps if one.what == "dropped by an adapter"]
    assert (gap.run_id, gap.detail[:17]) == (run.start.run_id, "1 or more records")
    before = take.events
    take(path)
    assert take.events == before


def test_a_tool_is_a_subcall_and_chains_are_not(take: Ingesting) -> None:
    take(OPENINFERENCE)
    (run,), subcalls = take.runs, take.subcalls()
    assert tree(subcalls, run.start.span_id) == [
        ("ChatOpenAI", "model", "run"),
        ("add", "tool", "run"),
        ("ChatOpenAI", "model", "run"),
    ]
    tool = subcalls[1]
    assert (json.loads(tool.call.task), seen(tool).output) == ({"a": 2, "b": 3}, "5")
    assert subcalls[0].call.tools == ("add",)
    assert seen(subcalls[0]).usage.cached_tokens == 4


def test_without_content_nothing_is_made_up_and_nothing_passes(take: Ingesting) -> None:
    report = take(WITHOUT, policy=("core",))
    for one in take.subcalls():
        assert one.call.messages == ()
        assert (seen(one).output, seen(one).reasoning.state) == ("", ReasoningState.ABSENT)
        assert one.judgement is not None
        assert one.judgement.verdict.note == "the trace has no content to check"
    assert dict(report.verdicts) == {"unmeasured": 2}


# ------------------------------------------------------------------------------------------------- spans of our own


def span(number: int, above: int = 0, **attributes: Any) -> dict[str, Any]:
    """A span with the id ``number`` below the one with the id ``above``; by default of a model."""
    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "text", "content": f"{number}"}]}]
        ),
        **{name.replace("__", "."): value for name, value in attributes.items()},
    }
    return {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "parentSpanId": f"{above:016x}" if above else "",
        "name": f"span {number}",
        "startTimeUnixNano": str(1_700_000_000_000_000_000 + number),
        "endTimeUnixNano": str(1_700_000_001_000_000_000 + number),
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in said.items()],
    }


def export(*spans: dict[str, Any]) -> str:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]})


def shape(subcalls: list[Any]) -> dict[int, int]:
    """Each span's number → that of the one above it; 0 is the run."""
    known = {one.call.span_id for one in subcalls}
    return {
        int(one.call.span_id, 16): int(one.call.parent_id, 16) if one.call.parent_id in known else 0 for one in subcalls
    }


AGENT: dict[str, Any] = {"gen_ai__operation__name": "invoke_agent", "gen_ai__agent__name": "boss"}
FAMILY = [
    span(1, **AGENT),
    span(2, 1),
    span(3, 2, gen_ai__operation__name="execute_tool", gen_ai__tool__name="look"),
    span(4, 3, **{**AGENT, "gen_ai__agent__name": "helper"}),
    span(5, 4),
]
TREE = {2: 0, 3: 2, 5: 3}


@pytest.mark.parametrize("order", list(permutations(range(5)))[::13], ids=str)
@pytest.mark.parametrize("lines", [1, 5])
def test_spans_in_any_order_and_any_lines_are_one_tree(
    take: Ingesting, tmp_path: Path, order: tuple[int, ...], lines: int
) -> None:
    spans = [FAMILY[index] for index in order]
    exports = [export(*spans)] if lines == 1 else [export(one) for one in spans]
    (tmp_path / "x").write_text("\n".join([*exports, exports[0]]), "utf-8")  # one comes twice
    report = take(tmp_path / "x")
    assert shape(take.subcalls()) == TREE
    assert report.total("traces_taken") == 1
    roles = {int(one.call.span_id, 16): one.call.role for one in take.subcalls()}
    assert roles == {2: "boss", 3: "look", 5: "helper"}
    depths = {int(one.call.span_id, 16): one.call.depth for one in take.subcalls()}
    assert depths == {2: 1, 3: 2, 5: 3}


def test_late_spans_of_another_file_end_in_the_same_tree(take: Ingesting, tmp_path: Path) -> None:
    """The child first, whose parent is not known yet; then the rest, with the child once more."""
    (tmp_path / "early").write_text(export(FAMILY[4], FAMILY[3]), "utf-8")
    (tmp_path / "late").write_text(export(*FAMILY), "utf-8")
    take(tmp_path / "early")
    assert shape(take.subcalls()) == {5: 0}
    report = take(tmp_path / "late")
    assert shape(take.subcalls()) == TREE
    assert (report.total("subcalls_taken"), report.total("subcalls_present")) == (2, 1)
    again = take(tmp_path / "early", tmp_path / "late")
    assert (again.total("subcalls_taken"), len(take.runs), take.runs[0].state) == (0, 1, "ok")


def test_a_run_of_our_own_is_not_added_to(take: Ingesting, tmp_path: Path) -> None:
    """A file may name any trace id, that of a run which the monitor itself watched among them."""
    start = RunStart(run_id=TRACE, span_id=ROOT, recipe="answer", task="x", model="m", at=now())
    take.store.append_sync(Event.of(TRACE, ROOT, start))
    (tmp_path / "x").write_text(export(span(1)), "utf-8")
    report = take(tmp_path / "x")
    assert (report.refused, take.events) == (1, 1)
    assert report.problems[0].why.endswith("is none that was ingested so: answer")


def test_a_long_file_of_exports_is_never_in_memory(tmp_path: Path) -> None:
    """60 MB in 60 lines, the spans of each trace in two of them; the reader holds a few lines' worth."""
    with (tmp_path / "x").open("w", encoding="utf-8") as file:
        for number in range(60):
            said = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "x" * 1_000_000}]}])
            one = {**span(number + 1, gen_ai__output__messages=said), "traceId": f"{number // 2 + 1:032x}"}
            file.write(export(one) + "\n")
    count = 0
    tracemalloc.start()
    try:
        for found in read_file(tmp_path / "x"):
            assert isinstance(found, Trace)
            count += sum(1 for _ in found.steps())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 60
    assert (tmp_path / "x").stat().st_size > 60_000_000 > 2 * peak


def test_a_span_that_has_not_ended_waits(take: Ingesting, tmp_path: Path) -> None:
    partial = {**FAMILY[4], "endTimeUnixNano": "0"}
    (tmp_path / "x").write_text(export(*FAMILY[:4], partial), "utf-8")
    assert take(tmp_path / "x").skipped == 1
    assert shape(take.subcalls()) == {2: 0, 3: 2}
    (tmp_path / "y").write_text(export(partial, *FAMILY), "utf-8")
    take(tmp_path / "y")
    assert shape(take.subcalls()) == TREE


def test_spans_around_each_other_are_both_shown(take: Ingesting, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(export(span(1, 2), span(2, 1), span(3, 3), span(4, 1)), "utf-8")
    take(tmp_path / "x")
    assert shape(take.subcalls()) == {1: 0, 2: 0, 3: 0, 4: 1}


def test_a_span_that_failed(take: Ingesting, tmp_path: Path) -> None:
    broken = {
        **span(1),
        "status": {"code": "STATUS_CODE_ERROR"},
        "events": [
            {"name": "exception", "attributes": [{"key": "exception.message", "value": {"stringValue": "no line"}}]}
        ],
    }
    (tmp_path / "x").write_text(export(broken), "utf-8")
    take(tmp_path / "x")
    (subcall,) = take.subcalls()
    assert (seen(subcall).outcome, seen(subcall).error.message) == (Outcome.FAILED, "no line")


@pytest.mark.parametrize("structured", [True, False])
def test_reasoning_parts_and_structured_attributes(take: Ingesting, tmp_path: Path, *, structured: bool) -> None:
    """Attributes may be JSON as text, or OTLP's own lists and objects."""
    parts = [{"type": "reasoning", "content": "2 and 2"}, {"type": "text", "content": "4"}]
    one = span(1, gen_ai__output__messages=json.dumps([{"role": "assistant", "parts": parts}]))
    if structured:

        def value(given: Any) -> Any:
            if isinstance(given, dict):
                return {"kvlistValue": {"values": [{"key": key, "value": value(item)} for key, item in given.items()]}}
            if isinstance(given, list):
                return {"arrayValue": {"values": [value(item) for item in given]}}
            return {"stringValue": given}

        attribute = next(pair for pair in one["attributes"] if pair["key"] == "gen_ai.output.messages")
        attribute["value"] = value([{"role": "assistant", "parts": parts}])
    (tmp_path / "x").write_text(export(one), "utf-8")
    take(tmp_path / "x")
    (subcall,) = take.subcalls()
    reasoning = seen(subcall).reasoning
    assert (reasoning.state, reasoning.text, reasoning.source) == (ReasoningState.PLAIN, "2 and 2", "provider")
    assert seen(subcall).output == "4"


def test_several_results_in_one_message_are_several_messages(tmp_path: Path) -> None:
    parts = [
        {"type": "tool_call_response", "id": "a", "response": "1"},
        {"type": "tool_call_response", "id": "b", "result": {"n": 2}},
    ]
    one = span(1, gen_ai__input__messages=json.dumps([{"role": "tool", "parts": parts}]))
    (tmp_path / "x").write_text(export(one), "utf-8")
    (trace,) = traces(tmp_path / "x")
    (step,) = trace.steps()
    assert [(one.tool_call_id, one.content) for one in step.call.messages] == [("a", "1"), ("b", '{"n": 2}')]


def test_a_broken_span_is_named_and_the_rest_goes_on(take: Ingesting, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(
        "\n".join([export(span(1), {**span(2), "spanId": "x"}), "{", '{"a": 1}', export(span(3))]), "utf-8"
    )
    report = take(tmp_path / "x")
    assert shape(take.subcalls()) == {1: 0, 3: 0}
    assert [(one.where, one.why.partition(" (")[0]) for one in report.problems] == [
        ("line 1, resourceSpans[0].scopeSpans[0].spans[1]", "spanId: expected 16 hex digits that are not all 0"),
        ("line 2", "expected JSON"),
        ("line 3", "expected an export with `resourceSpans` or `resourceLogs`"),
    ]
    assert report.refused == 3


def test_a_trace_without_models_is_passed_over(take: Ingesting, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(export(span(1, gen_ai__operation__name="other")), "utf-8")
    report = take(tmp_path / "x")
    assert (report.skipped, report.refused, take.runs) == (1, 0, [])


def test_a_document_over_several_lines_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(json.dumps(json.loads(CURRENT.read_text("utf-8")), indent=2), "utf-8")
    assert [trace.run_id for trace in traces(tmp_path / "x")] == [trace.run_id for trace in traces(CURRENT)]
    assert problems(tmp_path / "x") == []


def test_the_table_names_each_attribute_once_for_one_thing() -> None:
    """``llm.model_name`` alone says two: OpenInference does not tell the asked model from the one that answered."""
    names = [name for given in NAMES.values() for name in given]
    assert {name for name in names if names.count(name) > 1} == {"llm.model_name"}
    assert VERSION == "1.41.1"


LINES = [
    json.loads(line) for path in (CURRENT, EVENTS, FLAT, OPENINFERENCE) for line in path.read_text("utf-8").splitlines()
]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(range(len(LINES))), st.data())
def test_any_value_in_any_place_of_an_export_is_read_or_told(tmp_path: Path, which: int, data: st.DataObject) -> None:
    document = json.loads(json.dumps(LINES[which]))
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from([place for place in places(document) if place]))
        inner = document
        for key in path:
            inner = inner[key]
        inner[last] = data.draw(JSON)
    (tmp_path / "x").write_text(json.dumps(document), "utf-8")
    read_all(tmp_path / "x")


def test_each_of_several_answers_is_in_the_record(take: Ingesting, tmp_path: Path) -> None:
    says = [{"role": "assistant", "parts": [{"type": "text", "content": text}]} for text in ("one", "two")]
    one = span(1, gen_ai__output__messages=json.dumps(says))
    (tmp_path / "x").write_text(export(one), "utf-8")
    take(tmp_path / "x")
    assert seen(take.subcalls()[0]).output == "one\n\ntwo"
