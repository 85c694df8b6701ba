"""A trusted plan: who sees what, which model plays which role, and what the verdict says of children that nobody checks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import Outcome, VerdictValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.models.base import ModelRequest
    from tests.orchestrate.conftest import Desk

PARTS = ["How many wheels has one tricycle?", "How many wheels have four cars?"]
THOUGHT = "I think about wheels for a while."


def clerk(request: ModelRequest) -> Reply:
    """Plans in two parts, answers each with its own question, composes from facts."""
    assert request.output_schema is not None
    asked = request.messages[-1].content
    if "subquestions" in request.output_schema["properties"]:
        answer: dict[str, Any] = {"reasoning": THOUGHT, "subquestions": PARTS}
    else:
        answer = {"reasoning": THOUGHT, "answer": "nineteen" if asked.startswith("Facts:") else f"part {len(asked)}"}
    return Reply(text=json.dumps(answer))


def test_a_child_sees_its_own_part_and_nothing_else(desk: Desk) -> None:
    result = desk.run("trusted_plan", ScriptedModel(clerk), "How many wheels are in the yard?")
    assert (result.outcome, result.answer, result.usage.calls) == (Outcome.OK, "nineteen", 4)
    plan, *children, composed = desk.subcalls()
    assert [child.call.messages[-1].content for child in children] == [f"Question: {part}" for part in PARTS]
    for child in children:
        handed = " ".join(message.content for message in child.call.messages)
        assert "yard" not in handed
        assert sum(part in handed for part in PARTS) == 1
        assert (child.call.trust, child.call.parent_id, child.call.depth) == ("untrusted", plan.call.span_id, 2)
    assert [plan.call.trust, composed.call.trust] == ["trusted", "trusted"]
    assert all(part in composed.call.messages[-1].content for part in PARTS)


def test_the_trusted_roles_can_have_a_model_of_their_own(desk: Desk, tmp_path: Path) -> None:
    script = tmp_path / "trusted.yaml"
    script.write_text(
        f"""
steps:
  - {{when: "Facts:", text: {{reasoning: {THOUGHT}, answer: by the trusted}}}}
  - text: {{reasoning: {THOUGHT}, subquestions: {json.dumps(PARTS)}}}
"""
    )
    untrusted = ScriptedModel(clerk, name="untrusted")
    result = desk.run("trusted_plan", untrusted, options={"trusted_model": f"scripted:{script}"})
    assert (result.outcome, result.answer) == (Outcome.OK, "by the trusted")
    assert untrusted.calls == 2
    models = {subcall.call.trust: subcall.call.model for subcall in desk.subcalls()}
    assert models == {"trusted": f"scripted:{script}", "untrusted": "untrusted"}


def test_with_unchecked_children_the_verdict_says_that_only_plans_were_checked(
    desk: Desk, policy: Callable[..., str]
) -> None:
    pack = policy("part", action="withhold")
    checked = desk.run("trusted_plan", ScriptedModel(clerk), policies=[pack])
    assert (checked.outcome, checked.verdict.value) == (Outcome.BLOCKED, VerdictValue.BLOCK)
    result = desk.run("trusted_plan", ScriptedModel(clerk), policies=[pack], options={"check_children": False})
    assert (result.outcome, result.verdict.value) == (Outcome.OK, VerdictValue.UNMEASURED)
    assert result.verdict.note == (
        "2 of 4 subcalls unmeasured (left unchecked by the recipe); no subcall of an untrusted role was checked"
    )
    for subcall in desk.subcalls():
        assert subcall.judgement is not None
        assert subcall.call.checked == (subcall.call.trust == "trusted")
        value = VerdictValue.PASS if subcall.call.checked else VerdictValue.UNMEASURED
        assert subcall.judgement.verdict.value is value


def test_a_part_that_had_not_begun_is_not_asked_after_one_was_withheld(desk: Desk, policy: Callable[..., str]) -> None:
    """Not even in the moment between the error and the cancellation of the others."""
    result = desk.run("trusted_plan", ScriptedModel(clerk), policies=[policy("part")], concurrency=1)
    assert (result.outcome, result.usage.calls) == (Outcome.BLOCKED, 2)
    assert [subcall.outcome for subcall in desk.subcalls()] == [Outcome.OK, Outcome.BLOCKED]


@pytest.mark.parametrize("option", ["planner", "composer"])
def test_an_untrusted_role_neither_plans_nor_composes(desk: Desk, option: str) -> None:
    result = desk.run("trusted_plan", ScriptedModel(clerk), options={option: "answer"})
    assert (result.outcome, result.usage.calls) == (Outcome.FAILED, 0)
    assert result.error is not None
    assert "role answer is untrusted" in result.error.message
