"""``monitor probe``: train, calibrate and apply activation probes, and look at them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from monitor.cli import probe_calibrate, probe_eval, probe_score, probe_train
from monitor.cli.console import emit_json, stdout
from monitor.cli.options import Json
from monitor.cli.probe_parts import Probe, find_probe
from monitor.cli.safe import one_line, visible
from monitor.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.probes.sidecar import Sidecar

__all__ = ["list_probes", "register", "show"]

Folders = Annotated[
    list[str] | None, typer.Argument(metavar="FOLDER", help="Probes of your own, besides the shipped ones.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module, and those of the modules beside it."""
    group = typer.Typer(
        help="Train, calibrate and apply activation probes.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command()(probe_train.train)
    group.command("eval")(probe_eval.evaluate)
    group.command()(probe_calibrate.calibrate)
    group.command()(probe_score.score)
    group.command("list")(list_probes)
    group.command()(show)
    app.add_typer(group, name="probe")


def list_probes(folders: Folders = None, *, json_output: Json = False) -> None:
    """List probes: what each finds, on which model and layer, and how well on texts that were held out."""
    from monitor import catalog
    from monitor.probes import sidecar_file

    listed: list[dict[str, Any]] = []
    for name in [*catalog.names("probe"), *(folders or ())]:
        path = catalog.find("probe", name)
        try:
            found = sidecar_file.read_sidecar(path)
            listed.append({"path": path.parent, **_summary(found)})
        except ProbeError as exc:
            listed.append({"path": path.parent, "name": path.parent.name, "finds": f"broken: {exc}", **_NOTHING})
    if json_output:
        emit_json("monitor.probes/1", {"probes": listed})
        return
    table = Table("probe", "finds", "model", "layer", "kind", "held-out AUROC", "alarms", box=None, header_style="dim")
    for one in listed:
        auroc = "" if one["auroc"] is None else f"{one['auroc']:.2f}"
        cells = (one["name"], one["finds"], one["model"], one["layer"], one["kind"], auroc, one["alarms"] or "")
        table.add_row(*(Text(one_line(str("" if cell is None else cell), 70)) for cell in cells))
    stdout().print(table)


_NOTHING = {"model": None, "layer": None, "kind": None, "auroc": None, "alarms": 0}


def _summary(sidecar: "Sidecar") -> dict[str, Any]:
    held_out = next((one for one in sidecar.metrics if (one.name, one.on) == ("auroc", "held out")), None)
    return {
        "name": sidecar.name,
        "finds": sidecar.finds,
        "model": sidecar.model.name,
        "layer": sidecar.layer,
        "kind": sidecar.kind,
        "auroc": held_out.value if held_out else None,
        "alarms": len(sidecar.alarms),
    }


def show(probe: Probe, *, json_output: Json = False) -> None:
    """Show all that a probe says of itself: model, layer, data, split, figures, calibrations, alarms."""
    from monitor.probes.sidecar_file import read_sidecar

    folder = find_probe(probe)
    sidecar = read_sidecar(folder)
    if json_output:
        emit_json("monitor.probe-sidecar/1", {"path": folder, "probe": sidecar})
        return
    for label, text in _lines(sidecar, folder):
        stdout().print(Text.assemble((f"{label:<12}", "dim"), visible(text)), soft_wrap=True)
    if not sidecar.metrics:
        return
    where = Column("on", no_wrap=True)  # a name in two halves is not found by who looks for it
    interval = Column("95 % interval", no_wrap=True)
    table = Table("figure", where, "value", interval, "texts", "groups", box=None, header_style="dim")
    for one in sidecar.metrics:
        figures = (f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}", f"{one.texts:,}", f"{one.groups:,}")
        table.add_row(*(Text(one_line(cell, 60)) for cell in (one.name, one.on, *figures)))
    sys.stdout.write("\n")
    stdout().print(table)


def _lines(sidecar: "Sidecar", folder: Path) -> "Iterator[tuple[str, str]]":
    pinned, split = sidecar.model, sidecar.split
    yield "probe", f"{sidecar.name}, in {folder}"
    yield "finds", sidecar.finds
    if sidecar.role:
        yield "role", sidecar.role
    hyper = ", ".join(f"{name} {value}" for name, value in sidecar.hyper.items())
    yield "kind", f"{sidecar.kind}{f' ({hyper})' if hyper else ''}, pooling {sidecar.pooling}"
    yield "reads", f"layer {sidecar.layer} of {pinned.layers} ({sidecar.layer_convention})"
    yield "", f"{sidecar.mask}: {sidecar.surface}, format {sidecar.format}, at most {sidecar.max_tokens} tokens"
    yield "model", f"{pinned.name} {pinned.quantisation} as {pinned.dtype}, weights {pinned.weights[:12]}…"
    for data in sidecar.data:
        yield "data", f"{data.name}: {data.texts:,} texts ({data.positives:,} positive) in {data.groups:,} groups"
        yield "", f"{data.licence}, {data.source}, sha256 {data.sha256[:12]}…"
    yield (
        "split",
        f"fitted on {split.train_texts:,} texts in {split.train_groups:,} groups, judged on {split.test_texts:,} in "
        f"{split.test_groups:,}; seed {sidecar.seed}",
    )
    yield "chosen by", sidecar.chosen_by
    for calibration in sidecar.calibrations:
        of = f"{calibration.negatives:,} texts in {calibration.groups:,} groups, {calibration.surface}"
        yield "calibrated", f"on {calibration.name}: {of} ({calibration.format})"
        for rate in calibration.rates:
            interval = f"{100 * rate.low:.2f} to {100 * rate.high:.2f} %"
            yield "", f"{100 * rate.target:g} % false positives: from {rate.threshold:.4g} on ({interval})"
    for alarm in sidecar.alarms:
        yield "ALARM", f"{alarm.message}{' (blocks attaching)' if alarm.blocks else ''}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in sidecar.versions.items())
