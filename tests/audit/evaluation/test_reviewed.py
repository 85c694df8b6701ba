"""A store's reviews as labels: which subcalls count, as what, and what was recorded of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("numpy")

from monitor.audit.evaluation.reviewed import reviewed_cases
from monitor.cli import main
from monitor.errors import ConfigError
from monitor.store import Store
from tests.audit.conftest import Desk, rule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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


def test_what_was_recorded_is_measured_on_labels(
    new_database: Callable[[], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three of four bad subcalls were matched; no rule is evaluated again unless a pack is given."""
    pytest.importorskip("sklearn")
    url = new_database()
    with Store.open(url) as store:
        desk = Desk(store, tmp_path)
        rules = desk.rules(rule(1, "reasoning|contains: bad"))
        for text, label in (("bad", "true"),) * 3 + (("worse", "false"),) + (("fine", "true"),) * 30:
            desk.label(desk.think(desk.run(), text, rules), "rule_1", label)
    assert main(["evaluate", "scores", "--reviews", "--db", url, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["sets"]
    (rules_alone,) = found["detectors"]
    assert (found["cases"], found["bad"], rules_alone["name"], rules_alone["how"]) == (
        34,
        4,
        "rules",
        "as given with the cases",
    )
    assert [recall["recall"] and recall["recall"]["value"] for recall in rules_alone["recalls"]] == [None, 0.75, 0.75]
    assert all(which["tied_with"] in {3, 31} for which in found["audit_budget"][0]["which"])
