"""What an evaluation found: every number, with how it came about."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.probes.evaluation.shift import SET

if TYPE_CHECKING:
    from monitor.probes.evaluation.added import Added
    from monitor.probes.evaluation.base import Estimate
    from monitor.probes.evaluation.causal import Causal
    from monitor.probes.evaluation.filtered import Filtered
    from monitor.probes.evaluation.metrics import Metrics
    from monitor.probes.evaluation.nulls import Control, PermutationNull
    from monitor.probes.evaluation.shift import Shift, Warned

HOW = {
    "split": "grouped folds: rows of a group are held out together, and every row is scored once, by a fit that never saw "
    "its group. What is chosen is chosen inside of the training rows.",
    "auroc": "the share of pairs (positive, negative) of the same fold in which the positive scores higher, ties half.",
    "interval": "95 %, by drawing groups again; for methods that learn it is stretched by √(1 + s), since the fits of "
    "cross-validation share their training rows (s = 1 unless measured to be less).",
    "recall": "at the threshold that further negatives are expected to reach at that rate; scores are standardised in each "
    "fold.",
    "null": "labels are shuffled within groups and between groups of equal size; p = (k + 1) / (n + 1). A discriminant in "
    "closed form, its layer chosen in every permutation, stands in for the probe.",
    "control": "one label by chance for each group, on an UNGROUPED split, where memorising groups is possible. "
    "Selectivity is the AUROC of the true labels there less that of the chance labels (Hewitt and Liang, 2019).",
    "added": "AUROC(trace + probe) - AUROC(trace), both logistic regressions over out-of-fold scores; paired bootstrap "
    "over groups. The default reading is inconclusive.",
    "shift": "trained on one kind of row and tested on another, in the same folds. Below 0.5 by more than the interval is "
    "an alarm.",
    "filtered": "texts on which rules fired are scored again without the tokens that fired them.",
    "causal": "the direction is taken out of the residual stream, or added, while the model is asked in words; random "
    "directions of the same length stand beside it.",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A ROC curve: false-positive and true-positive rates, of equal length."""

    name: str
    false_positives: tuple[float, ...]
    true_positives: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What was judged. ``refitted`` is False where a finished artefact was tried on texts it was not trained on."""

    name: str
    finds: str
    model: str
    weights: str
    recipe: str
    refitted: bool
    surface: str
    format: str
    data: tuple[dict[str, Any], ...]
    sha256: str
    rows: int
    positives: int
    groups: int


@dataclass(frozen=True, slots=True)
class Report:
    """The honest report. Figures that could not be had say why in their notes; ``notes`` says what was cut short."""

    subject: Subject
    effort: dict[str, Any]
    folds: int
    seed: int
    probe: Metrics
    baselines: tuple[Metrics, ...]
    added: Added
    null: PermutationNull
    control: Control
    shifts: tuple[Shift, ...]
    shifts_missing: tuple[str, ...]
    elsewhere: Estimate | None
    filtered: Filtered
    causal: Causal | None
    layers: dict[int, float]
    chosen: tuple[str, ...]
    alarms: tuple[Warned, ...]
    notes: tuple[str, ...]
    question: str
    curves: tuple[Curve, ...]
    histogram: dict[str, tuple[float, ...]]
    seconds: dict[str, float]
    versions: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """All of it in JSON's types, with ``how``: a sentence on how each kind of figure comes about. NaN becomes null."""
        return {**_plain(self), "how": HOW, "verdict": self.added.verdict.value}


def versions() -> dict[str, str]:
    """The versions of what computed."""
    names = ("factored-monitor", "numpy", "scikit-learn", "scipy", "torch", "transformers")
    return {name: importlib.metadata.version(name) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.floating, float)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def sentences(report: Report) -> list[str]:
    """What the report says, in the order of what matters: the sentences that a README would carry."""
    probe, added = report.probe, report.added
    what = "the probe's recipe, refitted in each fold" if report.subject.refitted else "the finished probe"
    found = [f"AUROC of {what}: {probe.auroc}, on {probe.rows:,} texts in {probe.groups:,} groups."]
    measured = [one for one in report.baselines if one.auroc.measured]
    if measured:
        best = max(measured, key=lambda one: one.auroc.value)
        better = "no better than" if best.auroc.value >= probe.auroc.value else "above"
        found.append(f"That is {better} the best baseline, {best.name}: {best.auroc}.")
    found.append(f"Over the trace ({', '.join(added.columns)}) it {_says(added)}: {added.why}.")
    found += [
        f"Trained on {one.trained} and tried on {one.tested}: AUROC {one.auroc}."
        for one in report.shifts
        if one.kind == SET and one.fresh and one.within is not None
    ]
    found.append(
        f"Permutation null: p = {report.null.p:.3g} from {len(report.null.permuted)} permutations "
        f"(no p below {report.null.least_p:.3g} could be seen)."
    )
    selectivity = report.control.selectivity
    if selectivity.measured:
        found.append(f"Selectivity over labels by chance for each group, on an ungrouped split: {selectivity}.")
    found += [f"ALARM: {alarm.message}." for alarm in report.alarms if alarm.blocks]
    found += [f"Without such rows in its training: {alarm.message}." for alarm in report.alarms if not alarm.blocks]
    if report.elsewhere is not None:
        found.append(f"On one more data set, the AUROC is expected at {report.elsewhere} ({report.elsewhere.note}).")
    if report.causal is not None:
        found.append(f"Causal check at layer {report.causal.layer}: {report.causal.reading}.")
    return found


def _says(added: Added) -> str:
    return "is inconclusive what it adds" if added.verdict.value == "inconclusive" else added.verdict.value
