"""What is released where a rule says redact: the evidence covered, and everything where it is not certain what to cover."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import actions
from monitor.canonical import canonical_text
from monitor.errors import BudgetExceeded, SubcallFailed
from monitor.policy.matching import MAX_SPANS
from monitor.records import (
    Action,
    Call,
    ErrorInfo,
    Finding,
    Observation,
    Outcome,
    Reasoning,
    ReasoningState,
    Span,
    Status,
    StoredSubcall,
    TokenEvidence,
    ToolCall,
    VerdictValue,
)
from monitor.redaction import COVER, redacted

CALL = Call(run_id="a" * 32, span_id="b" * 16, key="k", role="clerk")
SECRET = "sk-12345"


def seen(**fields: Any) -> Observation:
    thought = Reasoning(state=ReasoningState.PLAIN, text=f"the key is {SECRET}", source="think_tag")
    return Observation(**{"outcome": Outcome.OK, "output": f"use {SECRET} now", "reasoning": thought, **fields})


def finding(*evidence: Span, status: Status = Status.MATCH, **fields: Any) -> Finding:
    return Finding(check="rule", name="keys", status=status, action=Action.REDACT, evidence=evidence, **fields)


def at(surface: str, text: str, part: str = SECRET) -> Span:
    start = text.index(part)
    return Span(surface=surface, start=start, end=start + len(part), clause="c")


def release(observation: Observation, *findings: Finding) -> Observation:
    judgement = actions.judge(observation, findings)
    assert judgement.action is Action.REDACT
    assert judgement.verdict.value is VerdictValue.FLAG
    released = actions.release(StoredSubcall(call=CALL, observation=observation, judgement=judgement)).observation
    assert released is not None
    return released


def test_the_evidence_is_covered_and_nothing_else() -> None:
    given = seen(raw="all of it", tokens=TokenEvidence(output_ids=(1, 2)))
    released = release(given, finding(at("output", given.output), at("reasoning", given.reasoning.text)))
    assert released.output == f"use {COVER * 8} now"
    assert released.reasoning.text == f"the key is {COVER * 8}"
    assert (released.raw, released.tokens) == ("", None)  # both would tell it all again
    assert given.output == f"use {SECRET} now"


def test_what_no_rule_read_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.redaction.TEXT_CAP", 20)
    released = release(seen(), finding(at("output", f"use {SECRET} now")))
    assert released.output == f"use {COVER * 8} now"
    assert released.reasoning.text == f"the key is {SECRET}"
    released = release(seen(output=f"use {SECRET} now and {SECRET} later"), finding(at("output", f"use {SECRET} now")))
    assert released.output == f"use {COVER * 8} now and" + COVER * 15


@pytest.mark.parametrize(
    "found",
    [
        finding(),
        finding(status=Status.UNKNOWN, on_unknown=Action.REDACT),
        finding(*[Span(surface="output", start=n, end=n + 1, clause="c") for n in range(MAX_SPANS)]),
        finding(Span(surface="tool_calls[3].arguments", start=0, end=1)),
        finding(Span(surface="raw", start=0, end=3)),
    ],
    ids=["facts only", "unknown", "more places than are listed", "a text that is not there", "raw words not found"],
)
def test_everything_is_covered_where_it_is_not_certain_what(found: Finding) -> None:
    given = seen(raw="abc")
    released = release(given, found)
    assert released.output == COVER * len(given.output)
    assert released.reasoning.text == COVER * len(given.reasoning.text)


def test_evidence_in_the_raw_reply_covers_the_same_words_elsewhere() -> None:
    given = seen(raw=f"<think>the key is {SECRET}</think>use {SECRET} now")
    released = release(given, finding(at("raw", given.raw)))
    assert released.output == f"use {COVER * 8} now"
    assert released.reasoning.text == f"the key is {COVER * 8}"


def test_evidence_in_what_was_handed_over_covers_nothing() -> None:
    given = seen()
    assert release(given, finding(Span(surface="messages[0].content", start=0, end=4))) == given


def test_a_rule_that_does_not_match_covers_nothing() -> None:
    judgement = actions.judge(seen(), [finding(status=Status.NO_MATCH)])
    assert redacted(seen(), judgement) == seen()


def test_what_reads_json_still_can() -> None:
    output = canonical_text({"answer": f"use {SECRET}", "list": [SECRET, 7], "n": 5})
    given = seen(output=output)
    inside = release(given, finding(at("output", output)))
    assert json.loads(inside.output) == {"answer": f"use {COVER * 8}", "list": [SECRET, 7], "n": 5}
    across = release(given, finding(Span(surface="output", start=3, end=30)))
    assert json.loads(across.output) == {"answer": COVER * 12, "list": [COVER * 8, None], "n": None}


def test_tools_get_the_covered_arguments() -> None:
    arguments = canonical_text({"path": SECRET})
    given = seen(tool_calls=(ToolCall(id="1", name="read", arguments=arguments),))
    released = release(given, finding(at("tool_calls[0].arguments", arguments)))
    assert json.loads(released.tool_calls[0].arguments) == {"path": COVER * 8}


def test_errors_and_partial_answers_are_covered_too() -> None:
    message = f"no such key {SECRET}"
    failed = seen(outcome=Outcome.FAILED, output="", error=ErrorInfo(kind="tool", message=message))
    with pytest.raises(SubcallFailed) as caught:
        release(failed, finding(at("error", message)))
    assert SECRET not in str(caught.value)
    partial = seen(outcome=Outcome.BUDGET_EXCEEDED)
    with pytest.raises(BudgetExceeded) as over:
        release(partial, finding(at("output", partial.output), at("reasoning", partial.reasoning.text)))
    assert over.value.partial is not None
    assert SECRET not in over.value.partial.model_dump_json()


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0␛"), max_size=40),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=5),
)
def test_offsets_stay_true(text: str, pairs: list[tuple[int, int]]) -> None:
    spans = [Span(surface="output", start=a, end=b) for a, b in pairs if a < b <= len(text)]
    given = seen(output=text)
    released = redacted(given, actions.judge(given, [finding(*spans)])) if spans else given
    covered = {index for span in spans for index in range(span.start, span.end)}
    if not text.startswith("{"):
        expected = "".join(COVER if index in covered else char for index, char in enumerate(text))
        assert released.output == expected
