"""Every field: a match planted in each text surface is found there, and what is missing is said to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from monitor.policy import FIELDS, FieldType, examples, field_named, fields_table
from monitor.policy.logic import Truth
from monitor.records import (
    Call,
    ErrorInfo,
    LimitName,
    Limits,
    Message,
    Observation,
    Outcome,
    Reasoning,
    ReasoningState,
    Record,
    ToolCall,
    Usage,
)

if TYPE_CHECKING:
    from tests.policy.conftest import LoadDetection

PLANTED = "xyzzy"
EARLIER = "messages[2].tool_calls[0]"


def record(planted: str = "", kind: str = "model") -> Record:
    """A record with text everywhere; the surface named ``planted`` also has the word that is looked for."""

    def text(surface: str) -> str:
        return f"é {PLANTED} ü" if surface == planted else f"nothing in {surface}"

    earlier = ToolCall(id="0", name=text(f"{EARLIER}.name"), arguments=text(f"{EARLIER}.arguments"))
    messages = (
        Message(role="system", content=text("messages[0].content")),
        Message(role="user", content=text("messages[1].content")),
        Message(role="assistant", content=text("messages[2].content"), tool_calls=(earlier,)),
        Message(role="tool", content=text("messages[3].content")),
    )
    return Record(
        call=Call.model_validate(
            {
                "run_id": "0" * 32,
                "span_id": "0" * 16,
                "key": "k",
                "role": "r",
                "task": text("task"),
                "tools": ("search",),
            }
            | {"messages": messages if kind == "model" else (), "kind": kind}
        ),
        observation=Observation(
            outcome=Outcome.FAILED,
            output=text("output"),
            raw=text("raw"),
            reasoning=Reasoning(state=ReasoningState.PLAIN, text=text("reasoning")),
            tool_calls=(
                ToolCall(id="1", name="search", arguments="{}"),
                ToolCall(
                    id="2", name=text("tool_calls[1].name"), arguments=text("tool_calls[1].arguments"), refused="no"
                ),
            ),
            error=ErrorInfo(kind="x", message=text("error")),
        ),
    )


SURFACES = {
    "task": "task",
    "system": "messages[0].content",
    "user": "messages[1].content",
    "reasoning": "reasoning",
    "output": "output",
    "raw": "raw",
    "error": "error",
    "tool.name": "tool_calls[1].name",
    "tool.unlisted": "tool_calls[1].name",
    "tool.arguments": "tool_calls[1].arguments",
    "tool.result": "messages[3].content",
}
SEVERAL = {
    "prompt": [
        *(f"messages[{index}].content" for index in range(4)),
        "messages[2].tool_calls[0].name",
        "messages[2].tool_calls[0].arguments",
    ],
    "data": ["messages[1].content", "messages[3].content"],
    "written": ["reasoning", "output", "tool_calls[1].arguments"],
}
CASES = [*SURFACES.items(), *((field, surface) for field, surfaces in SEVERAL.items() for surface in surfaces)]


@pytest.mark.parametrize(("field", "surface"), CASES)
def test_a_match_is_found_where_it_was_planted(field: str, surface: str, load_detection: LoadDetection) -> None:
    rules = load_detection(f"sel: {{'{field}|contains': {PLANTED}}}\ncondition: sel")
    (found,) = rules.findings(record(surface))
    assert found.status.value == "match"
    assert [(span.surface, span.start, span.end) for span in found.evidence] == [(surface, 2, 7)]
    assert found.evidence[0].clause == f"sel: {field}|contains"
    (clean,) = rules.findings(record())
    assert clean.status.value == "no_match"


def test_every_text_field_is_planted_once() -> None:
    texts = {field.name for field in FIELDS.values() if field.type is FieldType.TEXT}
    assert texts - {"tool.refused"} == {field for field, _ in CASES}


@pytest.mark.parametrize("surface", sorted({surface for _, surface in CASES}))
def test_keywords_search_every_surface(surface: str, load_detection: LoadDetection) -> None:
    (found,) = load_detection(f"words: [absent word, {PLANTED}]\ncondition: words").findings(record(surface))
    assert [(span.surface, span.start, span.end) for span in found.evidence] == [(surface, 2, 7)]


@pytest.mark.parametrize(
    ("field", "surface"), [("tool.arguments", "task"), ("tool.result", "output"), ("data", "output")]
)
def test_a_tools_own_subcall(field: str, surface: str, load_detection: LoadDetection) -> None:
    rules = load_detection(f"sel: {{'{field}|contains': {PLANTED}}}\ncondition: sel")
    (found,) = rules.findings(record(surface, kind="tool"))
    assert [span.surface for span in found.evidence] == [surface]


def test_refusals_are_read_but_no_evidence_points_to_them(load_detection: LoadDetection) -> None:
    (found,) = load_detection("sel: {tool.refused: 'no'}\ncondition: sel").findings(record())
    assert (found.status.value, found.evidence) == ("match", ())


@pytest.mark.parametrize(
    ("field", "short", "gap", "present"),
    [
        ("reasoning", {}, Truth.ABSENT, False),
        ("reasoning", {"requires_reasoning": True}, None, False),
        ("reasoning", {"reasoning.state": "encrypted"}, Truth.UNKNOWN, True),
        ("reasoning", {"reasoning": "x", "reasoning.state": "redacted"}, Truth.UNKNOWN, True),
        ("reasoning", {"reasoning": "x", "reasoning.state": "summary"}, None, True),
        ("reasoning", {"reasoning": "x", "kind": "tool"}, Truth.ABSENT, False),
        ("written", {"output": "x"}, None, True),
        ("written", {"output": "x", "reasoning.state": "encrypted"}, Truth.UNKNOWN, True),
        ("written", {"kind": "tool"}, Truth.ABSENT, False),
        ("output", {}, None, False),
        ("tool.name", {}, Truth.ABSENT, False),
        ("tool.name", {"tools": ["search"]}, None, False),
        ("tool.result", {"tool.result": "x"}, None, True),
        ("usage.cost", {}, None, True),
        ("usage.cost", {"usage.cost": None}, Truth.UNKNOWN, False),
        ("usage.output_tokens", {"usage.reported": False}, Truth.UNKNOWN, False),
        ("usage.calls", {"usage.reported": False}, None, True),
        ("budget_left.cost", {}, Truth.ABSENT, False),
        ("budget_left.cost", {"budget_left.cost": 0}, None, True),
        ("recipe", {}, None, False),
    ],
)
def test_what_is_missing(field: str, short: dict[str, object], gap: Truth | None, present: bool) -> None:
    reading = FIELDS[field].read(examples.build(short))
    assert (reading.gap, reading.present) == (gap, present)
    assert bool(reading.cause) == (gap is not None)


def test_a_tool_that_an_adapter_let_run_is_not_unlisted() -> None:
    """Where no list is known, only a refused call is outside it."""
    known = examples.build({"tools": [], "tool.name": "shell"})
    assert not FIELDS["tool.unlisted"].read(known).present
    refused = examples.build({"tools": [], "tool.name": "shell", "tool.refused": "not allowed"})
    assert FIELDS["tool.unlisted"].read(refused).present


def test_every_number_and_limit_has_a_field() -> None:
    """A record's usage and limits cannot grow without the table growing."""
    assert {f"usage.{name}" for name in Usage.model_fields} < set(FIELDS)
    assert {f"budget_left.{name}" for name in Limits.model_fields} < set(FIELDS)
    assert set(Limits.model_fields) == set(get_args(LimitName))


def test_the_table_has_every_field() -> None:
    assert [row[0] for row in fields_table()][: len(FIELDS)] == list(FIELDS)
    patterns = [row[0] for row in fields_table()][len(FIELDS) :]
    assert patterns == ["tool.arguments.PATH", "probe.NAME.score", "probe.NAME.fpr", "judge.NAME"]
    assert all(field_named(name.replace("NAME", "name")) for name in patterns if not name.startswith("judge."))
    assert all(meaning for _, _, meaning in fields_table())
