"""``monitor policy``: write, lint, test, explain and list rule files."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from monitor.cli import (
    policy_backtest,
    policy_coverage,
    policy_diff,
    policy_explain,
    policy_import,
    policy_new,
    policy_schema,
    policy_test,
)
from monitor.cli.console import emit_json, stdout
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Json
from monitor.cli.policy_files import Packs, paths
from monitor.cli.safe import one_line, visible
from monitor.cli.working import working

if TYPE_CHECKING:
    from monitor.policy.tools.lint import LintReport, PackCost

__all__ = ["lint", "list_rules", "register"]

_COSTLIEST = 3  # rules named for each pack


def register(app: typer.Typer) -> None:
    """Add the commands of this module, and those of the modules beside it."""
    group = typer.Typer(help="Write, lint, test and explain policy packs.", no_args_is_help=True, rich_markup_mode=None)
    group.command("test")(policy_test.run_tests)
    group.command()(lint)
    group.command("list")(list_rules)
    group.command()(policy_explain.explain)
    group.command()(policy_new.new)
    group.command()(policy_schema.schema)
    for command in (policy_import, policy_backtest, policy_diff, policy_coverage):
        command.register(group)
    app.add_typer(group, name="policy")


def lint(
    packs: Packs = None,
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for notes as well, not only for faults.")
    ] = False,
    costs: Annotated[
        bool, typer.Option("--costs", help="Print the cost of every rule, not only of the costliest.")
    ] = False,
    windows: Annotated[
        bool,
        typer.Option(
            "--windows", help="Print of every rule that acts whether streams may be released before their end."
        ),
    ] = False,
    json_output: Json = False,
) -> None:
    """Say what is wrong in policy files, what is probably not meant, and what the rules cost at worst.

    Faults keep a file from loading. Notes are allowed: conditions that can never match or always do, selections that
    nothing uses, patterns that slow the search down, rules without tests, filters that have expired. The cost is a bound:
    automaton steps for each byte of text if every pattern of the pack had to be run. Exit code 1 if there are faults.
    """
    from monitor.policy.tools.lint import lint_report

    with working("reading rules", quiet=json_output):
        report = lint_report(paths(packs))
    if json_output:
        emit_json("monitor.policy-lint/1", _as_json(report))
    else:
        for fault in report.faults:
            stdout().print(Text(visible(str(fault)), style="red"), soft_wrap=True)
        for note in report.notes:
            stdout().print(Text(visible(str(note))), soft_wrap=True)
        for line in _cost_lines(report, None if costs else _COSTLIEST):
            stdout().print(Text(visible(line), style="dim"), soft_wrap=True)
        for line in _window_lines(report) if windows else ():
            stdout().print(Text(visible(line)), soft_wrap=True)
        sys.stdout.write(f"{_count(len(report.faults), 'fault')}, {_count(len(report.notes), 'note')}\n")
    if report.faults or (strict and report.notes):
        raise typer.Exit(ExitCode.UNEXPECTED)


def _as_json(report: "LintReport") -> dict[str, object]:
    found = [("fault", item) for item in report.faults] + [("note", item) for item in report.notes]
    return {
        "faults": len(report.faults),
        "notes": len(report.notes),
        "found": [
            {"kind": kind, "path": item.path, "line": item.line, "column": item.column}
            | {"rule": getattr(item, "rule", None), "problem": item.problem, "fix": item.fix}
            for kind, item in found
        ],
        "costs": [
            {"pack": pack.pack, "path": pack.path, **asdict(pack.cost), "outside": asdict(pack.outside)}
            | {"rules": [{"rule": rule.rule, **asdict(rule.cost)} for rule in pack.rules]}
            for pack in report.costs
        ],
        "windows": [asdict(one) for one in report.windows],
    }


def _window_lines(report: "LintReport") -> list[str]:
    """Of each rule that acts whether it lets a stream be released before its end, then what holds of them all."""
    acting = [one for one in report.windows if one.acts]
    refused = sum(bool(one.obstacles) for one in acting)
    if refused:
        whole = f"{refused:,} of {_count(len(acting), 'acting rule')} not windowable: streams are released when judged"
    else:
        longest = max((one.longest or 0 for one in acting), default=0)
        whole = f"streams may be released before their end, but for the last {_count(longest, 'codepoint')}"
    return [*(f"{one.pack}: {one}" for one in acting), whole]


def _cost_lines(report: "LintReport", most: int | None) -> list[str]:
    lines = []
    for pack in report.costs:
        if not pack.rules:
            continue
        costly = ", ".join(f"{one.rule} {one.cost.bound_per_byte:,}" for one in pack.rules[:most] if one.cost.patterns)
        always = f", {pack.cost.always_run} of which run on every text" if pack.cost.always_run else ""
        lines.append(
            f"{pack.pack}: at most {pack.cost.bound_per_byte:,} automaton steps for each byte of text, "
            f"from {_count(pack.cost.patterns, 'pattern')}{always}{f'; the costliest rules: {costly}' if costly else ''}"
            f"{_outside(pack)}"
        )
    return lines


def _outside(pack: "PackCost") -> str:
    """What the bound of a pack does not count."""
    counts = {
        "comparison of whole texts (`fieldref`)": pack.outside.references,
        "path into arguments": pack.outside.argument_paths,
    }
    named = [f"{number:,} × {what}" for what, number in counts.items() if number]
    return f"; not in that bound, and linear too: {', '.join(named)}" if named else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def list_rules(packs: Packs = None, *, json_output: Json = False) -> None:
    """List the rules of packs with their level, what they do, and their hash."""
    from monitor import policy
    from monitor.policy.over_run import RunRule

    rules = [
        {
            "pack": rule.pack,
            "pack_version": rule.pack_version,
            "name": rule.name,
            "id": rule.id,
            "over": "run" if isinstance(rule, RunRule) else "subcall",
            "title": rule.written.title,
            "level": rule.written.level,
            "action": rule.written.effective_action,
            "on_unknown": rule.written.effective_on_unknown,
            "falsepositives": rule.written.falsepositives,
            "hash": rule.rule_hash,
        }
        for rule in policy.load(paths(packs)).every
    ]
    if json_output:
        emit_json("monitor.rules/1", {"rules": rules})
        return
    table = Table("pack", "rule", "over", "level", "action", "on unknown", "title", box=None, header_style="dim")
    for rule in rules:
        cells = (rule[key] for key in ("pack", "name", "over", "level", "action", "on_unknown", "title"))
        table.add_row(*(Text(one_line(str(cell), 70)) for cell in cells))
    stdout().print(table)
