"""Events to canonical form and back."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from enum import EnumType
from pathlib import Path
from typing import Any, get_args

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from monitor import records
from monitor.errors import StoreFormatError
from monitor.records import Event, Message, Payload
from monitor.store import codec, decoding

RUN, SPAN, AT = "ab" * 16, "cd" * 8, "2026-11-22T10:00:00.000000Z"


class Memory:
    """A shelf and a library in one, with a fixed salt."""

    def __init__(self) -> None:
        self.texts: dict[str, str | None] = {}
        self.nodes: dict[str, str] = {}

    def put_text(self, text: str) -> str:
        commitment = hmac.digest(b"salt", text.encode(), "sha256").hex()
        self.texts[commitment] = text
        return commitment

    def put_node(self, parent: str | None, payload: str) -> str:
        assert decoding.parse(payload)["parent"] == parent
        node_hash = hashlib.sha256(payload.encode()).hexdigest()
        self.nodes[node_hash] = payload
        return node_hash

    def text(self, commitment: str) -> str | None:
        return self.texts[commitment]

    def history(self, node_hash: str) -> tuple[Message, ...]:
        node = decoding.parse(self.nodes[node_hash])
        before = self.history(node["parent"]) if node["parent"] else ()
        return (*before, decoding.decode_message(node, self))


def encode(payload: Payload, shelf: Memory) -> str:
    return codec.encode_event(Event.of(RUN, SPAN, payload), seq=0, at=AT, shelf=shelf)


def exact(value: Any) -> str:
    """A form in which NaN equals NaN and -0.0 is not 0.0."""
    return repr(value.model_dump() if isinstance(value, BaseModel) else value)


hostile = st.text(st.characters(codec=None, exclude_categories=()), max_size=12) | st.sampled_from(
    ["\0", "␛", "␛241b", "\ud800", "\udfff\ud800", "\u202eevil\u202c", "e\u0301", "שלום", "🏳️‍🌈", '"\\\n\x1f\x7f\u2028']
)
counts = st.integers(0, 2**70) | st.just(2**63)
any_float = st.floats() | st.sampled_from([math.nan, math.inf, -0.0, 1e-5, 5e-324])
limit = st.none() | st.floats(0, 1e18)
usage = st.builds(
    records.Usage,
    calls=counts,
    input_tokens=counts,
    cached_tokens=counts,
    output_tokens=counts,
    cost=st.none() | any_float,
    tool_calls=counts,
)
limits = st.builds(records.Limits, calls=st.none() | counts, cost=limit, seconds=limit)
exceeded = st.builds(
    records.Exceeded,
    owner=hostile,
    limit=st.sampled_from(get_args(records.LimitName)),
    allowed=any_float,
    used=any_float,
    needed=any_float,
)
error = st.none() | st.builds(records.ErrorInfo, kind=hostile, message=hostile)
tool_call = st.builds(records.ToolCall, id=hostile, name=hostile, arguments=hostile, refused=st.none() | hostile)
message = st.builds(
    records.Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=hostile,
    tool_calls=st.lists(tool_call, max_size=2).map(tuple),
    tool_call_id=st.none() | hostile,
)
tokens = st.none() | st.builds(
    records.TokenEvidence,
    prompt_ids=st.lists(counts, max_size=3).map(tuple),
    output_ids=st.lists(counts, max_size=3).map(tuple),
    logprobs=st.lists(any_float, max_size=3).map(tuple),
)
calls = st.builds(
    records.Call,
    run_id=st.just(RUN),
    span_id=st.just(SPAN),
    parent_id=st.none() | hostile,
    key=hostile,
    attempt=counts,
    role=hostile,
    task=hostile,
    messages=st.lists(message, max_size=4).map(tuple),
    tools=st.lists(hostile, max_size=3).map(tuple),
    output_schema=hostile,
    temperature=st.none() | any_float,
    seed=st.none() | st.integers(),
    reserved=usage,
    budget_left=limits,
    at=st.just(AT),
)
observations = st.builds(
    records.Observation,
    outcome=st.sampled_from(list(records.Outcome)),
    output=hostile,
    raw=hostile,
    reasoning=st.builds(records.Reasoning, state=st.sampled_from(list(records.ReasoningState)), text=hostile),
    tool_calls=st.lists(tool_call, max_size=2).map(tuple),
    usage=usage,
    usage_reported=st.booleans(),
    finish_reason=hostile,
    model_reported=hostile,
    error=error,
    exceeded=st.lists(exceeded, max_size=2).map(tuple),
    tokens=tokens,
    seconds=any_float,
    at=st.just(AT),
)
span = st.builds(records.Span, surface=hostile, start=st.integers(), end=st.integers(), clause=hostile)
finding = st.builds(
    records.Finding,
    check=st.sampled_from(["rule", "budget", "probe"]),
    name=hostile,
    status=st.sampled_from(list(records.Status)),
    title=hostile,
    level=st.sampled_from(list(records.Level)),
    evidence=st.lists(span, max_size=2).map(tuple),
    cause=hostile,
    shadow=st.booleans(),
    suppressed_by=hostile,
)
verdict = st.builds(
    records.Verdict,
    value=st.sampled_from(list(records.VerdictValue)),
    catches=st.lists(hostile, max_size=2).map(tuple),
    note=hostile,
)
judgements = st.builds(
    records.Judgement,
    findings=st.lists(finding, max_size=3).map(tuple),
    verdict=verdict,
    action=st.sampled_from(list(records.Action)),
    outcome=st.sampled_from(list(records.Outcome)),
    at=st.just(AT),
)
run_starts = st.builds(
    records.RunStart,
    run_id=st.just(RUN),
    span_id=st.just(SPAN),
    recipe=hostile,
    task=hostile,
    model=hostile,
    seed=st.integers(),
    options=hostile,
    host=hostile,
    process_started=any_float,
    at=st.just(AT),
)
run_ends = st.builds(
    records.RunEnd,
    outcome=st.sampled_from(list(records.Outcome)),
    answer=hostile,
    verdict=verdict,
    usage=usage,
    error=error,
    seconds=any_float,
    at=st.just(AT),
)
run_resumes = st.builds(records.RunResume, limits=limits, retry_failed=st.booleans(), host=hostile, at=st.just(AT))
reviews = st.builds(
    records.Review,
    span=st.just(SPAN),
    check=st.sampled_from(["rule", "budget", "probe"]),
    name=hostile,
    status=st.sampled_from(list(records.Status)),
    pack=hostile,
    recorded=st.booleans(),
    label=st.sampled_from(list(records.Label)),
    why=hostile,
    by=hostile,
    at=st.just(AT),
)
payloads = calls | observations | judgements | reviews | run_starts | run_ends | run_resumes


@settings(max_examples=150, deadline=None)
@given(payloads)
def test_every_payload_comes_back_as_it_was(payload: Payload) -> None:
    memory = Memory()
    canonical = encode(payload, memory)
    back = decoding.decode_event(decoding.parse(canonical), memory)
    assert type(back) is type(payload)
    assert exact(back) == exact(payload)
    assert rfc8785.dumps(json.loads(canonical)) == canonical.encode()


def planted(annotation: Any, text: str) -> Any:
    """A value of a record type in which every ``Text`` holds ``text``; other fields hold what they may."""
    if annotation == records.Text:
        return text
    arguments = get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        hints = {name: field.annotation for name, field in fields.items()}
        hints |= {name: records.Text for name, field in fields.items() if field.metadata and hints[name] is str}
        chosen = {name: planted(hints[name], text) for name in fields}
        return annotation.model_validate({name: value for name, value in chosen.items() if value is not None})
    if arguments and arguments[-1] is Ellipsis:
        value = planted(arguments[0], text)
        return () if value is None else (value,)
    models = [item for item in arguments if isinstance(item, type) and issubclass(item, BaseModel)]
    if models:
        return planted(models[0], text)
    if annotation in {str, int, float}:
        return annotation(0)
    literals = arguments if arguments and all(isinstance(item, str) for item in arguments) else ()
    if literals:
        return literals[0]
    return next(iter(annotation)) if isinstance(annotation, EnumType) else None


def test_no_text_is_in_an_event_or_a_message_node_in_the_clear() -> None:
    """Planted in every field that is declared Text, a secret is found in texts only, and comes back in every one."""
    secret = "hunter2"
    for payload_type in codec.PAYLOADS.values():
        payload = planted(payload_type, secret).model_copy(update={"at": AT})
        memory = Memory()
        canonical = encode(payload, memory)
        assert secret not in canonical
        assert not any(secret in node for node in memory.nodes.values())
        if secret in repr(payload):
            assert secret in memory.texts.values()
        back = decoding.decode_event(decoding.parse(canonical), memory).model_dump()
        expected = payload.model_dump() | ({"run_id": RUN, "span_id": SPAN} if "run_id" in back else {})
        assert repr(back) == repr(expected)


def test_what_is_said_to_refer_to_nothing_does_not() -> None:
    """Readers do not look into such events for texts: one that had any would seem damaged."""
    without = set()
    for payload_type in codec.PAYLOADS.values():
        event = decoding.parse(encode(planted(payload_type, "a text").model_copy(update={"at": AT}), Memory()))
        if not decoding.refers(event):
            without.add(event["kind"])
            assert decoding.references(event) == (set(), set())
    assert without == {"run_resumed", "run_suspended"}


def test_a_judgement_refers_to_something_only_where_probes_scored_tokens() -> None:
    verdict = records.Verdict(value=records.VerdictValue.PASS)
    judgement = records.Judgement(verdict=verdict, outcome=records.Outcome.OK, at=AT)
    tokens = records.TokenScores(surface="output", starts=(0,), ends=(5,), scores=(-0.25,))
    scored = judgement.model_copy(update={"probes": (records.ProbeScore(probe="p", score=-0.25, tokens=tokens),)})
    quiet, spoken = decoding.parse(encode(judgement, Memory())), decoding.parse(encode(scored, memory := Memory()))
    assert decoding.references(quiet) == (set(), set())
    assert not decoding.refers(quiet)
    assert decoding.refers(spoken)
    assert decoding.references(spoken)[0] == memory.texts.keys()
    assert decoding.decode_event(spoken, memory) == scored


def test_a_finding_of_an_older_version_has_the_defaults_of_what_came_later() -> None:
    quiet = records.Finding(check="rule", name="r", status=records.Status.NO_MATCH)
    trial = quiet.model_copy(update={"shadow": True, "suppressed_by": "f"})
    verdict = records.Verdict(value=records.VerdictValue.PASS)
    payload = records.Judgement(findings=(trial, quiet, quiet), verdict=verdict, outcome=records.Outcome.OK, at=AT)
    canonical = encode(payload, Memory())
    assert decoding.decode_event(decoding.parse(canonical), Memory()) == payload
    older = canonical.replace('"shadow":false,', "").replace(',"suppressed_by":""', "")
    assert older != canonical
    assert decoding.decode_event(decoding.parse(older), Memory()) == payload


@pytest.mark.parametrize(
    "findings",
    ["3", "null", '{"a":1}', "[3]", "[null]", '[{"evidence":[]}]', '[{"evidence":[],"name":["a"]}]', '[{"x":1}]'],
)
def test_damaged_findings_are_damage_and_no_crash(findings: str) -> None:
    verdict = records.Verdict(value=records.VerdictValue.PASS)
    canonical = encode(records.Judgement(verdict=verdict, outcome=records.Outcome.OK, at=AT), Memory())
    damaged = decoding.parse(canonical.replace('"findings":[]', f'"findings":{findings}'))
    with pytest.raises(StoreFormatError, match="cannot be read back"):
        decoding.decode_event(damaged, Memory())


def test_an_erased_text_keeps_its_length() -> None:
    """Evidence counts codepoints: what stands for an erased text is as long as the text was."""
    memory = Memory()
    canonical = encode(records.Observation(outcome=records.Outcome.OK, output="secret\0"), memory)
    memory.texts = dict.fromkeys(memory.texts)
    back = decoding.decode_event(decoding.parse(canonical), memory)
    assert isinstance(back, records.Observation)
    assert len(back.output) == len("secret␛0000")
    assert set(back.output) == {records.ERASED}


def test_canonical_form_of_the_documentation() -> None:
    """The worked example in docs/design/store.md is what the encoder makes, byte for byte."""
    payload = records.Observation(
        outcome=records.Outcome.OK, output="42", usage=records.Usage(calls=1, input_tokens=2**63), seconds=0.5, at=AT
    )
    event = codec.encode_event(Event.of(RUN, SPAN, payload), seq=1, at=AT, shelf=Memory())
    documented = (Path(__file__).parents[2] / "docs/design/store.md").read_text(encoding="utf-8")
    assert f"```json\n{event}\n```" in documented
