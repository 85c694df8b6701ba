"""Rates and their intervals: against exact formulas, and against what happens to fresh texts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from monitor.errors import CalibrationError
from monitor.probes.calibration import MAX_POINTS, calibrate, interval, needed, rate_of
from monitor.probes.data import fingerprint
from monitor.probes.words import Dataset, Labelled, Surface

if TYPE_CHECKING:
    from monitor.probes.sidecar import Calibration


def benign(count: int, per_group: int = 1, name: str = "harmless") -> Dataset:
    rows = tuple(Labelled(f"text {n}", False, f"g{n // per_group}") for n in range(count))
    return Dataset(name, rows, licence="MIT", source="here", sha256=fingerprint(rows))


def calibrated(scores: Any, per_group: int = 1, targets: Any = (), name: str = "harmless") -> Calibration:
    found = np.asarray(scores, dtype=np.float64)
    data = benign(len(found), per_group, name)
    return calibrate(found, data, surface=Surface.OUTPUT, format="chat", targets=targets)


@pytest.mark.parametrize(("rate", "count"), [(0.5, 5), (0.05, 59), (0.01, 299), (0.001, 2995)])
def test_a_rate_needs_as_many_texts_as_can_show_it(rate: float, count: int) -> None:
    assert needed(rate) == count
    assert (1 - rate) ** count <= 0.05 < (1 - rate) ** (count - 1)
    calibrated(np.arange(count), targets=[rate])
    with pytest.raises(CalibrationError, match=f"{rate:g} needs {count:,}, found {count - 1:,}"):
        calibrated(np.arange(count - 1), targets=[rate])


def test_texts_of_one_group_support_a_rate_once() -> None:
    with pytest.raises(CalibrationError, match=r"0.05 needs 59, found 50 \(500 texts in 50 groups"):
        calibrated(np.arange(500), per_group=10, targets=[0.05])


@pytest.mark.parametrize(("reached", "count"), [(0, 20), (1, 20), (7, 300), (20, 20)])
def test_the_interval_is_clopper_and_pearsons(reached: int, count: int) -> None:
    exact = binomtest(reached, count).proportion_ci(0.95, method="exact")
    assert interval(reached, count) == pytest.approx((exact.low, exact.high))


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=80), st.integers(-25, 25))
def test_a_scores_rate_counts_the_harmless_texts_at_or_above_it(scores: list[int], score: int) -> None:
    found = rate_of(score, [calibrated(scores)], surface=Surface.OUTPUT, format="chat")
    reached = sum(one >= score for one in scores)
    assert found.value == pytest.approx((reached + 1) / (len(scores) + 1))
    assert found.low is not None
    assert found.high is not None
    assert found.value is not None
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (found.calibration, found.cause) == ("harmless", "")


@given(st.lists(st.integers(0, 40), min_size=59, max_size=150), st.sampled_from([0.05, 0.1, 0.4]))
def test_a_threshold_is_the_lowest_that_keeps_its_rate(scores: list[int], target: float) -> None:
    rate = calibrated(scores, targets=[target]).rates[0]
    reached = sum(score >= rate.threshold for score in scores)
    assert rate.rate == pytest.approx((reached + 1) / (len(scores) + 1))
    assert rate.rate <= target
    lower = [score for score in scores if score < rate.threshold]
    assert not lower or (sum(score >= max(lower) for score in scores) + 1) / (len(scores) + 1) > target


def test_fresh_harmless_texts_keep_to_the_rate() -> None:
    """Over many calibrations, a threshold for 5 % is reached by at most 5 % of fresh texts, and the interval covers."""
    drawn = np.random.default_rng(0)
    shares, covered = [], 0
    for _ in range(300):
        rate = calibrated(drawn.normal(size=120), targets=[0.05]).rates[0]
        truly = 0.5 * math.erfc(rate.threshold / math.sqrt(2))
        shares.append(truly)
        covered += rate.low <= truly <= rate.high
    assert 0.03 < np.mean(shares) <= 0.052
    assert covered >= 0.93 * 300


def test_texts_of_a_group_that_score_alike_widen_the_interval_as_far_as_it_takes() -> None:
    """Ten times each text is no news; the plain interval of 1,000 would cover the truth far too seldom."""
    drawn, alone = np.random.default_rng(0), Surface.OUTPUT
    one = calibrated(drawn.normal(size=100))
    ten = calibrated(np.repeat(np.random.default_rng(0).normal(size=100), 10), per_group=10)
    found = [rate_of(0.5, [it], surface=alone, format="chat") for it in (one, ten)]
    assert found[0].low == pytest.approx(found[1].low, abs=0.03)
    assert found[0].high == pytest.approx(found[1].high, abs=0.03)
    covered = 0
    for seed in range(100):
        groups = np.random.default_rng(seed).normal(size=80)
        noise = np.random.default_rng(seed + 1000).normal(size=800)
        rate = rate_of(
            1.0, [calibrated(np.repeat(groups, 10) + 0.3 * noise, per_group=10)], surface=alone, format="chat"
        )
        assert rate.low is not None
        assert rate.high is not None
        covered += rate.low <= 0.5 * math.erfc(1 / math.hypot(1, 0.3) / math.sqrt(2)) <= rate.high
    assert covered >= 90


def test_where_the_probe_is_applied_elsewhere_there_is_no_rate_and_a_reason() -> None:
    one = calibrated(np.arange(100))
    causes = [
        rate_of(1, [], surface=Surface.OUTPUT, format="chat"),
        rate_of(1, [one], surface=Surface.REASONING, format="chat"),
        rate_of(1, [one], surface=Surface.OUTPUT, format="plain"),
        rate_of(1, [one], surface=Surface.OUTPUT, format="chat", name="others"),
        rate_of(1, [one], surface=Surface.OUTPUT, format="chat", differs=["dtype: float32 and bfloat16"]),
        rate_of(math.nan, [one], surface=Surface.OUTPUT, format="chat"),
    ]
    assert [rate.value for rate in causes] == [None] * 6
    assert [rate.cause for rate in causes] == [
        "the probe is not calibrated",
        "calibrated on output (chat), and this is reasoning (chat)",
        "calibrated on output (chat), and this is output (plain)",
        "not calibrated on the set 'others'",
        "calibrated on another model: dtype: float32 and bfloat16",
        "the score is not a number",
    ]


def test_of_several_sets_the_highest_rate_counts_unless_one_is_named() -> None:
    sets = [calibrated(np.arange(100), name="low"), calibrated(np.arange(100) + 50, name="high")]
    found = rate_of(90, sets, surface=Surface.OUTPUT, format="chat")
    assert found.calibration == "high"
    assert found.value == pytest.approx(61 / 101)
    named = rate_of(90, sets, surface=Surface.OUTPUT, format="chat", name="low")
    assert named.calibration == "low"
    assert named.value == pytest.approx(11 / 101)


def test_of_many_scores_some_are_kept_and_a_rate_is_never_told_too_low() -> None:
    scores = np.random.default_rng(0).normal(size=20_000)
    kept = calibrated(scores)
    assert len(kept.points) <= MAX_POINTS
    for score in np.linspace(-4, 5, 50):
        found = rate_of(float(score), [kept], surface=Surface.OUTPUT, format="chat")
        exact = (np.sum(scores >= score) + 1) / 20_001
        assert found.value is not None
        assert exact <= found.value <= exact + 0.005


def test_what_is_no_rate_and_what_is_no_score_is_refused() -> None:
    for target in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(CalibrationError, match="between 0 and 1"):
            calibrated(np.arange(100), targets=[target])
    with pytest.raises(CalibrationError, match="a finite score for each of 2"):
        calibrated([1.0, math.nan])
    with pytest.raises(CalibrationError):
        calibrated([])
