"""``monitor audit search``: full text over everything that was said."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from monitor.cli.console import emit_json, error_line, note, stdout
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.runs import find_run
from monitor.cli.safe import EVIDENCE, visible
from monitor.cli.scans import time_of
from monitor.cli.working import working
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.store.search.finding import Found, Hit

__all__ = ["register", "search"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(search)


def search(  # noqa: PLR0912 - options, each read once
    words: Annotated[
        str | None,
        typer.Argument(metavar="WORDS", help='Words, "a phrase", begin*, OR, AND, NOT, parentheses.'),
    ] = None,
    *,
    surface: Annotated[
        list[str] | None,
        typer.Option(
            "--surface",
            help="Only in this text: task, prompt, reasoning, output, raw, error, tool_calls, released, decision, review.",
        ),
    ] = None,
    role: Annotated[str | None, typer.Option("--role", help="Only subcalls of this role.")] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Only this run; `latest` is the newest.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only what began at or after this time.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many to list.")] = 20,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the index anew first.")] = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Search everything that was said, handed over, decided and remarked; the best hits first.

    Words that stand beside each other must all be in the same text, in any order; case and accents do not count. A message
    is found at the first subcall of a run that was handed it.

    The index is brought up to date first. Where it may not be written, what is indexed is searched, and exit code 1 says
    that this was not everything.
    """
    from monitor.errors import StoreError
    from monitor.store import Store
    from monitor.store.search.finding import Filters, TextSearch
    from monitor.store.search.index import SURFACES
    from monitor.store.search.syntax import parse

    settings = load_settings(config=config, db=db)
    for name in surface or ():
        if name not in SURFACES:
            raise ConfigError(f"--surface {name}: no such text; known: {', '.join(SURFACES)}")
    if words is None and not rebuild:
        raise ConfigError("expected what to search, or --rebuild to make the index anew")
    if words is not None:
        parse(words)
    begun = time_of("--since", since)
    run_id = None
    if run is not None:
        with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
            run_id = find_run(store, run).start.run_id
    index = TextSearch(settings.db, busy_seconds=settings.busy_seconds)
    problem = ""
    with working("indexing", quiet=json_output) as progress:
        try:
            indexed = index.rebuild(progress) if rebuild else index.update(progress)
        except StoreError as failure:
            if rebuild:
                raise
            problem, indexed = str(failure), 0
    if words is None:
        if json_output:
            emit_json("monitor.search/1", {"indexed": indexed})
        else:
            note(f"indexed {indexed:,} events")
        return
    found = index.search(words, Filters(run_id, role, tuple(surface or ()), begun), limit=limit)
    if json_output:
        emit_json("monitor.search/1", {**asdict(found), "words": words, "problem": problem})
    else:
        _print(found, limit)
    if found.unindexed:
        error_line(
            f"{found.unindexed:,} events are not in the index, and it could not be brought up to date: "
            f"{problem or 'they came meanwhile, search again'}",
            "not everything was searched",
        )
        raise typer.Exit(ExitCode.UNEXPECTED)


def _print(found: "Found", limit: int) -> None:
    for hit in found.hits:
        head = Text(f"{hit.run_id[:8]}/{hit.span_id[:8]}", style="cyan")
        head.append(f"  {hit.surface}", style="bold").append(f"  {visible(hit.role)}" if hit.role else "  (the run)")
        stdout().print(head.append(f"  {hit.at[:16]}", style="dim"), soft_wrap=True)
        stdout().print(Text("  ").append_text(_snippet(hit)), soft_wrap=True)
    shown = f", the best {limit:,} are shown" if found.total > len(found.hits) else ""
    note(f"{found.total:,} place{'' if found.total == 1 else 's'}{shown}")


def _snippet(hit: "Hit") -> Text:
    """The part of the text on one line, the words that were searched for marked."""
    shown = Text("…" if hit.start else "")
    end, position = hit.start + len(hit.snippet), hit.start
    for first, last in hit.marks:
        if first < position or last > end:
            continue
        shown.append(_line(hit.snippet[position - hit.start : first - hit.start]))
        shown.append(_line(hit.snippet[first - hit.start : last - hit.start]), style=EVIDENCE)
        position = last
    shown.append(_line(hit.snippet[position - hit.start :]))
    return shown.append("…" if end < hit.codepoints else "")


def _line(text: str) -> str:
    return visible(text.replace("\n", " ").replace("\t", " "))
