"""What a run hands on: covered texts where a rule says so, and what the verdict says of subcalls that nobody checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import monitor
from monitor.models.base import ReportedUsage
from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import Outcome, VerdictValue
from monitor.redaction import COVER
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.orchestrate.conftest import Desk


def echo(request: Any) -> Reply:
    return Reply(text=f"heard {request.messages[-1].content}")


def test_a_run_hands_on_the_covered_text_and_stores_the_whole(desk: Desk, policy: Callable[..., str]) -> None:
    pack = policy("task 1", action="redact")
    result = desk.run("many", ScriptedModel(echo), "task", policies=[pack])
    assert (result.outcome, result.answer) == (
        Outcome.OK,
        f"heard task 0 heard {COVER * 6} heard task 2 heard task 3",
    )
    with Store.open(desk.db) as store:
        outputs = {item.observation.output for item in store.subcalls(result.run_id) if item.observation}
    assert "heard task 1" in outputs
    assert monitor.resume_sync(result.run_id, db=desk.db).answer == result.answer


def test_a_run_of_which_only_the_plan_is_checked_says_so(desk: Desk, policy: Callable[..., str]) -> None:
    pack = policy("task 1", action="withhold")
    result = desk.run("planned", ScriptedModel(echo), "task", policies=[pack])
    assert result.outcome is Outcome.OK  # the child that the rule would have caught is not looked at
    assert result.verdict.value is VerdictValue.UNMEASURED
    assert result.verdict.note == (
        "3 of 4 subcalls unmeasured (left unchecked by the recipe); "
        "subcalls of untrusted roles below checked ones were left unchecked"
    )
    plan, *children = desk.subcalls()
    assert plan.judgement is not None
    assert (plan.call.checked, plan.judgement.verdict.value) == (True, VerdictValue.PASS)
    for child in children:
        assert child.judgement is not None
        assert (child.call.checked, child.judgement.findings) == (False, ())
        assert child.judgement.verdict.note == "left unchecked by the recipe"


def test_what_is_left_unchecked_is_held_to_its_budget_all_the_same(desk: Desk, policy: Callable[..., str]) -> None:
    model = ScriptedModel(lambda _: Reply(text="x", usage=ReportedUsage(1, 5000)))
    result = desk.run("planned", model, "task", policies=[policy("zzz")])
    *_, child = desk.subcalls()
    assert child.judgement is not None
    assert child.judgement.verdict.catches == ("usage_over_reservation",)
    assert result.verdict.value is VerdictValue.FLAG


def test_a_recipe_puts_a_subcall_before_a_person(desk: Desk) -> None:
    result = desk.run("queued", ScriptedModel(echo), "task", policies=[])
    assert result.outcome is Outcome.OK
    _, second = desk.subcalls()
    with Store.open(desk.db) as store:
        (review,) = store.run(result.run_id).queued
        kinds = [event.kind for event in store.events(result.run_id)]
    assert (review.span, review.why, review.score) == (second.call.span_id, "it may be ␛0000 wrong", 0.75)
    assert kinds.count("run_queued") == 1


def test_a_resumed_run_queues_nothing_twice(desk: Desk) -> None:
    model = ScriptedModel(echo)
    run = desk.run("queued_then_fails", model, "task", policies=[])
    assert run.outcome is Outcome.FAILED
    again = monitor.resume_sync(run.run_id, model=model, db=desk.db)
    assert again.outcome is Outcome.FAILED
    with Store.open(desk.db) as store:
        assert len(store.run(run.run_id).queued) == 1
