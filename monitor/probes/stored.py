"""Probes over stored subcalls: scores that are told and not stored, and rates from a role's own harmless texts."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from monitor.errors import CalibrationError, MonitorError
from monitor.probes.calibration import calibrate
from monitor.probes.data import fingerprint
from monitor.probes.scoring import ROLE
from monitor.probes.words import Dataset, Labelled, Surface
from monitor.records import Outcome, ProbeScore, VerdictValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.probes.scoring import Scorer
    from monitor.probes.sidecar import Calibration
    from monitor.records import StoredSubcall

_HARMLESS = (VerdictValue.PASS, VerdictValue.UNMEASURED)


@dataclass(slots=True)
class Gathered:
    """Calibrations of one role, a set for each mode and surface, and why subcalls are in none (reason → how many)."""

    calibrations: list[Calibration] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def scored(scorer: Scorer, subcalls: Iterable[StoredSubcall]) -> Iterator[tuple[StoredSubcall, ProbeScore]]:
    """Score every subcall of a model that came back; what goes wrong with one is its cause, and the others go on."""
    for subcall in subcalls:
        if subcall.observation is None or subcall.call.kind != "model":
            continue
        try:
            yield subcall, scorer.score(subcall.call, subcall.observation)
        except MonitorError as exc:
            yield subcall, ProbeScore(probe=scorer.name, cause=str(exc))


def of_role(scorer: Scorer, role: str, subcalls: Iterable[StoredSubcall], targets: Sequence[float]) -> Gathered:
    """Calibrate on what a role wrote in runs that are held to be harmless: those of its answers that nothing was found in.

    Texts of one run are one group. They hold for this role, surface and mode, and for no other.

    Raises:
        CalibrationError: no text is there, or too few runs for a rate that was asked for.
    """
    gathered = Gathered()
    texts: defaultdict[tuple[str, str], list[tuple[float, Labelled]]] = defaultdict(list)
    for subcall, score in scored(scorer, subcalls):
        reason = _not_harmless(subcall, role) or ("" if score.score is not None else _short(score.cause))
        if reason:
            gathered.skipped[reason] += 1
            continue
        assert score.score is not None
        row = Labelled(scorer.text(subcall), label=False, group=subcall.call.run_id)
        texts[score.mode, score.surface].append((score.score, row))
    if not texts:
        why = "; ".join(f"{count} {reason}" for reason, count in gathered.skipped.most_common()) or "there are none"
        raise CalibrationError(f"no harmless text of the role {role!r} to calibrate on: {why}")
    for (mode, surface), found in sorted(texts.items()):
        rows = tuple(row for _, row in found)
        benign = Dataset(ROLE + role, rows, source="stored runs", sha256=fingerprint(rows))
        scores = np.array([score for score, _ in found])
        made = calibrate(scores, benign, surface=Surface(surface), format=scorer.format, targets=targets)
        gathered.calibrations.append(made.model_copy(update={"mode": mode}))
    return gathered


def together(before: Sequence[Calibration], new: Sequence[Calibration]) -> tuple[Calibration, ...]:
    """The calibrations of a probe with new ones in the place of those of the same set, surface, format and mode."""
    replaced = {_key(one) for one in new}
    return (*(one for one in before if _key(one) not in replaced), *new)


def _key(one: Calibration) -> tuple[str, str, str, str]:
    return one.name, one.surface, one.format, one.mode


def _not_harmless(subcall: StoredSubcall, role: str) -> str:
    if subcall.call.role != role:
        return "of another role"
    if subcall.judgement is None:
        return "not judged"
    if subcall.judgement.outcome is not Outcome.OK:
        return f"ended {subcall.judgement.outcome.value}"
    verdict = subcall.judgement.verdict.value
    return "" if verdict in _HARMLESS else f"with the verdict {verdict.value}"


def _short(cause: str) -> str:
    return f"without a score: {cause}"[:200]
