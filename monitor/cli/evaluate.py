"""``monitor evaluate``: how good the monitor is; this module has the rules on public data."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli.console import emit_json, note
from monitor.cli.evaluate_agreement import agreement
from monitor.cli.evaluate_attack import attack
from monitor.cli.evaluate_cascade import cascade
from monitor.cli.evaluate_scores import scores
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Json

if TYPE_CHECKING:
    from monitor.audit.evaluation.evaluate import Evaluation
    from monitor.audit.evaluation.samples import Part

__all__ = ["register", "rules"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="How good the monitor is.", no_args_is_help=True, rich_markup_mode=None)
    group.command("rules")(rules)
    group.command("scores")(scores)
    group.command("attack")(attack)
    group.command("agreement")(agreement)
    group.command("cascade")(cascade)
    app.add_typer(group, name="evaluate")


def rules(
    packs: Annotated[
        list[str] | None, typer.Argument(metavar="PACK", help="Packs by name or path; default: core.")
    ] = None,
    *,
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder with the public data: traces/, tasks/, rules-atr/.")
    ],
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the report there, as Markdown.")
    ] = None,
    development: Annotated[
        bool, typer.Option("--development", help="Read the development half alone, as you must while you write rules.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Measure rules: false positives on harmless text, recall on attacks and failures that others labelled.

    Exit code 1 if there is more than 1 finding of level high or above per 200 messages of harmless agents, or no such
    message to tell it by.
    """
    from monitor import catalog, policy
    from monitor.audit.evaluation.evaluate import evaluate, read_log
    from monitor.audit.evaluation.reading import ALL, DEVELOPMENT, LOG, read_data
    from monitor.audit.evaluation.report import report as written
    from monitor.audit.evaluation.shape import shape

    loaded = policy.load([catalog.find("policy", name) for name in packs or ["core"]])
    parts = read_data(data, DEVELOPMENT if development else ALL)
    found = evaluate(loaded, parts if json_output else _told(parts))
    if report:
        report.write_text(written(found, read_log(LOG)), encoding="utf-8")
    if json_output:
        emit_json("monitor.evaluation/1", shape(found))
    else:
        sys.stdout.write("\n".join(_summary(found)) + "\n")
    if not found.met:
        raise typer.Exit(ExitCode.UNEXPECTED)


def _told(parts: "Iterator[Part]") -> "Iterator[Part]":
    for part in parts:
        note(
            f"{part.source}: unmeasured, {part.missing}"
            if part.missing
            else f"{part.source}: {len(part.samples)} records …"
        )
        yield part


def _summary(found: "Evaluation") -> Iterator[str]:
    from monitor.audit.evaluation.report import percent

    for half, asked in found.requirements.items():
        answer = {True: "met", False: "NOT met", None: "unmeasured"}[asked.met]
        yield f"high or above on harmless agents, {half}: {asked.findings} in {asked.agent_messages} messages: {answer}"
    for one in found.recalls:
        if one.pack is None:
            yield f"attacks caught by medium or above, {one.half}: {percent(one.medium)}; twins hit: {percent(one.twins)}"
    for failures in found.failures:
        line = f"labelled failures with a finding of {failures.level}: {percent(failures.failing)}"
        yield f"{line}; other steps: {percent(failures.unlabelled)}"
    silent = sum(not row.fired for row in found.rules)
    yield f"rules that never fired: {silent} of {len(found.rules)}"
    yield from (f"unmeasured: {source}, {why}" for source, why in found.missing.items())
