"""Nothing that a terminal obeys gets through, and evidence is marked where it is."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from monitor.cli.safe import EVIDENCE, highlighted, one_line, visible
from monitor.records import Span


def span(start: int, end: int) -> Span:
    return Span(surface="output", start=start, end=end)


def marked(shown: object) -> list[str]:
    text = getattr(shown, "plain")  # noqa: B009 - the type is Rich's own
    return [text[item.start : item.end] for item in getattr(shown, "spans") if item.style == EVIDENCE]  # noqa: B009 - as above


def test_controls_become_visible() -> None:
    assert visible("a\x1b[31mb\x07\r\x9b\x7f\0") == "a\\x1b[31mb\\x07\\x0d\\x9b\\x7f\\x00"


def test_what_reorders_or_hides_text_becomes_visible() -> None:
    assert visible("\u202e\u2066\u200b\ufeff\u2028\U000e0041") == "\\u202e\\u2066\\u200b\\ufeff\\u2028\\U000e0041"


def test_ordinary_text_stays_as_it_is() -> None:
    text = "lines\nand\ttabs, שלום, نمی\u200cخواهم, e\u0301, 👩\u200d🔬, ␛0000"
    assert visible(text) == text


@given(st.text())
def test_no_control_and_no_invisible_format_survives(text: str) -> None:
    for char in visible(text):
        assert char in "\n\t\u200c\u200d" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_one_line_is_one_line_and_no_longer_than_asked() -> None:
    assert one_line("a\n b\t\tc", 10) == "a b c"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"
    assert len(one_line("\x1b" * 50, 10)) == 10


def test_evidence_is_marked_by_codepoints_also_after_escapes() -> None:
    text = "é\x1b hidden \x1b here"
    start = text.index("hidden")
    assert marked(highlighted(text, [span(start, start + 6)])) == ["hidden"]


def test_overlapping_evidence_is_marked_once() -> None:
    assert marked(highlighted("abcdefghij", [span(1, 4), span(3, 6), span(8, 99)])) == ["bcdef", "ij"]


def test_a_long_text_is_shown_in_part_and_its_evidence_always() -> None:
    text = "a" * 1000 + "EVIDENCE" + "b" * 1000
    shown = highlighted(text, [span(1000, 1008)], limit=100, context=5)
    assert marked(shown) == ["EVIDENCE"]
    assert "[… 895 codepoints not shown …]" in shown.plain
    assert shown.plain.endswith("[… 995 codepoints not shown …]")


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=4))
def test_marking_changes_no_text(text: str, pairs: list[tuple[int, int]]) -> None:
    spans = [span(min(pair), max(pair)) for pair in pairs if min(pair) <= len(text)]
    assert highlighted(text, spans).plain == visible(text)
