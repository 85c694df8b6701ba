"""The split is made from names alone, and the stored one is what the function makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.audit.evaluation.split import SPLIT_FILE, Half, halve, read_split, written
from monitor.errors import ConfigError

if TYPE_CHECKING:
    import random
    from pathlib import Path

NAMES = st.sets(st.text(min_size=1, max_size=8))


@given(NAMES, st.randoms(use_true_random=False))
def test_every_name_is_in_one_half_whatever_the_order(names: set[str], order: random.Random) -> None:
    shuffled = sorted(names)
    order.shuffle(shuffled)
    halves = halve(shuffled)
    assert halves.keys() == names
    assert halve(names) == halves
    sizes = [sum(half is wanted for half in halves.values()) for wanted in (Half.DEVELOPMENT, Half.HELD_OUT)]
    assert sizes == [(len(names) + 1) // 2, len(names) // 2]


def test_the_stored_split_is_what_the_function_makes_of_its_names() -> None:
    stored = read_split()
    assert {name: halve(files) for name, files in stored.items()} == stored
    assert SPLIT_FILE.read_text(encoding="utf-8") == written(stored)


def test_the_stored_split_halves_the_peers_rules() -> None:
    halves = list(read_split()["rules-atr"].values())
    assert (halves.count(Half.DEVELOPMENT), halves.count(Half.HELD_OUT)) == (20, 20)


def test_another_seed_gives_another_split() -> None:
    names = [f"{number}.yaml" for number in range(40)]
    assert halve(names, "one") != halve(names, "two")


def test_a_file_that_is_no_split_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.yaml"
    path.write_text("sets:\n  rules-atr: [one.yaml]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected `sets:`"):
        read_split(path)
