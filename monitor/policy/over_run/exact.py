"""Numbers as they are written: of 0.7 and 0.1 the sum is 0.8, and 80 of 100 is a share of 0.8."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

INFINITE = float("inf")


@lru_cache(maxsize=4096)
def exact(number: float) -> Fraction:
    """The number that the shortest decimal of a float says, and not the binary one near to it. An int is itself."""
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def plus(one: float | Fraction, other: float | Fraction) -> float | Fraction:
    """The sum, infinite where one of the two is: beside that, no float has room for a large fraction."""
    return INFINITE if INFINITE in (one, other) else one + other
