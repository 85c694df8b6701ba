"""``monitor policy coverage``: which rules ever fired over what is stored, and which never did."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from monitor.cli.console import emit_json, stdout
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.safe import one_line
from monitor.cli.scans import (
    Packs,
    Recipe,
    Role,
    Run,
    Since,
    Unchecked,
    Until,
    covered_json,
    finish,
    load_packs,
    number,
    print_covered,
    print_line,
    scanning,
    wanted,
)
from monitor.records import Status

if TYPE_CHECKING:
    from monitor.audit.rule_coverage import Coverage, RuleCoverage

__all__ = ["coverage", "register"]

Recorded = Annotated[
    bool, typer.Option("--recorded", help="With packs: what was recorded of their rules, and not what they say now.")
]


def register(group: typer.Typer) -> None:
    """Add the command to ``monitor policy``."""
    group.command()(coverage)


def coverage(
    packs: Packs = None,
    *,
    recorded: Recorded = False,
    run: Run = None,
    since: Since = None,
    until: Until = None,
    role: Role = None,
    recipe: Recipe = None,
    unchecked: Unchecked = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Say which rules fired, which never did, which never applied and which could never be evaluated.

    Without packs: the rules of the stored runs, by what was recorded of them. With packs: their rules, evaluated anew over
    every stored subcall (with --recorded: by what was recorded of them, so that a rule that never ran is said too).

    Exit code 1 if a stored subcall could not be looked at.
    """
    from monitor.audit import rule_coverage as audit
    from monitor.store import Store

    rules = load_packs(packs) if packs else None
    settings = load_settings(config=config, db=db)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        which = wanted(store, run, since, until, role, recipe)
        evaluated = None if recorded else rules
        with scanning(store, which, evaluated, quiet=json_output) as scanned:
            if rules is None or recorded:
                result = audit.recorded_coverage(rules.refs if rules else None, scanned)
            else:
                result = audit.evaluated_coverage(rules, scanned, unchecked=unchecked)
    by = "recorded" if rules is None or recorded else "evaluated"
    if json_output:
        emit_json("monitor.policy-coverage/1", _json(result, by=by))
        if not result.covered.is_whole:
            raise typer.Exit(ExitCode.UNEXPECTED)
        return
    _print(result, by=by)
    finish(result.covered)


def _print(result: "Coverage", *, by: str) -> None:
    from monitor.audit.rule_coverage import Firing

    print_covered(result.covered)
    how = "as recorded when the runs went" if by == "recorded" else "evaluated now"
    counts = ", ".join(
        f"{count} {firing.value}" for firing in Firing if (count := sum(rule.firing is firing for rule in result.rules))
    )
    print_line(f"{number(len(result.rules), 'rule')}, {how}: {counts or 'none'}")
    if result.outages:
        print_line(f"{result.outages:,} times all rules broke together; those are in no count")
    if not result.rules:
        return
    table = Table(
        "rule",
        "pack",
        "what it did",
        "match",
        "no_match",
        "unknown",
        "n/a",
        "runs",
        "last match",
        box=None,
        header_style="dim",
    )
    order = list(Firing)
    for rule in sorted(
        result.rules, key=lambda rule: (order.index(rule.firing), -rule.counts[Status.MATCH], rule.name)
    ):
        table.add_row(
            Text(one_line(rule.name, 40)),
            Text(one_line(rule.pack, 20)),
            Text(rule.firing.value, style="" if rule.firing is Firing.FIRED else "yellow"),
            *(Text(f"{rule.counts[status]:,}", justify="right") for status in Status),
            Text(f"{len(rule.runs):,}", justify="right"),
            Text(rule.last_match[:16].replace("T", " ")),
        )
    stdout().print(table)


def _json(result: "Coverage", *, by: str) -> dict[str, Any]:
    return {
        "covered": covered_json(result.covered),
        "by": by,
        "outages": result.outages,
        "rules": [_rule_json(rule) for rule in result.rules],
    }


def _rule_json(rule: "RuleCoverage") -> dict[str, Any]:
    return {
        "name": rule.name,
        "pack": rule.pack,
        "rule_id": rule.rule_id,
        "rule_hashes": sorted(rule.hashes),
        "firing": rule.firing.value,
        "counts": {status.value: rule.counts[status] for status in Status},
        "runs": len(rule.runs),
        "last_match": rule.last_match or None,
    }
