"""Δ over the trace, and its verdict."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.probes.evaluation.added import Verdict, added, concluded
from monitor.probes.evaluation.base import Estimate, Method, Task
from monitor.probes.evaluation.folds import grouped, run
from tests.probes.evaluation.worlds import Ridge, pairs_world


def _judge(task: Task, probe: Ridge, text: Ridge, *, halves: bool = False) -> tuple[Verdict, float]:
    fold = grouped(task, 5)
    methods: list[Method] = [text, probe]
    scored = {method.name: run(method, task, fold, halves=halves) for method in methods}
    found = added(probe, [text], task, fold, scored=scored, draws=400)
    return found.verdict, found.delta.value


def test_a_probe_that_knows_more_than_the_text_adds() -> None:
    task, hidden = pairs_world(0, 200, 8, 1.5)
    weak = hidden + 2.5 * np.random.default_rng(1).normal(size=hidden.shape)
    verdict, delta = _judge(task, Ridge(hidden, "probe"), Ridge(weak, "text"), halves=True)
    assert verdict == Verdict.ADDS
    assert delta > 0.05


def test_a_probe_that_knows_what_the_text_says_adds_nothing() -> None:
    """The label is all in the text; the probe sees the same through noise of its own. The planted confound, without a
    model.
    """
    task, shown = pairs_world(0, 300, 8, 9.0)
    seen = shown + np.random.default_rng(1).normal(size=shown.shape)
    verdict, delta = _judge(task, Ridge(seen, "probe"), Ridge(shown, "text"))
    assert verdict == Verdict.NOTHING
    assert delta == pytest.approx(0, abs=0.01)


def test_few_groups_say_nothing_either_way() -> None:
    task, shown = pairs_world(0, 20, 4, 9.0)
    verdict, _ = _judge(task, Ridge(shown, "probe"), Ridge(shown, "text"))
    assert verdict == Verdict.INCONCLUSIVE


def test_noise_is_rarely_said_to_add() -> None:
    """A probe of pure noise beside a text that tells something, forty times."""
    wrong = 0
    for seed in range(40):
        task, shown = pairs_world(seed, 60, 5, 1.0)
        noise = np.asarray(np.random.default_rng(seed).normal(size=shown.shape))
        wrong += _judge(task, Ridge(noise, "probe"), Ridge(shown, "text"))[0] == Verdict.ADDS
    assert wrong <= 3


@pytest.mark.parametrize(
    ("delta", "bound", "expected"),
    [
        (Estimate(0.05, 0.02, 0.08), 0.075, Verdict.ADDS),
        (Estimate(0.0, -0.01, 0.01), 0.008, Verdict.NOTHING),
        (Estimate(0.005, 0.001, 0.009), 0.008, Verdict.NOTHING),
        (Estimate(0.01, -0.02, 0.04), 0.035, Verdict.INCONCLUSIVE),
        (Estimate(float("nan"), -1, 1), float("nan"), Verdict.INCONCLUSIVE),
    ],
)
def test_what_is_concluded(delta: Estimate, bound: float, expected: Verdict) -> None:
    """Inconclusive unless the interval is above 0, or an effect that counts is excluded."""
    assert concluded(delta, bound, 0.02, Estimate(0.8, 0.7, 0.9))[0] == expected
