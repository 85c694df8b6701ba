"""Differences between two sets of rules, and between the record and new rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.audit.policy_diff import ABSENT, Difference, RuleChanges, diff
from monitor.records import Usage
from tests.audit.conftest import rule

if TYPE_CHECKING:
    from monitor.audit.policy_diff import Change
    from tests.audit.conftest import Desk


def test_a_narrower_rule_changes_what_it_no_longer_matches(desk: Desk) -> None:
    old = desk.rules(rule(1, "reasoning|contains: send"), rule(2, "output|contains: zzz"))
    new = desk.rules(rule(1, "reasoning|contains: send the file"), rule(2, "output|contains: zzz"))
    run = desk.run()
    for reasoning in ("send the file", "send greetings", "nothing", "send love"):
        desk.think(run, reasoning)
    told: list[Change] = []
    result = diff(old, new, desk.store.scan(), samples=1, listener=told.append)
    assert result.rules == RuleChanges(added=(), removed=(), changed=("rule_1",))
    assert (result.changed, result.quiet, result.covered.subcalls) == (2, 0, 4)
    assert result.verdicts == {("flag, flag", "pass, log"): 2}
    reason = Difference("rule_1", "match (flag)", "no_match")
    assert result.reasons == {reason: 2}
    assert len(result.examples[reason]) == 1
    assert [change.evidence[0].text for change in told] == ["send", "send"]
    assert [change.differences for change in told] == [(reason,), (reason,)]


def test_the_same_rules_change_nothing(desk: Desk) -> None:
    old, new = (desk.rules(rule(1, "reasoning|contains: send")) for _ in range(2))
    desk.think(desk.run(), "send")
    result = diff(old, new, desk.store.scan())
    assert (result.changed, result.quiet, result.rules) == (0, 0, RuleChanges((), (), ()))


def test_rules_that_come_and_go(desk: Desk) -> None:
    old = desk.rules(rule(1, "reasoning|contains: send"))
    new = desk.rules(rule(2, "reasoning|contains: send", level="high", action="withhold"))
    desk.think(desk.run(), "send")
    result = diff(old, new, desk.store.scan())
    assert result.rules == RuleChanges(added=("rule_2",), removed=("rule_1",), changed=())
    assert result.reasons == {
        Difference("rule_1", "match (flag)", ABSENT): 1,
        Difference("rule_2", ABSENT, "match (withhold)"): 1,
    }


def test_another_action_is_a_change_with_the_same_matches(desk: Desk) -> None:
    old = desk.rules(rule(1, "reasoning|contains: send", action="flag"))
    new = desk.rules(rule(1, "reasoning|contains: send", action="redact"))
    desk.think(desk.run(), "send")
    result = diff(old, new, desk.store.scan())
    assert result.verdicts == {("flag, flag", "flag, redact"): 1}
    assert result.reasons == {Difference("rule_1", "match (flag)", "match (redact)"): 1}


def test_findings_that_differ_under_the_same_verdict_are_counted_apart(desk: Desk) -> None:
    old = desk.rules(rule(1, "reasoning|contains: send"), rule(2, "reasoning|contains: zzz"))
    new = desk.rules(rule(1, "reasoning|contains: send"), rule(2, "reasoning|contains: send"))
    desk.think(desk.run(), "send")
    result = diff(old, new, desk.store.scan())
    assert (result.changed, result.quiet, result.reasons) == (0, 1, {})


def test_where_no_match_is_behind_a_change_the_silent_findings_are_said(desk: Desk) -> None:
    """A first rule that applies turns unmeasured into pass."""
    old = desk.rules(rule(1, "tool.name|contains: mail"))
    new = desk.rules(rule(1, "tool.name|contains: mail"), rule(2, "reasoning|contains: zzz"))
    desk.think(desk.run(), "send")
    result = diff(old, new, desk.store.scan())
    assert result.rules.added == ("rule_2",)
    assert result.verdicts == {("unmeasured, log", "pass, log"): 1}
    assert result.reasons == {Difference("rule_2", ABSENT, "no_match"): 1}


def test_the_record_is_compared_with_new_rules(desk: Desk) -> None:
    recorded = desk.rules(rule(1, "reasoning|contains: send"))
    older = desk.rules(rule(1, "reasoning|contains: mail"))
    new = desk.rules(rule(1, "reasoning|contains: send the file"))
    run = desk.run()
    desk.think(run, "send greetings", recorded)
    desk.think(run, "send greetings", older)
    desk.think(run, "send the file", recorded)
    desk.think(run, "send the file")
    from tests.store.events import observed, started

    desk.store.append_sync(call := started(run), observed(call))
    result = diff(None, new, desk.store.scan())
    assert (result.covered.subcalls, result.covered.unjudged) == (4, 1)
    assert result.rules.changed == ("rule_1",)
    assert result.verdicts == {("flag, flag", "pass, log"): 1, ("unmeasured, log", "flag, flag"): 1}
    assert result.reasons == {
        Difference("rule_1", "match (flag)", "no_match"): 1,
        Difference("rule_1", ABSENT, "match (flag)"): 1,
    }


def test_the_record_under_the_rules_it_was_made_with_is_unchanged(desk: Desk) -> None:
    """What the budget's own check found is on both sides."""
    rules = desk.rules(rule(1, "reasoning|contains: send"))
    over = {"usage": Usage(calls=1, input_tokens=99, output_tokens=99)}
    reserved = Usage(calls=1, input_tokens=1, output_tokens=1)
    subcall = desk.think(desk.run(), "nothing", rules, reserved=reserved, seen=over)
    assert subcall.judgement
    assert subcall.judgement.verdict.catches == ("usage_over_reservation",)
    result = diff(None, rules, desk.store.scan())
    assert (result.changed, result.quiet, result.rules) == (0, 0, RuleChanges((), (), ()))
