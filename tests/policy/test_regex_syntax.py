"""What is said of a pattern's matches holds for every match that RE2 makes."""

from __future__ import annotations

import pytest
import re2
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.policy.matching import PatternError, compile_pattern
from monitor.policy.regex_syntax import maximum_length, shape, without_ends

_ATOMS = st.sampled_from(
    [
        *("a", "b", "é", "😀", ".", "x", "-", "]", "}", "{", "{,2}", "a{", "{01}", " ", "_", "/", ":", "1"),
        *(r"\d", r"\W", r"\pL", r"\p{Greek}", r"\P{^Lu}", r"\x61", r"\x{1F600}", r"\07", r"\101", r"\.", r"\\", r"\{"),
        *("[ab]", "[^a]", "[]a]", "[^]a]", "[[:alpha:]x]", r"[\]a]", r"[a-é\d]", "[[:a]", "[$]", r"[\pN(]", "[(|)]"),
        *(r"\b", r"\B", r"\A", "^", "$", r"\z", "(?m)", "(?i)", "(?s)", "(?-m)", "(?im-s)", "(?m:$)", r"\$", "(?:)"),
        *(r"\Qa*b\E", r"\Q(\E", r"\Q\\E", r"\Q$\E", r"\Qab", "(a$)", "(?P<n>a)", "(?<m>b)"),
    ]
)
_REPEATS = st.sampled_from(["*", "+", "?", "{2}", "{0}", "{1,}", "{0,3}", "*?", "+?", "??", "{2}?", "{1,2}?", "{0,}"])


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    groups = st.sampled_from(["({})", "(?:{})", "(?i:{})", "(?m:{})", "(?-m:{})", "(?s-i:{})"])
    return st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map("|".join),
        st.builds(str.format, groups, inner),
        st.builds(lambda part, repeat: f"(?:{part}){repeat}", inner, _REPEATS),
        st.builds(str.__add__, _ATOMS, _REPEATS),
    )


patterns = st.recursive(_ATOMS, _wider, max_leaves=12)
texts = st.text(alphabet="ab1é😀 \n$({}*x-_]Ω", max_size=14)


@given(patterns, st.lists(texts, min_size=1, max_size=6))
@settings(deadline=None)
def test_no_match_is_longer_or_shorter_than_is_said(pattern: str, tried: list[str]) -> None:
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        assume(False)
    found = shape(pattern)
    for text in tried:
        for match in compiled.finditer(text):
            length = len(text[match.start() : match.end()])
            assert found.minimum <= length
            assert found.maximum is None or length <= found.maximum


@given(patterns, texts, texts)
@settings(deadline=None)
def test_what_looks_at_no_end_is_not_undone(pattern: str, text: str, more: str) -> None:
    """A pattern that does not look behind its match still matches when text is added, and one that does says so."""
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        assume(False)
    found = shape(pattern)
    if not (found.looks_at_end or found.looks_ahead) and compiled.search(text):
        assert compiled.search(text + more)


@given(patterns, texts, texts)
@settings(deadline=None)
def test_without_ends_matches_wherever_the_pattern_does(pattern: str, text: str, more: str) -> None:
    """Also where text is added behind a line break, as the canary is."""
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        assume(False)
    wider = compile_pattern(without_ends(pattern))
    if compiled.search(text):
        assert wider.search(f"{text}\n\0{more}")


@pytest.mark.parametrize(
    ("pattern", "lengths"),
    [
        ("", (0, 0)),
        ("hide", (4, 4)),
        ("(?i)größe", (5, 5)),
        (r"\Ahide\z", (4, 4)),
        ("a|bcd|", (0, 3)),
        ("(?:ab?){2,3}", (2, 6)),
        ("a+", (1, None)),
        (r"(?:\b)*", (0, 0)),
        ("(?:a*){0}b", (1, 1)),
        (r"\bI (?:will|can) hide\b", (10, 11)),
        ("[[:alpha:]]{1000}", (1000, 1000)),
        (r"\x{1F600}\101\07[a\]]", (4, 4)),
        ("a{,2}", (5, 5)),
        ("a{2", (3, 3)),
        (r"\Qa*(\E+", (3, None)),
        ("(" * 900 + "a?" + ")" * 900, (0, 1)),
    ],
)
def test_lengths(pattern: str, lengths: tuple[int, int | None]) -> None:
    compile_pattern(pattern)
    assert (shape(pattern).minimum, maximum_length(pattern)) == lengths


@pytest.mark.parametrize(
    ("pattern", "at_end", "ahead"),
    [
        ("hide", False, False),
        (r"hide\z", True, False),
        ("hide$", True, False),
        ("(?m)hide$", False, True),
        ("(?m:a)$", True, False),
        ("(?:(?m)a)$", True, False),
        ("(?m)(?:(?-m)a)$", False, True),
        (r"hide\b", False, True),
        (r"\$[$]\Q$\E", False, False),
        (r"\Ahide", False, False),
    ],
)
def test_what_a_pattern_looks_at(pattern: str, at_end: bool, ahead: bool) -> None:
    assert (shape(pattern).looks_at_end, shape(pattern).looks_ahead) == (at_end, ahead)


def test_a_byte_is_known() -> None:
    assert shape(r"a\C").cuts_codepoints
    assert re2.search(r"\C", "é")
