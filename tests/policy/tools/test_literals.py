"""Which patterns find what others find: asked of all at once, the answers are those of each two."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from monitor.policy.lines import SHAPES
from monitor.policy.matching import compile_pattern
from monitor.policy.tools.literals import Containment, finds_all_of

texts = st.text(alphabet="aAbBßΣσς. é", max_size=5)
plain = st.builds(
    lambda flag, shape, text: flag + SHAPES[shape].format(compile_pattern_text(text)),
    st.sampled_from(["", "(?i)"]),
    st.sampled_from(sorted(SHAPES)),
    texts,
)


def compile_pattern_text(text: str) -> str:
    return "".join(char if char.isalnum() else f"\\{char}" for char in text)


@given(st.lists(st.one_of(plain, st.sampled_from(["a+", "(?:ab)"])), max_size=12))
def test_containment_is_what_each_two_say(patterns: list[str]) -> None:
    found = Containment(patterns)
    for narrow in found.patterns:
        wider = {wide for wide in found.patterns if wide != narrow and finds_all_of(wide, narrow)}
        assert set(found.wider(narrow)) == wider
        assert {wide for wide in found.patterns if narrow in found.narrower(wide)} == wider


@given(plain, plain, texts)
def test_what_is_said_to_be_found_is_found(wide: str, narrow: str, text: str) -> None:
    if finds_all_of(wide, narrow) and compile_pattern(narrow).search(text):
        assert compile_pattern(wide).search(text)
