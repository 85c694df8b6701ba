"""Replies and attempts: where thought is found, what is malformed, and what follows a failed attempt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.models.base import ModelReply
from monitor.orchestrate.attempts import Settled, TryAgain, next_step
from monitor.orchestrate.process import Process, is_alive, this_process
from monitor.orchestrate.replies import Malformed, observe_reply, parse_answer, split_think
from monitor.records import (
    Action,
    Call,
    ErrorInfo,
    Judgement,
    Observation,
    Outcome,
    ReasoningState,
    StoredSubcall,
    Usage,
    Verdict,
    VerdictValue,
)

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["reasoning", "answer"],
    "properties": {"reasoning": {"type": "string"}, "answer": {"type": "string", "maxLength": 5}},
    "additionalProperties": False,
}
CALL = Call(run_id="a" * 32, span_id="b" * 16, key="k", role="clerk", max_output_tokens=10)


@pytest.mark.parametrize(
    ("text", "thought", "rest"),
    [
        ("<think>hm</think>yes", "hm", "yes"),
        ("a <think>one</think> b <think>two</think> c", "one\ntwo", "a  b  c"),
        ("<think>never closed", "never closed", ""),
        ("opened by the template</think>yes", "opened by the template", "yes"),
        ("no tags", "", "no tags"),
        ("<think></think>yes", "", "yes"),
    ],
)
def test_thought_between_tags(text: str, thought: str, rest: str) -> None:
    assert split_think(text) == (thought, rest)


@given(st.lists(st.sampled_from(["<think>", "</think>", "words ", "<thin", "\n"])).map("".join))
def test_no_word_is_lost_between_tags(text: str) -> None:
    thought, rest = split_think(text)
    words = text.replace("<think>", " ").replace("</think>", " ").split()
    assert sorted(words) == sorted((thought + " " + rest).split()) or "<thin" in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not JSON", "not JSON (line 1, column 1)"),
        ("[1]", "the answer breaks type"),
        ('{"answer": "x"}', "the answer breaks required"),
        ('{"reasoning": "r", "answer": "too long"}', "answer breaks maxLength: 5"),
        ("[" * 100_000, "cannot be read"),
        ('{"reasoning": "r", "answer": "a", "answer": "b"}', "a field stands twice"),
        ('{"reasoning": "too long", "reasoning": "r", "answer": "a"}', "a field stands twice"),
    ],
)
def test_what_is_malformed_is_said_without_quoting_it(text: str, says: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_answer(text, SCHEMA)
    assert says in str(caught.value)
    assert "too long" not in str(caught.value)


def test_an_answer_without_anything_is_malformed() -> None:
    reply = ModelReply(text="", reasoning="", reasoning_state=ReasoningState.ABSENT)
    assert observe_reply(CALL, reply, None, Usage()).outcome is Outcome.FAILED


def test_reasoning_that_a_provider_hides_keeps_its_state() -> None:
    reply = ModelReply(text="yes", reasoning="", reasoning_state=ReasoningState.ENCRYPTED)
    assert observe_reply(CALL, reply, None, Usage()).reasoning.state is ReasoningState.ENCRYPTED


def test_an_empty_reasoning_field_is_absent() -> None:
    reply = ModelReply(text='{"reasoning": " ", "answer": "yes"}', reasoning="", reasoning_state=ReasoningState.ABSENT)
    seen = observe_reply(CALL, reply, SCHEMA, Usage())
    assert seen.reasoning.state is ReasoningState.ABSENT
    assert seen.output == '{"answer":"yes"}'
    assert seen.raw == reply.text


def attempt(outcome: Outcome, kind: str = "", action: Action = Action.LOG) -> StoredSubcall:
    seen = Observation(outcome=outcome, error=ErrorInfo(kind=kind, message="x") if kind else None)
    judged = Judgement(verdict=Verdict(value=VerdictValue.PASS), outcome=outcome, action=action)
    return StoredSubcall(call=CALL, observation=seen, judgement=judged)


MALFORMED = attempt(Outcome.FAILED, "malformed_output")
BUSY = attempt(Outcome.FAILED, "rate_limit")
REFUSED = attempt(Outcome.FAILED, "auth")
CUT = attempt(Outcome.CANCELLED, "interrupted")
OK = attempt(Outcome.OK)


@pytest.mark.parametrize(
    ("attempts", "step"),
    [
        ([], TryAgain(1)),
        ([OK], Settled(OK)),
        ([MALFORMED], TryAgain(2, resamples=1)),
        ([MALFORMED, MALFORMED], TryAgain(3, resamples=2)),
        ([MALFORMED, MALFORMED, MALFORMED], Settled(MALFORMED)),
        ([BUSY], TryAgain(2, delay=0.5)),
        ([BUSY, BUSY], TryAgain(3, delay=2.0)),
        ([BUSY, BUSY, BUSY], Settled(BUSY)),
        ([BUSY, MALFORMED], TryAgain(3, resamples=1)),
        ([CUT, CUT, CUT, CUT], TryAgain(5)),
        ([REFUSED], Settled(REFUSED)),
    ],
)
def test_what_follows(attempts: list[StoredSubcall], step: Settled | TryAgain) -> None:
    assert next_step(attempts, retries=2) == step


@pytest.mark.parametrize("kind", ["malformed_output", "rate_limit", "auth", "interrupted"])
@pytest.mark.parametrize("forgiven", [0, 1])
def test_nothing_follows_an_attempt_that_halts(kind: str, forgiven: int) -> None:
    halted = attempt(Outcome.CANCELLED if kind == "interrupted" else Outcome.FAILED, kind, Action.HALT)
    assert next_step([BUSY, halted], retries=2, forgiven=2 * forgiven) == Settled(halted)


def test_failures_are_forgiven_only_as_far_as_asked() -> None:
    assert next_step([REFUSED], retries=0, forgiven=1) == TryAgain(2)
    assert next_step([REFUSED, REFUSED], retries=0, forgiven=1) == Settled(REFUSED)


@given(st.lists(st.sampled_from([MALFORMED, BUSY, CUT]), max_size=12), st.integers(0, 3))
def test_attempts_come_to_an_end(attempts: list[StoredSubcall], retries: int) -> None:
    """Kills apart, a subcall never has more attempts than its retries of both kinds allow."""
    step = next_step(attempts, retries=retries)
    failures = sum(one is not CUT for one in attempts)
    if failures > 2 * retries:
        assert isinstance(step, Settled)


def test_whether_a_process_lives() -> None:
    me = this_process()
    assert is_alive(me)
    assert not is_alive(Process(host=me.host, pid=me.pid, started=me.started + 1)), "another process had this number"
    assert not is_alive(Process(host="elsewhere", pid=me.pid, started=me.started))
