"""``monitor probe calibrate``: false-positive rates from harmless texts of one's own."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.console import emit_json
from monitor.cli.options import Config, Json, load_settings
from monitor.cli.probe_parts import Device, Model, Probe, find_probe, load_model, require_torch, stages, surface_named
from monitor.errors import ConfigError

__all__ = ["calibrate"]


def calibrate(
    probe: Probe,
    *,
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="Harmless texts, .csv or .jsonl.")],
    surface: Annotated[
        str,
        typer.Option("--surface", metavar="SURFACE", help="What they are: prompt, reasoning, output, tool or text."),
    ],
    rate: Annotated[
        list[float] | None,
        typer.Option("--rate", metavar="SHARE", help="A false-positive rate, such as 0.01; may be given again."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What the set is called; default: the file's name.")] = "",
    text: Annotated[str, typer.Option("--text", metavar="COLUMN", help="The column with the texts.")] = "text",
    label: Annotated[
        str, typer.Option("--label", metavar="COLUMN", help="The column with labels, if any: label 1 is left out.")
    ] = "label",
    group: Annotated[
        str, typer.Option("--group", metavar="COLUMN", help="The column with groups, if any: texts that are alike.")
    ] = "group",
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FOLDER", help="Write the calibrated probe here; default: in place."),
    ] = None,
    model: Model = None,
    device: Device = "auto",
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Score harmless texts, and keep thresholds for false-positive rates, with their intervals, in the probe's sidecar.

    A rate holds for texts like these and for this surface; elsewhere a score has no rate. A rate that the texts are too
    few for is refused: 59 of different groups for 5 %, 299 for 1 %.
    """
    from monitor import catalog

    folder = find_probe(probe)
    if output is None and catalog.shipped("probe").resolve() in folder.resolve().parents:
        raise ConfigError(f"{probe} came with the package: say with --output FOLDER where the calibrated one is to be")
    where = surface_named(surface)
    require_torch()
    from dataclasses import replace

    from monitor.probes import artefact, calibration
    from monitor.probes.applying import Applied
    from monitor.probes.data import Columns, fingerprint, read
    from monitor.probes.words import Surface

    load_settings(config=config)
    whole = read(data, columns=Columns(text=text, label=label, group=group), name=name, benign=True)
    rows = tuple(row for row in whole.rows if not row.label)
    benign = replace(whole, rows=rows, sha256=fingerprint(rows))
    sidecar = artefact.read_sidecar(folder)
    loaded = Applied.load(folder, load_model(model, sidecar.model, device=device, quiet=json_output))
    with stages(quiet=json_output) as told:
        scored = loaded.score_many(
            [(row.text, row.context) for row in rows],
            surface=Surface(where),
            on_progress=lambda done, total: told("scoring harmless texts", done, total),
        )
    import numpy as np

    found = calibration.calibrate(
        np.array([one.score for one in scored]),
        benign,
        surface=Surface(where),
        format=sidecar.format,
        targets=rate or (),
    )
    others = [
        one
        for one in sidecar.calibrations
        if (one.name, one.surface, one.format) != (found.name, found.surface, found.format)
    ]
    target = output or folder
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / artefact.TENSORS, output / artefact.TENSORS)
    artefact.save_sidecar(target, sidecar.model_copy(update={"calibrations": (*others, found)}))
    if json_output:
        emit_json("monitor.probe-calibration/1", {"path": target, "calibration": found})
        return
    for one in found.rates:
        interval = f"{100 * one.low:.2f} to {100 * one.high:.2f} %"
        sys.stdout.write(f"{100 * one.target:g} % false positives: from {one.threshold:.6g} on ({interval})\n")
    sys.stdout.write(f"{found.negatives:,} texts in {found.groups:,} groups, {found.surface}; {target}\n")
