"""Intervals at 95 %: Wilson's for shares, the rule of three for none at all, and a bootstrap over whole traces.

Wilson's interval and the rule of three treat what is counted as independent. Messages of one trace, and examples of one
rule file, are not: so beside them stands the interval from drawing whole groups again, and the number of groups.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Z_95 = 1.959963984540054
ROUNDS = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """From ``low`` to ``high``, both in the unit of what was estimated."""

    low: float
    high: float


def wilson(hits: int, count: int) -> Interval | None:
    """Wilson's score interval (Wilson, J. Am. Stat. Assoc. 22, 1927) of ``hits`` of ``count``; None for a count of 0."""
    if not count:
        return None
    share = hits / count
    middle = share + Z_95**2 / (2 * count)
    spread = Z_95 * math.sqrt(share * (1 - share) / count + Z_95**2 / (4 * count**2))
    scale = 1 + Z_95**2 / count
    low = 0.0 if hits == 0 else (middle - spread) / scale
    high = 1.0 if hits == count else (middle + spread) / scale
    return Interval(low, high)


def rule_of_three(count: int) -> float | None:
    """The upper end of a one-sided 95 % interval for a rate of which none was seen in ``count``: 3 / count, at most 1."""
    return min(1.0, 3 / count) if count else None


def over_groups(groups: Sequence[tuple[int, int]], *, rounds: int = ROUNDS, seed: int = 0) -> Interval | None:
    """The percentile interval of ``sum(hits) / sum(count)`` over groups ``(hits, count)`` that are drawn again as a whole.

    None where it says nothing: fewer than two groups, or no hit at all (every draw would give 0). With few groups it is too
    narrow. The same seed gives the same interval.
    """
    if len(groups) < 2 or not any(hits for hits, _ in groups):
        return None
    dice = random.Random(seed)  # noqa: S311 - a bootstrap, nothing secret
    rates = []
    for _ in range(rounds):
        drawn = dice.choices(groups, k=len(groups))
        total = sum(count for _, count in drawn)
        rates.append(sum(hits for hits, _ in drawn) / total if total else 0.0)
    rates.sort()
    return Interval(rates[int(0.025 * rounds)], rates[math.ceil(0.975 * rounds) - 1])
