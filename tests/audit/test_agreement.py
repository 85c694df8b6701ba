"""Cohen's kappa of people who labelled the same findings: textbook values, who is compared, and the interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.audit.agreement import agreement, interval, kappa_of, student
from tests.audit.conftest import rule

if TYPE_CHECKING:
    from tests.audit.conftest import Desk


def test_kappa_is_that_of_the_textbook() -> None:
    """20 both yes, 15 both no, 5 and 10 apart: p_o = 0.7, p_e = 0.5, kappa = 0.4."""
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    assert kappa_of(pairs) == pytest.approx(0.4)
    assert kappa_of([(True, False), (False, True)]) == pytest.approx(-1.0)
    assert kappa_of([(True, True), (False, False)]) == 1.0


def test_kappa_is_undefined_where_one_label_alone_was_given() -> None:
    assert kappa_of([(True, True)] * 5) is None
    assert kappa_of([]) is None


def test_perfect_agreement_on_few_is_no_certainty() -> None:
    runs = [[(True, True)], [(False, False)], [(True, True)], [(False, False)]]
    low, high, why = interval(runs, 1.0)
    assert (high, why) == (1.0, "")
    assert low is not None
    assert low < 0.5
    assert interval(runs[:1], 1.0)[2] == "one run: no interval"


@pytest.mark.parametrize(("freedom", "value"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (10, 2.2281), (1000, 1.9623)])
def test_students_quantile(freedom: int, value: float) -> None:
    assert student(freedom) == pytest.approx(value, rel=0.002)


def test_people_are_compared_on_what_both_are_sure_of(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: x"), rule(2, "reasoning|contains: nothing"))
    labels = [("true", "true"), ("true", "false"), ("false", "false"), ("unsure", "true")]
    for ann, bob in labels:
        subcall = desk.think(desk.run(), "x", rules)
        desk.label(subcall, "rule_1", "true" if ann == "false" else "false", by="ann")  # her last one counts
        desk.label(subcall, "rule_1", ann, by="ann")
        desk.label(subcall, "rule_1", bob, by="bob")
    desk.label(subcall, "rule_2", "true", by="cid")  # of another finding: compared with nobody
    (found,) = agreement(desk.store.reviews())
    assert (found.first, found.second, found.both, found.unsure, found.runs) == ("ann", "bob", 3, 1, 3)
    assert found.agreed == pytest.approx(2 / 3)
    assert found.kappa == pytest.approx(0.4)  # p_e = 2/3 · 1/3 + 1/3 · 2/3 = 4/9


def test_a_wrong_no_match_and_a_right_match_say_the_same_of_different_versions_of_nothing(desk: Desk) -> None:
    """Labels of no_match are turned round, so that what is compared is whether the thing is there."""
    rules = desk.rules(rule(1, "reasoning|contains: x"))
    for reasoning in ("x", "y"):
        subcall = desk.think(desk.run(), reasoning, rules)
        for person in ("ann", "bob"):
            desk.label(subcall, "rule_1", "true", by=person)
    (found,) = agreement(desk.store.reviews())
    assert (found.both, found.agreed, found.kappa) == (2, 1.0, 1.0)
