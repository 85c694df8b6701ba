"""Two people who labelled the same findings: how often they agree, and how much more than chance (Cohen's kappa).

J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960), 37-46:
kappa = (p_o - p_e) / (1 - p_e), with p_o the share of findings on which both say the same, and p_e the share to expect if
each gave their own shares of labels by chance. It is undefined where both gave one and the same label throughout (p_e = 1):
then they agree, and nothing shows that they look.

The interval is a jackknife over runs, with Student's quantile: findings of one run are alike, and are left out together.
``bench/kappa_intervals.py`` has its measured coverage.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

from monitor.audit.reviews import rule_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor.records import StoredReview

Pair: TypeAlias = tuple[bool, bool]
"""What two people say of one finding: whether what the rule looks for is there."""
Said: TypeAlias = "defaultdict[tuple[str, str, str, str], dict[str, bool | None]]"
"""Run, subcall, rule and version of the rule → what each person says."""


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement of two people. ``both`` findings both are sure of, in ``runs`` runs; ``unsure`` ones at least one is not.

    ``agreed`` is p_o; ``kappa`` None where it is undefined or nothing was labelled by both. ``low`` and ``high`` are None
    where there is no interval (fewer than two runs, or a kappa that every leave-out leaves undefined); ``why`` says so.
    """

    first: str
    second: str
    both: int
    unsure: int
    runs: int
    agreed: float | None
    kappa: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""


def kappa_of(pairs: Sequence[Pair]) -> float | None:
    """Cohen's kappa; None where it is undefined."""
    if not pairs:
        return None
    count = len(pairs)
    agreed = sum(one is two for one, two in pairs) / count
    first, second = sum(one for one, _ in pairs) / count, sum(two for _, two in pairs) / count
    expected = first * second + (1 - first) * (1 - second)
    return None if math.isclose(expected, 1.0) else (agreed - expected) / (1 - expected)


def agreement(reviews: Iterable[StoredReview]) -> list[Kappa]:
    """Every two people who labelled a finding in common, by their names. ``reviews`` in the order of the log."""
    said: Said = defaultdict(dict)
    for item in reviews:  # a person's last label of a version of a rule counts
        review = item.review
        said[item.run_id, review.span, rule_key(review), review.rule_hash][review.by] = review.is_there
    return compared(said)


def compared(said: Said) -> list[Kappa]:
    """The same from what each person says of each finding: whether it is there, None where they cannot tell."""
    people = sorted({person for of in said.values() for person in of})
    found = []
    for first, second in combinations(people, 2):
        runs: defaultdict[str, list[Pair]] = defaultdict(list)
        unsure = 0
        for (run_id, *_), of in said.items():
            if first in of and second in of:
                one, two = of[first], of[second]
                if one is None or two is None:
                    unsure += 1
                else:
                    runs[run_id].append((one, two))
        if runs or unsure:
            found.append(_measured(first, second, list(runs.values()), unsure))
    return found


def _measured(first: str, second: str, runs: Sequence[Sequence[Pair]], unsure: int) -> Kappa:
    pairs = [pair for of in runs for pair in of]
    if not pairs:
        return Kappa(first, second, 0, unsure, 0, None, None, why="no finding of which both are sure")
    agreed, kappa = sum(one is two for one, two in pairs) / len(pairs), kappa_of(pairs)
    if kappa is None:
        return Kappa(first, second, len(pairs), unsure, len(runs), agreed, None, why="both gave one and the same label")
    low, high, why = interval(runs, kappa)
    return Kappa(first, second, len(pairs), unsure, len(runs), agreed, kappa, low, high, why)


def interval(runs: Sequence[Sequence[Pair]], kappa: float) -> tuple[float | None, float | None, str]:
    """The 95 % interval by a jackknife over runs; None, and why, where there is none.

    With G runs and kappa_g that without run g: the variance is (G - 1)/G · Σ(kappa_g - mean)². Near 1 disagreements are too
    few to show how they vary, so the lower end is no higher than that with one run more, in which the two disagree once:
    perfect agreement on few findings is no certainty.
    """
    if len(runs) < 2:
        return None, None, "one run: no interval"
    reach = _reach(runs)
    more = [*runs, [(True, False)]]
    worse, further = kappa_of([pair for of in more for pair in of]), _reach(more)
    if reach is None or worse is None or further is None:
        return None, None, "too few labels of both kinds for an interval"
    return max(-1.0, min(kappa - reach, worse - further)), min(1.0, kappa + reach), ""


def _reach(runs: Sequence[Sequence[Pair]]) -> float | None:
    """Half of the interval: Student's quantile times the jackknife's standard error; None where it cannot be told."""
    count = len(runs)
    without = [
        kappa_of([pair for other, of in enumerate(runs) if other != left for pair in of]) for left in range(count)
    ]
    known = [value for value in without if value is not None]
    if len(known) < 2:
        return None
    mean = sum(known) / len(known)
    variance = (len(known) - 1) / len(known) * sum((value - mean) ** 2 for value in known)
    return student(len(known) - 1) * math.sqrt(variance)


def student(freedom: int) -> float:
    """The 97.5th percentile of Student's distribution: exact for 1 and 2 degrees of freedom, else by the expansion of
    Cornish and Fisher to its fourth term (Abramowitz and Stegun 26.7.5), which is within 0.3 % from 3 on.
    """
    if freedom == 1:
        return math.tan(0.475 * math.pi)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z, v = NormalDist().inv_cdf(0.975), freedom
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / v**power for power, term in enumerate(terms, 1)))
