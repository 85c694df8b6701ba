"""``monitor audit query``, ``ask`` and ``grant``: read-only SQL over the views, and saved queries."""

import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from monitor.cli.console import emit_json, error_line, note, stdout
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.safe import one_line, visible
from monitor.cli.working import working
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.audit.saved import SavedQuery
    from monitor.store.asking import Answer

__all__ = ["ask", "grant", "query", "register"]

_WIDTH = 60  # codepoints of a cell of a table; other formats have it whole


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


Param = Annotated[
    list[str] | None,
    typer.Option("--param", "-P", metavar="NAME=VALUE", help="The value of :NAME in the query; may be given again."),
]
As = Annotated[Format, typer.Option("--format", "-f", help="How the answer is written.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write to this file; Parquet needs it.")]
Rows = Annotated[int, typer.Option("--rows", min=1, help="At most so many rows; exit code 1 if there were more.")]
Seconds = Annotated[float, typer.Option("--seconds", min=0.01, max=3600, help="Stop the query after so long.")]
Exact = Annotated[
    bool, typer.Option("--exact", help="CSV: no apostrophe in front of texts that a spreadsheet takes for a formula.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (query, ask, grant):
        app.command()(command)


def query(
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="One SELECT over the views; `-` reads it from standard input.")
    ],
    *,
    param: Param = None,
    format_: As = Format.TABLE,
    out: Out = None,
    rows: Rows = 10_000,
    seconds: Seconds = 30.0,
    exact: Exact = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Ask in SQL, read-only.

    The views are runs, subcalls, messages, tool_calls, findings, verdicts, probe_scores, budgets, reviews, decisions,
    review_queue, run_rules and leaves; docs/views.md says what each column means. Nothing else can be read, and nothing can
    be written. A value that is JSON (3, 0.5, null) is passed as that, all others as text.

    Exit code 1 if the answer was cut at --rows, 2 if the query is wrong, refused or was stopped.
    """
    from monitor.store.asking import QueryLimits
    from monitor.store.asking import ask as put

    settings = load_settings(config=config, db=db)
    text = sys.stdin.read() if sql == "-" else sql
    values = {name: _value(value) for name, value in _pairs(param).items()}
    with working("asking", quiet=json_output):
        limits = QueryLimits(seconds=seconds, rows=rows)
        answer = put(settings.db, text, values, limits=limits, busy_seconds=settings.busy_seconds)
    _give(answer, Format.JSON if json_output else format_, out, exact=exact, about={})


def ask(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A saved query, or a .sql file; none: list them.")
    ] = None,
    *,
    param: Param = None,
    show: Annotated[bool, typer.Option("--show", help="Print its SQL and parameters, and ask nothing.")] = False,
    format_: As = Format.TABLE,
    out: Out = None,
    rows: Rows = 10_000,
    seconds: Seconds = 30.0,
    exact: Exact = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Ask a saved query. Without NAME, list them with their parameters.

    Your own are files NAME.sql in the folder of the setting `queries`.

    Exit code 1 if the answer was cut at --rows, 2 if there is no such query or a parameter is wrong.
    """
    from monitor.audit.saved import find_query, saved_queries
    from monitor.store.asking import QueryLimits
    from monitor.store.asking import ask as put
    from monitor.store.location import is_postgres

    settings = load_settings(config=config, db=db)
    if name is None:
        _list(saved_queries(settings.queries), json_output=json_output)
        return
    saved = find_query(name, settings.queries)
    sql = saved.sql_on_postgres if is_postgres(settings.db) else saved.sql
    if show:
        _show(saved, sql, json_output=json_output)
        return
    values = saved.values(_pairs(param))
    with working(f"asking {saved.name}", quiet=json_output):
        limits = QueryLimits(seconds=seconds, rows=rows)
        answer = put(settings.db, sql, values, limits=limits, busy_seconds=settings.busy_seconds)
    about = {"name": saved.name, "description": saved.description, "parameters": values}
    _give(answer, Format.JSON if json_output else format_, out, exact=exact, about=about)


def grant(
    to: Annotated[
        str | None, typer.Option("--to", metavar="LOGIN", help="Who may ask; default: the login of the URL.")
    ] = None,
    *,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """On a server: make the role that queries run as, and say who may use it.

    The role monitor_auditor has no login and may read the views, and nothing else. With the login of a superuser nothing is
    asked without it. After an upgrade of the schema grant again, for the views that are new.

    Exit code 6 if the login of the URL may not do that.
    """
    from monitor.store.asking import grant as give

    settings = load_settings(config=config, db=db)
    done = give(settings.db, to, busy_seconds=settings.busy_seconds)
    if json_output:
        emit_json("monitor.grant/1", {"statements": done})
        return
    for statement in done:
        stdout().print(Text(visible(f"{statement};")), soft_wrap=True)


# --------------------------------------------------------------------------------------------------------- in and out


def _pairs(param: list[str] | None) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in param or ():
        name, separator, value = pair.partition("=")
        if not separator or not name.strip():
            raise ConfigError(f"--param {pair!r}: expected NAME=VALUE")
        if name.strip() in values:
            raise ConfigError(f"--param {name.strip()} is given twice")
        values[name.strip()] = value
    return values


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if value is None or (is_number and -math.inf < value < math.inf) else text


def _give(answer: "Answer", how: Format, out: Path | None, *, exact: bool, about: dict[str, Any]) -> None:
    """Write the answer where it is wanted; exit code 1 where it was cut."""
    from monitor.audit.tabular import to_csv, to_objects, write_parquet

    if how is Format.PARQUET and out is None:
        raise ConfigError("Parquet is no text: name a file with --out FILE")
    body = {**about, "columns": list(answer.columns), "is_cut": answer.is_cut, "rows": to_objects(answer)}
    try:
        if how is Format.PARQUET:
            assert out is not None
            write_parquet(answer, out)
        elif how is Format.CSV and out is None:
            text = to_csv(answer, exact=exact)
            sys.stdout.write(visible(text.replace("\r\n", "\n")) if sys.stdout.isatty() else text)
        elif how is Format.CSV:
            assert out is not None
            out.write_text(to_csv(answer, exact=exact), encoding="utf-8", newline="")
        elif how is Format.JSON and out is None:
            emit_json("monitor.query/1", body)
        elif how is Format.JSON:
            assert out is not None
            out.write_text(json.dumps({"format": "monitor.query/1", **body}, indent=2) + "\n", encoding="utf-8")
        elif out is not None:
            raise ConfigError("a table is for the terminal: for a file, say --format csv, json or parquet")
        else:
            stdout().print(_table(answer))
    except OSError as exc:
        raise ConfigError(f"{out}: cannot be written ({exc.strerror}); name another file") from exc
    if out is not None:
        note(f"{len(answer.rows):,} rows in {out}")
    elif how is Format.TABLE:
        note(f"{len(answer.rows):,} row{'' if len(answer.rows) == 1 else 's'}")
    if answer.is_cut:
        error_line(f"there are more rows: the answer was cut after {len(answer.rows):,}; allow more with --rows", "cut")
        raise typer.Exit(ExitCode.UNEXPECTED)


def _table(answer: "Answer") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in answer.columns:
        table.add_column(Text(visible(name)), overflow="fold")
    for row in answer.rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Any) -> Text:
    if value is None:
        return Text("–", style="dim")
    if isinstance(value, bytes):
        return Text(value.hex())
    return Text(one_line(value, _WIDTH) if isinstance(value, str) else str(value))


def _list(saved: "dict[str, SavedQuery]", *, json_output: bool) -> None:
    if json_output:
        listed = [
            {"name": one.name, "description": one.description, "parameters": dict(one.parameters)}
            for one in saved.values()
        ]
        emit_json("monitor.queries/1", {"queries": listed})
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for one in saved.values():
        wanted = f"  [{', '.join(one.parameters)}]" if one.parameters else ""
        table.add_row(Text(one.name), Text(visible(one.description)).append(wanted, style="dim"))
    stdout().print(table)


def _show(saved: "SavedQuery", sql: str, *, json_output: bool) -> None:
    if json_output:
        about = {"name": saved.name, "description": saved.description, "parameters": dict(saved.parameters), "sql": sql}
        emit_json("monitor.saved-query/1", about)
        return
    lines = [f"-- {saved.description}"]
    for name, parameter in saved.parameters.items():
        default = "required" if parameter.required else f"default {parameter.default!r}"
        lines.append(f"-- :{name}  {parameter.type}, {default}: {parameter.about}")
    stdout().print(Text(visible("\n".join([*lines, "", sql]))), soft_wrap=True)
