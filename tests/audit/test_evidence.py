"""Excerpts: codepoints of the stored text, whatever is in it."""

from __future__ import annotations

from monitor.audit.evidence import Excerpt, excerpts
from monitor.records import Call, Finding, Message, Observation, Outcome, Span, Status, ToolCall

CALL = Call(
    run_id="ab" * 16,
    span_id="cd" * 8,
    key="k",
    role="clerk",
    task="🏳️‍🌈 task",
    messages=(
        Message(role="user", content="é" * 100 + "here" + "ü" * 100),
        Message(role="assistant", tool_calls=(ToolCall(id="1", name="n", arguments='{"a": 1}'),)),
    ),
)
SEEN = Observation(outcome=Outcome.OK, output="x" * 1000, tool_calls=(ToolCall(id="2", name="name", arguments="{}"),))


def found(*spans: Span) -> Finding:
    return Finding(check="rule", name="r", status=Status.MATCH, evidence=spans)


def test_every_surface_gives_its_own_text() -> None:
    spans = [
        Span(surface="messages[0].content", start=100, end=104),
        Span(surface="messages[1].tool_calls[0].arguments", start=1, end=4),
        Span(surface="tool_calls[0].name", start=0, end=4),
    ]
    given = excerpts(CALL, SEEN, found(*spans))
    assert [item.text for item in given] == ["here", '"a"', "name"]
    assert (given[0].before, given[0].after) == ("é" * 60, "ü" * 60)


def test_long_evidence_is_cut_and_says_so() -> None:
    (item,) = excerpts(CALL, SEEN, found(Span(surface="output", start=0, end=1000)))
    assert (len(item.text), item.cut, item.after) == (240, 760, "")


def test_few_pieces_and_no_crash_on_what_is_not_there() -> None:
    spans = [Span(surface="error", start=3, end=9), Span(surface="nowhere", start=0, end=2)]
    assert excerpts(CALL, SEEN, found(*spans * 5), most=2) == (
        Excerpt("error", 3, 9, "", "", ""),
        Excerpt("nowhere", 0, 2, "", "", ""),
    )
    assert excerpts(CALL, None, found()) == ()
