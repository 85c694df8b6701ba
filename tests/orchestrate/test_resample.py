"""Resampling: which sample is used, which is put before a person, and what becomes of those that were withheld."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import Outcome, VerdictValue
from monitor.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.orchestrate.ending import RunResult
    from monitor.records import QueuedReview, StoredSubcall
    from tests.orchestrate.conftest import Desk

RULE = """
  - title: The word {word}
    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a{number}
    name: {word}
    level: {level}
    action: {action}
    detection: {{said: {{output|contains: {word}}}, condition: said}}
    tests:
      - {{record: {{output: {word}}}, expect: match}}
"""
RULES = [("odd", "low", "log"), ("strange", "medium", "flag"), ("wicked", "high", "withhold")]


@pytest.fixture
def pack(tmp_path: Path) -> str:
    """Three words, each worse than the one before: logged, flagged, withheld."""
    path = tmp_path / "words.yaml"
    rules = [
        RULE.format(word=word, level=level, action=action, number=10 + index)
        for index, (word, level, action) in enumerate(RULES)
    ]
    path.write_text("pack: words\nversion: 1.0.0\nrules:" + "".join(rules), encoding="utf-8")
    return str(path)


def said(answer: str) -> Reply:
    return Reply(text=json.dumps({"reasoning": "I think about it for a bit.", "answer": answer}))


def resampled(desk: Desk, answers: list[str], pack: str = "", **options: Any) -> RunResult:
    options.setdefault("n", len(answers))
    model = ScriptedModel([said(answer) for answer in answers])
    return desk.run("resample", model, policies=[pack] if pack else [], options=options, concurrency=1)


def queue(desk: Desk, result: RunResult) -> list[tuple[StoredSubcall, QueuedReview]]:
    """What is before a person, with the reviews."""
    with Store.open(desk.db) as store:
        reviews = store.run(result.run_id).queued
        return [(store.subcall(result.run_id, review.span), review) for review in reviews]


def test_the_least_suspicious_is_used_and_the_most_suspicious_is_queued(desk: Desk, pack: str) -> None:
    result = resampled(desk, ["a strange thing", "an odd thing", "an odd and strange thing"], pack)
    assert (result.outcome, result.answer, result.usage.calls) == (Outcome.OK, "an odd thing", 3)
    assert result.verdict.value is VerdictValue.FLAG
    ((subcall, review),) = queue(desk, result)
    assert subcall.observation is not None
    assert "an odd and strange thing" in subcall.observation.output
    assert review.score == 11
    assert review.why == "number 3 of 3 samples is the most suspicious (suspicion 10, 1, 11); number 2 was used"


def test_samples_differ_by_their_seeds_alone(desk: Desk) -> None:
    resampled(desk, ["a", "b", "c"])
    calls = [subcall.call for subcall in desk.subcalls()]
    assert len({call.seed for call in calls}) == 3
    assert len({call.messages for call in calls}) == 1


def test_of_equally_suspicious_samples_the_first_is_used_and_the_last_is_queued(desk: Desk, pack: str) -> None:
    result = resampled(desk, ["odd 1", "odd 2", "odd 3"], pack)
    assert result.answer == "odd 1"
    ((subcall, _),) = queue(desk, result)
    assert subcall.observation is not None
    assert "odd 3" in subcall.observation.output


def test_a_withheld_sample_is_never_used_and_can_be_the_most_suspicious(desk: Desk, pack: str) -> None:
    result = resampled(desk, ["strange", "wicked", "strange too"], pack)
    assert (result.outcome, result.answer, result.verdict.value) == (Outcome.OK, "strange", VerdictValue.BLOCK)
    ((subcall, review),) = queue(desk, result)
    assert (subcall.outcome, review.score) == (Outcome.BLOCKED, 100)


def test_a_sample_that_is_caught_is_scored_and_queued_if_malformed_too(desk: Desk, pack: str) -> None:
    model = ScriptedModel([said("strange"), Reply(text="wicked, and no JSON"), said("strange too")])
    result = desk.run("resample", model, policies=[pack], options={"n": 3}, concurrency=1)
    assert (result.outcome, result.answer, model.calls) == (Outcome.OK, "strange", 3)
    ((subcall, review),) = queue(desk, result)
    assert (subcall.outcome, review.score) == (Outcome.BLOCKED, 100)


def test_where_all_are_withheld_the_run_ends_blocked_and_the_worst_is_queued(desk: Desk, pack: str) -> None:
    result = resampled(desk, ["wicked", "wicked and strange", "wicked"], pack)
    assert (result.outcome, result.answer) == (Outcome.BLOCKED, "")
    ((subcall, review),) = queue(desk, result)
    assert subcall.observation is not None
    assert "wicked and strange" in subcall.observation.output
    assert review.why.endswith("(suspicion 100, 110, 100); none was used")


def test_clean_samples_take_no_persons_time_unless_asked_for(desk: Desk, pack: str) -> None:
    assert queue(desk, resampled(desk, ["a", "b"], pack)) == []
    ((_, review),) = queue(desk, resampled(desk, ["a", "b"], pack, audit_above=-1))
    assert review.score == 0


def test_a_greedy_role_is_refused(desk: Desk) -> None:
    result = resampled(desk, [], n=3, role="answer")
    assert (result.outcome, result.usage.calls) == (Outcome.FAILED, 0)
    assert result.error is not None
    assert "temperature 0" in result.error.message


def test_one_sample_is_no_choice(desk: Desk) -> None:
    assert resampled(desk, [], n=1).outcome is Outcome.FAILED


def test_a_sample_that_fails_fails_the_run(desk: Desk, pack: str) -> None:
    """It is not known how suspicious it would have been."""
    model = ScriptedModel([said("fine"), "no JSON", "no JSON", "no JSON"])
    result = desk.run("resample", model, policies=[pack], options={"n": 2}, concurrency=1)
    assert (result.outcome, result.answer) == (Outcome.FAILED, "")


def test_a_halt_ends_it(desk: Desk, pack: str, tmp_path: Path) -> None:
    text = (tmp_path / "words.yaml").read_text(encoding="utf-8")
    (tmp_path / "words.yaml").write_text(text.replace("withhold", "halt"), encoding="utf-8")
    result = resampled(desk, ["wicked", "fine"], pack)
    assert (result.outcome, result.usage.calls) == (Outcome.BLOCKED, 1)


def test_a_resumed_run_chooses_as_before_and_queues_nothing_twice(desk: Desk, pack: str) -> None:
    first = resampled(desk, ["strange", "odd", "wicked"], pack)
    again = monitor.resume_sync(first.run_id, model=ScriptedModel([]), db=desk.db)
    assert (again.answer, again.usage.calls) == ("odd", 3)
    assert len(queue(desk, again)) == 1
