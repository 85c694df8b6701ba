"""``monitor audit report``: what was found in a period, as one HTML file and one Markdown file with plots."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli.console import emit_json, error_line
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.scans import Since, Until, period_of
from monitor.cli.working import working

if TYPE_CHECKING:
    from monitor.audit.report.gathering import Row

__all__ = ["register", "report"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(report)


def report(
    *,
    since: Since = None,
    until: Until = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where audit-report.html and audit-report.md are written.")
    ] = Path(),
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.01, max=3600, help="Stop a query after so long; it is unmeasured then.")
    ] = 300.0,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Write a report on a period: verdicts and findings over time, by role, rules, budgets, probes beside the rules, what
    could not be checked, and what people decided and labelled.

    Made of saved queries (report-…), which monitor audit ask answers one by one. The HTML file runs nothing and fetches
    nothing; the plots of the Markdown file stand in a folder beside it. Exit code 1 if a query could not be answered: the
    report says which.
    """
    from monitor.audit.page.blocks import write
    from monitor.audit.report.audit_page import audit_page
    from monitor.audit.report.gathering import gather
    from monitor.errors import ConfigError
    from monitor.records import now
    from monitor.store.location import without_password

    settings = load_settings(config=config, db=db)
    first, last = (time or "" for time in period_of(since, until))
    with working("asking", quiet=json_output) as told:
        ask = _asker(settings.db, seconds, settings.busy_seconds)
        found = gather(ask, since=first, until=last, told=told)
    page = audit_page(found, made_at=now()[:16].replace("T", " ") + " UTC", database=without_password(settings.db))
    try:
        written = write(page, html=out / "audit-report.html", markdown=out / "audit-report.md")
    except OSError as exc:
        raise ConfigError(
            f"{out}: the report cannot be written ({exc.strerror}); name another folder with --out"
        ) from exc
    if json_output:
        about = {
            "since": first or None,
            "until": last or None,
            "whole": found.is_whole,
            "unmeasured": dict(found.missing),
        }
        answers: dict[str, Any] = dict(found.answers)
        emit_json("monitor.audit-report/1", {**about, "written": [str(path) for path in written], "answers": answers})
    else:
        sys.stdout.write("".join(f"{path}\n" for path in written[:2]))
    if not found.is_whole:
        lacking = ", ".join([*found.missing, *sorted(found.cut)])
        error_line(f"the report is not whole: {lacking} could not be answered to the last row")
        raise typer.Exit(ExitCode.UNEXPECTED)


def _asker(
    url: str, seconds: float, busy_seconds: float
) -> "Callable[[str, Mapping[str, str]], tuple[list[Row], bool]]":
    """What answers a saved query. A store that cannot be read at all is an error; a query that fails is Unanswered."""
    from monitor.audit.report.gathering import Unanswered
    from monitor.audit.saved import find_query
    from monitor.audit.tabular import to_objects
    from monitor.store.asking import QueryError, QueryLimits
    from monitor.store.asking import ask as put
    from monitor.store.location import is_postgres

    def ask(name: str, given: Mapping[str, str]) -> "tuple[list[Row], bool]":
        saved = find_query(name)
        sql = saved.sql_on_postgres if is_postgres(url) else saved.sql
        limits = QueryLimits(seconds=seconds, rows=100_000)
        try:
            answer = put(url, sql, saved.values(given), limits=limits, busy_seconds=busy_seconds)
        except QueryError as exc:
            raise Unanswered(str(exc)) from exc
        return to_objects(answer), answer.is_cut

    return ask
