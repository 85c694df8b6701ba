r"""Patterns as JavaScript reads them, in RE2.

Python's ``re`` plays JavaScript here: each piece of a pattern is written twice, for JavaScript and in the words of ``re``
that mean the same (``re.ASCII`` folds the case of ASCII letters only, and has JavaScript's ``\w``, ``\d`` and ``\b``).
"""

from __future__ import annotations

import re

import pytest
import re2
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor.policy.importers.charset import LINE_END, SPACE, CharSet, class_text
from monitor.policy.importers.patterns import translate
from monitor.policy.importers.reasons import Reason, UnreadableError

SPACES = r"[\t\n\v\f\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
ALPHABET = "abABxX1_-. \n\r\t\v\xa0\u2028\ufeff中😀"
TEXTS = st.text(alphabet=ALPHABET, max_size=14)

ATOMS: list[tuple[str, str]] = [
    *((char, char) for char in "abxB1_"),
    (r"\s", SPACES),
    (r"\S", f"[^{SPACES[1:]}"),
    (".", r"[^\n\r\u2028\u2029]"),
    (r"\d", r"\d"),
    (r"\w", r"\w"),
    (r"\W", r"\W"),
    ("[ab]", "[ab]"),
    ("[^a\\s]", f"[^a{SPACES[1:]}"),
    (r"[\w\-]", r"[\w\-]"),
    (r"[\s\S]", r"[\s\S]"),
    (r"\u4e2d", "中"),
    (r"\u{1f600}", "😀"),
    (r"\x41", "A"),
    (r"\-", r"\-"),
    (r"\/", "/"),
    (r"\b", r"\b"),
    (r"\B", r"(?!\b)"),  # Python's own \B does not match in an empty text before 3.14
    ("^", r"\A"),
    ("$", r"\Z"),
]
COUNTED = [("*", "*"), ("+", "+"), ("?", "?"), ("{2}", "{2}"), ("{1,2}?", "{1,2}?"), ("{2,}", "{2,}")]
NO_COUNT = {r"\b", r"\B", "^", "$"}


def joined(parts: list[tuple[str, str]]) -> tuple[str, str]:
    return "".join(js for js, _ in parts), "".join(py for _, py in parts)


def grouped(alternatives: list[tuple[str, str]]) -> tuple[str, str]:
    return f"(?:{'|'.join(js for js, _ in alternatives)})", f"(?:{'|'.join(py for _, py in alternatives)})"


atoms = st.sampled_from(ATOMS)
pieces = st.builds(
    lambda atom, count: joined([atom, count]) if atom[0] not in NO_COUNT else atom,
    atoms,
    st.sampled_from([*COUNTED, *([("", "")] * 6)]),
)
patterns = st.recursive(
    st.lists(pieces, min_size=1, max_size=4).map(joined),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(grouped), st.lists(inner, min_size=1, max_size=2).map(joined)
    ),
    max_leaves=5,
)
single = st.sampled_from([atom for atom in ATOMS if atom[0] not in NO_COUNT])
fixed = st.lists(single, min_size=1, max_size=3).map(joined)
aheads = st.builds(
    lambda sign, inner: (f"(?{sign}{inner[0]})", f"(?{sign}{inner[1]})"), st.sampled_from("=!"), patterns
)
behinds = st.builds(
    lambda sign, inner: (f"(?<{sign}{inner[0]})", f"(?<{sign}{inner[1]})"), st.sampled_from("=!"), fixed
)
tempered = st.builds(
    lambda inner, one, count: (f"(?:(?!{inner[0]}){one[0]}){count}", f"(?:(?!{inner[1]}){one[1]}){count}"),
    patterns,
    single,
    st.sampled_from(["*", "+", "{2,}", "*?", "{1,5}"]),
)
looking = st.lists(st.one_of(pieces, aheads, behinds, tempered), min_size=1, max_size=5).map(joined)


def says(pattern: str, text: str) -> bool:
    return bool(re2.search(f"(?i:{pattern})", text))


@settings(deadline=None)
@given(patterns, st.lists(TEXTS, max_size=12))
def test_the_translation_matches_the_same_texts(pattern: tuple[str, str], texts: list[str]) -> None:
    javascript, python = pattern
    made = translate(javascript, unicode=True).text
    peer = re.compile(python, re.IGNORECASE | re.ASCII)
    assert [bool(peer.search(text)) for text in texts] == [says(made, text) for text in texts]


@settings(deadline=None)
@given(looking, st.lists(TEXTS, max_size=12))
def test_lookarounds_are_rewritten_exactly_or_not_at_all(pattern: tuple[str, str], texts: list[str]) -> None:
    javascript, python = pattern
    assume("(?" in javascript)
    try:
        made = translate(javascript, unicode=True).text
    except UnreadableError:
        return
    peer = re.compile(python, re.IGNORECASE | re.ASCII)
    assert [bool(peer.search(text)) for text in texts] == [says(made, text) for text in texts]


@pytest.mark.parametrize(
    ("pattern", "hits", "misses"),
    [
        (r"SELECT\s+\*(?!.*\bLIMIT\b)", ["select * x", "SELECT * LIMITED", "a\nSELECT *\nLIMIT"], ["SELECT * limit 3"]),
        (r"https?://(?!localhost|127\.0\.0\.1)\S*", ["http://x", "http://localhos"], ["https://LOCALHOST/x"]),
        (r"(?<!get_)(?<!list_)pay", ["pay", "xpay", "et_pay", "pay get_pay"], ["get_pay", "LIST_PAY"]),
        (r"(?<=^|\s)key", ["key", "a\xa0key"], ["monkey"]),
        (r"--(?=\s|$)", ["a --", "-- x"], ["--x"]),
        (r"(?=.*one)x", ["x one", "xone"], ["one x", "x\none"]),
        (r"(?!\bno\b)\w+!", ["not!", "xno!"], ["!"]),
        (r"a(?!b)", ["a", "ac", "abA"], ["ab", "AB"]),
        (r"(?:x(?=y)|z)", ["xy", "z"], ["x"]),
        (r"<(?:(?!>|x)[^y])*>", ["<>", "<a>", "<<b>"], ["<x>", "<y>", "<a"]),
        (r"a(?:(?!\bno\b).)*?z", ["az", "a not z", "a nob z"], ["a no z", "a\nz", "a no, no z"]),
        (r"k(?:(?!b)[^c]){0,500}", ["k", "kb", "kc"], ["b"]),
        (r"(?:(?<!x)y)*k", ["k", "xyk"], ["y"]),
        (r"(?:(?<!x)y){4,}k", ["yyyyk", "zyyyyyk"], ["xyyyyk", "yyyk"]),
    ],
)
def test_lookarounds(pattern: str, hits: list[str], misses: list[str]) -> None:
    made = translate(pattern).text
    assert [text for text in hits if not says(made, text)] == []
    assert [text for text in misses if says(made, text)] == []


@pytest.mark.parametrize(
    ("pattern", "made"),
    [
        (r"\u200B", r"\x{200b}"),
        (r"\uD83D\uDE00", "😀"),
        (r"\uD83D[\uDE00-\uDE02]", "[😀-😂]"),
        (r"[\uD83D\uDE00x]", "[😀x]"),
        (r"(?<name>a)(?P<other>b)", "ab"),
        (r"a\/b\-c\_", "a/b-c_"),
        (r"\Aa\Z", r"\Aa\z"),
        (r"a(?i)b(?i:c)", "abc"),
        (r"[^]", "(?s:.)"),
        (r"[]", r"[^\x{0}-\x{10ffff}]"),
        (r"{{x}}", r"\{\{x\}\}"),
        (r"x{20,2000}", "x{20,1000}x{0,1000}"),
        (r"x{1500}", "x{1000}x{500}"),
        (r"x{1200,}", "x{1000}x{200,}"),
        (r"\x1b\cA\0\1", r"\x{1b}\x{1}(?:␛0000)\x{1}"),
        (r"[\b]", r"[\x{8}]"),
        (r"[[:alpha:]]", r"[\[:alpha:]\]"),
        (r"[a-\d]", r"[\-0-9a]"),
        (r"\e\u12\xz\c", r"eu12xz\\c"),
        (r"[^\uD800-\uDFFF]", r"[^\x{d800}-\x{dfff}𐀀-\x{10ffff}]"),
    ],
)
def test_what_becomes_of_javascript_words(pattern: str, made: str) -> None:
    assert translate(pattern).text == made


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", Reason.REGEX_INVALID),
        ("a)", Reason.REGEX_INVALID),
        ("[a", Reason.REGEX_INVALID),
        ("*a", Reason.REGEX_INVALID),
        ("a**", Reason.REGEX_INVALID),
        ("a++", Reason.REGEX_INVALID),
        ("(?>a)", Reason.REGEX_INVALID),
        ("(?s:a)", Reason.REGEX_INVALID),
        ("[z-a]", Reason.REGEX_INVALID),
        ("a{3,1}", Reason.REGEX_INVALID),
        ("a\\", Reason.REGEX_INVALID),
        ("(?<=a)*", Reason.REGEX_INVALID),
        (r"(a)\1", Reason.REGEX_BACKREFERENCE),
        (r"(?<n>a)\k<n>", Reason.REGEX_BACKREFERENCE),
        (r"[\uD83D]", Reason.REGEX_HALVES),
        (r"\uD83D+", Reason.REGEX_HALVES),
        (r"(?:(?=b)a)*c", Reason.REGEX_LOOKAROUND),
        (r"(?:(?!b)a?){4,}c", Reason.REGEX_LOOKAROUND),
        (r"(?!.*x)[\s\S]{0,900}y", Reason.REGEX_LOOKAROUND),
        (r"(?<=é)a(?=É)b", Reason.REGEX_LOOKAROUND),
        (r"((a{50}){50}){50}", Reason.REGEX_TOO_LARGE),
        ("a{9999999}", Reason.REGEX_TOO_LARGE),
        ("(" * 2_000 + ")" * 2_000, Reason.REGEX_TOO_LARGE),
        ("a" * 60_000, Reason.REGEX_TOO_LARGE),
    ],
)
def test_what_has_no_equal_is_refused(pattern: str, reason: Reason) -> None:
    with pytest.raises(UnreadableError) as caught:
        translate(pattern)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"\p{L}", Reason.REGEX_PROPERTY),
        (r"[\P{L}]", Reason.REGEX_PROPERTY),
        (r"\u{110000}", Reason.REGEX_INVALID),
        (r"\_", Reason.REGEX_INVALID),
        ("a]", Reason.REGEX_INVALID),
    ],
)
def test_what_the_flag_u_refuses(pattern: str, reason: Reason) -> None:
    with pytest.raises(UnreadableError) as caught:
        translate(pattern, unicode=True)
    assert caught.value.reason is reason


def test_a_lookaround_needs_that_case_is_ignored() -> None:
    assert translate("(?:a|b)", ignore_case=False).text == "a|b"
    with pytest.raises(UnreadableError):
        translate("a(?!b)", ignore_case=False)


def test_halves_are_reported_where_they_matter() -> None:
    noted = (Reason.CHARACTERS_NOT_HALVES,)
    assert [translate(text).notes for text in ("😀", "[😀x]", "😀+", r"[\uD83D\uDE00]")] == [(), noted, noted, noted]


@settings(deadline=None)
@given(st.text(alphabet=r"ab(|)[]^$\.*+?{}1,-:=!<>sdwbBuxcp", max_size=24), st.booleans())
def test_no_pattern_breaks_the_reader(pattern: str, unicode: bool) -> None:
    try:
        made = translate(pattern, unicode=unicode).text
    except UnreadableError:
        return
    re2.compile(f"(?i:{made})")


@pytest.mark.parametrize("chars", [SPACE, LINE_END, SPACE.complement(), CharSet.chars("-]^\\a")])
def test_a_written_set_is_the_set(chars: CharSet) -> None:
    compiled = re2.compile(class_text(chars))
    codes = [code for code in range(0x11000) if not 0xD800 <= code <= 0xDFFF]
    assert [code for code in codes if bool(compiled.fullmatch(chr(code))) is not (code in chars)] == []


def test_the_short_form_of_spaces_is_exact() -> None:
    r"""``[\s\v\pZ\x{feff}]`` in RE2 is JavaScript's ``\s``, for every codepoint."""
    compiled = re2.compile(translate(r"\s").text)
    codes = [code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]
    assert {code for code in codes if compiled.fullmatch(chr(code))} == {code for code in codes if code in SPACE}


def test_what_is_read_takes_no_other_case_along() -> None:
    """``ſ`` and ``K`` fold to ASCII letters in RE2, and not in JavaScript: a derived set names exactly what it names."""
    made = translate(r"a(?!s)").text
    assert [says(made, text) for text in ("as", "aS", "aſ", "a")] == [False, False, True, True]
