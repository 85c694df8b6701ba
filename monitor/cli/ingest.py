"""``monitor ingest``: traces that other programs stored, checked and added to the database."""

import asyncio
import sys
from collections.abc import Coroutine, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from monitor.cli.console import emit_json, error_line, note, stderr
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, ForceProbes, Json, Probes, load_settings
from monitor.cli.scans import number, print_line
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.adapters.ingest.taking import Report
    from monitor.loaded import LoadedChecks
    from monitor.models.base import ModelClient
    from monitor.settings import Settings

__all__ = ["checks_of", "ingest", "register"]

T = TypeVar("T")
_VERDICTS = ("block", "flag", "unmeasured", "pass")
_SHOWN = 10  # problems in full; --json lists more


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(ingest)


def ingest(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER...", help="Files, or folders of them.")],
    *,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="A policy pack by name or path; may be given again.")
    ] = None,
    no_policy: Annotated[
        bool, typer.Option("--no-policy", help="Check nothing: no verdict can then be `pass`.")
    ] = False,
    probe: Probes = None,
    force_probes: ForceProbes = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Check traces that other programs stored, and add them to the database.

    Takes SWE-agent trajectories, Magentic-One message lists, OpenAI chat JSONL, Inspect logs and OpenTelemetry spans
    (OTLP/JSON), told apart by what is in them. To ingest the same again adds nothing. What was over before it was checked
    cannot be stopped: rules that ask for more than a flag only flag, and the verdict says so.

    A broken record is named, and the rest goes on. Exit code 1 if anything was refused.
    """
    if policy and no_policy:
        raise ConfigError("--policy and --no-policy contradict each other: give one of them")
    settings = load_settings(config=config, db=db, policies=() if no_policy else policy, probes=probe)

    from monitor.adapters.ingest.sources import files_of
    from monitor.adapters.ingest.taking import ingest as ingest_files
    from monitor.adapters.ingest.taking import size_of
    from monitor.audit.integrity.checkpoints import kept
    from monitor.orchestrate.judge import judge_of
    from monitor.orchestrate.workplace import make_client
    from monitor.store import Store

    checks = checks_of(settings, force_probes=force_probes)
    clients = {name: make_client(settings, name) for name in [settings.judge_model] if name}
    checks = replace(checks, judge=judge_of(settings, clients.__getitem__))
    files = files_of(paths)
    columns = (TextColumn("ingesting"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with (
        Store.open(settings.db, busy_seconds=settings.busy_seconds) as store,
        kept(store, settings),
        Progress(*columns, console=stderr(), transient=True, disable=json_output or not sys.stderr.isatty()) as bar,
    ):
        task = bar.add_task("ingesting", total=size_of(files))
        try:
            work = ingest_files(files, store, checks, told=lambda done: bar.update(task, completed=done))
            report = asyncio.run(_closing(work, clients.values()))
        except KeyboardInterrupt:
            note("stopped: what was taken until now is stored; ingest the same again to complete it")
            raise typer.Exit(ExitCode.CANCELLED) from None
        url = store.url
    if json_output:
        emit_json("monitor.ingest/1", {**_as_json(report), "db": url})
    else:
        _print(report, url)
    if report.refused:
        raise typer.Exit(ExitCode.UNEXPECTED)


async def _closing(work: Coroutine[Any, Any, T], clients: Iterable["ModelClient"]) -> T:
    """What ``work`` comes to; afterwards the clients are closed."""
    try:
        return await work
    finally:
        for client in clients:
            await client.aclose()


def checks_of(settings: "Settings", *, force_probes: bool) -> "LoadedChecks":
    """The packs and probes of the settings. Raises CatalogError, PolicyError and ProbeError."""
    from monitor.loaded import load_checks
    from monitor.probes import Prober

    prober = Prober(settings.probes, models=settings.probe_models, force=force_probes)
    return load_checks(tuple(settings.policies), prober)


def _as_json(report: "Report") -> dict[str, Any]:
    names = ("traces_taken", "traces_present", "subcalls_taken", "subcalls_present")
    return {
        "files": report.files,
        **{name: report.total(name) for name in names},
        "formats": {name: asdict(counts) for name, counts in sorted(report.formats.items())},
        "verdicts": {value: report.verdicts[value] for value in _VERDICTS},
        "too_late": report.too_late,
        "refused": report.refused,
        "skipped": report.skipped,
        "problems": [problem._asdict() for problem in report.problems],
    }


def _print(report: "Report", url: str) -> None:
    print_line(f"{number(report.files, 'file')} looked at")
    for name, counts in sorted(report.formats.items()):
        print_line(
            f"{name}: {number(counts.traces_taken, 'trace')} with {number(counts.subcalls_taken, 'subcall')} added, "
            f"{number(counts.traces_present, 'trace')} with {number(counts.subcalls_present, 'subcall')} there already",
            indent=2,
        )
    if added := report.total("subcalls_taken"):
        said = ", ".join(f"{report.verdicts[value]:,} {value}" for value in _VERDICTS if report.verdicts[value])
        print_line(f"verdicts of the {number(added, 'subcall')} added: {said}")
    if report.too_late:
        print_line(f"{number(report.too_late, 'subcall')} would have been stopped: too late, they are only flagged")
    if report.skipped:
        print_line(f"passed over as no traces of a known kind: {report.skipped:,}")
        _print_problems(report, is_refused=False)
    print_line(f"stored in {url}; see them with: monitor list")
    if report.refused:
        error_line(f"{number(report.refused, 'record')} refused; the rest was taken")
        _print_problems(report, is_refused=True)


def _print_problems(report: "Report", *, is_refused: bool) -> None:
    total = report.refused if is_refused else report.skipped
    listed = [problem for problem in report.problems if problem.is_refused is is_refused][:_SHOWN]
    for problem in listed:
        line = ": ".join(filter(None, (problem.file, problem.where, problem.why)))
        if is_refused:
            note(f"  {line}")
        else:
            print_line(line, indent=2)
    if total > len(listed):
        (note if is_refused else print_line)(f"  and {total - len(listed)} more")
