"""From scores of harmless texts to thresholds and false-positive rates, with intervals, or with the reason why not.

A score's rate    With k of n harmless scores at or above it: (k + 1) / (n + 1), never 0. It is the p-value of Phipson &
                  Smyth, "Permutation p-values should never be zero" (2010), and a conformal p-value: for a fresh harmless
                  text, exchangeable with the n, the chance that its rate is r or less is at most r.
An interval       Clopper & Pearson (1934), exact for independent texts: the quantiles of Beta(k, n-k+1) and Beta(k+1, n-k).
                  Texts of one group are not independent; n is then the effective number of Korn & Graubard, "Confidence
                  intervals for proportions with small expected number of positive counts estimated from survey data"
                  (1998): p(1-p) over the variance that whole groups show, and Kish's n² / Σ n_g² where they show none.
A threshold       For a target rate: the lowest one whose (k + 1) / (n + 1) is at most the target.
Support           A rate r needs n groups with (1 - r)^n ≤ 0.05, 59 for 5 %, 299 for 1 %, 2,995 for 0.1 %: with fewer, not
                  even a threshold that no harmless text reaches shows at 95 % that the rate is no more than r.

Scores are compared as float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from monitor.errors import CalibrationError
from monitor.probes.sidecar import Calibration, Point, RateAt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.probes.words import Dataset, Format, Surface

__all__ = ["Rate", "calibrate", "interval", "needed", "rate_of"]

Vector: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
MAX_POINTS = 1_000
_EVERY = 500  # the highest scores are all kept; of the others, some


@dataclass(frozen=True, slots=True)
class Rate:
    """The share of harmless texts that score at least as high, with its 95 % interval; or None, and the ``cause``.

    ``calibration`` names the set of harmless texts that it is of.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    cause: str = ""
    calibration: str = ""


def needed(rate: float) -> int:
    """How many harmless texts, each of a group of its own, a false-positive rate needs at least; see the module."""
    return math.ceil(math.log(0.05) / math.log1p(-rate) - 1e-9)


def interval(reached: float, n: float) -> tuple[float, float]:
    """The 95 % Clopper-Pearson interval of ``reached`` of ``n``; neither needs to be a whole number."""
    from scipy.stats import beta  # noqa: PLC0415 - takes a second; not every import needs it

    low = float(beta.ppf(0.025, reached, n - reached + 1)) if reached > 0 else 0.0
    high = float(beta.ppf(0.975, reached + 1, n - reached)) if reached < n else 1.0
    return low, high


def calibrate(
    scores: Vector,
    benign: Dataset,
    *,
    surface: Surface,
    format: Format,  # noqa: A002 - as the sidecar names it
    targets: Sequence[float] = (),
) -> Calibration:
    """Calibrate on harmless texts.

    Args:
        scores: One for each row of ``benign``, in its order.
        benign: Harmless texts; their groups say which are independent of each other. Labels are not looked at.
        surface: What the texts are, wherever the rates are to hold.
        format: How they were read.
        targets: False-positive rates for which thresholds are wanted.

    Raises:
        CalibrationError: a rate is no share or is not supported (with how many texts would), or a score is not finite.
    """
    found = np.asarray(scores, dtype=np.float64)
    if len(found) != len(benign.rows) or not len(found) or not np.isfinite(found).all():
        raise CalibrationError(f"expected a finite score for each of {len(benign.rows)} harmless texts")
    for target in targets:
        if not 0 < target < 1:
            raise CalibrationError(f"a false-positive rate lies between 0 and 1, found {target:g}")
    names, at = np.unique(np.asarray(benign.groups), return_inverse=True)
    _require_support(max(needed(target) for target in targets) if targets else 0, targets, len(names), len(found))
    thresholds = np.unique(found)[::-1]
    reached = len(found) - np.searchsorted(np.sort(found), thresholds, side="left")
    rates = [_rate_at(target, thresholds, reached, found, at) for target in targets]
    points = [
        Point(threshold=float(thresholds[i]), reached=int(reached[j]), effective=_effective(found >= thresholds[j], at))
        for i, j in _kept(len(thresholds))
    ]
    return Calibration(
        name=benign.name,
        sha256=benign.sha256,
        licence=benign.licence,
        source=benign.source,
        surface=surface.value,
        format=format,
        negatives=len(found),
        groups=len(names),
        effective=_effective(np.zeros(len(found), dtype=bool), at),
        rates=tuple(rates),
        points=tuple(points),
    )


def rate_of(
    score: float,
    calibrations: Sequence[Calibration],
    *,
    surface: Surface,
    format: Format,  # noqa: A002 - as above
    name: str = "",
    differs: Sequence[str] = (),
) -> Rate:
    """The rate of a score on ``surface``, or None with the cause.

    ``name`` picks one set of harmless texts. Of several that fit, the one with the highest rate counts. ``differs`` says in
    what the model differs from the probe's, where that was allowed: no rate is known for it.
    """
    if not math.isfinite(score):
        return Rate(cause="the score is not a number")
    if differs:
        return Rate(cause=f"calibrated on another model: {'; '.join(differs)}")
    if not calibrations:
        return Rate(cause="the probe is not calibrated")
    fitting = [one for one in calibrations if one.surface == surface.value and one.format == format]
    if not fitting:
        known = sorted({f"{one.surface} ({one.format})" for one in calibrations})
        return Rate(cause=f"calibrated on {', '.join(known)}, and this is {surface.value} ({format})")
    if name:
        fitting = [one for one in fitting if one.name == name]
        if not fitting:
            return Rate(cause=f"not calibrated on the set {name!r}")
    return max((_rate(score, one) for one in fitting), key=lambda rate: rate.value or 0.0)


def _rate(score: float, calibration: Calibration) -> Rate:
    above = [point for point in calibration.points if point.threshold >= score]
    n = calibration.negatives
    point = above[-1] if above else Point(threshold=score, reached=0, effective=calibration.effective)
    low, high = _interval_at(point, n)
    value = (point.reached + 1) / (n + 1)
    return Rate(value, min(low, value), max(high, value), calibration=calibration.name)


def _interval_at(point: Point, n: int) -> tuple[float, float]:
    return interval(point.effective * point.reached / n, point.effective)


def _require_support(least: int, targets: Sequence[float], groups: int, texts: int) -> None:
    if groups < least:
        wanted = ", ".join(f"{target:g} needs {needed(target):,}" for target in targets if needed(target) > groups)
        of = "" if groups == texts else f" ({texts:,} texts in {groups:,} groups; those of one group count once)"
        raise CalibrationError(
            f"too few harmless texts for that rate: {wanted}, found {groups:,}{of}. "
            "Calibrate on more of them, or ask for a higher rate"
        )


def _rate_at(target: float, thresholds: Vector, reached: Any, scores: Vector, at: Any) -> RateAt:
    """The lowest threshold whose rate is at most the target."""
    n = len(scores)
    allowed = np.flatnonzero((reached + 1) / (n + 1) <= target)
    threshold = float(thresholds[allowed[-1]]) if len(allowed) else math.nextafter(float(thresholds[0]), math.inf)
    k = int(reached[allowed[-1]]) if len(allowed) else 0
    point = Point(threshold=threshold, reached=k, effective=_effective(scores >= threshold, at))
    low, high = _interval_at(point, n)
    rate = (k + 1) / (n + 1)
    return RateAt(target=target, threshold=threshold, rate=rate, low=min(low, rate), high=max(high, rate))


def _effective(hits: Any, at: Any) -> float:
    """How many independent texts the share of ``hits`` is worth; ``at`` has the number of each text's group."""
    n, sizes = len(hits), np.bincount(at)
    groups = len(sizes)
    if groups == n:
        return float(n)
    kish = float(n * n / np.square(sizes, dtype=np.float64).sum())
    p = float(hits.mean())
    if groups < 2 or p in {0.0, 1.0}:
        return kish
    residuals = np.bincount(at, weights=hits.astype(np.float64)) - p * sizes
    variance = groups / (groups - 1) * float(np.square(residuals).sum()) / n**2
    return min(float(n), p * (1 - p) / variance * _fewer_degrees(n, groups)) if variance > 0 else kish


@lru_cache(maxsize=8)
def _fewer_degrees(n: int, groups: int) -> float:
    """Korn and Graubard's factor: the variance is known from ``groups`` only."""
    from scipy.stats import t  # noqa: PLC0415 - as above

    return float((t.ppf(0.975, n - 1) / t.ppf(0.975, groups - 1)) ** 2)


def _kept(count: int) -> list[tuple[int, int]]:
    """Which of ``count`` thresholds, highest first, are kept, and with whose count of texts: the one before the next kept.

    A score between two that are kept thus has the highest count that it may have, and a rate is never told too low.
    """
    if count <= MAX_POINTS:
        return [(index, index) for index in range(count)]
    others = np.linspace(_EVERY, count - 1, MAX_POINTS - _EVERY).astype(int)
    kept = [*range(_EVERY), *np.unique(others).tolist()]
    return list(zip(kept, [*(index - 1 for index in kept[1:]), count - 1], strict=True))
