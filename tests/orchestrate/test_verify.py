"""A solution checked step by step: what each checker sees, and which step is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.verify_steps import Report, Solution, drawn, score, wilson
from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.models.base import ModelRequest
    from tests.orchestrate.conftest import Desk

STEPS = ["2 + 3 = 5.", "5 * 4 = 24.", "24 - 1 = 22."]
TASK = "(2 + 3) * 4 - 1 ="


def checker(*wrong: str) -> ScriptedModel:
    """A model that calls ``wrong`` what is one of these steps."""

    def check(request: ModelRequest) -> Reply:
        step = request.messages[-1].content.rpartition("Step to check: ")[2]
        verdict = "wrong" if step in wrong else "right"
        return Reply(text=json.dumps({"reasoning": "I did the step myself.", "verdict": verdict}))

    return ScriptedModel(check)


def verdict_on(desk: Desk, model: ScriptedModel, solution: Sequence[str] | str, **options: object) -> dict[str, object]:
    result = desk.run("verify", model, TASK, options={"solution": solution, **options})
    assert result.outcome is Outcome.OK, result.error
    answer = json.loads(result.answer)
    assert isinstance(answer, dict)
    return answer


def test_the_first_wrong_step_is_named(desk: Desk) -> None:
    model = checker(STEPS[1], STEPS[2])
    assert verdict_on(desk, model, STEPS) == {"first_wrong": 1, "steps": 3, "verdicts": ["right", "wrong", "wrong"]}
    assert model.calls == 3


def test_a_solution_without_a_wrong_step_has_none(desk: Desk) -> None:
    assert verdict_on(desk, checker(), STEPS)["first_wrong"] is None


def test_it_can_stop_at_the_first_wrong_step(desk: Desk) -> None:
    model = checker(STEPS[1])
    assert verdict_on(desk, model, STEPS, stop=True) == {"first_wrong": 1, "steps": 3, "verdicts": ["right", "wrong"]}
    assert model.calls == 2


def test_a_checker_sees_the_task_the_steps_before_and_its_step(desk: Desk) -> None:
    verdict_on(desk, checker(), STEPS)
    handed = [subcall.call.messages[-1].content for subcall in desk.subcalls()]
    assert handed == [
        f"Task: {TASK}\nSteps before:\nnone\nStep to check: {STEPS[0]}",
        f"Task: {TASK}\nSteps before:\n1. {STEPS[0]}\nStep to check: {STEPS[1]}",
        f"Task: {TASK}\nSteps before:\n1. {STEPS[0]}\n2. {STEPS[1]}\nStep to check: {STEPS[2]}",
    ]


@pytest.mark.parametrize(
    "solution", [STEPS, json.dumps(STEPS), "\n\n".join(STEPS), "  \n".join(STEPS) + "\n", "\r\n".join(STEPS)]
)
def test_steps_are_lines_or_a_list(desk: Desk, solution: Sequence[str] | str) -> None:
    assert verdict_on(desk, checker(STEPS[2]), solution)["first_wrong"] == 2


def test_an_index_is_one_into_the_list_as_it_was_given(desk: Desk) -> None:
    assert verdict_on(desk, checker(STEPS[2]), ["", *STEPS])["first_wrong"] == 3


def test_lines_that_begin_with_a_bracket_are_lines(desk: Desk) -> None:
    assert verdict_on(desk, checker(), "[1] first\n[2] second")["steps"] == 2


def test_a_solution_without_steps_is_refused(desk: Desk) -> None:
    solutions: list[str | list[str]] = ["", " \n ", "[]", [""]]
    for solution in solutions:
        result = desk.run("verify", ScriptedModel([]), options={"solution": solution})
        assert result.error is not None
        assert "the solution has no steps" in result.error.message


def test_a_step_that_nobody_could_check_is_no_right_step(desk: Desk) -> None:
    """The run fails; nothing is said of the solution."""
    model = ScriptedModel([Reply(text="no JSON", times=None)])
    result = desk.run("verify", model, TASK, options={"solution": STEPS})
    assert (result.outcome, result.answer) == ("failed", "")


def test_the_bench_counts_as_it_says() -> None:
    """Steps after the labelled mistake do not count, and a run without an answer counts as wrong."""
    report = Report("x")
    score(report, Solution("", ["a", "b", "c"], 1), ["right", "wrong", "right"], 1)
    score(report, Solution("", ["a", "b", "c"], None), ["right", "wrong", "right"], 1)
    score(report, Solution("", ["a", "b"], 0), None, 1)
    assert (report.first.right, report.first.count) == (1, 3)
    assert (report.never.right, report.majority.right) == (1, 1)
    assert report.uniform == pytest.approx(1 / 4 + 1 / 4 + 1 / 3)
    assert (report.steps.right, report.steps.count) == (4, 6)
    assert (report.caught.right, report.caught.count) == (1, 2)
    assert (report.spared.right, report.spared.count) == (3, 4)
    assert (report.all_right.right, report.all_right.count) == (4, 6)


def test_the_interval_is_wilsons() -> None:
    """Worked values: 5 of 10, and 0 of 20."""
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_the_sample_is_drawn_by_the_seed() -> None:
    solutions = [Solution(str(number), [], None) for number in range(50)]
    sample, rest = drawn(solutions, 10, 1)
    assert (len(sample), len(rest)) == (10, 40)
    assert drawn(solutions, 10, 1)[0] == sample != drawn(solutions, 10, 2)[0]
    assert len(drawn(solutions, 500, 0)[0]) == 50


@pytest.mark.embedded
def test_the_embedded_model_says_right_or_wrong(desk: Desk) -> None:
    """Which of the two is not asserted: ``bench/verify_steps.py`` reports how often it is right."""
    result = desk.run("verify", "embedded", TASK, options={"solution": STEPS[:2]})
    assert result.outcome is Outcome.OK, result.error
    assert len(json.loads(result.answer)["verdicts"]) == 2
