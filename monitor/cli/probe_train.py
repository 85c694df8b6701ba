"""``monitor probe train``: from a configuration to an artefact."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from monitor.cli.console import emit_json, note, stdout
from monitor.cli.options import Config, Json, load_settings
from monitor.cli.probe_parts import Device, load_model, require_torch, stages
from monitor.cli.safe import one_line

if TYPE_CHECKING:
    from monitor.probes.training import Trained

__all__ = ["train"]

_SHOWN = 5  # candidates


def train(
    configuration: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train on; see docs/probes.md.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train and judge, and write nothing.")] = False,
    device: Device = "auto",
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Train a probe on labelled texts with groups, judge it on groups that were held out, and write its artefact.

    Layer, pooling, kind and hyper-parameters are chosen in grouped folds inside of the training part. Activations are kept
    in the cache, so that a second training on the same texts takes seconds. The same configuration gives the same bytes.
    """
    require_torch()
    from monitor.probes.config import read_config
    from monitor.probes.training import datasets_of
    from monitor.probes.training import train as run

    load_settings(config=config)
    found = read_config(configuration)
    datasets_of(found)  # faults of the data are told before seconds are spent on loading a model
    model = load_model(found.written.model, device=device, dtype=found.written.dtype, quiet=json_output)
    with stages(quiet=json_output) as told:
        trained = run(found, model, progress=told, keep=not dry_run)
    if trained.unread and not json_output:
        note(f"{trained.unread:,} texts were longer than max_tokens, and read in part")
    if json_output:
        choices = [
            {"layer": one.candidate.layer, "kind": one.candidate.kind, "pooling": str(one.candidate.pooling)}
            | {"hyper": one.candidate.all_hyper, "auroc": one.auroc, "folds": list(one.folds)}
            for one in trained.choices
        ]
        where = None if dry_run else found.output
        emit_json(
            "monitor.probe-training/1",
            {"path": where, "probe": trained.sidecar, "choices": choices, "cut_texts": trained.unread},
        )
        return
    _print(trained)
    sys.stdout.write("nothing was written (--dry-run)\n" if dry_run else f"{found.output}\n")


def _print(trained: "Trained") -> None:
    table = Table("layer", "kind", "pooling", "hyper-parameters", "AUROC in the folds", box=None, header_style="dim")
    for choice in trained.choices[:_SHOWN]:
        one = choice.candidate
        hyper = ", ".join(f"{name} {value}" for name, value in one.all_hyper.items())
        auroc = "" if choice.auroc is None else f"{choice.auroc:.4f}"
        table.add_row(*(Text(cell) for cell in (str(one.layer), one.kind, str(one.pooling), hyper, auroc)))
    stdout().print(table)
    if len(trained.choices) > _SHOWN:
        sys.stdout.write(
            f"… and {len(trained.choices) - _SHOWN} more; the first was fitted on the whole training part\n"
        )
    measured = Table("figure", "on", "value", "95 % interval", box=None, header_style="dim")
    for figure in trained.sidecar.metrics:
        cells = (figure.name, figure.on, f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}")
        measured.add_row(*(Text(one_line(cell, 60)) for cell in cells))
    stdout().print(measured)
