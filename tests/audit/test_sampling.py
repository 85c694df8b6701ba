"""Samples can be drawn again, in whatever order things come."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from monitor.audit.sampling import Sampler


def draw(keys: list[str], size: int, seed: int) -> tuple[str, ...]:
    sampler: Sampler[str] = Sampler(size, seed)
    for key in keys:
        sampler.offer(key, key)
    return sampler.items()


@given(st.sets(st.text(max_size=4), max_size=30), st.integers(0, 8), st.integers(), st.randoms())
def test_the_order_does_not_matter_and_a_smaller_sample_is_its_beginning(
    keys: set[str], size: int, seed: int, random: object
) -> None:
    listed = sorted(keys)
    drawn = draw(listed, size, seed)
    random.shuffle(listed)  # type: ignore[attr-defined]  # a random.Random
    assert draw(listed, size, seed) == drawn
    assert len(drawn) == min(size, len(keys))
    assert draw(listed, size // 2, seed) == drawn[: size // 2]


def test_every_item_is_equally_likely() -> None:
    """Over 3,000 seeds each of ten items comes up in about 3 of 10 samples of three."""
    counts = Counter(key for seed in range(3000) for key in draw(list("abcdefghij"), 3, seed))
    assert all(abs(counts[key] - 900) < 100 for key in "abcdefghij")


def test_by_score_the_highest_are_kept_and_the_seed_breaks_ties() -> None:
    def drawn(seed: int, order: list[int]) -> tuple[int, ...]:
        sampler: Sampler[int] = Sampler(3, seed)
        for number in order:
            sampler.offer_ranked(float(number // 10), str(number), number)
        return sampler.ranked()

    found = drawn(0, list(range(25)))
    assert [number // 10 for number in found] == [2, 2, 2]
    assert found == drawn(0, list(reversed(range(25))))
    assert any(drawn(seed, list(range(25))) != found for seed in range(1, 5))
