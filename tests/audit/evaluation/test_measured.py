"""Recall at matched rates and the audit-budget curve: exact answers on small data, and nothing held out that takes part."""

from __future__ import annotations

from math import inf, isnan, nextafter

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("sklearn")

from monitor.audit.evaluation.cases import Case, Cases
from monitor.audit.evaluation.detectors import BOTH, Detector
from monitor.audit.evaluation.measured import Measured, measured, threshold
from monitor.audit.evaluation.reading_budget import RANDOM, caught, curves
from monitor.audit.evaluation.samples import agent_record
from monitor.audit.evaluation.scores_report import SetFigures, scores_page, shape, warnings
from monitor.audit.page.blocks import as_html, as_markdown
from monitor.errors import ConfigError


def cases(labels: list[bool], groups: list[str] | None = None) -> Cases:
    """Cases with these labels, each of its own group unless said."""
    named = groups or [f"g{number}" for number in range(len(labels))]
    rows = enumerate(zip(labels, named, strict=True))
    return Cases("built", "bad", tuple(Case(f"c{n}", group, bad, agent_record("x")) for n, (bad, group) in rows))


def detector(name: str, scores: list[float]) -> Detector:
    return Detector(name, np.array(scores, dtype=float))


def hundred() -> tuple[Cases, Detector]:
    """99 negatives that score 1 to 99, and 20 positives of which 5 lie above 99, 5 above 95 and 4, 6 below."""
    positives = [200.0] * 5 + [97.5] * 5 + [90.5] * 4 + [0.0] * 6
    labels = [False] * 99 + [True] * 20
    return cases(labels), detector("d", [*map(float, range(1, 100)), *positives])


def test_the_threshold_is_the_one_that_further_negatives_reach_at_the_rate() -> None:
    found, scores = hundred()
    labels = np.array([case.bad for case in found.cases])
    assert threshold(labels, scores.scores, 0.01) == nextafter(99.0, inf)  # ⌊0.01 · 100⌋ = 1: above the highest
    assert threshold(labels, scores.scores, 0.05) == nextafter(95.0, inf)  # above the fifth highest
    assert threshold(labels[2:], scores.scores[2:], 0.01) == inf  # 97 negatives: no rank at 1 %


def test_recall_at_matched_rates_is_exact() -> None:
    found, scores = hundred()
    (figures,) = measured(found, [scores], draws=50).figures
    assert [recall.recall.value for recall in figures.recalls] == pytest.approx([5 / 20, 10 / 20, 14 / 20])
    assert figures.reached == (0, 4, 9)
    assert [recall.supported for recall in figures.recalls] == [False, True, True]


def test_too_few_negatives_for_a_rate_is_said_and_not_papered_over() -> None:
    found = measured(cases([True] * 5 + [False] * 50), [detector("d", [1.0] * 5 + [0.0] * 50)], draws=50)
    recall = found.figures[0].recalls[0]
    assert isnan(recall.recall.value)
    assert any("no threshold can be set" in line for line in warnings(SetFigures(found, ()).measured))
    assert shape([SetFigures(found, ())])["sets"][0]["detectors"][0]["recalls"][0]["recall"] is None


def test_what_cannot_be_scored_comes_last_and_is_counted() -> None:
    found = measured(cases([True, True, False, False]), [detector("d", [2, float("nan"), 1, 0])], draws=50)
    assert found.figures[0].unscored == 1
    assert found.rankings[0].scores.tolist() == [2, -1, 1, 0]
    assert any("could not be scored" in line for line in warnings(found))


def test_one_label_or_one_group_is_refused() -> None:
    with pytest.raises(ConfigError):
        measured(cases([True, True]), [detector("d", [1, 0])])
    with pytest.raises(ConfigError):
        measured(cases([True, False], ["g", "g"]), [detector("d", [1, 0])])


def test_both_together_learn_nothing_of_the_cases_they_score() -> None:
    """With random labels of whole groups, a fit that had seen them would find them: held out, it is chance."""
    dice = np.random.default_rng(0)
    labels = [bool(group % 2) for group in range(60) for _ in range(3)]
    groups = [f"g{group}" for group in range(60) for _ in range(3)]
    noise = [detector(name, dice.normal(size=180).tolist()) for name in ("a", "b")]
    found = measured(cases(labels, groups), noise, draws=200).figures[-1]
    assert found.name == BOTH
    assert found.auroc is not None
    assert found.auroc.low < 0.5 < found.auroc.high


def test_both_together_find_what_either_finds_a_half_of() -> None:
    bad = [True] * 40 + [False] * 160
    first = [1.0 if n < 20 else 0.0 for n in range(200)]
    second = [1.0 if 20 <= n < 40 else 0.0 for n in range(200)]
    found = measured(cases(bad), [detector("a", first), detector("b", second)], draws=100)
    assert [figures.recalls[1].recall.value for figures in found.figures] == [0.5, 0.5, 1.0]


def test_nothing_can_be_fitted_where_one_group_alone_has_a_bad_case() -> None:
    found = measured(cases([True, False, False]), [detector("a", [1, 0, 0]), detector("b", [1, 0, 0])], draws=50)
    assert "nothing can be fitted" in found.figures[-1].missing
    assert [ranking.name for ranking in found.rankings] == ["a", "b"]


# ------------------------------------------------------------------------------------------------- the audit budget


def test_the_curve_of_the_best_and_of_the_worst_order() -> None:
    labels = np.array([True, True, False, False, False])
    read = np.array([0.0, 1.0, 2.0, 3.0, 5.0])
    assert caught(labels, np.array([5.0, 4, 3, 2, 1]), read).tolist() == [0, 0.5, 1, 1, 1]
    assert caught(labels, np.array([1.0, 2, 3, 4, 5]), read).tolist() == [0, 0, 0, 0, 1]


def test_a_tie_has_the_exact_expectation_over_its_orders() -> None:
    """Two of three tied cases are bad: one read finds 2/3 of one of two, two read 4/3 of them."""
    labels = np.array([True, True, False, False])
    found = caught(labels, np.array([1.0, 1, 1, 0]), np.array([1.0, 2, 3, 4]))
    assert found.tolist() == pytest.approx([1 / 3, 2 / 3, 1, 1])


def built(scores: list[float]) -> Measured:
    return measured(cases([True] * 10 + [False] * 90), [detector("d", scores)], draws=50)


def test_which_ones_are_read_and_what_chance_would_find() -> None:
    by_score, by_chance = curves(built([float(n) for n in range(100)]), draws=50)
    assert by_score.order[:2] == ("c99", "c98")
    assert by_score.tied[:2] == (1, 1)
    at_ten = next(point for point in by_chance.points if point.read == 10)
    assert by_chance.name == RANDOM
    assert (at_ten.caught.value, at_ten.caught.low, at_ten.caught.high) == (
        0.1,
        0.0,
        0.3,
    )  # hypergeometric(100, 10, 10)
    assert by_score.points[-1].caught.value == 0.0  # 75 of 100 read, the bad ones last


def test_an_order_that_makes_no_mistake_is_not_said_to_be_certain() -> None:
    """One bad case in each group, all of them first: each draw of groups gives the same."""
    labels = [number % 4 == 0 for number in range(100)]
    some = cases(labels, [f"g{number // 4}" for number in range(100)])
    scores = [100.0 * label - number / 1000 for number, label in enumerate(labels)]
    (mine, _) = curves(measured(some, [detector("d", scores)], draws=50), draws=50)
    at_ten = next(point for point in mine.points if point.read == 10)
    assert at_ten.caught.value == pytest.approx(0.4)
    assert at_ten.caught.low < 0.35
    assert at_ten.caught.high == pytest.approx(0.4)


def test_a_detector_that_knows_nothing_is_reading_at_random() -> None:
    mine, by_chance = curves(built([0.0] * 100), draws=50)
    assert [point.caught.value for point in mine.points] == [point.caught.value for point in by_chance.points]
    assert any("the same score" in line for line in warnings(built([0.0] * 100)))


def test_the_order_of_a_tie_is_the_seeds() -> None:
    tied = built([1.0] * 50 + [0.0] * 50)
    orders = [curves(tied, seed=seed, draws=20)[0].order for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert set(orders[0][:50]) == {f"c{number}" for number in range(50)}


def test_the_page_says_everything_without_a_script() -> None:
    found = built([float(n % 7) for n in range(100)])
    page = scores_page([SetFigures(found, tuple(curves(found, draws=20)))], "monitor evaluate scores <x>")
    html, text = as_html(page), as_markdown(page, "plots")
    assert "&lt;x&gt;" in html
    assert "<script" not in html
    assert html.count("<svg") == len(page.plots) == 2
    assert all(f"plots/{plot.name}.svg" in text for plot in page.plots)
    assert "100 cases in 100 groups; 10 are bad (bad), in 10 groups." in text
