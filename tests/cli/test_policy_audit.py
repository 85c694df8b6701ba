"""``monitor policy backtest``, ``diff`` and ``coverage`` over a stored database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_review import office, pack, refs
from tests.store.databases import Database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]

__all__ = ["office"]


def address(tmp_path: Path) -> str:
    return os.environ.get("MONITOR_DB", str(tmp_path / "monitor.db"))


@pytest.fixture
def damaged(monitor: Monitor, office: list[str], tmp_path: Path) -> None:
    """One subcall of the run cannot be read back."""
    first, _ = refs(monitor)
    with Database(address(tmp_path)) as database:
        database.lift_triggers("events")
        where = f"substr(span_id, 1, 8) = '{first[-8:]}' AND seq = 1"
        database.execute(f"UPDATE events SET canonical = '{{}}' WHERE {where}")


def test_a_backtest_says_what_would_have_been_flagged(monitor: Monitor, office: list[str]) -> None:
    result = monitor("policy", "backtest", "./new.yaml")
    assert (result.code, result.err) == (0, "")
    for text in (
        "3 subcalls of 1 run looked at",
        "verdicts  2 pass, 1 flag",
        "actions   2 log, 1 flag",
        "runs      1 flag",
        "sends_away (medium, flag, house)",
        "1 match, 2 no_match, 0 unknown, 0 not_applicable (in 1 run)",
        "precision: unmeasured: nobody has labelled a match true or false; 1 not labelled",
        "reasoning: I will send the file away",
    ):
        assert text in result.out
    shape = monitor("policy", "backtest", "./new.yaml", "--json").json
    assert (shape["format"], shape["flagged"], shape["covered"]["whole"]) == ("monitor.backtest/1", 1, True)
    (rule,) = shape["rules"]
    assert (rule["counts"]["match"], rule["precision"]["share"], rule["precision"]["interval"]) == (1, None, None)
    assert rule["samples"][0]["evidence"][0]["text"] == "send the file"


def test_a_diff_says_which_change_and_why(monitor: Monitor, office: list[str]) -> None:
    result = monitor("policy", "diff", "./old.yaml", "./new.yaml")
    assert (result.code, result.err) == (0, "")
    for text in (
        "rules changed: sends_away",
        "1 of 3 subcalls change verdict or action (in 1 run)",
        "1  flag, flag → pass, log",
        "sends_away: match (flag) → no_match",
        "reasoning: I send greetings",
    ):
        assert text in result.out
    recorded = monitor("policy", "diff", "--recorded", "./new.yaml", "--each", "--json").json
    assert (recorded["format"], recorded["changed"], recorded["recorded"]) == ("monitor.policy-diff/1", 1, True)
    (change,) = recorded["changes"]
    assert change["differences"] == [{"rule": "sends_away", "before": "match (flag)", "after": "no_match"}]
    assert "0 of 3 subcalls change" in monitor("policy", "diff", "--recorded", "./old.yaml").out
    both = monitor("policy", "diff", "./old.yaml", "./old.yaml,core")
    assert both.code == 0
    assert "rules removed: none" in both.out


def test_coverage_says_what_never_fired(monitor: Monitor, office: list[str]) -> None:
    result = monitor("policy", "coverage")
    assert (result.code, result.err) == (0, "")
    assert "1 rule, as recorded when the runs went: 1 fired" in result.out
    shape = monitor("policy", "coverage", "--json").json
    (rule,) = shape["rules"]
    assert (shape["by"], rule["firing"], rule["counts"]["match"], rule["runs"]) == ("recorded", "fired", 2, 1)
    assert rule["last_match"].endswith("Z")
    again = monitor("policy", "coverage", "./new.yaml", "--json").json
    assert (again["by"], again["rules"][0]["counts"]["match"]) == ("evaluated", 1)
    never = monitor("policy", "coverage", "core", "--recorded", "--json").json
    assert {rule["firing"] for rule in never["rules"]} == {"never ran"}


def test_only_what_is_asked_for(monitor: Monitor, office: list[str]) -> None:
    def looked_at(*arguments: str) -> int:
        return int(monitor("policy", "backtest", "./new.yaml", *arguments, "--json").json["covered"]["subcalls"])

    assert monitor(*office).code == 0
    assert looked_at() == 6
    assert looked_at("--run", "latest") == 3
    assert looked_at("--role", "clerk") == 6
    assert looked_at("--role", "nobody") == 0
    assert looked_at("--recipe", "ask") == 6
    assert looked_at("--recipe", "amplify") == 0
    assert looked_at("--since", "2020-01-01") == 6
    assert looked_at("--until", "2020-01-01T00:00+02:00") == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("backtest", "./new.yaml", "--since", "yesterday"), "expected a date or time"),
        (("backtest", "./missing.yaml"), "no policy file"),
        (("diff", "./old.yaml"), "expected monitor policy diff OLD NEW, found 1 sets"),
        (("diff", "--recorded", "./old.yaml", "./new.yaml"), "expected monitor policy diff --recorded NEW"),
        (("coverage", "--run", "ffff"), "there is no run 'ffff'"),
    ],
)
def test_what_does_not_fit_is_refused(
    monitor: Monitor, office: list[str], arguments: tuple[str, ...], says: str
) -> None:
    refused = monitor("policy", *arguments)
    assert refused.code == 2
    assert says in refused.err


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(
    "arguments",
    [
        ("backtest", "./new.yaml"),
        ("diff", "./old.yaml", "./new.yaml"),
        ("diff", "--recorded", "./new.yaml"),
        ("coverage",),
    ],
)
def test_what_could_not_be_looked_at_is_never_left_out_in_silence(monitor: Monitor, arguments: tuple[str, ...]) -> None:
    result = monitor("policy", *arguments)
    assert result.code == 1
    assert "2 subcalls of 1 run looked at" in result.out
    assert "1 subcall could not be looked at: these figures are not of everything" in result.err
    shape = monitor("policy", *arguments, "--json")
    assert shape.code == 1
    assert (shape.json["covered"]["failed"], shape.json["covered"]["whole"]) == (1, False)
    assert "another version" in shape.json["covered"]["failures"][0]["problem"]


def test_erased_texts_are_said(monitor: Monitor, office: list[str], tmp_path: Path) -> None:
    with Database(address(tmp_path)) as database:
        database.execute(
            "UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE body = 'I will send the file away'"
        )
    result = monitor("policy", "backtest", "./new.yaml")
    assert result.code == 0
    assert "1 text in 1 subcall erased: what stood there is found by no rule" in result.out


def test_without_a_store_there_is_an_error(monitor: Monitor, tmp_path: Path) -> None:
    pack(tmp_path / "new.yaml", "send")
    if "MONITOR_DB" not in os.environ:
        assert monitor("policy", "backtest", "./new.yaml").code == 6
