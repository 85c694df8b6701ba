"""Which rules ever fired: recorded and evaluated anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.audit.rule_coverage import Firing, evaluated_coverage, recorded_coverage
from monitor.records import Reasoning, ReasoningState, Status
from tests.audit.conftest import rule

if TYPE_CHECKING:
    from monitor.audit.rule_coverage import Coverage, RuleCoverage
    from tests.audit.conftest import Desk

SEALED = {"reasoning": Reasoning(state=ReasoningState.ENCRYPTED)}
RULES = (
    rule(1, "reasoning|contains: send"),
    rule(2, "output|contains: zzz"),
    rule(3, "usage.cost|gt: 5"),
)


def by_name(coverage: Coverage) -> dict[str, RuleCoverage]:
    return {rule.name: rule for rule in coverage.rules}


def test_recorded_findings_say_what_the_rules_did(desk: Desk) -> None:
    rules = desk.rules(*RULES)
    run = desk.run()
    first = desk.think(run, "send", rules)
    last = desk.think(run, "send more", rules)
    desk.think(run, "nothing", rules)
    coverage = recorded_coverage(None, desk.store.scan())
    found = by_name(coverage)
    assert (found["rule_1"].firing, found["rule_1"].counts[Status.MATCH], len(found["rule_1"].runs)) == (
        Firing.FIRED,
        2,
        1,
    )
    assert last.judgement
    assert first.judgement
    assert found["rule_1"].last_match == last.judgement.at > first.judgement.at
    assert (found["rule_2"].firing, found["rule_2"].last_match) == (Firing.NEVER_FIRED, "")
    assert found["rule_3"].firing is Firing.ONLY_UNKNOWN


def test_versions_of_a_rule_are_one_rule(desk: Desk) -> None:
    run = desk.run()
    desk.think(run, "send", desk.rules(rule(1, "reasoning|contains: send")))
    desk.think(run, "mail", desk.rules(rule(1, "reasoning|contains: nothing at all")))
    (found,) = recorded_coverage(None, desk.store.scan()).rules
    assert (found.firing, len(found.hashes), dict(found.counts)) == (
        Firing.FIRED,
        2,
        {Status.MATCH: 1, Status.NO_MATCH: 1},
    )


def test_rules_of_a_pack_that_never_ran_are_said(desk: Desk) -> None:
    desk.think(desk.run(), "send", desk.rules(rule(1, "reasoning|contains: send")))
    named = desk.rules(rule(2, "reasoning|contains: send"))
    (found,) = recorded_coverage(named.refs, desk.store.scan()).rules
    assert (found.name, found.firing) == ("rule_2", Firing.NEVER_RAN)


def test_unknown_is_not_silence(desk: Desk) -> None:
    rules = desk.rules(rule(1, "reasoning|contains: send"))
    run = desk.run()
    desk.think(run, "", rules, seen=SEALED)
    (found,) = recorded_coverage(None, desk.store.scan()).rules
    assert found.firing is Firing.ONLY_UNKNOWN
    desk.think(run, "nothing", rules)
    (found,) = recorded_coverage(None, desk.store.scan()).rules
    assert found.firing is Firing.NEVER_FIRED


def test_packs_are_evaluated_anew(desk: Desk) -> None:
    run = desk.run()
    desk.think(run, "send")
    subcall = desk.think(run, "send it")
    coverage = evaluated_coverage(desk.rules(*RULES), desk.store.scan())
    found = by_name(coverage)
    assert subcall.observation
    assert (found["rule_1"].firing, found["rule_1"].last_match) == (Firing.FIRED, subcall.observation.at)
    assert found["rule_2"].firing is Firing.NEVER_FIRED
    assert coverage.covered.subcalls == 2


def test_an_empty_store(desk: Desk) -> None:
    assert recorded_coverage(None, desk.store.scan()).rules == ()
    found = evaluated_coverage(desk.rules(*RULES), desk.store.scan())
    assert {rule.firing for rule in found.rules} == {Firing.NEVER_RAN}
