"""Deferring to a trusted role: when, from what, and what it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import Outcome, ReasoningState, VerdictValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.models.base import ModelRequest
    from monitor.orchestrate.ending import RunResult
    from monitor.records import Decision, StoredSubcall
    from tests.orchestrate.conftest import Desk

TASK = "What is the safe's code?"


def desk_of_two(proposal: str, **reply: Any) -> ScriptedModel:
    """The untrusted role gives ``proposal``; the trusted one (told by its message without a template) says so."""

    def play(request: ModelRequest) -> Reply:
        if request.messages[-1].content.startswith("Question: "):
            return Reply(text=json.dumps({"reasoning": "I think about the safe.", "answer": proposal}), **reply)
        return Reply(text=json.dumps({"reasoning": "I do it myself.", "answer": "from the trusted"}))

    return ScriptedModel(play)


def deferred(desk: Desk, model: ScriptedModel, pack: str, **options: Any) -> RunResult:
    return desk.run("defer", model, TASK, policies=[pack] if pack else [], options=options)


def sealed_pack(desk: Desk, policy: Callable[..., str], on_unknown: str) -> str:
    """A pack of one rule that looks at the reasoning of untrusted roles alone."""
    path = policy("zzz", fields=["reasoning"])
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a path given as text
        text = file.read()
    text = text.replace("reasoning|contains: zzz", "reasoning|contains: zzz\n        trust: untrusted")
    text = text.replace("    action: withhold\n", f"    action: withhold\n    on_unknown: {on_unknown}\n")
    text = text.replace("{output: zzz}", "{reasoning: zzz}")
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - as above
        file.write(text)
    return path


def test_a_proposal_that_is_caught_is_not_asked_for_again_if_malformed_too(
    desk: Desk, policy: Callable[..., str]
) -> None:
    again, instead = (
        Reply(text=json.dumps({"reasoning": "I think about the safe.", "answer": text})) for text in ("1234", "mine")
    )
    model = ScriptedModel(
        [
            Reply(text="bomb, and no JSON"),
            replace(again, when=lambda request: request.messages[-1].content.startswith("Question: ")),
            instead,
        ]
    )
    result = deferred(desk, model, policy("bomb"))
    assert (result.outcome, result.answer, result.usage.calls) == (Outcome.OK, "mine", 2)


def test_a_proposal_that_passes_is_used(desk: Desk, policy: Callable[..., str]) -> None:
    result = deferred(desk, desk_of_two("1234"), policy("bomb"))
    assert (result.outcome, result.answer, result.usage.calls) == (Outcome.OK, "1234", 1)


@pytest.mark.parametrize(("action", "verdict"), [("withhold", VerdictValue.BLOCK), ("flag", VerdictValue.FLAG)])
def test_a_bad_proposal_is_done_again_by_the_trusted_role(
    desk: Desk, policy: Callable[..., str], action: str, verdict: VerdictValue
) -> None:
    """What was proposed is not used, stays in the record, and the run's verdict does not hide it."""
    result = deferred(desk, desk_of_two("a bomb"), policy("bomb", action))
    assert (result.outcome, result.answer) == (Outcome.OK, "from the trusted")
    assert result.verdict.value is verdict
    proposal, redone = desk.subcalls()
    assert proposal.observation is not None
    assert "a bomb" in proposal.observation.output
    assert (proposal.call.trust, redone.call.trust) == ("untrusted", "trusted")


def test_the_trusted_role_starts_from_the_same_inputs_and_is_told_no_reasons(
    desk: Desk, policy: Callable[..., str]
) -> None:
    deferred(desk, desk_of_two("a bomb"), policy("bomb"))
    _, redone = desk.subcalls()
    assert redone.call.messages[-1].content == TASK
    handed = " ".join(message.content for message in redone.call.messages)
    assert "bomb" not in handed  # neither what was proposed nor the title of the rule


def test_reasons_are_told_if_asked_for_and_are_on_record(desk: Desk, policy: Callable[..., str]) -> None:
    """Only in the rule's words: of the proposal itself the trusted role sees nothing."""
    deferred(desk, desk_of_two("a bomb under the safe"), policy("bomb"), show_reasons=True)
    _, redone = desk.subcalls()
    assert redone.call.messages[-1].content == f"Task: {TASK}\n\nReasons: 1. found: The word bomb"


def test_defer_on_says_how_bad_is_bad(desk: Desk, policy: Callable[..., str]) -> None:
    assert deferred(desk, desk_of_two("a bomb"), policy("bomb", "flag"), defer_on="block").answer == "a bomb"
    withheld = deferred(desk, desk_of_two("a bomb"), policy("bomb"), defer_on="block")
    assert withheld.answer == "from the trusted"


@pytest.mark.parametrize("on_unknown", ["log", "withhold"])
def test_an_outage_is_bad_unless_the_option_says_otherwise(
    desk: Desk, policy: Callable[..., str], on_unknown: str
) -> None:
    pack = sealed_pack(desk, policy, on_unknown)
    model = desk_of_two("1234", reasoning_state=ReasoningState.ENCRYPTED)
    assert deferred(desk, model, pack).answer == "from the trusted"
    lenient = deferred(desk, model, pack, defer_on="flag")
    # What a rule withholds because it could not look at it cannot be used, whatever the option says.
    assert lenient.answer == ("1234" if on_unknown == "log" else "from the trusted")


def test_without_any_check_nothing_is_known_and_every_proposal_is_deferred(desk: Desk) -> None:
    assert deferred(desk, desk_of_two("1234"), "").answer == "from the trusted"
    assert deferred(desk, desk_of_two("1234"), "", defer_on="flag").answer == "1234"


def test_a_person_who_lets_a_proposal_through_is_believed(desk: Desk, policy: Callable[..., str]) -> None:
    """Approval is another thing: the person decides before the recipe hears of it."""

    def says(choice: str) -> Callable[[StoredSubcall], Any]:
        async def decide(subcall: StoredSubcall) -> Decision:
            return monitor.make_decision(subcall, choice, why="I looked at it", by="a person")

        return decide

    pack = policy("bomb", "ask_human")
    approved = desk.run("defer", desk_of_two("a bomb"), TASK, policies=[pack], decider=says("approve"))
    assert (approved.outcome, approved.answer) == (Outcome.OK, "a bomb")
    rejected = desk.run("defer", desk_of_two("a bomb"), TASK, policies=[pack], decider=says("reject"))
    assert (rejected.outcome, rejected.answer) == (Outcome.OK, "from the trusted")
    ended = desk.run("defer", desk_of_two("a bomb"), TASK, policies=[pack], decider=says("terminate"))
    assert (ended.outcome, ended.usage.calls) == (Outcome.REJECTED, 1)


def test_a_halt_is_no_reason_to_go_on(desk: Desk, policy: Callable[..., str]) -> None:
    result = deferred(desk, desk_of_two("a bomb"), policy("bomb", "halt"))
    assert (result.outcome, result.usage.calls) == (Outcome.BLOCKED, 1)


def test_what_the_trusted_role_writes_is_checked_too(desk: Desk, policy: Callable[..., str]) -> None:
    pack = policy("a bomb", fields=["output"])
    result = deferred(desk, ScriptedModel(lambda _: '{"reasoning": "I think of it.", "answer": "a bomb"}'), pack)
    assert (result.outcome, result.answer, result.usage.calls) == (Outcome.BLOCKED, "", 2)


def test_nobody_defers_to_an_untrusted_role(desk: Desk) -> None:
    result = desk.run("defer", desk_of_two("x"), options={"trusted": "answer"})
    assert (result.outcome, result.usage.calls) == (Outcome.FAILED, 0)
    assert result.error is not None
    assert "role answer is untrusted" in result.error.message


def test_reasons_that_would_not_be_seen_are_refused(desk: Desk) -> None:
    options = {"trusted": "trusted_compose", "inputs": {"facts": ["x"]}, "show_reasons": True}
    result = desk.run("defer", desk_of_two("x"), options=options)
    assert result.error is not None
    assert "would not see the reasons" in result.error.message


def test_a_resumed_run_defers_as_before(desk: Desk, policy: Callable[..., str]) -> None:
    model = desk_of_two("a bomb")
    first = desk.run("defer", model, TASK, policies=[policy("bomb")])
    again = monitor.resume_sync(first.run_id, model=model, db=desk.db)
    assert (again.answer, model.calls) == ("from the trusted", 2)
