"""``monitor probe calibrate``: false-positive rates from harmless texts of one's own."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli.console import emit_json
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.probe_parts import (
    Device,
    Model,
    Probe,
    Surface,
    find_probe,
    load_model,
    require_torch,
    stages,
    surface_named,
)
from monitor.cli.probe_runs import calibrate_on_runs
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.probes.sidecar import Calibration

__all__ = ["calibrate"]


def calibrate(
    probe: Probe,
    *,
    data: Annotated[Path | None, typer.Option("--data", metavar="FILE", help="Harmless texts, .csv or .jsonl.")] = None,
    surface: Surface = None,
    role: Annotated[
        str | None, typer.Option("--role", help="Instead of a file: what this role wrote in stored runs.")
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option("--run", metavar="RUN", help="With --role: only this run; may be given again.")
    ] = None,
    db: Db = None,
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
    if (data is None) == (role is None):
        raise ConfigError("say which texts are harmless: --data FILE, or --role ROLE for what it wrote in stored runs")
    if output is None and catalog.shipped("probe").resolve() in folder.resolve().parents:
        raise ConfigError(f"{probe} came with the package: say with --output FOLDER where the calibrated one is to be")
    require_torch()
    from monitor.probes.sidecar_file import TENSORS, read_sidecar, save_sidecar
    from monitor.probes.stored import together

    targets = rate or ()
    if data is None:
        assert role is not None
        if surface is not None:
            raise ConfigError("--surface is for --data: of a stored subcall the probe reads what it was made for")
        found = calibrate_on_runs(
            folder, role, run or (), targets, model=model, db=db, config=config, quiet=json_output
        )
    else:
        columns = (text, label, group)
        settings = load_settings(config=config)
        located = model or settings.probe_models.get(read_sidecar(folder).model.name)
        where = surface_named(surface) if surface else read_sidecar(folder).surface
        found = [_on_file(folder, data, columns, name, where, targets, located, device, quiet=json_output)]
    sidecar = read_sidecar(folder)
    target = output or folder
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / TENSORS, output / TENSORS)
    save_sidecar(target, sidecar.model_copy(update={"calibrations": together(sidecar.calibrations, found)}))
    if json_output:
        emit_json("monitor.probe-calibration/1", {"path": target, "calibrations": found})
        return
    for made in found:
        mode = f", mode {made.mode}" if made.mode else ""
        sys.stdout.write(f"{made.name}: {made.negatives:,} texts in {made.groups:,} groups, {made.surface}{mode}\n")
        for one in made.rates:
            interval = f"{100 * one.low:.2f} to {100 * one.high:.2f} %"
            sys.stdout.write(f"  {100 * one.target:g} % false positives: from {one.threshold:.6g} on ({interval})\n")
    sys.stdout.write(f"kept in {target}\n")


def _on_file(  # noqa: PLR0917 - one for each option
    folder: Path,
    data: Path,
    columns: tuple[str, str, str],
    name: str,
    surface: str,
    targets: Sequence[float],
    model: str | None,
    device: str,
    *,
    quiet: bool,
) -> "Calibration":
    """Calibrate on the harmless texts of a file."""
    from dataclasses import replace

    import numpy as np

    from monitor.probes import calibration
    from monitor.probes.applying import Applied
    from monitor.probes.data import Columns, fingerprint, read
    from monitor.probes.scoring import ROLE
    from monitor.probes.sidecar_file import read_sidecar
    from monitor.probes.words import Surface as Surfaces

    if name.startswith(ROLE):
        raise ConfigError(f"--name {name}: a set of that name is of a role's stored runs; use --role, or another name")
    whole = read(data, columns=Columns(*columns), name=name, benign=True)
    rows = tuple(row for row in whole.rows if not row.label)
    benign = replace(whole, rows=rows, sha256=fingerprint(rows))
    sidecar = read_sidecar(folder)
    loaded = Applied.load(folder, load_model(model, sidecar.model, device=device, quiet=quiet))
    with stages(quiet=quiet) as told:
        scored = loaded.score_many(
            [(row.text, row.context) for row in rows],
            surface=Surfaces(surface),
            on_progress=lambda done, total: told("scoring harmless texts", done, total),
        )
    return calibration.calibrate(
        np.array([one.score for one in scored]),
        benign,
        surface=Surfaces(surface),
        format=sidecar.format,
        targets=targets,
    )
