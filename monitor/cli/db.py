"""``monitor db``: the store itself: its state, its schema, its copies."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from monitor.cli.console import emit_json, note, stderr, stdout
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.safe import visible

if TYPE_CHECKING:
    from monitor.store.copying import CopyReport

__all__ = ["copy", "register", "sequence", "status", "upgrade"]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
NoBackup = Annotated[bool, typer.Option("--no-backup", help="Upgrade without a backup.")]
Source = Annotated[str, typer.Argument(metavar="FROM", help="The store that is read: a path or URL.")]
Target = Annotated[str, typer.Argument(metavar="TO", help="The store that is added to; made where there is none.")]

db = typer.Typer(help="Look after the database.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (status, sequence, upgrade, copy):
        db.command()(command)
    app.add_typer(db, name="db")


def status(*, address: Db = None, config: Config = None, json_output: Json = False) -> None:
    """Say what the database is, its schema, and how many leaves are pending.

    A leaf is an event's place in the Merkle log; an event that is committed and has none yet is pending.

    Nothing is changed. Exit code 6 if it cannot be read or written.
    """
    from monitor.store import inspect

    facts = inspect(load_settings(config=config, db=address).db)
    if json_output:
        emit_json("monitor.db/1", asdict(facts))
    else:
        there = f"schema {facts.schema_version}" if facts.exists else "not there yet: the first run makes it"
        if facts.schema_version is not None and facts.schema_version < facts.newest_schema:
            there += f", older than {facts.newest_schema}: monitor db upgrade"
        pending = "unknown" if facts.pending_leaves is None else str(facts.pending_leaves)
        lines = {
            "database": facts.url,
            "engine": f"{facts.engine or 'unknown'} {facts.engine_version}",
            "store": there,
            "writable": "yes" if facts.writable else "no",
            "pending": f"{pending} events without a leaf",
            **({"problem": facts.problem} if facts.problem else {}),
        }
        for name, value in lines.items():
            stdout().print(Text(f"{name:<10}{visible(value)}"), soft_wrap=True)
        for warning in facts.warnings:
            note(f"warning: {warning}")
    if facts.problem:
        raise typer.Exit(ExitCode.STORE)


def sequence(*, address: Db = None, config: Config = None, json_output: Json = False) -> None:
    """Give every event that has none its place in the Merkle log.

    On PostgreSQL it also happens by itself, shortly after each commit. In a SQLite file no event is ever without.
    """
    from monitor.store import Store

    settings = load_settings(config=config, db=address)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        done, pending, url = store.sequence(), store.pending_leaves(), store.url
    if json_output:
        emit_json("monitor.db-sequence/1", {"url": url, "sequenced": done, "pending_leaves": pending})
    else:
        sys.stdout.write(f"{done} events got their leaf, {pending} are pending\n")


def upgrade(
    *,
    address: Db = None,
    config: Config = None,
    dry_run: DryRun = False,
    no_backup: NoBackup = False,
    json_output: Json = False,
) -> None:
    """Bring the database to this version's schema; a backup comes first.

    The backup is read back, and its hashes are compared with those of the database.

    A file's backup is made by SQLite and lies beside it; that of a PostgreSQL database is made by pg_dump and lies in the
    working directory.
    """
    from monitor.store.upgrading import upgrade as upgrade_store

    settings = load_settings(config=config, db=address)
    report = upgrade_store(
        settings.db, dry_run=dry_run, backup=not no_backup, busy_seconds=settings.busy_seconds, listener=note
    )
    if json_output:
        emit_json("monitor.db-upgrade/1", {**asdict(report), "dry_run": dry_run})
        return
    lines = [f"{report.url}: schema {report.version}, newest {report.newest}"]
    if not report.steps:
        lines.append("nothing to do")
    lines += [f"  {step}" for step in report.steps]
    if report.backup:
        lines.append(f"backup: {report.backup.path} ({report.backup.events} events, every hash agrees)")
    if report.steps:
        lines.append("upgraded" if report.done else "dry run: nothing was done")
    for line in lines:
        stdout().print(Text(visible(line)), soft_wrap=True)


def copy(source: Source, target: Target, *, config: Config = None, json_output: Json = False) -> None:
    """Copy a store into another one, and compare the two by their hashes.

    What is there already is skipped, so a copy that was interrupted is made again. Nothing of TO is changed or erased. Exit
    code 1 if the two differ in the end; 6 if an event of TO differs from one of FROM: then nothing more is written.
    """
    from monitor.store.copying import copy as copy_store

    settings = load_settings(config=config)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def progress(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step)
            bar.update(tasks[step], completed=done, total=total)

        report = copy_store(source, target, progress=progress, busy_seconds=settings.busy_seconds)
    if json_output:
        emit_json("monitor.db-copy/1", {**asdict(report), "equal": report.is_equal})
    else:
        _print_copy(report)
    if not report.is_equal:
        raise typer.Exit(ExitCode.UNEXPECTED)


def _print_copy(report: "CopyReport") -> None:
    lines = [
        f"{report.source} -> {report.target}",
        f"{report.copied} events copied, {report.present} were there already",
        *([f"{report.checkpoints} checkpoints copied"] if report.checkpoints else []),
        *([f"{report.scans} scans copied"] if report.scans else []),
        *(
            [f"{report.scans_left} scans not copied: the log of TO does not begin with FROM's"]
            if report.scans_left
            else []
        ),
        f"compared: {report.events} events, {report.texts} texts ({report.erased} of them erased)",
        f"log of FROM  {report.source_digest}",
        f"log of TO    {report.target_digest}",
        "equal: every hash agrees"
        if report.is_equal
        else f"not equal: {report.different} differences, or another order",
        *(f"  {difference}" for difference in report.differences),
    ]
    for line in lines:
        stdout().print(Text(visible(line)), soft_wrap=True)
