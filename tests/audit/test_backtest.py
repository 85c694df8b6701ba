"""Backtests: what rules would have said of what is stored, counted by hand beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.audit.backtest import backtest
from monitor.audit.reviews import Labels
from monitor.policy import PolicySet
from monitor.records import Outcome, Reasoning, ReasoningState, Status, VerdictValue
from monitor.store import Wanted
from tests.audit.conftest import rule
from tests.store.databases import Database

if TYPE_CHECKING:
    import pytest

    from monitor.audit.backtest import Backtest, RuleFigures
    from monitor.records import Record
    from tests.audit.conftest import Desk

SEALED = {"reasoning": Reasoning(state=ReasoningState.ENCRYPTED)}


def go(desk: Desk, rules: PolicySet, **options: object) -> Backtest:
    return backtest(rules, desk.store.scan(), Labels(desk.store.reviews()), **options)  # type: ignore[arg-type]


def figures(result: Backtest, name: str = "rule_1") -> RuleFigures:
    return next(figures for figures in result.rules if figures.rule.name == name)


def test_every_status_is_counted_and_the_verdicts_are_those_of_the_pipeline(desk: Desk) -> None:
    rules = desk.rules(
        rule(1, "reasoning|contains: secret"),
        rule(2, "output|contains: password", level="high", action="withhold"),
        rule(3, "tool.name|contains: mail"),
    )
    first, second = desk.run(), desk.run("other")
    recorded = [
        desk.think(first, "a secret", rules),
        desk.think(first, "nothing", rules, seen={"output": "the password"}),
        desk.think(second, "", rules, seen=SEALED),
        desk.think(second, "nothing", rules),
    ]
    result = go(desk, rules)
    assert figures(result).counts == {Status.MATCH: 1, Status.NO_MATCH: 2, Status.UNKNOWN: 1}
    assert figures(result, "rule_2").counts == {Status.MATCH: 1, Status.NO_MATCH: 3}
    assert sum(figures(result, "rule_3").counts.values()) == 4
    assert (len(figures(result).runs), len(figures(result, "rule_2").runs)) == (1, 1)
    verdicts = [item.judgement.verdict.value for item in recorded if item.judgement]
    assert result.verdicts == {value: verdicts.count(value) for value in set(verdicts)}
    assert result.flagged == sum(value in {VerdictValue.FLAG, VerdictValue.BLOCK} for value in verdicts)
    assert result.run_verdicts[VerdictValue.BLOCK] == 1
    assert (result.covered.subcalls, len(result.covered.runs), result.covered.is_whole) == (4, 2, True)


def test_nothing_is_stored_and_no_model_is_called(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: secret"))
    run = desk.run()
    desk.think(run, "a secret")
    desk.store.sequence()
    before = desk.store.events(run)
    go(desk, rules)
    assert desk.store.events(run) == before


def test_precision_is_measured_on_labels_alone(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: secret"))
    run = desk.run()
    said = ["true", "false", "true", "unsure", None]
    for label in said:
        subcall = desk.think(run, "a secret", rules)
        if label:
            desk.label(subcall, "rule_1", label)
    desk.label(subcall := desk.think(run, "a secret", rules), "rule_1", "true")
    desk.label(subcall, "rule_1", "false", by="bob")
    precision = figures(go(desk, rules)).precision
    counts = (precision.right, precision.wrong, precision.unsure, precision.disputed, precision.unlabelled)
    assert counts == (2, 1, 1, 1, 1)
    assert precision.interval
    assert precision.interval.low < 2 / 3 < precision.interval.high


def test_without_labels_precision_is_unmeasured(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: secret"))
    desk.think(desk.run(), "a secret", rules)
    found = figures(go(desk, rules))
    assert (found.precision.share, found.precision.interval, found.recall) == (None, None, None)
    assert (found.precision.unlabelled, found.counts[Status.MATCH]) == (1, 1)


def test_labels_of_an_older_version_count_and_are_counted(desk: Desk) -> None:
    old = desk.rules(rule(1, "reasoning|contains: secret"))
    new = desk.rules(rule(1, "reasoning|contains: a secret"))
    run = desk.run()
    desk.label(desk.think(run, "a secret", old), "rule_1", "true")
    desk.label(desk.think(run, "one secret", old), "rule_1", "true")
    desk.label(desk.think(run, "no secret", old), "rule_1", "false")
    found = figures(go(desk, new))
    assert (found.precision.right, found.precision.wrong, found.precision.other_version) == (1, 0, 1)
    assert (found.found, found.missed) == (1, 1)


def test_a_miss_that_somebody_labelled_counts_for_recall_and_not_for_precision(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: secret"))
    run = desk.run()
    desk.label(desk.think(run, "a s-e-c-r-e-t", rules), "rule_1", "false")  # no_match is wrong
    desk.label(desk.think(run, "harmless", rules), "rule_1", "true")  # no_match is right
    desk.label(desk.think(run, "a secret", rules), "rule_1", "true")
    found = figures(go(desk, rules))
    assert (found.precision.right, found.precision.wrong) == (1, 0)
    assert found.recall
    assert (found.found, found.missed, found.recall[0]) == (1, 1, 0.5)


def test_samples_are_drawn_by_seed_with_their_evidence(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: secret"))
    run = desk.run()
    spans = [desk.think(run, f"é secret {number}", rules).call.span_id for number in range(12)]
    one = figures(go(desk, rules, samples=4, seed=1)).samples
    assert one == figures(go(desk, rules, samples=4, seed=1)).samples
    assert one != figures(go(desk, rules, samples=4, seed=2)).samples
    assert len({sample.span_id for sample in one} & set(spans)) == 4
    assert [sample.evidence[0].text for sample in one] == ["secret"] * 4
    assert one[0].evidence[0].before == "é "
    assert figures(go(desk, rules, samples=0)).samples == ()


def test_what_was_not_looked_at_is_counted(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: secret"))
    run = desk.run()
    desk.think(run, "a secret", checked=False)
    desk.think(run, "a secret")
    from tests.store.events import started

    desk.store.append_sync(started(run))
    result = go(desk, rules)
    assert (result.covered.subcalls, result.covered.unchecked, result.covered.unanswered) == (1, 1, 1)
    every = go(desk, rules, unchecked=True)
    assert (every.covered.subcalls, every.covered.unchecked, figures(every).counts[Status.MATCH]) == (2, 0, 2)


def test_a_damaged_subcall_is_a_failure_and_the_rest_is_counted(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: secret"))
    run = desk.run()
    subcalls = [desk.think(run, f"secret {number}") for number in range(3)]
    with Database(_address(desk)) as database:
        database.lift_triggers("events")
        span = subcalls[1].call.span_id
        database.execute(f"UPDATE events SET canonical = '{{}}' WHERE span_id = '{span}' AND seq = 1")
    result = go(desk, rules)
    assert (result.covered.subcalls, result.covered.failed, result.covered.is_whole) == (2, 1, False)
    assert [failure.span_id for failure in result.covered.failures] == [span]
    assert figures(result).counts[Status.MATCH] == 2


def test_erased_texts_are_said_and_found_by_no_rule(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: secret"))
    run = desk.run()
    for _ in range(2):
        desk.think(run, "a secret")
    with Database(_address(desk)) as database:
        database.execute("UPDATE texts SET sha256 = NULL, salt = NULL, body = NULL WHERE body = 'a secret'")
    result = go(desk, rules)
    assert (result.covered.erased_texts, result.covered.erased_subcalls) == (1, 2)
    assert figures(result).counts == {Status.NO_MATCH: 2}


def test_rules_that_break_as_a_whole_are_a_failure(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: secret"))
    run = desk.run()
    desk.think(run, "a secret")
    desk.think(run, "fine")
    whole = PolicySet.findings

    def broken(self: PolicySet, record: Record) -> object:
        if record.observation.reasoning.text == "fine":
            raise ZeroDivisionError
        return whole(self, record)

    monkeypatch.setattr(PolicySet, "findings", broken)
    result = go(desk, rules)
    assert (result.covered.subcalls, result.covered.failed) == (1, 1)
    assert "ZeroDivisionError" in result.covered.failures[0].problem
    assert sum(figures(result).counts.values()) == 1


def test_the_outcome_of_the_call_is_part_of_the_judgement(desk: Desk) -> None:
    """A failed call has nothing to withhold: as in the pipeline it is not blocked, whatever the rules say."""
    rules = desk.rules(rule(1, "reasoning|contains: secret", level="high", action="withhold"))
    recorded = desk.think(desk.run(), "a secret", rules, seen={"outcome": Outcome.FAILED})
    assert recorded.judgement
    assert go(desk, rules).verdicts == {recorded.judgement.verdict.value: 1}


def test_only_what_is_wanted_is_looked_at(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: secret"))
    desk.think(desk.run("one"), "a secret")
    desk.think(desk.run("two"), "a secret", role="boss")
    found = backtest(rules, desk.store.scan(Wanted(recipes=frozenset({"two"}))), Labels(()))
    assert (found.covered.subcalls, figures(found).samples[0].role) == (1, "boss")


def test_an_empty_store_gives_nothing_and_says_so(desk: Desk) -> None:
    result = go(desk, desk.rules(rule(1, "reasoning|contains: secret", level="high")))
    assert (result.covered.subcalls, result.verdicts, figures(result).level.value) == (0, {}, "high")


def _address(desk: Desk) -> str:
    return str(desk.store.path or desk.store.url)
