"""A store's reviews as labels: which subcalls count, as what, and what was recorded of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("numpy")

from monitor.audit.evaluation.reviewed import reviewed_cases
from monitor.errors import ConfigError
from tests.audit.conftest import rule

if TYPE_CHECKING:
    from tests.audit.conftest import Desk


def test_a_subcall_is_bad_where_a_finding_on_it_is_held_to_be_right(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: x", level="high"), rule(2, "reasoning|contains: y", level="low"))
    run = desk.run()
    right, wrong, missed, disputed = (desk.think(run, text, rules) for text in ("x y", "x", "z", "x"))
    desk.label(right, "rule_1", "true")
    desk.label(right, "rule_2", "false")
    desk.label(wrong, "rule_1", "false")
    desk.label(missed, "rule_2", "false")  # of a no_match: it should have matched
    desk.label(disputed, "rule_1", "true", by="ann")
    desk.label(disputed, "rule_1", "false", by="bob")
    found = reviewed_cases(desk.store.reviews(), desk.store.subcall)
    by_span = {case.key.partition("/")[2]: (case.bad, case.given["rules"]) for case in found.cases}
    assert by_span == {
        right.call.span_id: (True, 5.0),  # high 4 and low 1
        wrong.call.span_id: (False, 4.0),
        missed.call.span_id: (True, 0.0),
    }
    assert {case.group for case in found.cases} == {run}
    assert "1 labelled subcalls are left out" in found.notes[-1]


def test_without_a_sure_label_there_is_nothing_to_measure(desk: Desk) -> None:
    subcall = desk.think(desk.run(), "x", desk.rules(rule(1, "reasoning|contains: x")))
    desk.label(subcall, "rule_1", "unsure")
    with pytest.raises(ConfigError, match="1 unsure or disputed"):
        reviewed_cases(desk.store.reviews(), desk.store.subcall)
