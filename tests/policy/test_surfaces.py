"""Every text that a record holds is searched: a word planted in any of them is found there, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from monitor import policy
from monitor.policy import FIELDS, FieldType
from monitor.policy.fields import TEXT_FIELDS
from monitor.records import (
    Call,
    ErrorInfo,
    Message,
    Observation,
    Outcome,
    Reasoning,
    ReasoningState,
    Record,
    ToolCall,
)
from tests.policy.packs import pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.records import Finding

PLANTED = "xyzzy"
MESSAGES = 50
FIRST, MIDDLE, LAST = 0, MESSAGES // 2, MESSAGES - 1
ROLES = ("system", "user", "assistant", "tool")


def role_of(index: int, turn: int = 0) -> str:
    """Roles take turns; ``turn`` says who begins, so that each role has the first, a middle and the last message."""
    return ROLES[(index + turn) % len(ROLES)]


def record(planted: str = "", *, kind: str = "model", turn: int = 0) -> Record:
    """A record with text in every surface and 50 messages; the one named ``planted`` has the word as well."""

    def text(surface: str) -> str:
        return f"e\u0301😀 {PLANTED} ü" if surface == planted else f"nothing in {surface}"

    def calls(prefix: str, refused: str | None = None) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(
                id=f"{prefix}{number}",
                name=text(f"{prefix}[{number}].name"),
                arguments=text(f"{prefix}[{number}].arguments"),
                refused=refused,
            )
            for number in range(3)
        )

    messages = tuple(
        Message.model_validate(
            {
                "role": role_of(index, turn),
                "content": text(f"messages[{index}].content"),
                "tool_calls": calls(f"messages[{index}].tool_calls"),
            }
        )
        for index in range(MESSAGES)
    )
    call = {"run_id": "0" * 32, "span_id": "0" * 16, "key": "k", "role": "r", "tools": ("search",), "kind": kind}
    return Record(
        call=Call.model_validate({**call, "task": text("task"), "messages": messages}),
        observation=Observation(
            outcome=Outcome.FAILED,
            output=text("output"),
            raw=text("raw"),
            reasoning=Reasoning(state=ReasoningState.PLAIN, text=text("reasoning")),
            tool_calls=calls("tool_calls", text("refused")),
            error=ErrorInfo(kind="x", message=text("error")),
        ),
    )


def stored(record: Record, surface: str) -> str:
    """The text that a surface names, found by walking the record's own fields."""
    for root in (record.call, record.observation):
        part: Any = root
        for step in surface.replace("]", "").replace("[", ".").split("."):
            part = part[int(step)] if step.isdigit() else getattr(part, step, None)
            if part is None:
                break
        if isinstance(part, str):
            return part
        if part is not None:
            return str(getattr(part, "text", None) or part.message)
    raise AssertionError(f"no text of the record is called {surface}")


def _contents(*roles: str, turn: int) -> list[str]:
    return [f"messages[{i}].content" for i in (FIRST, MIDDLE, LAST) if role_of(i, turn) in roles]


def _calls(prefix: str, part: str) -> list[str]:
    return [f"{prefix}[{number}].{part}" for number in range(3)]


def planted(kind: str, turn: int) -> dict[str, list[str]]:
    """For every text field the surfaces in which a word must be found through it, in a record of this kind."""
    history = [
        surface
        for index in (FIRST, MIDDLE, LAST)
        for surface in (
            f"messages[{index}].content",
            *_calls(f"messages[{index}].tool_calls", "name"),
            *_calls(f"messages[{index}].tool_calls", "arguments"),
        )
    ]
    names, arguments = _calls("tool_calls", "name"), _calls("tool_calls", "arguments")
    is_tool = kind == "tool"
    results = [*(["output", "error"] if is_tool else []), *_contents("tool", turn=turn)]
    return {
        "task": ["task"],
        "prompt": history,
        "system": _contents("system", turn=turn),
        "user": _contents("user", turn=turn),
        "data": [*_contents("user", turn=turn), *results],
        "reasoning": [] if is_tool else ["reasoning"],
        "output": ["output"],
        "written": [] if is_tool else ["reasoning", "output", *arguments],
        "raw": ["raw"],
        "error": ["error"],
        "tool.name": names,
        "tool.arguments": [*(["task"] if is_tool else []), *arguments],
        "tool.result": results,
        "tool.unlisted": names,
        "tool.refused": [],
    }


CASES = [
    (kind, turn, field, surface)
    for kind in ("model", "tool")
    for turn in range(len(ROLES))
    for field, surfaces in planted(kind, turn).items()
    for surface in surfaces
    if turn == 0 or surface.startswith("messages")
]
EVERY = sorted({surface for _, _, _, surface in CASES})


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, policy.PolicySet]:
    """A rule for each text field that looks for the word in it."""

    def load(detection: str, folder: Path) -> policy.PolicySet:
        path = folder / "pack.yaml"
        path.write_text(pack(detection), encoding="utf-8")
        return policy.load([path])

    folder = tmp_path_factory.mktemp("packs")
    loaded = {
        field.name: load(f"sel: {{'{field.name}|contains': {PLANTED}}}\ncondition: sel", folder)
        for field in TEXT_FIELDS
    }
    return loaded | {"keywords": load(f"sel: [{PLANTED}]\ncondition: sel", folder)}


def _finding(rules: policy.PolicySet, record: Record) -> Finding:
    (found,) = rules.findings(record)
    return found


@pytest.mark.parametrize(("kind", "turn", "field", "surface"), CASES)
def test_a_planted_word_is_found(
    kind: str, turn: int, field: str, surface: str, rules: dict[str, policy.PolicySet]
) -> None:
    with_word = record(surface, kind=kind, turn=turn)
    found = _finding(rules[field], with_word)
    assert found.status.value == "match"
    assert [span.surface for span in found.evidence] == [surface]
    (span,) = found.evidence
    assert stored(with_word, surface)[span.start : span.end] == PLANTED


@pytest.mark.parametrize("kind", ["model", "tool"])
@pytest.mark.parametrize("surface", [surface for surface in EVERY if not surface.startswith("messages[25]")])
def test_keywords_are_searched_everywhere(kind: str, surface: str, rules: dict[str, policy.PolicySet]) -> None:
    found = _finding(rules["keywords"], record(surface, kind=kind))
    reads = {text for texts in planted(kind, 0).values() for text in texts}
    assert (found.status.value, {span.surface for span in found.evidence}) == (
        ("match", {surface}) if surface in reads else ("no_match", set())
    )


@pytest.mark.parametrize("field", [field.name for field in TEXT_FIELDS])
def test_a_word_elsewhere_is_not_found(field: str, rules: dict[str, policy.PolicySet]) -> None:
    """In a record without the word, and with it in each surface that the field does not read."""
    assert _finding(rules[field], record()).status.value == "no_match"
    for surface in set(EVERY) - set(_everywhere(field)):
        assert _finding(rules[field], record(surface)).status.value == "no_match", surface


def _everywhere(field: str) -> Iterator[str]:
    yield from planted("model", 0)[field]


def test_refusals_are_searched(rules: dict[str, policy.PolicySet]) -> None:
    """They are the monitor's own words, so no evidence points to them."""
    found = _finding(rules["tool.refused"], record("refused"))
    assert (found.status.value, found.evidence) == ("match", ())


def test_every_text_field_has_a_plant() -> None:
    """A new field without one fails here, and so does a new text of the records that no field reads."""
    texts = {field.name for field in FIELDS.values() if field.type is FieldType.TEXT}
    assert texts == set(planted("model", 0)) == set(planted("tool", 0))
    assert {field for _, _, field, _ in CASES} == texts - {"tool.refused"}


UNREAD = {"output_schema", "at", "finish_reason", "model_reported", "key", "scope"}
"""Texts of records that are no words of a model or of the world, or that are fields of another type."""


def test_no_text_of_a_record_is_left_out() -> None:
    """Each text of the record's types is a surface that is planted, or known as something else."""
    known = {surface.rsplit(".", 1)[-1].partition("[")[0] for surface in EVERY} | UNREAD
    for type_ in (Call, Observation, Message, ToolCall, Reasoning, ErrorInfo):
        for name, info in type_.model_fields.items():
            if info.annotation is str and info.metadata:
                where = {"text": "reasoning", "message": "error"}.get(name, name)
                assert where in known, f"{type_.__name__}.{name} is searched by no field"
