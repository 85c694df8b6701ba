"""How sure a share is that was counted: an interval beside every proportion."""

from __future__ import annotations

import math
from dataclasses import dataclass

_Z = 1.959963984540054
"""The 97.5th percentile of the standard normal distribution: two-sided 95 %."""


@dataclass(frozen=True, slots=True)
class Interval:
    """From ``low`` to ``high``, both shares between 0 and 1."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.low:.0f}–{100 * self.high:.0f} %"


def wilson(successes: int, trials: int) -> Interval:
    """The 95 % score interval for a proportion of ``successes`` in ``trials`` that are independent of each other.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927), 209-212. With p = successes / trials, n = trials and z = 1.96:

        (p + z²/2n ± z √(p (1 - p)/n + z²/4n²)) / (1 + z²/n)

    It never leaves 0 to 1, and it has a width where all trials went the same way.

    Raises:
        ValueError: there were no trials (what was not tried has no interval), or not 0 ≤ successes ≤ trials.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"expected 0 ≤ successes ≤ trials and a trial at least, found {successes} in {trials}")
    share, squared = successes / trials, _Z * _Z
    middle = share + squared / (2 * trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + squared / (4 * trials * trials))
    whole = 1 + squared / trials
    low = 0.0 if successes == 0 else max(0.0, (middle - half) / whole)
    high = 1.0 if successes == trials else min(1.0, (middle + half) / whole)
    return Interval(low, high)
