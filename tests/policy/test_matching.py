"""The engine finds what plain RE2 finds, in any text, however the patterns are spread over shards."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.policy import matching
from monitor.policy.matching import MAX_SPANS, Codepoints, PatternEngine, PatternError, needs_no_literal

PATTERNS = (
    r"(?i)hide",
    r"(?i)\Ahide\z",
    r"(?i)größe",
    r"ſ+",
    r"(?i)kelvin",
    r"[0-9]{3}",
    r"\bword\b",
    r"(?i:I (?:will|can) hide)",
    r"x*",
    r"\A\s*\z",
    r"İ",
    r"é|ü|\x{1F600}",
    r"\B",
    r"(?s)a.*z",
    r"[^a]",
    r"(?i)hide\z",
    r"word$",
    r"(?m)word$",
    r"\bword\B",
    r"(?:123|\z)a?\b",
    r"\Q$a\E|z$",
)
ENGINE = PatternEngine(PATTERNS)
SMALL_SHARDS = PatternEngine(PATTERNS, shard_bytes=12)
pieces = st.sampled_from(
    [
        "hide",
        "HIDE",
        "Größe",
        "GRÖSSE",
        "GRÖßE",
        "\u212aelvin",
        "ſ",
        "İ",
        "i̇",
        "123",
        "word",
        "a",
        "z",
        "\n",
        " ",
        "é",
        "😀",
        "xx",
        "I will ",
    ]
)
texts = (
    st.lists(pieces | st.text(max_size=4), max_size=12)
    .map("".join)
    .filter(lambda text: not any(0xD800 <= ord(char) < 0xE000 or char == "\0" for char in text))
)


@given(texts)
@settings(deadline=None)
def test_filter_finds_what_the_slow_way_finds(text: str) -> None:
    expected = ENGINE.find_slowly(text, PATTERNS)
    assert ENGINE.find(text, set(PATTERNS)) == expected
    assert SMALL_SHARDS.find(text, set(PATTERNS)) == expected
    for few in (PATTERNS[:3], PATTERNS[3:6], PATTERNS[6:]):
        assert ENGINE.find(text, few) == {pattern: expected[pattern] for pattern in few if pattern in expected}


@given(texts)
@settings(deadline=None)
def test_spans_are_codepoints(text: str) -> None:
    """What stands between the offsets is what RE2 says it matched in the text as Python sees it."""
    for pattern, offsets in ENGINE.find(text, {r"(?i)hide", r"é|ü|\x{1F600}", r"(?s)a.*z"}).items():
        expected = [match.group() for match in re2.finditer(pattern, text)][:MAX_SPANS]
        assert [text[start:end] for start, end in offsets] == expected


@given(texts, st.integers(1, 9))
@settings(deadline=None)
def test_codepoints_in_any_order(text: str, block: int) -> None:
    """Whatever the size of the blocks in which they are counted; a byte inside of a codepoint stands for that one."""
    data = text.encode()
    expected = [index for index, char in enumerate(text) for _ in char.encode()] + [len(text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "_BLOCK", block)
        places = Codepoints(data)
        backwards = [places.at(offset) for offset in reversed(range(len(data) + 1))]
        assert backwards[::-1] == [places.at(offset) for offset in range(len(data) + 1)] == expected


def test_bytes_are_counted_once_for_all_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matches of many patterns far into a long text are no more work than counting it once."""
    counted: list[int] = []
    count = matching._beginning

    def counting(data: bytes) -> int:
        counted.append(len(data))
        return count(data)

    monkeypatch.setattr(matching, "_beginning", counting)
    patterns = [f"(?i)word{number:03d}" for number in range(500)]
    text = "é " * 100_000 + " ".join(patterns).replace("(?i)", "")
    found = PatternEngine(patterns).find(text, set(patterns))
    assert {text[start:end] for ((start, end),) in found.values()} == {pattern[4:] for pattern in patterns}
    assert sum(counted) <= len(text.encode()) + 2 * len(patterns) * matching._BLOCK


def test_only_wanted_patterns_are_run() -> None:
    assert set(ENGINE.find("I will hide 123", {r"[0-9]{3}"})) == {r"[0-9]{3}"}


def test_filter_never_misses_a_cased_letter() -> None:
    """The filter lowers literals and folds texts by tables of its own: every letter that has a case is tried."""
    cased = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000 and _has_case(chr(code))]
    assert len(cased) > 2_500
    for group in (cased[index : index + 200] for index in range(0, len(cased), 200)):
        patterns = [f"{flags}ab{re2.escape(char)}cd" for char in group for flags in ("", "(?i)")]
        engine = PatternEngine(patterns)
        forms = {form for char in group for form in (char, char.lower(), char.upper(), char.swapcase())}
        text = " ".join(f"ab{form}cd" for form in sorted(forms))
        assert engine.find(text, set(patterns)) == engine.find_slowly(text, patterns)


def _has_case(char: str) -> bool:
    return char.lower() != char or char.upper() != char or char.casefold() != char


def test_too_many_literals_for_one_filter_are_spread() -> None:
    """Far above the 90 KB at which one filter fails to compile."""
    patterns = [f"(?i)literal number {number:05d} with some more text to be long" for number in range(6_000)]
    engine = PatternEngine(patterns, shard_bytes=1_000_000)
    assert list(engine.find("… LITERAL NUMBER 04711 with some more text to be long", set(patterns))) == [patterns[4711]]


def test_a_filter_that_does_not_find_its_canary_is_not_believed() -> None:
    """Without the canary in the text, which stands for an automaton out of memory, every pattern is a candidate."""
    (shard,) = ENGINE._shards
    for tried in (True, False):
        assert tuple(shard.candidates(b"nothing of interest", tried=tried)) == PATTERNS


def test_ten_megabytes_with_matches_everywhere() -> None:
    text = "so I will hide 123 from größe " * 350_000
    found = ENGINE.find(text, {r"(?i)hide", r"(?i)größe", r"(?s)a.*z", r"\bword\b"})
    assert {pattern: len(offsets) for pattern, offsets in found.items()} == {r"(?i)hide": 20, r"(?i)größe": 20}
    start, end = found[r"(?i)größe"][-1]
    assert text[start:end] == "größe"


def test_no_patterns_and_no_text() -> None:
    assert PatternEngine(()).find("text", set()) == {}
    assert ENGINE.find("", {r"\A\s*\z", r"(?i)hide"}) == {r"\A\s*\z": ((0, 0),)}


def test_patterns_without_a_literal_are_known() -> None:
    assert needs_no_literal("[0-9]{3}")
    assert not needs_no_literal("(?i)hide from")


@given(texts, st.integers(0, 12))
@settings(deadline=None)
def test_what_is_found_before_the_cut_is_in_the_whole_text(text: str, cap: int) -> None:
    """Patterns of which no longer match can begin at the same place find, of a cut text, what lies before the cut."""
    patterns = {r"(?i)hide", r"(?i)\Ahide\z", r"\bword\b", r"[0-9]{3}\B", r"(?m)^a$", r"é|ü|\x{1F600}"}
    cut, whole = PatternEngine(patterns, cap=cap), PatternEngine(patterns)
    before = {
        pattern: tuple(span for span in offsets if span[1] <= cap)
        for pattern, offsets in whole.find(text, patterns).items()
    }
    assert cut.find(text, patterns) == {pattern: offsets for pattern, offsets in before.items() if offsets}
    assert cut.unread(text) == max(0, len(text) - cap)


def test_a_cut_is_not_the_end_of_the_text() -> None:
    """What stands at the cut sees what follows it: no end, no line's end and no word's end is made up."""
    ends = {r"word\z", "word$", r"word\b", "(?m)word$"}
    engine = PatternEngine({*ends, r"word\B"}, cap=4)
    assert set(engine.find("words", engine.patterns)) == {r"word\B"}
    assert set(engine.find("word\n", engine.patterns)) == {r"word\b", "(?m)word$"}
    assert set(engine.find("wordé", engine.patterns)) == {r"word\b"}
    assert set(engine.find("word", engine.patterns)) == ends


def test_a_pattern_with_too_many_literals_for_any_filter_is_run_by_itself() -> None:
    words = "|".join(f"literal number {number:05d} that is long" for number in range(6_000))
    engine = PatternEngine([f"(?i)(?:{words})", "(?i)hide"])
    assert engine.find("hide LITERAL NUMBER 04711 THAT IS LONG", engine.patterns) == {
        engine.patterns[0]: ((5, 38),),
        engine.patterns[1]: ((0, 4),),
    }


def test_a_pattern_that_re2_does_not_take_is_an_error() -> None:
    with pytest.raises(PatternError, match=r"missing \)"):
        PatternEngine(["fine", "(also fine$)", "(not$"])
