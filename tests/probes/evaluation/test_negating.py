"""Negations by rule."""

from __future__ import annotations

import pytest

from monitor.errors import ProbeDataError
from monitor.probes.evaluation.negating import negation, negations
from monitor.probes.words import Dataset, Labelled


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The city of Krasnodar is in Russia.", "The city of Krasnodar is not in Russia."),
        ("The city of Krasnodar is not in Russia.", "The city of Krasnodar is in Russia."),
        ("The Spanish word 'con' means 'to speak'.", "The Spanish word 'con' does not mean 'to speak'."),
        ("The Spanish word 'con' does not mean 'to speak'.", "The Spanish word 'con' means 'to speak'."),
        ("Birds were there.", "Birds were not there."),
        ("It has been seen.", "It has not been seen."),
        ("Stones fall.", None),
    ],
)
def test_a_plain_statement_is_negated(text: str, expected: str | None) -> None:
    assert negation(text) == expected


def test_labels_turn_round_and_groups_stay() -> None:
    rows = tuple(Labelled(f"This is {n}.", n % 2 == 0, f"g{n}") for n in range(4))
    twins, origins = negations(Dataset("plain", rows))
    assert origins == [0, 1, 2, 3]
    assert [row.label for row in twins.rows] == [False, True, False, True]
    assert [row.group for row in twins.rows] == ["g0", "g1", "g2", "g3"]


def test_texts_that_the_rule_does_not_fit_are_refused() -> None:
    with pytest.raises(ProbeDataError, match="0 of 2 texts"):
        negations(Dataset("odd", (Labelled("Go!", True, "a"), Labelled("Stay!", False, "b"))))
