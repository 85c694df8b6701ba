"""Scores of probes as people see them: a line each, and the text shaded by its tokens."""

from __future__ import annotations

import pytest

from monitor.cli.probing import SHADES, highest, probe_line, shaded
from monitor.records import ProbeScore, TokenScores


@pytest.mark.parametrize(
    ("score", "line"),
    [
        (
            ProbeScore(probe="p", score=1.25, fpr=0.02, threshold=1, mode="reader", surface="output"),
            "probe p 1.25 (reader, output; false-positive rate 0.02)",
        ),
        (
            ProbeScore(probe="p", score=-3, mode="own_live", surface="reasoning", cause="calibrated on output"),
            "probe p -3 (own model, live, reasoning; false-positive rate unknown): calibrated on output",
        ),
        (ProbeScore(probe="p", cause="torch is not installed"), "probe p unknown: torch is not installed"),
        (ProbeScore(probe="p", applies=False, cause="no reasoning"), "probe p does not apply: no reasoning"),
    ],
)
def test_a_line_says_score_mode_and_rate_or_why_there_is_none(score: ProbeScore, line: str) -> None:
    assert probe_line(score).plain == line


TEXT = "The \x1b[31mcity é𝄞 is"
TOKENS = TokenScores(surface="output", starts=(0, 4, 14, 15, 15), ends=(4, 13, 15, 16, 16), scores=(-1, 0.25, 0, 4, 1))


def test_text_is_shaded_by_score_and_stays_harmless() -> None:
    shown = shaded(TEXT, TOKENS)
    assert shown.plain == "The \\x1b[31mcity é𝄞 is"
    styles = {shown.plain[span.start : span.end]: str(span.style) for span in shown.spans}
    assert styles["𝄞"] == SHADES[-1], "the higher of the two tokens that share it"
    assert styles["\\x1b[31mcity"] == styles["é"] == SHADES[1]
    assert styles[" is"] == "dim strike", "not scored"


def test_equal_scores_have_one_shade() -> None:
    flat = TOKENS.model_copy(update={"scores": (2.0,) * 5})
    assert {str(span.style) for span in shaded(TEXT, flat).spans} == {"dim strike"}


def test_the_highest_tokens_come_first() -> None:
    assert highest(TEXT, TOKENS, 3) == [("𝄞", 4), ("𝄞", 1), ("\x1b[31mcity", 0.25)]
