"""Texts that somebody made to break the engine or to hide from it: it finds what plain RE2 finds, and no more.

Work is bounded by what is counted, not by a clock: each text goes through each filter once, and only patterns that match
are run again, for at most ``MAX_SPANS`` places.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import policy
from monitor.canonical import escape_text
from monitor.policy.matching import MAX_SPANS, PatternEngine
from monitor.policy.tools.cost import patterns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKS = Path(__file__).parents[2] / "policies"
OWN = (
    *("(?i)hide", r"(?i)\bignore (?:all|any)\b", r"[A-Za-z0-9+/]{40,}={0,2}", r"[\x{202a}-\x{202e}\x{2066}-\x{2069}]+"),
    *(r"\x{200b}+", r"(?:\pM){3,}", "␛[0-9a-f]{4}", r"(?i)größe\z", r"\A\s*\S+\s*\z", "(?m)^-+$", "(a?){20}a{20}b"),
    *(
        "(?:(?:a+)+)+b",
        r"(?s)\(.{0,50}\).{0,50}x",
        r"\d{3}-?\d{2}",
        "(?i)ﬁ|ß|İ|ſ|\u212a",
        r"\p{Arabic}+",
        r"[^\x00-\x7f]{4}",
    ),
)
_PIECES = st.sampled_from(
    [
        *(
            "hide",
            "HIDE",
            "ignore all",
            "größe",
            "GRÖẞE",
            "a" * 30,
            "a" * 30 + "b",
            "(" * 20,
            ")" * 20,
            "-" * 5,
            "123-45",
        ),
        *(
            "\u202e",
            "\u2066",
            "\u200b",
            "\u200d",
            "\ufeff",
            "\u0301" * 4,
            "e\u0301",
            "شكرا",
            "İ",
            "ſ",
            "\u212a",
            "ﬁ",
            "😀",
            "👩‍👩‍👧",
        ),
        *(
            "\n",
            "\r\n",
            "\u2028",
            "\x85",
            "\t",
            " " * 9,
            "\0",
            "\ud800",
            "\udfff",
            "␛",
            "␛0000",
            "QUJD" * 12,
            "\U0010ffff",
            "x",
        ),
    ]
)
_any = st.text(st.characters(codec=None), max_size=12)
texts = st.lists(_PIECES | _any, max_size=25).map("".join).map(escape_text)


@pytest.fixture(scope="module")
def engine() -> PatternEngine:
    """Every pattern of the shipped packs, and some that are made for hostile texts."""
    shipped = patterns_of(rule.detection for rule in policy.load([PACKS]).rules)
    return PatternEngine([*OWN, *sorted(shipped)])


@given(texts)
@settings(deadline=None)
def test_any_text(engine: PatternEngine, text: str) -> None:
    found = engine.find(text, frozenset(engine.patterns))
    assert found == engine.find_slowly(text, frozenset(engine.patterns))
    for offsets in found.values():
        assert 0 < len(offsets) <= MAX_SPANS
        assert all(0 <= start <= end <= len(text) for start, end in offsets)
        assert list(offsets) == sorted(offsets)


LONG = {
    "one letter": "a" * 1_000_000,
    "blanks": " " * 1_000_000,
    "line ends": "\n" * 300_000,
    "bait": ("a" * 28 + "!") * 35_000,
    "brackets": "(" * 500_000 + ")" * 500_000,
    "combining": "\u0301" * 300_000,
    "right to left": "\u202eشكرا " * 100_000,
    "escapes": escape_text("\0\ud800␛") * 60_000,
    "matches everywhere": "hide größe 123-45 " * 50_000,
    "one line of base64": "QUJD" * 250_000,
    "a match at the very end": "é" * 400_000 + " größe",
    "near misses": "hid ignor al größ 123- " * 40_000,
}


@pytest.mark.parametrize("name", LONG)
def test_a_line_of_a_megabyte(name: str) -> None:
    engine = PatternEngine(OWN)
    assert engine.find(LONG[name], frozenset(OWN)) == engine.find_slowly(LONG[name], frozenset(OWN))


def test_each_text_is_filtered_once_and_only_matches_are_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = [f"(?i)word{number:04d} and (?:more|less)" for number in range(400)]
    engine = PatternEngine(patterns, shard_bytes=4_000)
    filtered: list[int] = []
    run: list[str] = []
    for shard in engine._shards:
        monkeypatch.setattr(shard, "_filter", _Counted(shard._filter, filtered))
    counted = {pattern: _Run(compiled, pattern, run) for pattern, compiled in engine._compiled.items()}
    monkeypatch.setattr(engine, "_compiled", counted)
    text = " ".join(f"WORD{number:04d} and nothing" for number in range(400)) + " word0007 and less" * 100
    assert {pattern: len(offsets) for pattern, offsets in engine.find(text, frozenset(patterns)).items()} == {
        patterns[7]: MAX_SPANS
    }
    assert len(filtered) == len(engine._shards) > 1
    assert run == [patterns[7]] * MAX_SPANS


class _Counted:
    """A filter that notes every text it is given."""

    def __init__(self, matcher: Any, seen: list[int]) -> None:
        self._matcher, self._seen = matcher, seen

    def Match(self, text: bytes, potential: bool = False) -> Sequence[int]:  # noqa: N802 - RE2's own names
        self._seen.append(len(text))
        found: Sequence[int] = self._matcher.Match(text, potential=potential)
        return found


class _Run:
    """A compiled pattern that notes every match that is taken from it."""

    def __init__(self, compiled: Any, pattern: str, seen: list[str]) -> None:
        self._compiled, self._pattern, self._seen = compiled, pattern, seen

    def finditer(self, *arguments: Any) -> Any:
        for match in self._compiled.finditer(*arguments):
            self._seen.append(self._pattern)
            yield match
