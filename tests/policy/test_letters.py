"""Which characters nobody sees, and normal forms of texts that somebody wrote to make them slow."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.policy.judges.fence import escaped, unescaped
from monitor.policy.letters import is_unseen, normal

MARKS = st.sampled_from("a\u00e9\u1ec7\u0301\u0323\u0344\u0f71\u0f73\u05b0\u3099\u0345\ufb1e\u1e9b")


@pytest.mark.parametrize("point", [0x00AD, 0x034F, 0x115F, 0x180B, 0x2800, 0x3164, 0xFE0F, 0xFFA0, 0xE0041, 0xE0100])
def test_what_is_not_seen_is_shown_to_a_judge_as_what_it_is(point: int) -> None:
    assert is_unseen(chr(point))
    assert escaped(f"a{chr(point)}b") == f"a&#x{point:x};b"
    assert unescaped(escaped(f"a{chr(point)}b")) == f"a{chr(point)}b"


@pytest.mark.parametrize("letter", "aé漢\u0301\u0323 한")
def test_what_is_seen_stays(letter: str) -> None:
    assert not is_unseen(letter)
    assert escaped(letter) == letter


@given(text=st.text(MARKS, max_size=120) | st.text(max_size=40))
def test_it_is_the_form_that_unicode_says(text: str) -> None:
    assert normal("NFKC", text) == unicodedata.normalize("NFKC", text)
    assert normal("NFD", text) == unicodedata.normalize("NFD", text)


def test_a_run_of_marks_takes_no_time_that_grows_with_its_square() -> None:
    text = "a" + "\u0301\u0323" * 200_000
    began = time.process_time()
    assert len(normal("NFD", text)) == len(text)
    assert len(normal("NFKC", text)) <= len(text)
    assert time.process_time() - began < 10  # Python's own takes minutes
