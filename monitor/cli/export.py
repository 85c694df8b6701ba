"""``monitor export``: stored subcalls as a Parquet file."""

from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.audit_rescan import progress_bar
from monitor.cli.console import emit_json, error_line
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.scans import Recipe, Role, Run, Since, Until, number, print_line, wanted

__all__ = ["export", "register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    *,
    to: Annotated[
        Path, typer.Option("--to", metavar="FILE", help="The Parquet file to write; replaced if it is there.")
    ],
    run: Run = None,
    since: Since = None,
    until: Until = None,
    role: Role = None,
    recipe: Recipe = None,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Write stored subcalls to a Parquet file: one row each, with all texts, in bounded memory.

    The file can be read with any tool, and be checked again with `monitor audit rescan --from`. Erased texts are not in it.

    Exit code 1 if a subcall could not be read back (its row says why), or has no place in the log yet.
    """
    from monitor.audit.rescan import parquet
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        which = wanted(store, run, since, until, role, recipe)
        with progress_bar(quiet=json_output) as progress:
            done = parquet.export(store, settings.db, to, which, progress=progress)
    if json_output:
        shown = {"path": str(done.path), "subcalls": done.subcalls, "failed": done.failed}
        emit_json("monitor.export/1", {**shown, "tree_size": done.tree_size, "pending": done.pending})
    else:
        print_line(f"{number(done.subcalls, 'subcall')} written to {done.path}")
        if done.failed:
            error_line(f"{number(done.failed, 'subcall')} could not be read back: their rows say why")
        if done.pending:
            error_line(f"{number(done.pending, 'subcall')} have no place in the log yet, and are not in it")
    if done.failed or done.pending:
        raise typer.Exit(ExitCode.UNEXPECTED)
