"""Train a probe: choose inside of the training part, fit on all of it, judge on what was held out.

The held-out groups take no part in any choice. Within the training part, every candidate (a layer, a kind, a pooling, a set
of hyper-parameters) is fitted and judged in the same grouped folds, and the one with the highest mean AUROC is fitted again
on the whole part; of equals the first in the order of the configuration. The same configuration, data, model and libraries
give the same bytes on one machine.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from monitor.errors import ProbeError
from monitor.probes import data, metrics, splits
from monitor.probes.artefact import save
from monitor.probes.calibration import calibrate
from monitor.probes.candidates import Candidate, Choice, choose, fit_candidate, score_rows
from monitor.probes.features import Reading, features
from monitor.probes.sidecar import DataPin, Measured, ModelPin, Sidecar, SplitPin
from monitor.probes.words import Dataset, Surface

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.probes.config import DataFile, Training
    from monitor.probes.kinds import Probe
    from monitor.probes.local_model import LocalModel
    from monitor.probes.sidecar import Calibration

__all__ = ["Progress", "Trained", "datasets_of", "train"]

_MOST_VALUES = 20  # of a tag, beyond which it is not judged value by value
_LIBRARIES = ("numpy", "scikit-learn", "scipy", "safetensors", "torch", "transformers")


class Progress(Protocol):
    """Is told what is being done, and how much of it is done."""

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """``done`` of ``total`` of a stage, in words."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What training gave. ``scores`` are those of all rows of ``dataset``, ``split`` says which of them count."""

    sidecar: Sidecar
    probe: Probe
    dataset: Dataset
    split: splits.Split
    scores: np.ndarray[Any, np.dtype[np.float64]]
    choices: tuple[Choice, ...]
    unread: int


def datasets_of(config: Training) -> list[Dataset]:
    """The data of a configuration, one set for each file.

    Raises:
        ProbeDataError: with every fault of the first file that has any.
    """
    return [_read(config, file) for file in config.written.data]


def train(config: Training, model: LocalModel, *, progress: Progress | None = None, keep: bool = True) -> Trained:
    """Train the probe of a configuration and, with ``keep``, write its artefact.

    Raises:
        ProbeDataError: a data file is wrong, or its groups allow no split.
        CalibrationError: the held-out texts do not support a rate that is asked for.
        ProbeError: nothing can be fitted.
        ArtefactError: the artefact cannot be written.
    """
    from monitor.probes.layers import resolve_layer  # noqa: PLC0415 - imports torch

    tell = progress or _nobody
    written = config.written
    parts = datasets_of(config)
    whole = data.join(parts, written.probe)
    labels, groups = whole.labels, whole.groups
    split = _split(config, whole)
    layers = list(dict.fromkeys(resolve_layer(layer, model.facts.layers) for layer in written.layers))
    candidates = [Candidate(layer, kind, pooling, hyper) for layer in layers for kind, pooling, hyper in config.grid()]
    single = {candidate.layer for candidate in candidates if candidate.needs_tokens}
    reading = Reading(Surface(written.surface), written.format, written.max_tokens)
    found = features(
        model,
        whole,
        reading,
        layers=layers,
        token_layers=sorted(single),
        on_progress=lambda done, total: tell("reading activations", done, total),
    )
    choices = choose(
        found,
        labels,
        groups,
        candidates,
        rows=split.train,
        folds=written.folds,
        seed=written.seed,
        on_progress=lambda done, total: tell("choosing in the training folds", done, total),
    )
    best = choices[0]
    tell("fitting and judging", 0, 1)
    probe = fit_candidate(best.candidate, found, labels, split.train, seed=written.seed)
    scores = score_rows(probe, best.candidate.layer, found, np.arange(len(labels)))
    sidecar = Sidecar(
        name=written.probe,
        finds=written.finds,
        role=written.role,
        kind=best.candidate.kind,
        hyper=best.candidate.all_hyper,
        pooling=str(probe.pooling),
        layer=best.candidate.layer,
        surface=written.surface,
        format=written.format,
        max_tokens=written.max_tokens,
        model=ModelPin(**{name: getattr(model.facts, name) for name in ModelPin.model_fields}),
        data=tuple(_pin(part) for part in parts),
        split=_split_pin(config, whole, split),
        seed=written.seed,
        chosen_by=_chosen_by(choices, written.folds),
        metrics=tuple(_measured(whole, split, scores, written.seed)),
        calibrations=_calibrations(config, whole, split, scores),
        versions=_versions(),
    )
    if keep:
        sidecar = save(config.output, probe, sidecar)
    tell("fitting and judging", 1, 1)
    return Trained(sidecar, probe, whole, split, scores, tuple(choices), found.unread)


def _nobody(_stage: str, _done: int, _total: int, /) -> None:
    """Is told nothing."""


def _read(config: Training, file: DataFile) -> Dataset:
    path = config.folder / file.file
    origin = data.Origin(file.licence, file.source)
    if file.chains:
        return data.read_steps(path, tags=file.tags, origin=origin, name=file.name)
    columns = data.Columns(
        text=file.text,
        label=file.label,
        group=file.group,
        context=file.context,
        tags=file.tag_columns,
        group_pattern=file.group_pattern,
        positive=bool(file.positive),
    )
    return data.read(path, columns=columns, tags=file.tags, origin=origin, name=file.name, benign=not config.labelled)


def _split(config: Training, whole: Dataset) -> splits.Split:
    held = config.written.held_out
    if not config.labelled and not whole.labels.any():
        return _unlabelled_split(whole, held.share or 0.25, config.written.seed)
    if held.share is not None:
        return splits.hold_out(whole.labels, whole.groups, share=held.share, seed=config.written.seed)
    return splits.hold_out_groups(whole.labels, whole.groups, held.groups)


def _unlabelled_split(whole: Dataset, share: float, seed: int) -> splits.Split:
    """Harmless texts alone, for novelty: split by groups with every second group standing in for a label."""
    second = {group: bool(number % 2) for number, group in enumerate(dict.fromkeys(whole.groups))}
    return splits.hold_out([second[group] for group in whole.groups], whole.groups, share=share, seed=seed)


def _pin(part: Dataset) -> DataPin:
    return DataPin(
        name=part.name,
        sha256=part.sha256,
        texts=len(part.rows),
        groups=len(set(part.groups)),
        positives=int(part.labels.sum()),
        licence=part.licence,
        source=part.source,
    )


def _split_pin(config: Training, whole: Dataset, split: splits.Split) -> SplitPin:
    held = config.written.held_out
    groups = np.array(whole.groups)
    return SplitPin(
        by="groups" if held.groups else "share",
        share=held.share or 0.0,
        groups=held.groups,
        seed=config.written.seed,
        folds=config.written.folds,
        train_texts=len(split.train),
        train_groups=len(set(groups[split.train])),
        test_texts=len(split.test),
        test_groups=len(set(groups[split.test])),
    )


def _chosen_by(choices: Sequence[Choice], folds: int) -> str:
    if choices[0].auroc is None:
        return "the only candidate"
    return (
        f"the highest mean AUROC of {len(choices)} candidates in {folds} grouped folds of the training part: "
        f"{choices[0].auroc:.4f}"
    )


def _measured(whole: Dataset, split: splits.Split, scores: Any, seed: int) -> Iterator[Measured]:
    """Figures on the held-out part, and on each value of each tag in it that has both labels."""
    for where, rows in _parts_of(whole, split.test):
        labels, groups = whole.labels[rows], [whole.groups[row] for row in rows]
        if labels.all() or not labels.any() or len(set(groups)) < 2:
            continue
        figures: list[tuple[str, metrics.Metric]] = [("auroc", metrics.auroc)]
        if where == "held out":
            figures += [("recall at 1 % false positives", metrics.recall_at(0.01))]
            figures += [("recall at 5 % false positives", metrics.recall_at(0.05))]
        for name, metric in figures:
            found = metrics.bootstrap(metric, scores[rows], labels, groups, seed=seed)
            yield Measured(
                name=name,
                on=where,
                value=found.value,
                low=found.low,
                high=found.high,
                texts=len(rows),
                groups=len(set(groups)),
            )


def _parts_of(whole: Dataset, test: Any) -> Iterator[tuple[str, Any]]:
    yield "held out", test
    for tag in sorted({tag for row in whole.rows for tag in row.tags}):
        values = sorted({whole.rows[row].tags.get(tag, "") for row in test})
        for value in values if 1 < len(values) <= _MOST_VALUES else ():
            yield (
                f"held out, {tag} {value}",
                np.array([row for row in test if whole.rows[row].tags.get(tag, "") == value]),
            )


def _calibrations(config: Training, whole: Dataset, split: splits.Split, scores: Any) -> tuple[Calibration, ...]:
    """On the held-out texts of label False, which the probe was not fitted on."""
    rows = [row for row in split.test if not whole.labels[row]]
    if not config.written.calibrate:
        return ()
    if not rows:
        raise ProbeError("there are no held-out texts of label False to calibrate on; leave `calibrate` out")
    kept = tuple(whole.rows[row] for row in rows)
    benign = Dataset(f"{whole.name}, held out, label false", kept, whole.licence, whole.source, data.fingerprint(kept))
    surface = Surface(config.written.surface)
    return (
        calibrate(
            scores[rows], benign, surface=surface, format=config.written.format, targets=config.written.calibrate
        ),
    )


def _versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"factored-monitor": importlib.metadata.version("factored-monitor"), **found}
