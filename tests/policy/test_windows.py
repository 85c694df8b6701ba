"""Which rules let a stream be released before its end, and that nothing that they match is in what is released."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import policy
from monitor.policy.matching import PatternEngine
from monitor.policy.regex_syntax import maximum_length
from monitor.policy.windows import SURFACES, Watch, windows_of
from monitor.records import Call, Message
from tests.policy.packs import pack
from tests.policy.test_streaming import BOUNDED, cut_texts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.policy.conftest import LoadDetection, Write

WATCHED = tuple(pattern for pattern in BOUNDED if not pattern.endswith((r"\z", "a$")) or pattern.startswith("(?m)"))


@given(cut_texts(), st.sets(st.sampled_from(WATCHED), max_size=4), st.integers(0, 9))
@settings(deadline=None)
def test_nothing_of_any_match_is_ever_safe(chunks: list[str], patterns: set[str], margin: int) -> None:
    """Whatever follows: what was safe at any time lies before the first codepoint of every match in the whole text."""
    engine = PatternEngine(sorted(patterns))
    watch, text = Watch(engine, margin), ""
    width = max((maximum_length(pattern) or 0 for pattern in patterns), default=0)
    for chunk in chunks:
        before = watch.safe("output")
        text += chunk
        watch.feed("output", chunk)
        assert before <= watch.safe("output") <= len(text)
    safe, data = watch.safe("output"), text.encode()
    for pattern in patterns:
        found = engine.compiled(pattern).search(data)  # the leftmost: no other match begins before it
        assert found is None or len(data[: found.start()].decode()) >= safe
    blank = text[:1].isspace() and any("^" in pattern or r"\A" in pattern for pattern in patterns)
    if patterns and not blank and not engine.find(text, patterns):  # and it is no more cautious than that
        assert safe == max(0, len(text) - width - 1 - margin)
    if not patterns:
        assert safe == len(text)


@given(cut_texts(), cut_texts(), cut_texts(), st.sets(st.sampled_from(WATCHED), min_size=1, max_size=3))
@settings(deadline=None)
def test_a_thought_is_over_where_the_answer_begins(
    thought: list[str], answer: list[str], more: list[str], patterns: set[str]
) -> None:
    engine = PatternEngine(sorted(patterns))
    watch = Watch(engine, 8)
    for chunk in thought:
        watch.feed("reasoning", chunk)
    for chunk in answer:
        if chunk:
            watch.feed("output", chunk)
    texts = {"reasoning": "".join(thought), "output": "".join(answer)}
    if texts["reasoning"] and texts["output"] and not watch.is_held:
        assert watch.safe("reasoning") == len(texts["reasoning"])
    for surface in SURFACES:
        assert not engine.find(texts[surface][: watch.safe(surface)], patterns)
        found = engine.find(texts[surface], patterns).values()
        assert all(start >= watch.safe(surface) for spans in found for start, end in spans)
    before = {surface: watch.safe(surface) for surface in SURFACES}
    if texts["output"] and texts["reasoning"] and "".join(more):
        watch.feed("reasoning", "".join(more))  # it goes on thinking after all: nothing more
        watch.feed("output", "and so on, and so on, and so on")
        assert {surface: watch.safe(surface) for surface in SURFACES} == before


def test_the_work_for_a_text_grows_with_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    engine = PatternEngine(["(?i)hide", "[a-z]{1,50}1"])
    search = engine.candidates

    def watched(data: bytes, wanted: Collection[str]) -> Iterator[str]:
        read.append(len(data))
        return search(data, wanted)

    monkeypatch.setattr(engine, "candidates", watched)
    watch = Watch(engine, 8)
    for _ in range(2_000):
        watch.feed("output", "Five ")
    assert len(read) <= 2_000
    assert max(read) <= 5 + 2 * 60
    assert watch.safe("output") == 10_000 - 51 - 1 - 8


@given(st.data())
@settings(deadline=None)
def test_no_text_of_a_pattern_is_longer_than_its_longest_match(data: st.DataObject) -> None:
    """Against Python's own expressions, where both languages mean the same."""
    pattern = data.draw(st.sampled_from([one for one in WATCHED if r"\x{" not in one]))
    text = data.draw(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True))
    assert len(text) <= (maximum_length(pattern) or 0)


CASES: list[tuple[str, int | None, list[str]]] = [
    ("a: {output|contains: [hide, größer]}\ncondition: a", 6, []),
    ("a: {written|re|i: 'hide.{0,20}truth'}\ncondition: a", 29, []),
    ("a: [open sesame]\ncondition: a", 11, []),
    ("a: {output|contains: abc}\nb: {reasoning|contains: abcde}\ncondition: a and b", 5, []),
    ("a: {output|startswith: abc}\ncondition: a", 3, []),
    ("a: {tool.arguments|re: 'rm .*'}\ncondition: a", 0, []),
    ("a: {tool.arguments|endswith: abc}\ncondition: a", 0, []),
    ("a: {prompt|contains: abc}\ncondition: a", 0, []),
    ("a: {output|contains: abc, usage.output_tokens|gt: 5}\ncondition: a", 3, []),
    ("a: {output|contains: abc, role: clerk}\ncondition: a", 3, []),
    ("a: {output|re: 'ab+'}\ncondition: a", None, ["has no longest match: bound what `ab+` repeats"]),
    ("a: {output|re: ['ab+', 'cd*']}\ncondition: a", None, ["(1 more of its patterns"]),
    (
        "a: {output|re: 'a{1000}b{1000}c{1000}d{1000}e{1000}'}\ncondition: a",
        5_000,
        ["4,096 are held back"],
    ),
    ("a: {output|re: 'a?'}\ncondition: a", 1, ["matches where nothing stands"]),
    (r"a: {output|re: 'a\C'}" + "\ncondition: a", 2, ["a part of a codepoint"]),
    ("a: {output|endswith: hide}\ncondition: a", 4, ["looks at the end"]),
    ("a: {output|contains: a}\nb: {output|contains: b}\ncondition: a and not b", 1, ["behind a `not`"]),
    ("a: {output|neq: a}\ncondition: a", 1, ["has not come", "none of its patterns"]),
    ("a: {output|exists: true}\ncondition: a", 0, ["no text of the answer"]),
    ("a: {usage.output_tokens|gt: 5}\ncondition: a", 0, ["known at its end only: `a: usage.output_tokens|gt`"]),
    ("a: {output|contains: a}\nb: {outcome: failed}\ncondition: a or b", 1, ["known at its end only"]),
    ("a: {tool.name|contains: a}\ncondition: not a", 0, ["none of its patterns is found"]),
]


@pytest.mark.parametrize(("detection", "longest", "obstacles"), CASES)
def test_what_the_window_mode_makes_of_a_rule(
    detection: str, longest: int | None, obstacles: list[str], load_detection: LoadDetection
) -> None:
    rules = load_detection(detection, "high")
    (found,) = windows_of(rules, "openai").rules
    assert found.acts
    said = " ".join(found.obstacles)
    assert bool(found.obstacles) is bool(obstacles)
    assert all(obstacle in said for obstacle in obstacles), said
    if r"\C" not in detection:
        assert found.longest == longest
    assert windows_of(rules, "openai").refused == ((found,) if obstacles else ())
    (idle,) = windows_of(load_detection(detection, "low"), "openai").rules  # a rule that only notes is in nobody's way
    assert (idle.acts, idle.obstacles) == (False, ())


def test_what_else_decides_whether_a_rule_is_in_the_way(write: Write) -> None:
    text = pack("a: {output|re: 'ab+'}\ncondition: a", "high")
    trial = policy.load([write(text.replace("    level: high\n", "    level: high\n    status: test\n"))])
    assert not windows_of(trial, "openai").refused
    of_tools = text.replace("    level: high\n", "    level: high\n    logsource: {service: tool}\n")
    assert not windows_of(policy.load([write(of_tools)]), "openai").refused
    unknown = text.replace("    level: high\n", "    level: low\n    on_unknown: withhold\n")
    assert not windows_of(policy.load([write(unknown)]), "openai").refused  # a text that is read whole is not unknown
    priced = unknown.replace("condition: a", "b: {usage.cost|gt: 1}\n      condition: a and b")
    assert windows_of(policy.load([write(priced)]), "openai").refused
    suppressed = """
filter_set: house
version: 1.0.0
filters:
  - title: Harmless
    id: 6a0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a11
    name: harmless
    reason: it is
    author: ann
    date: 2026-01-01
    expires: 2999-01-01
    rules: [example]
    detection: {s: {output|contains: harmless}, condition: s}
"""
    plain = write(pack("a: {output|contains: ab}\ncondition: a", "high"))
    assert not windows_of(policy.load([plain]), "openai").refused
    (refused,) = windows_of(policy.load([plain, write(suppressed, "filters.yaml")]), "openai").refused
    assert refused.obstacles == ("The filter `harmless` can suppress it in the end.",)


@pytest.mark.parametrize(
    ("detection", "is_decided"),
    [
        ("a: {prompt|contains: abc}\ncondition: a", True),
        ("a: {prompt|contains: abc}\nb: {output|contains: x}\ncondition: a and b", False),
        ("a: {prompt|contains: abc}\nb: {output|contains: x}\ncondition: a or b", True),
        ("a: {prompt|contains: xyz}\ncondition: a", False),
        ("a: {prompt|contains: abc, usage.output_tokens|gt: 5}\ncondition: a", True),
    ],
)
def test_what_a_call_was_handed_may_decide_already(
    detection: str, is_decided: bool, load_detection: LoadDetection
) -> None:
    call = Call(run_id="0" * 32, span_id="0" * 16, key="k", role="r", messages=(Message(role="user", content="abc"),))
    assert windows_of(load_detection(detection, "high"), "openai").is_decided_for(call) is is_decided


def test_without_rules_nothing_is_held_back() -> None:
    found = windows_of(None, "openai")
    watch = found.watch(margin=8)
    assert (found.rules, found.refused, found.width) == ((), (), 0)
    assert not watch.feed("output", "abc")
    assert watch.safe("output") == 3
    watch.hold()
    watch.feed("output", "def")
    assert watch.safe("output") == 3


def test_a_text_beyond_what_is_read_is_not_released() -> None:
    watch = Watch(PatternEngine(["abc"], cap=20), 0)
    for _ in range(50):
        watch.feed("output", "xyz")
    assert watch.safe("output") == 20 - 3 - 1
    watch.feed("reasoning", "so")
    assert watch.safe("output") == 16


def test_rules_say_it_in_words(load_detection: LoadDetection) -> None:
    def said(detection: str, level: str = "high") -> Any:
        return str(windows_of(load_detection(detection, level), "").rules[0])

    assert said("a: {output|contains: x}\ncondition: a") == "example: windowable, its longest match has 1 codepoint"
    assert "looks for nothing in what is streamed" in said("a: {tool.name|contains: x}\ncondition: a")
    assert said("a: {output|contains: x}\ncondition: a", "low") == "example: only notes, and is in no stream's way"
    assert said("a: {output|endswith: x}\ncondition: a").startswith(
        "example: not windowable. `a: output|endswith` looks"
    )


def test_a_rule_over_a_run_that_acts_lets_no_stream_out(write: Write) -> None:
    """It can act on this answer for what another subcall shows, whatever stands in this one."""
    run_rule = """
run_rules:
  - title: Twice
    id: 6a0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a19
    name: twice
    level: LEVEL
    correlation: {type: event_count, rules: [example], condition: {gte: 2}}
"""
    text = pack("a: {output|contains: ab}\ncondition: a", "low").replace("version:", "engine: 3\nversion:")
    (refused,) = windows_of(policy.load([write(text + run_rule.replace("LEVEL", "high"))]), "openai").refused
    assert (refused.rule, refused.acts) == ("twice", True)
    assert refused.obstacles[0].startswith("It goes by several subcalls of the run")
    assert not windows_of(policy.load([write(text + run_rule.replace("LEVEL", "medium"))]), "openai").refused
    on_trial = run_rule.replace("LEVEL", "high\n    status: test")
    assert not windows_of(policy.load([write(text + on_trial)]), "openai").refused
