"""``monitor probe eval``: what a probe tells, what plain baselines tell, and what it adds to reading the trace."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from monitor.cli.console import emit_json, note, stdout
from monitor.cli.options import Config, Json, load_settings
from monitor.cli.probe_parts import Device, Model, find_probe, load_model, require_torch, stages
from monitor.cli.safe import one_line, visible
from monitor.errors import ArtefactError, ConfigError

if TYPE_CHECKING:
    from monitor.policy import PolicySet
    from monitor.probes.evaluation.baselines import Evidence
    from monitor.probes.evaluation.report import Report
    from monitor.probes.evaluation.work import Judged

__all__ = ["evaluate"]

TRAIN_FILE = "train.yaml"


def evaluate(
    probe: Annotated[
        str, typer.Argument(metavar="PROBE|CONFIG.yaml", help="A probe, or the configuration that one is trained by.")
    ],
    *,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", metavar="FILE", help="Texts with labels, .csv or .jsonl: try the finished probe on these."
        ),
    ] = None,
    text: Annotated[
        str, typer.Option("--text", metavar="COLUMN", help="The column of --data with the texts.")
    ] = "text",
    label: Annotated[str, typer.Option("--label", metavar="COLUMN", help="The column with labels.")] = "label",
    group: Annotated[str, typer.Option("--group", metavar="COLUMN", help="The column with groups.")] = "group",
    group_pattern: Annotated[
        str, typer.Option("--group-pattern", metavar="REGEX", help="What in a text is its group, instead of a column.")
    ] = "",
    question: Annotated[
        str, typer.Option("--question", help="What the model is asked, to be answered with yes or no.")
    ] = "",
    negate: Annotated[
        bool,
        typer.Option(
            "--negate",
            help="The labels turn round when a statement is negated: also try negations of the texts, written by rule.",
        ),
    ] = False,
    packs: Annotated[
        list[str] | None, typer.Option("--pack", metavar="PACK", help="Rules of the trace; default: core.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer folds, draws and candidates; the report says so.")
    ] = False,
    all_candidates: Annotated[
        bool,
        typer.Option("--all-candidates", help="Choose kind, pooling and hyper-parameters again in every fit: hours."),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every split and draw.")] = 0,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report there, as one page with plots.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the report there, as Markdown.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Whether alarms are written into the probe's sidecar.")
    ] = True,
    model: Model = None,
    device: Device = "auto",
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Judge a probe honestly: baselines on the same grouped split, nulls, shifts, and what it adds to the trace.

    A configuration is judged by fitting its recipe again in every fold; so is a probe with a train.yaml in its folder. With
    --data the finished probe is tried as it is, on texts that it was not trained on. A probe that ranks some kind of
    text the wrong way round gets an alarm in its sidecar, and is not attached to runs unless forced. See
    docs/probe-evaluation.md.
    """
    require_torch()
    from monitor.probes.evaluation.asking import QUESTION
    from monitor.probes.evaluation.effort import FULL, QUICK
    from monitor.probes.evaluation.judging import judge
    from monitor.probes.evaluation.subjects import keep_alarms

    load_settings(config=config)
    columns = {"text": text, "label": label, "group": group, "group_pattern": group_pattern}
    judged, folder = _subject(
        probe, data or (), columns, question=question or QUESTION, model=model, device=device, quiet=json_output
    )
    judged = replace(judged, negate=negate)
    rules = _evidence(packs or ["core"])
    with stages(quiet=json_output) as told:
        effort = QUICK if quick else FULL
        effort = replace(effort, candidates=0) if all_candidates else effort
        report = judge(judged, evidence=rules, effort=effort, seed=seed, told=told)
    written = _kept(folder, report, keep_alarms) if keep and folder is not None else False
    if html:
        from monitor.probes.evaluation.page import page

        html.write_text(page(report), encoding="utf-8")
    if markdown:
        from monitor.probes.evaluation.tables import markdown as as_markdown

        markdown.write_text(as_markdown(report), encoding="utf-8")
    if json_output:
        emit_json("monitor.probe-evaluation/1", {**report.as_json(), "alarms_written": written})
        return
    _print(report)
    if written:
        note(f"alarms written into the sidecar in {folder}")


def _subject(
    probe: str,
    files: Sequence[Path],
    columns: dict[str, str],
    *,
    question: str,
    model: str | None,
    device: str,
    quiet: bool,
) -> "tuple[Judged, Path | None]":
    """What is judged, and the folder of the artefact that alarms are written to, if there is one.

    Raises:
        ConfigError: a configuration with --data, or a probe without either.
    """
    from monitor.probes.applying import Applied
    from monitor.probes.artefact import SIDECAR, read_sidecar
    from monitor.probes.config import read_config
    from monitor.probes.data import Columns, read
    from monitor.probes.evaluation.subjects import of_probe, of_recipe

    path = Path(probe)
    is_recipe = path.suffix in {".yaml", ".yml"}
    folder = None if is_recipe else find_probe(probe)
    if files:
        if folder is None:
            raise ConfigError(f"--data tries a finished probe; {probe} is a configuration, whose data it names itself")
        parts = [read(file, columns=Columns(**columns)) for file in files]  # type: ignore[arg-type]  # all are texts
        loaded = load_model(model, read_sidecar(folder).model, device=device, quiet=quiet)
        return of_probe(Applied.load(folder, loaded), parts, question), folder
    recipe = path if folder is None else folder / TRAIN_FILE
    if not recipe.is_file():
        raise ConfigError(
            f"{recipe} is not there: give the configuration of the probe, or texts to try it on with --data"
        )
    found = read_config(recipe)
    loaded = load_model(model or found.written.model, device=device, dtype=found.written.dtype, quiet=quiet)
    where = found.output if (found.output / SIDECAR).is_file() else None
    return of_recipe(found, loaded, question, trained=read_sidecar(where) if where else None), where


def _kept(folder: Path, report: "Report", keep_alarms: "Callable[[Path, Report], bool]") -> bool:
    """Whether alarms were written; what came with the package is left as it is, unless it has to be kept from runs."""
    from monitor import catalog

    if catalog.shipped("probe").resolve() in folder.resolve().parents and not any(one.blocks for one in report.alarms):
        return False
    try:
        return keep_alarms(folder, report)
    except ArtefactError as exc:
        note(f"alarms were not written: {exc}")
        return False


def _evidence(packs: Sequence[str]) -> "Callable[[Sequence[str]], list[Evidence]]":
    """What the rules of the packs say of a text, as reasoning and output of one record."""
    from monitor import catalog, policy

    rules = policy.load([catalog.find("policy", name) for name in packs])
    return lambda texts: [_of_text(rules, text) for text in texts]


_WEIGHTS = {"informational": 0.5, "low": 1.0, "medium": 2.0, "high": 4.0, "critical": 8.0}


def _of_text(rules: "PolicySet", text: str) -> "Evidence":
    """Findings weighted by level, and the codepoints that fired. Rules on trial and suppressed findings do not count."""
    from monitor.audit.evaluation.samples import agent_record
    from monitor.probes.evaluation.baselines import Evidence
    from monitor.records import Status

    found = [
        finding
        for finding in rules.findings(agent_record(text))
        if finding.status is Status.MATCH and not finding.shadow and not finding.suppressed_by
    ]
    spans = {(span.start, span.end) for finding in found for span in finding.evidence if span.surface == "output"}
    spans |= {(span.start, span.end) for finding in found for span in finding.evidence if span.surface == "reasoning"}
    return Evidence(sum(_WEIGHTS[finding.level.value] for finding in found), tuple(sorted(spans)))


def _print(report: "Report") -> None:
    from monitor.probes.evaluation.report import sentences
    from monitor.probes.evaluation.tables import grids

    for line in sentences(report):
        style = "bold red" if line.startswith("ALARM") else ""
        stdout().print(Text(visible(line), style=style), soft_wrap=True)
    for grid in grids(report):
        sys.stdout.write("\n")
        stdout().print(Text(visible(grid.title), style="bold"))
        table = Table(*grid.heads, box=None, header_style="dim")
        for row in grid.rows:
            table.add_row(*(Text(one_line(cell, 110)) for cell in row))
        stdout().print(table)
    for line in (*report.notes, *report.shifts_missing):
        note(line)
