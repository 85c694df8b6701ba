"""What follows an attempt: a pure function from the attempts so far to the next step.

Live runs and resumed ones ask the same question of the same records, so they go the same way. Attempts that were killed
or cancelled were the world's doing and count against no retry limit; they stay charged (a killed one at its reservation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.records import MALFORMED, Action, Outcome, StoredSubcall

if TYPE_CHECKING:
    from collections.abc import Sequence

TRANSIENT = frozenset({"rate_limit", "server_error", "timeout", "connection"})
"""Kinds of provider error after which the same request may succeed."""
BACKOFF_SECONDS = (0.5, 2.0, 8.0)


@dataclass(frozen=True, slots=True)
class Settled:
    """This attempt decides the subcall, for good or ill."""

    subcall: StoredSubcall


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Make attempt ``number`` after ``delay`` seconds. ``resamples`` counts the malformed answers before it: each
    resample has a seed of its own, while a call repeated after an outage or a kill keeps its seed.
    """

    number: int
    delay: float = 0.0
    resamples: int = 0


def next_step(attempts: Sequence[StoredSubcall], *, retries: int, forgiven: int = 0) -> Settled | TryAgain:
    """Decide what follows ``attempts`` (all judged, in order).

    ``retries`` malformed answers are resampled and ``retries`` transient provider errors repeated. Failures and exceeded
    budgets among the first ``forgiven`` attempts count like interruptions: a resume that tries them again. An attempt that
    halts the run is never followed by another, however it ended.
    """
    malformed = resamples = outages = 0
    for index, attempt in enumerate(attempts):
        assert attempt.judgement is not None
        assert attempt.observation is not None
        if attempt.judgement.action is Action.HALT:
            return Settled(attempt)
        outcome = attempt.judgement.outcome
        if outcome is Outcome.CANCELLED:
            continue
        kind = attempt.observation.error.kind if attempt.observation.error else ""
        malformed += outcome is Outcome.FAILED and kind == MALFORMED
        if index < forgiven and outcome in {Outcome.FAILED, Outcome.BUDGET_EXCEEDED}:
            continue
        if outcome is Outcome.FAILED and kind == MALFORMED and resamples < retries:
            resamples += 1
        elif outcome is Outcome.FAILED and kind in TRANSIENT and outages < retries:
            outages += 1
        else:
            return Settled(attempt)
    delay = BACKOFF_SECONDS[min(outages, len(BACKOFF_SECONDS)) - 1] if outages and _was_outage(attempts[-1]) else 0.0
    return TryAgain(number=len(attempts) + 1, delay=delay, resamples=malformed)


def _was_outage(attempt: StoredSubcall) -> bool:
    return bool(attempt.observation and attempt.observation.error and attempt.observation.error.kind in TRANSIENT)
