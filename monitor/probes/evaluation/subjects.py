"""What can be judged: the recipe of a configuration, or a finished probe on texts that it was not trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.errors import ProbeDataError
from monitor.probes import artefact, data
from monitor.probes.candidates import Candidate
from monitor.probes.evaluation.asking import QUESTION
from monitor.probes.evaluation.work import Judged
from monitor.probes.features import Reading
from monitor.probes.layers import resolve_layer
from monitor.probes.sidecar import Alarm
from monitor.probes.training import datasets_of
from monitor.probes.words import Surface

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from monitor.probes.applying import Applied
    from monitor.probes.config import Training
    from monitor.probes.evaluation.report import Report
    from monitor.probes.local_model import LocalModel
    from monitor.probes.sidecar import Sidecar
    from monitor.probes.words import Dataset

ALARM = "inverted"


def of_recipe(
    config: Training, model: LocalModel, question: str = QUESTION, *, trained: Sidecar | None = None
) -> Judged:
    """The recipe of a configuration, on all of its data: every choice is made again in each fit.

    Where the probe was ``trained`` already, its kind, pooling and hyper-parameters come first among the candidates, and so
    are those that a quick evaluation keeps to.

    Raises:
        ProbeDataError: a data file is wrong, or the configuration has kinds that learn without labels.
    """
    written = config.written
    if not config.labelled:
        raise ProbeDataError(
            f"{written.probe} is a probe of novelty, which is trained on harmless texts alone; train it, and evaluate the "
            "finished probe with --data on texts with labels"
        )
    parts = datasets_of(config)
    layers = dict.fromkeys(resolve_layer(layer, model.facts.layers) for layer in written.layers)
    grid = list(config.grid())
    candidates = [Candidate(layer, kind, pooling, hyper) for kind, pooling, hyper in grid for layer in layers]
    if trained is not None:
        wanted = (trained.kind, trained.pooling, trained.hyper)
        candidates.sort(key=lambda one: (one.kind, str(one.pooling), one.all_hyper) != wanted)
    return Judged(
        name=written.probe,
        finds=written.finds,
        model=model,
        dataset=_with_sets(data.join(parts, written.probe), parts),
        reading=Reading(Surface(written.surface), written.format, written.max_tokens),
        parts=tuple(parts),
        candidates=tuple(candidates),
        question=question,
    )


def _with_sets(whole: Dataset, parts: Sequence[Dataset]) -> Dataset:
    """The rows with the tag ``set``: the file's name, where they have none."""
    names = [part.name for part in parts for _ in part.rows]
    rows = (replace(row, tags={"set": name, **row.tags}) for row, name in zip(whole.rows, names, strict=True))
    return replace(whole, rows=tuple(rows))


def of_probe(applied: Applied, parts: Sequence[Dataset], question: str = QUESTION) -> Judged:
    """A finished probe on texts with labels. Rows of groups that it may have been trained on are said in the notes.

    Raises:
        ProbeDataError: the data are among those that it was trained on.
    """
    sidecar = applied.artefact.sidecar
    known = {part.sha256: part.name for part in sidecar.data}
    for part in parts:
        if part.sha256 in known:
            raise ProbeDataError(
                f"{part.name} is what the probe {sidecar.name!r} was trained on, and would flatter it; evaluate the "
                "configuration that trained it, which is fitted again without the rows that it is judged on"
            )
    names = ", ".join(part.name for part in sidecar.data)
    return Judged(
        name=sidecar.name,
        finds=sidecar.finds,
        model=applied.model,
        dataset=_with_sets(data.join(parts) if len(parts) > 1 else parts[0], parts),
        reading=applied.reading,
        parts=tuple(parts),
        fixed=applied,
        question=question,
        trained_on=names,
        notes=(
            f"that none of these texts was in the training data ({names}) is for you to know: only files are compared",
        ),
    )


def keep_alarms(folder: Path, report: Report) -> bool:
    """Write what the evaluation found into the sidecar in ``folder``: inversions, which block attaching. Alarms of this
    kind about the same shifts are replaced; those of other shifts stay. Return whether the sidecar changed.

    Raises:
        ArtefactError: the sidecar cannot be read or written.
    """
    sidecar = artefact.read_sidecar(folder)
    tried = {_key(one.describe) for one in report.shifts}
    kept = [one for one in sidecar.alarms if one.kind != ALARM or _key(one.message) not in tried]
    alarms = (*kept, *(Alarm(kind=ALARM, message=one.message, blocks=one.blocks) for one in report.alarms))
    if alarms == sidecar.alarms:
        return False
    artefact.save_sidecar(folder, sidecar.model_copy(update={"alarms": alarms}))
    return True


def _key(message: str) -> str:
    """What an alarm is about: all of it but the figure."""
    return message.partition(": AUROC")[0]
