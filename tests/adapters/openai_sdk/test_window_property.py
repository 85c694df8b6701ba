"""Any answer in any chunks: what is ready is the beginning of what is judged, and nothing that a rule matches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import policy
from monitor.adapters.openai_sdk.chat import Chat
from monitor.adapters.openai_sdk.observed import observed
from monitor.adapters.openai_sdk.responses import Responses
from monitor.adapters.openai_sdk.window import MARGIN, Window
from monitor.adapters.openai_sdk.wire import read_events
from monitor.canonical import escape_text
from monitor.orchestrate.replies import THINK_CLOSE, THINK_OPEN
from monitor.policy.windows import ACTING, windows_of
from monitor.records import Call, Record, Status
from monitor.verdict import effective_action
from tests.stubs.stream_server import chat_events

if TYPE_CHECKING:
    from monitor.adapters.openai_sdk.wire import Format
    from monitor.records import Observation

RULES = {
    "phrase": "{s: {written|contains: [hide, secret]}, condition: s}",
    "both": "{s: {output|contains: ab}, t: {reasoning|contains: cd}, condition: s and t}",
    "word": r"{s: {output|re: '\bword\b'}, condition: s}",
    "beginning": "{s: {output|startswith: Hm}, condition: s}",
    "line": "{s: {reasoning|re|m: '^so$'}, condition: s}",
    "gap": "{s: {output|re: '[a-z]{1,3}.{0,4}\\d\\d'}, condition: s}",
    "hostile": "{s: {output|re: 'a\u241b0000b'}, condition: s}",
    "tool": "{s: {tool.arguments|re: 'rm .*'}, condition: s}",
}
CALL = Call(run_id="0" * 32, span_id="0" * 16, key="k", role="r", tools=("f",))
_WORDS = ("hi", "de", "hide", "sec", "ret", "ab", "cd", "wo", "rd", "word", "Hm", "so", "1", "23", "é", "😀", "a", "b")
_TAGS = ("<thi", "nk>", "</think>", "<think>", "<")
_pieces = st.sampled_from([*_WORDS, *_TAGS, " ", "\n", "\0", "\ud83d", "\u241b", "\r", "\u2028"])
_texts = st.lists(st.lists(_pieces, max_size=4).map("".join), max_size=10)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> list[policy.Rule]:
    lines = [
        f"  - {{title: The {name}, id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a{number:02}, name: {name}, level: high, "
        f"detection: {rule}}}"
        for number, (name, rule) in enumerate(RULES.items())
    ]
    path = tmp_path_factory.mktemp("packs") / "pack.yaml"
    path.write_text("pack: p\nversion: 1.0.0\nrules:\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return list(policy.load([path]).rules)


def _chat(thought: list[str], answer: list[str], *, calls: bool, mixed: bool) -> list[bytes]:
    thoughts: list[dict[str, Any]] = [{"reasoning_content": one} for one in thought]
    answers: list[dict[str, Any]] = [{"content": one} for one in answer]
    deltas = [{"role": "assistant"}, *thoughts, *answers, *(thoughts if mixed else ())]
    if calls:
        function = {"name": "f", "arguments": '{"x": "rm -rf"}'}
        deltas.append({"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": function}]})
    return chat_events(deltas)


def _responses(thought: list[str], answer: list[str], *, calls: bool, mixed: bool) -> list[bytes]:
    from monitor.adapters.openai_sdk import responses_stream

    def message(number: int, texts: list[str]) -> dict[str, Any]:
        parts = [{"type": "output_text", "text": one, "annotations": []} for one in texts]
        return {"id": f"m{number}", "type": "message", "role": "assistant", "status": "completed", "content": parts}

    def reasoning(number: int, texts: list[str]) -> dict[str, Any]:
        kind = "reasoning_text" if len(texts) % 2 else "summary_text"  # one or the other, as servers send it
        parts = [{"type": kind, "text": one} for one in texts]
        content, summary = (parts, []) if kind == "reasoning_text" else ([], parts)
        return {"id": f"r{number}", "type": "reasoning", "content": content, "summary": summary}

    output = [reasoning(0, thought), message(1, answer), *([reasoning(2, thought)] if mixed else [])]
    if calls:
        call = {"id": "f", "type": "function_call", "call_id": "c", "name": "f", "arguments": '{"x": "rm -rf"}'}
        output.append({**call, "status": "completed"})
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    whole = {"id": "r", "object": "response", "model": "m", "status": "completed", "output": output, "usage": usage}
    # What the server that we know sends has one delta for each part; here there are two.
    events = []
    for event in responses_stream.streamed(whole):
        said = event.json()
        if said["type"].endswith("_text.delta") and len(said["delta"]) > 1:
            events += [{**said, "delta": said["delta"][:1]}, {**said, "delta": said["delta"][1:]}]
        else:
            events.append(said)
    return [f"event: {said['type']}\ndata: {json.dumps(said)}\n\n".encode() for said in events]


def _judged(form: Format, data: bytes) -> Observation:
    """What the buffered mode judges."""
    return observed(CALL, form.heard(form.merged(read_events(data))), price=None, asked=None)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_what_is_ready_is_a_beginning_without_any_match(rules: list[policy.Rule], data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from(sorted(RULES))), label="rules")
    chosen = policy.PolicySet(rule for rule in rules if rule.name in names)
    forms: list[Format] = [Chat(), Responses()]
    form = data.draw(st.sampled_from(forms))
    make = _chat if isinstance(form, Chat) else _responses
    mixed = data.draw(st.booleans(), label="mixed")
    thought, answer = data.draw(_texts), data.draw(_texts)
    stream = b"".join(make(thought, answer, calls=data.draw(st.booleans()), mixed=mixed))
    if data.draw(st.booleans(), label="carriage returns"):
        stream = stream.replace(b"\n", b"\r\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12), label="cuts"))

    windows = windows_of(chosen, "openai")
    assert not windows.refused
    window = Window(form.follower(), windows.watch(margin=MARGIN))
    ready, parts = b"", []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        step = window.take(stream[start:end])
        ready += step.ready
        parts += [step.part] if step.part else []

    # Whole events, byte for byte; and each codepoint in them was in a part, in order.
    assert stream.startswith(ready)
    assert len(ready) == window.handed_on
    early, whole = _judged(form, ready), _judged(form, stream)
    told = form.heard(form.merged(read_events(ready)))
    assert "".join(part.output for part in parts) == window.output == escape_text(told.text)
    assert "".join(part.reasoning for part in parts) == window.reasoning == escape_text(told.reasoning)
    assert not early.tool_calls

    # The beginning of what is judged.
    raw = whole.raw or whole.output
    assert raw.startswith(window.output)
    is_divided = THINK_OPEN in raw or THINK_CLOSE in raw
    if not is_divided or whole.reasoning.source == "provider":
        assert whole.reasoning.text.startswith(window.reasoning)

    # Nothing of any match of a rule that acts; where it goes on to think after it began to answer, no whole match.
    found = chosen.findings(Record.trusted(call=CALL, observation=whole))
    acting = [one for one in found if one.status is Status.MATCH and effective_action(one) in ACTING]
    lengths = {"output": len(window.output), "reasoning": len(window.reasoning)}
    for span in (span for one in acting for span in one.evidence if span.surface in lengths):
        if is_divided and whole.reasoning.source != "provider":
            text = {"output": whole.output, "reasoning": whole.reasoning.text}[span.surface][span.start : span.end]
            assert text not in window.output
        else:
            assert (span.end if mixed else span.start) >= lengths[span.surface]
    engine = windows.watch()._engine
    assert not engine.find(window.output, engine.patterns)
    assert not engine.find(window.reasoning, engine.patterns)
