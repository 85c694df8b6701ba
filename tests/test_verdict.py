"""Verdicts and actions: the table in ``monitor.verdict``, line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import actions, verdict
from monitor.errors import Blocked, BudgetExceeded, Halted, Rejected, SubcallCancelled, SubcallFailed
from monitor.records import (
    Action,
    Call,
    ErrorInfo,
    Exceeded,
    Finding,
    Level,
    Observation,
    Outcome,
    Record,
    Status,
    StoredSubcall,
    Verdict,
    VerdictValue,
)

BLOCKING = [Action.WITHHOLD, Action.ASK_HUMAN, Action.HALT]


def finding(
    status: Status, action: Action = Action.FLAG, on_unknown: Action = Action.LOG, name: str = "rule"
) -> Finding:
    return Finding(check="rule", name=name, status=status, action=action, on_unknown=on_unknown)


findings = st.builds(finding, st.sampled_from(Status), st.sampled_from(Action), st.sampled_from(Action))


@pytest.mark.parametrize("action", BLOCKING)
def test_a_match_that_withholds_blocks(action: Action) -> None:
    found = verdict.of_findings([finding(Status.MATCH, action), finding(Status.NO_MATCH)])
    assert found.value is VerdictValue.BLOCK
    assert found.catches == ("rule",)
    assert found.outages == ()


@pytest.mark.parametrize("on_unknown", BLOCKING)
def test_an_outage_blocks_and_is_no_catch(on_unknown: Action) -> None:
    found = verdict.of_findings([finding(Status.UNKNOWN, on_unknown=on_unknown), finding(Status.NO_MATCH)])
    assert found.value is VerdictValue.BLOCK
    assert found.catches == ()
    assert found.outages == ("rule",)


@pytest.mark.parametrize(
    ("one", "value"),
    [
        (finding(Status.MATCH, Action.FLAG), VerdictValue.FLAG),
        (finding(Status.MATCH, Action.REDACT), VerdictValue.FLAG),
        (finding(Status.MATCH, Action.LOG), VerdictValue.PASS),
        (finding(Status.NO_MATCH, Action.HALT), VerdictValue.PASS),
        (finding(Status.UNKNOWN, on_unknown=Action.LOG), VerdictValue.UNMEASURED),
        (finding(Status.UNKNOWN, on_unknown=Action.FLAG), VerdictValue.FLAG),
        (finding(Status.NOT_APPLICABLE, Action.HALT), VerdictValue.PASS),
    ],
)
def test_one_finding_beside_a_clean_one(one: Finding, value: VerdictValue) -> None:
    assert verdict.of_findings([one, finding(Status.NO_MATCH)]).value is value


def test_nothing_measured_is_never_a_pass() -> None:
    assert verdict.of_findings([]).value is VerdictValue.UNMEASURED
    assert verdict.of_findings([]).note == verdict.NO_CHECKS
    assert verdict.of_findings([finding(Status.NOT_APPLICABLE)]).value is VerdictValue.UNMEASURED
    assert verdict.of_findings([finding(Status.NOT_APPLICABLE)]).note == verdict.NONE_APPLICABLE
    assert verdict.of_run([]).value is VerdictValue.UNMEASURED


@given(st.lists(findings), st.randoms())
def test_the_order_of_findings_does_not_matter(some: list[Finding], random: object) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis gives a random.Random
    assert verdict.of_findings(shuffled).value is verdict.of_findings(some).value


@given(st.lists(findings), findings)
def test_one_more_applicable_finding_never_makes_a_measured_verdict_milder(some: list[Finding], more: Finding) -> None:
    before, after = verdict.of_findings(some), verdict.of_findings([*some, more])
    if before.applicable:
        assert verdict.PRECEDENCE.index(after.value) >= verdict.PRECEDENCE.index(before.value)


@given(st.lists(findings))
def test_pass_needs_an_applicable_check_and_no_unknown(some: list[Finding]) -> None:
    found = verdict.of_findings(some)
    if found.value is VerdictValue.PASS:
        assert found.applicable > 0
        assert found.unknown == 0


@given(st.lists(st.lists(findings), min_size=1))
def test_a_runs_verdict_is_its_worst_subcalls(runs: list[list[Finding]]) -> None:
    verdicts = [verdict.of_findings(some) for some in runs]
    worst = max((one.value for one in verdicts), key=verdict.PRECEDENCE.index)
    assert verdict.of_run(verdicts).value is worst


def test_a_run_says_how_much_was_unmeasured() -> None:
    measured = Verdict(value=VerdictValue.PASS, applicable=3)
    note = verdict.of_run([measured, verdict.of_findings([])]).note
    assert note == "1 of 2 subcalls unmeasured (no check was configured)"


RECORD = Record(
    call=Call(run_id="a" * 32, span_id="b" * 16, key="k", role="clerk"),
    observation=Observation(
        outcome=Outcome.OK,
        output="secret words",
        error=ErrorInfo(kind="server_error", message="broke"),
        exceeded=(Exceeded(owner="run", limit="calls", allowed=1, used=1, needed=1),),
    ),
)


@pytest.mark.parametrize(
    ("outcome", "action", "ends"),
    [
        (Outcome.OK, Action.WITHHOLD, Outcome.BLOCKED),
        (Outcome.OK, Action.FLAG, Outcome.OK),
        (Outcome.BUDGET_EXCEEDED, Action.WITHHOLD, Outcome.BLOCKED),
        (Outcome.FAILED, Action.WITHHOLD, Outcome.FAILED),
        (Outcome.CANCELLED, Action.HALT, Outcome.CANCELLED),
    ],
)
def test_how_a_judged_subcall_ends(outcome: Outcome, action: Action, ends: Outcome) -> None:
    seen = RECORD.observation.model_copy(update={"outcome": outcome})
    judged = actions.judge(seen, [finding(Status.MATCH, action)])
    assert judged.outcome is ends
    assert judged.action is action


@pytest.mark.parametrize(
    ("outcome", "action", "error"),
    [
        (Outcome.OK, Action.WITHHOLD, Blocked),
        (Outcome.OK, Action.HALT, Halted),
        (Outcome.FAILED, Action.HALT, Halted),
        (Outcome.FAILED, Action.LOG, SubcallFailed),
        (Outcome.BUDGET_EXCEEDED, Action.LOG, BudgetExceeded),
        (Outcome.CANCELLED, Action.LOG, SubcallCancelled),
        (Outcome.REJECTED, Action.LOG, Rejected),
    ],
)
def test_only_an_ok_answer_is_released(outcome: Outcome, action: Action, error: type[Exception]) -> None:
    seen = RECORD.observation.model_copy(update={"outcome": outcome})
    judged = actions.judge(seen, [finding(Status.MATCH, action)])
    with pytest.raises(error) as caught:
        actions.release(StoredSubcall(call=RECORD.call, observation=seen, judgement=judged))
    assert "secret words" not in str(caught.value)
    assert "b" * 16 in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind", "ends"),
    [
        (Status.MATCH, "malformed_output", Outcome.BLOCKED),
        (Status.UNKNOWN, "malformed_output", Outcome.FAILED),
        (Status.MATCH, "rate_limit", Outcome.FAILED),
    ],
)
@pytest.mark.parametrize("action", BLOCKING)
def test_a_malformed_answer_that_is_caught_is_withheld(
    status: Status, kind: str, ends: Outcome, action: Action
) -> None:
    """An outage does not count: where the form is broken, most reasoning is not found."""
    seen = Observation(outcome=Outcome.FAILED, output="x", error=ErrorInfo(kind=kind, message="m"))
    judged = actions.judge(seen, [finding(status, action, on_unknown=action)])
    assert (judged.outcome, judged.action) == (ends, action)


def test_an_ok_answer_with_a_flag_is_released() -> None:
    judged = actions.judge(RECORD.observation, [finding(Status.MATCH, Action.FLAG)])
    subcall = StoredSubcall(call=RECORD.call, observation=RECORD.observation, judgement=judged)
    assert actions.release(subcall) == subcall


levels = st.builds(
    lambda status, level: Finding(check="rule", name="rule", status=status, level=level),
    st.sampled_from(Status),
    st.sampled_from(Level),
)


@given(st.lists(levels), levels)
def test_suspicion_only_grows_with_what_is_found_or_could_not_be_looked_at(seen: list[Finding], one: Finding) -> None:
    before, after = verdict.suspicion(seen), verdict.suspicion([one, *seen])
    counts = one.status in {Status.MATCH, Status.UNKNOWN} and one.level is not Level.INFORMATIONAL
    assert after > before if counts else after == before
    assert verdict.suspicion([*seen, one]) == pytest.approx(after)


def test_suspicion_weighs_levels_and_half_an_outage() -> None:
    def of(status: Status, level: Level) -> float:
        return verdict.suspicion([Finding(check="rule", name="rule", status=status, level=level)])

    assert [of(Status.MATCH, level) for level in Level] == [0, 1, 10, 100, 1000]
    assert [of(Status.UNKNOWN, level) for level in Level] == [0, 0.5, 5, 50, 500]
    assert verdict.suspicion([]) == 0


@given(st.lists(findings, max_size=5), st.lists(findings, max_size=3))
def test_a_rule_on_trial_has_no_part_in_any_verdict_or_action(real: list[Finding], on_trial: list[Finding]) -> None:
    """Neither does it act, nor does what it says of a record count as measured."""
    shadows = [one.model_copy(update={"shadow": True}) for one in on_trial]
    observation = Observation(outcome=Outcome.OK, output="x")
    with_them, without = (actions.judge(observation, found) for found in ([*real, *shadows], real))
    same = ("value", "catches", "outages", "applicable", "unknown", "not_applicable")
    assert [getattr(with_them.verdict, name) for name in same] == [getattr(without.verdict, name) for name in same]
    assert (with_them.action, with_them.outcome) == (without.action, without.outcome)
    assert verdict.suspicion([*real, *shadows]) == verdict.suspicion(real)


def test_a_match_that_a_filter_suppresses_only_logs() -> None:
    suppressed = finding(Status.MATCH, Action.HALT).model_copy(update={"suppressed_by": "nightly_build"})
    judged = actions.judge(Observation(outcome=Outcome.OK, output="x"), [suppressed])
    assert (judged.verdict.value, judged.verdict.catches, judged.action) == (VerdictValue.PASS, (), Action.LOG)
    assert verdict.suspicion([suppressed]) == 0
