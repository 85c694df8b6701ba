"""The quick way of reading records back says what the long way says, or leaves it to the long way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from monitor import records
from monitor.store import decoding, quick
from tests.store.test_codec import AT, Memory, calls, encode, exact, observations

if TYPE_CHECKING:
    from collections.abc import Callable

READERS: dict[type, Callable[..., Any]] = {
    records.Call: quick.call_of,
    records.Observation: quick.observation_of,
}


def quickly(canonical: str, memory: Memory, kind: type) -> Any:
    def history(node_hash: str) -> tuple[records.Message, ...]:
        node = quick.parse(memory.nodes[node_hash])
        before = history(node["parent"]) if node["parent"] else ()
        return (*before, quick.message_of(node, memory.texts, history))

    return READERS[kind](quick.parse(canonical), memory.texts, history)


@given(calls | observations)
def test_both_ways_give_the_same_or_the_quick_one_declines(payload: records.Call | records.Observation) -> None:
    memory = Memory()
    canonical = encode(payload, memory)
    expected = decoding.decode_event(decoding.parse(canonical), memory)
    try:
        found = quickly(canonical, memory, type(payload))
    except quick.Unusual:
        return
    assert exact(found) == exact(expected)
    assert type(found) is type(expected)


@given(calls | observations)
def test_the_marks_in_a_canonical_text_are_all_that_it_refers_to(payload: records.Call | records.Observation) -> None:
    memory = Memory()
    canonical = encode(payload, memory)
    texts, heads = decoding.references(decoding.parse(canonical))
    assert {*quick.marked(canonical, "$text"), *quick.marked(canonical, "$json")} == texts
    assert set(quick.marked(canonical, "$chain")) == heads


ORDINARY = records.Call(
    run_id="ab" * 16,
    span_id="cd" * 8,
    key="k",
    role='clerk {"$text":"' + "0" * 64,
    task="do it, étage",
    messages=(records.Message(role="system", content="be kind"), records.Message(role="user", content="do it")),
    tools=("shell",),
    temperature=1.0,
    at=AT,
)
BACK = records.Observation(
    outcome=records.Outcome.FAILED,
    output="x",
    reasoning=records.Reasoning(state=records.ReasoningState.PLAIN, text="because"),
    tool_calls=(records.ToolCall(id="1", name="shell", arguments="{}", refused="no"),),
    error=records.ErrorInfo(kind="timeout", message="late"),
    seconds=2.0,
    at=AT,
)


@pytest.mark.parametrize("payload", [ORDINARY, BACK], ids=["call", "observation"])
def test_what_is_ordinary_goes_the_quick_way(payload: Any) -> None:
    memory = Memory()
    assert exact(quickly(encode(payload, memory), memory, type(payload))) == exact(payload)


def test_an_erased_text_reads_as_many_blocks() -> None:
    memory = Memory()
    canonical = encode(BACK, memory)
    memory.texts = dict.fromkeys(memory.texts)
    assert quickly(canonical, memory, records.Observation).reasoning.text == records.ERASED * len("because")


@pytest.mark.parametrize("kind", [records.Call, records.Observation], ids=["call", "observation"])
def test_whatever_is_put_in_the_place_of_a_value_is_taken_as_the_long_way_takes_it_or_declined(kind: type) -> None:
    payload = ORDINARY if kind is records.Call else BACK
    memory = Memory()
    event = json.loads(encode(payload, memory))
    for name in [*event["body"], "a_new_field"]:
        for value in (None, 7, 7.5, True, "x", [], ["x"], {}, {"$text": "0" * 64, "n": 1}, {"$int": "7"}):
            forged = {**event, "body": {**event["body"], name: value}}
            try:
                found = quickly(json.dumps(forged), memory, kind)
            except quick.Unusual:
                continue
            assert exact(found) == exact(decoding.decode_event(forged, memory)), (name, value)


@pytest.mark.parametrize("canonical", ["", "{", "[]", '{"v":2}', "7"])
def test_what_is_no_event_of_this_version_is_declined(canonical: str) -> None:
    with pytest.raises(quick.Unusual):
        quick.parse(canonical)


def test_an_event_of_an_older_version_has_the_defaults() -> None:
    memory = Memory()
    event = json.loads(encode(ORDINARY, memory))
    for name in ("probes", "checked", "tools"):
        del event["body"][name]
    found = quickly(json.dumps(event), memory, records.Call)
    assert (found.probes, found.checked, found.tools) == ((), True, ())
