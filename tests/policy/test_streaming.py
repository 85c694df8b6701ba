"""A text in chunks gives what the whole text gives, and what is said early is never taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.policy.matching import MAX_SPANS, PatternEngine
from monitor.policy.regex_syntax import shape
from monitor.policy.streaming import MAX_WINDOW, TextStream, is_followed, undone_by, window

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.policy.conftest import LoadDetection

BOUNDED = (
    r"(?i)hide",
    r"(?i)größe",
    r"\Ahide",
    r"hide\z",
    r"\Ahide\z",
    "^a",
    "(?m)^a",
    "a$",
    "(?m)a$",
    r"\bword\b",
    r"\Bord",
    r"wor\B",
    r"é|ü|\x{1F600}",
    "[0-9]{1,3}",
    "a(?:b.{0,3}c)?",
    "a|ab|abc",
    "(?:abc|ab|a){1,3}?",
    ".{2}",
    r"e\x{301}",
    "(?s)a.{0,5}?b",
    "x{3,8}",
)
OTHERS = ("x*", r"\b", r"\A\s*\z", "(?s)a.*z", "a+", r"a\C", "(?m)$", "b{1000}c{1000}d{1000}e{1000}f{1000}")
PATTERNS = (*BOUNDED, *OTHERS)
ENGINE = PatternEngine(PATTERNS)
SMALL = PatternEngine(PATTERNS, shard_bytes=12, cap=9)
_pieces = st.sampled_from(
    [
        "hide",
        "HIDE",
        "Größe",
        "123",
        "word",
        "a",
        "ab",
        "abc",
        "c",
        "z",
        "\n",
        " ",
        "é",
        "e\u0301",
        "😀",
        "xx",
        "b",
        "ü",
    ]
)
_chunks = st.lists(
    st.lists(_pieces | st.text(alphabet="ab1é😀 \nxword", max_size=4), max_size=4).map("".join), max_size=10
)


@st.composite
def cut_texts(draw: st.DrawFn) -> list[str]:
    """A text cut at any codepoints, or at every one, empty chunks included."""
    text = "".join(draw(_chunks))
    if draw(st.booleans()):
        return list(text)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(cut_texts(), st.sampled_from([ENGINE, SMALL]), st.sets(st.sampled_from(PATTERNS), min_size=1))
@settings(deadline=None)
def test_chunks_give_what_the_whole_gives(chunks: list[str], engine: PatternEngine, wanted: set[str]) -> None:
    text = "".join(chunks)
    whole = engine.find(text, wanted)
    stream = TextStream(engine, wanted)
    early: dict[str, list[tuple[int, int]]] = {}
    for chunk in chunks:
        for pattern, offsets in stream.feed(chunk).items():
            early.setdefault(pattern, []).extend(offsets)
        for pattern in wanted - stream.late:  # complete as far as it says, and never more than the whole has
            settled = [span for span in whole.get(pattern, ()) if span[0] < stream.settled]
            assert early.get(pattern, []) == settled
    assert stream.finish() == whole
    assert not set(early) & stream.late
    assert stream.settled == (max(0, min(len(text), engine.cap) - stream.window - 1) if wanted - stream.late else 0)


def test_which_patterns_are_followed() -> None:
    assert {pattern for pattern in PATTERNS if is_followed(pattern)} == set(BOUNDED)
    assert (shape(OTHERS[-1]).maximum or 0) > MAX_WINDOW


def test_a_match_is_reported_once_nothing_can_change_it() -> None:
    stream = TextStream(PatternEngine([r"\bword\b"]), {r"\bword\b"})
    assert [stream.feed(char) for char in "a word"] == [{}] * 6
    assert (stream.feed(" "), stream.settled) == ({}, 2)
    assert stream.feed("x") == {r"\bword\b": ((2, 6),)}
    assert TextStream(PatternEngine([r"\bword\b"]), {r"\bword\b"}).feed("a words") == {}


def test_no_more_spans_than_the_whole_has() -> None:
    stream = TextStream(PatternEngine(["ab"]), {"ab"})
    reported = [span for _ in range(3 * MAX_SPANS) for span in stream.feed("ab").get("ab", ())]
    assert reported == list(stream.finish()["ab"])


@pytest.mark.parametrize("size", [1, 1_000])
def test_a_chunk_is_searched_with_no_more_than_the_window_before_it(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """So that the work for a text grows with its length, and not with its square."""
    read: list[int] = []
    engine = PatternEngine(["(?i)hide", "[a-z]{1,50}1"])
    search = engine.candidates

    def watched(data: bytes, wanted: Collection[str]) -> Iterator[str]:
        read.append(len(data))
        return search(data, wanted)

    monkeypatch.setattr(engine, "candidates", watched)
    stream = TextStream(engine, engine.patterns)
    for _ in range(200):
        stream.feed("é" * size)
    assert max(read) <= 2 * (size + stream.window + 3)


@pytest.mark.parametrize(
    ("detection", "longest", "reasons"),
    [
        ("a: {output|contains: [hide, größer]}\ncondition: a", 6, []),
        ("a: {output|re: 'hide.*'}\ncondition: a", None, []),
        ("a: {output|endswith: hide}\ncondition: a", 4, ["looks at the end"]),
        ("a: {output: hide}\ncondition: a", 4, ["looks at the end"]),
        ("a: {output|re: 'hide$'}\ncondition: a", 4, ["looks at the end"]),
        ("a: {output|re|m: 'hide$'}\ncondition: a", 4, []),
        ("a: {output|neq: hide}\ncondition: a", 4, ["has not come"]),
        ("a: {output|exists: false}\ncondition: a", 0, ["no text"]),
        ("a: {output|exists: true}\ncondition: a", 0, []),
        ("a: {output|contains|fieldref: system}\ncondition: a", 0, ["another field"]),
        ("a: {output|contains: a}\nb: {output|contains: bcd}\ncondition: a and not b", 3, ["behind a `not`"]),
        ("a: {output|contains: a}\nb: {output|contains: bcd}\ncondition: not (not a) and not not b", 3, []),
        ("a: {output|contains: a}\nb: {role: x}\ncondition: a and not b", 1, []),
        ("a: {output|contains: a}\nb: {output|re: 'b*'}\ncondition: a", 1, []),
    ],
)
def test_what_more_text_can_undo(
    detection: str, longest: int | None, reasons: list[str], load_detection: LoadDetection
) -> None:
    (rule,) = load_detection(detection).rules
    assert window(rule.detection) == longest
    found = undone_by(rule.detection)
    assert len(found) == len(reasons)
    assert all(reason in cause for reason, cause in zip(reasons, found, strict=True))
