"""A cascade on labelled cases: what each stage passes on, what it costs and what it adds, under one audit budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("sklearn")

from monitor.audit.evaluation.cascade import Answered, Cascade, cascade, rates_of
from monitor.audit.evaluation.cases import Case, Cases
from monitor.audit.evaluation.detectors import Detector
from monitor.audit.evaluation.samples import agent_record
from monitor.errors import ConfigError
from monitor.probes.evaluation.base import as_task
from monitor.records import JudgeAnswer, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COUNT, GROUPS = 100, 20


def cases() -> Cases:
    """Every tenth case is bad; each group has five cases."""
    made = [Case(f"c{n}", f"g{n % GROUPS}", n % 10 < 2 and n < 50, agent_record(f"text {n}")) for n in range(COUNT)]
    return Cases("made", "bad", tuple(made))


def detector(name: str, score: Callable[[int, bool], float]) -> Detector:
    made = cases().cases
    return Detector(name, np.array([score(number, case.bad) for number, case in enumerate(made)]))


def judge(says: Callable[[Case], str | None]) -> Callable[[Sequence[Case]], list[Answered]]:
    def answer(asked: Sequence[Case]) -> list[Answered]:
        usage = Usage(calls=1, input_tokens=100, output_tokens=10, cost=0.5)
        return [
            Answered(JudgeAnswer.model_validate({"judge": "q", "answer": says(case), "model": "m"}), usage, 1.0)
            for case in asked
        ]

    return answer


WEAK = detector("rules", lambda number, bad: float(bad and number % 20 < 10) + number % 3)


def run(*cheap: Detector, says: Callable[[Case], str | None] | None = None, read: int = 10, ask: int = 40) -> Cascade:
    return cascade(cases(), cheap, judge(says) if says else None, read=read, ask=ask, draws=200)


def test_a_perfect_probe_adds_what_weak_rules_miss() -> None:
    found = run(WEAK, detector("probe", lambda _, bad: float(bad)))
    rules, probe = (stage.caught.value for stage in found.stages if stage.caught)
    assert found.bad == 10
    assert rules < probe == 1.0
    assert found.chance.value == pytest.approx(0.1)


def test_a_judge_that_is_right_finds_all_that_it_is_asked_about() -> None:
    found = run(WEAK, says=lambda case: "yes" if case.bad else "no")
    (_, asked) = found.stages
    assert asked.caught is not None
    assert (asked.looked_at, asked.passed, asked.calls) == (40, 10, 40)
    assert (asked.input_tokens, asked.output_tokens, asked.cost) == (4000, 400, 20.0)
    bad_asked = asked.answers["yes"]
    assert asked.caught.value == pytest.approx(bad_asked / 10)
    assert found.agreement is not None
    assert (found.agreement.agreed, found.agreement.kappa) == (1.0, 1.0)


def test_a_judge_that_is_fooled_hides_nothing_behind_what_it_was_not_asked_about() -> None:
    found = run(detector("probe", lambda _, bad: float(bad)), says=lambda case: "no" if case.bad else "yes", read=40)
    assert found.stages[-1].caught is not None
    assert found.stages[-1].caught.value == 1.0, "the bad are among the 40 that were asked about"
    assert found.agreement is not None
    assert found.agreement.agreed == 0.0


def test_a_judge_that_fails_changes_no_order() -> None:
    without = run(WEAK)
    failing = run(WEAK, says=lambda _: None)
    assert failing.order == without.order
    assert failing.stages[-1].answers["unknown"] == 40
    assert failing.agreement is not None
    assert failing.agreement.kappa is None


def test_the_thresholds_pass_on_what_the_budget_has_room_for() -> None:
    found = run(detector("probe", lambda number, _: float(number)), read=10)
    (stage,) = found.stages
    assert stage.threshold is not None
    assert stage.passed == pytest.approx(10, abs=4), "rates are of other folds, so the number is not exact"


def test_no_case_has_a_part_in_its_own_rate() -> None:
    made = cases()
    task = as_task([case.bad for case in made.cases], [case.group for case in made.cases])
    scores = np.zeros(COUNT)
    before = rates_of(task, scores, 0)
    row = next(number for number, case in enumerate(made.cases) if not case.bad)
    scores[row] = 1.0
    changed = rates_of(task, scores, 0)
    assert before[row] == 1.0
    assert changed[row] == pytest.approx(1 / (1 + (~task.labels).sum()), rel=0.3)
    assert changed[row] < 0.02


@pytest.mark.parametrize(("read", "ask", "said"), [(0, 40, "--budget"), (101, 40, "--budget"), (50, 40, "--ask")])
def test_what_cannot_be_is_refused(read: int, ask: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run(WEAK, says=lambda _: "yes", read=read, ask=ask)


def test_a_cascade_needs_a_cheap_stage() -> None:
    with pytest.raises(ConfigError, match="rules or a probe"):
        run(says=lambda _: "yes")
