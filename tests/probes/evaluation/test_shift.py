"""The shift suite and the alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from monitor.probes.evaluation.base import Estimate, Task
from monitor.probes.evaluation.folds import grouped, run
from monitor.probes.evaluation.shift import SET, Shift, Side, alarms, elsewhere, shifted, sides
from tests.probes.evaluation.worlds import Ridge

if TYPE_CHECKING:
    from collections.abc import Sequence


def _polarities(seed: int, *, turned: bool) -> tuple[Task, Ridge, list[dict[str, str]], np.ndarray]:
    """Groups of four rows, two of either polarity. The direction that tells most turns with it, or does not; another
    holds.
    """
    dice = np.random.default_rng(seed)
    groups = np.repeat(np.arange(80), 4)
    labels = np.tile([True, False, True, False], 80)
    negated = np.tile([False, False, True, True], 80)
    features = dice.normal(size=(320, 6))
    sign = np.where(negated & turned, -1, 1)
    features[:, 0] += 4 * sign * (labels - 0.5)
    features[:, 1] += 2 * (labels - 0.5)
    tags = [{"polarity": "negated" if one else "affirmed"} for one in negated]
    return Task(labels, groups), Ridge(features), tags, dice.integers(20, 60, 320)


def _shifted(ridge: Ridge, task: Task, tried: Sequence[Side]) -> tuple[Shift, ...]:
    fold = grouped(task, 5)
    return shifted(ridge, task, fold, tried, whole=run(ridge, task, fold), draws=300)


def test_a_direction_that_turns_with_the_negation_raises_the_alarm() -> None:
    task, ridge, tags, lengths = _polarities(0, turned=True)
    tried, missing = sides(tags, lengths, task)
    found = _shifted(ridge, task, tried)
    told = alarms(found)
    assert len(told) == 2
    assert "negation, trained on affirmed, tested on negated" in told[0].message + told[1].message
    assert not any(one.blocks for one in told)  # what is fitted on both finds the direction that holds
    assert [line.split(":")[0] for line in missing] == ["template", "another data set"]


def test_a_direction_that_holds_raises_none() -> None:
    task, ridge, tags, lengths = _polarities(1, turned=False)
    found = _shifted(ridge, task, sides(tags, lengths, task)[0])
    assert alarms(found) == ()
    assert {shift.kind for shift in found} == {"negation", "length"}


def test_chance_raises_no_alarm_for_being_a_little_below_one_half() -> None:
    assert not Shift("length", "short", "long", 100, Estimate(0.45, 0.35, 0.55), Estimate(0.5, 0.4, 0.6)).inverted
    assert Shift("length", "short", "long", 100, Estimate(0.40, 0.31, 0.49), Estimate(0.5, 0.4, 0.6)).inverted


def test_each_data_set_is_left_out_in_turn() -> None:
    dice = np.random.default_rng(2)
    task = Task(np.tile([True, False], 90), np.repeat(np.arange(90), 2))
    tags = [{"set": "abc"[group // 30]} for group in task.groups]
    ridge = Ridge(dice.normal(size=(180, 3)) + np.outer(task.labels, [2, 0, 0]))
    tried = [side for side in sides(tags, np.full(180, 9), task)[0] if side.kind == SET]
    assert [(side.trained, side.tested) for side in tried] == [
        ("all but a", "a"),
        ("all but b", "b"),
        ("all but c", "c"),
    ]
    found = _shifted(ridge, task, tried)
    expected = elsewhere(found)
    assert expected is not None
    assert expected.low < min(shift.auroc.value for shift in found)
    assert elsewhere(found[:2]) is None


def test_a_set_is_left_out_with_its_negated_twin() -> None:
    """They have their groups in common: with one in the training the other is no new set."""
    groups = np.repeat(np.arange(60), 4)
    task = Task(np.tile([True, False, True, False], 60), groups)
    names = np.tile(["", "", "neg_", "neg_"], 60)
    tags = [
        {"set": f"{name}{'cities' if group < 30 else 'words'}", "polarity": name or "plain"}
        for name, group in zip(names, groups, strict=True)
    ]
    tried = [side for side in sides(tags, np.full(240, 9), task)[0] if side.kind == SET]
    assert [(side.trained, side.tested, side.fresh) for side in tried] == [
        ("neg_words + words", "cities + neg_cities", True),
        ("cities + neg_cities", "neg_words + words", True),
    ]


def test_the_interval_for_another_set_covers_one_more_set() -> None:
    """Sets whose AUROC is theirs alone: the interval from six of them covers a seventh about 95 times of 100."""
    dice, covered = np.random.default_rng(3), 0
    for _ in range(400):
        values = 1 / (1 + np.exp(-dice.normal(1.5, 0.8, 7)))
        shifts = [Shift(SET, "", "", 9, Estimate(float(v), 0, 1), Estimate(0, 0, 1)) for v in values[:6]]
        found = elsewhere(shifts)
        assert found is not None
        covered += found.low <= values[6] <= found.high
    assert covered / 400 == pytest.approx(0.95, abs=0.035)
