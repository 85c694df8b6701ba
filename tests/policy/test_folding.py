"""What counts as upper and lower case alike is one thing: for patterns, and for texts that are compared with each other."""

from __future__ import annotations

from collections import defaultdict

import re2
from hypothesis import given
from hypothesis import strategies as st

from monitor.policy.folding import folded


def test_letters_are_alike_where_the_engine_says_so() -> None:
    """For every letter of Unicode that has another form."""
    letters = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    cased = [c for c in letters if len({c, c.lower(), c.upper(), c.casefold(), c.title()}) > 1]
    alike: defaultdict[str, set[str]] = defaultdict(set)
    for letter in letters:
        alike[folded(letter)].add(letter)
    every = "".join(cased)
    for letter in cased:
        found = {match.group() for match in re2.finditer(f"(?i){re2.escape(letter)}", every)}
        assert found == alike[folded(letter)], f"{letter} U+{ord(letter):04X}"


@given(st.text(), st.text())
def test_places_stay(one: str, other: str) -> None:
    assert len(folded(one)) == len(one)
    assert folded(one + other) == folded(one) + folded(other)
    assert folded(folded(one)) == folded(one)
