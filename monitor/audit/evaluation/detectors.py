"""What scores a case: the rules, a probe, a judge; higher is worse. What a detector cannot score is not left out.

**Rules** have no score of their own. Each finding that acts counts by its level (``candidates.WEIGHTS``), and the score is
the sum; so all that no rule matches is one tie, at 0. **Unscored** cases (a probe that had nothing to read, a judge that
said nothing) get the lowest score that the detector gave to any, less one: they are found last, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from monitor.audit.candidates import weight
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.audit.evaluation.cases import Case, Cases
    from monitor.policy import PolicySet
    from monitor.probes.applying import Applied
    from monitor.probes.evaluation.base import Floats

RULES, BOTH = "rules", "both together"


@dataclass(frozen=True, slots=True)
class Detector:
    """The scores of one detector, an entry for each case; NaN where it gave none. ``how`` says where they are from."""

    name: str
    scores: Floats
    how: str = ""

    @property
    def unscored(self) -> int:
        """How many cases it could not score."""
        return int((~np.isfinite(self.scores)).sum())

    @property
    def ranked(self) -> Floats:
        """The scores, those that are missing below every other."""
        known = self.scores[np.isfinite(self.scores)]
        least = float(known.min()) - 1 if len(known) else 0.0
        return np.where(np.isfinite(self.scores), self.scores, least)

    @property
    def largest_tie(self) -> int:
        """How many cases share the score that is most frequent."""
        return int(np.unique(self.ranked, return_counts=True)[1].max()) if len(self.scores) else 0


def by_rules(rules: PolicySet, cases: Cases) -> Detector:
    """Every rule on every case."""
    scores = np.array([weight(rules.findings(case.record)) for case in cases.cases], dtype=np.float64)
    packs = dict.fromkeys(f"{ref.pack} {ref.pack_version}" for ref in rules.refs)
    return Detector(RULES, scores, f"{len(rules.refs)} rules: {', '.join(packs)}")


def by_given(name: str, cases: Cases) -> Detector:
    """The scores that came with the cases."""
    scores = np.array([case.given.get(name, np.nan) for case in cases.cases], dtype=np.float64)
    return Detector(name, scores, "as given with the cases")


def by_probe(applied: Applied, cases: Cases, *, on_progress: Callable[[int, int], None] | None = None) -> Detector:
    """A finished probe on the text of each case; scores are kept in the cache by what they depend on.

    Raises:
        ConfigError: the probe reads another surface than texts.
        ProbeError: the model cannot read a text.
    """
    from monitor.probes.evaluation.remembering import scores_of  # noqa: PLC0415 - imports torch

    sidecar = applied.artefact.sidecar
    if sidecar.format != "plain":
        raise ConfigError(
            f"the probe {sidecar.name!r} reads whole conversations, which labelled files do not have: attach it to runs "
            "(monitor run --probe), label what it says, and evaluate the store"
        )
    texts = [_read_by(sidecar.surface, case) for case in cases.cases]
    found = np.full(len(texts), np.nan)
    rows = [row for row, text in enumerate(texts) if text.strip()]
    if rows:
        found[rows] = scores_of(applied, [texts[row] for row in rows], on_progress=on_progress)
    return Detector(f"probe {sidecar.name}", found, f"layer {sidecar.layer} of {sidecar.model.name}, as a reader")


def _read_by(surface: str, case: Case) -> str:
    seen = case.record.observation
    by_surface = {"reasoning": seen.reasoning.text, "output": seen.output, "prompt": case.record.call.task}
    return str(by_surface.get(surface, case.text))
