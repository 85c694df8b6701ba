"""``monitor policy``: test, lint and list rule files."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from monitor.cli.console import emit_json, stdout
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Json
from monitor.cli.safe import one_line, visible

__all__ = ["lint", "list_rules", "register", "run_tests"]

Packs = Annotated[
    list[str] | None, typer.Argument(metavar="PACK", help="Packs by name or path; default: all shipped ones.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Test, lint and list policy packs.", no_args_is_help=True, rich_markup_mode=None)
    group.command("test")(run_tests)
    group.command()(lint)
    group.command("list")(list_rules)
    app.add_typer(group, name="policy")


def _paths(packs: list[str] | None) -> list[Path]:
    from monitor import catalog

    return [catalog.find("policy", name) for name in packs or catalog.names("policy")]


def run_tests(packs: Packs = None, *, json_output: Json = False) -> None:
    """Run the tests inside the rules. Exit code 1 if one fails."""
    from monitor import policy

    results = policy.load(_paths(packs)).run_tests()
    failed = [result for result in results if not result.passed]
    if json_output:
        shape = {"passed": len(results) - len(failed), "failed": len(failed)}
        tests = [
            {
                "pack": r.pack,
                "rule": r.rule,
                "test": r.test,
                "expected": r.expected,
                "actual": r.actual,
                "passed": r.passed,
            }
            | {"path": r.path, "line": r.line, "cause": r.cause}
            for r in results
        ]
        emit_json("monitor.policy-tests/1", {**shape, "tests": tests})
    else:
        for result in failed:
            why = f" ({result.cause})" if result.cause else ""
            line = f"{result.path}:{result.line}: {result.rule}: {result.test}: "
            line += f"expected {result.expected.value}, found {result.actual.value}{why}"
            stdout().print(Text(visible(line), style="red"), soft_wrap=True)
        sys.stdout.write(f"{len(results) - len(failed)} passed, {len(failed)} failed\n")
    if failed:
        raise typer.Exit(ExitCode.UNEXPECTED)


def lint(packs: Packs = None, *, json_output: Json = False) -> None:
    """Say what is wrong in rule files, and what could be better. Exit code 1 if anything is wrong."""
    from monitor import policy
    from monitor.errors import Fault

    found = policy.lint(_paths(packs))
    faults = [item for item in found if isinstance(item, Fault)]
    if json_output:
        notes = [
            {"kind": "fault" if isinstance(item, Fault) else "note", "path": item.path, "line": item.line}
            | {"column": item.column, "problem": item.problem, "fix": item.fix}
            for item in found
        ]
        emit_json("monitor.policy-lint/1", {"faults": len(faults), "notes": len(found) - len(faults), "found": notes})
    else:
        for item in found:
            stdout().print(Text(visible(str(item)), style="red" if isinstance(item, Fault) else ""), soft_wrap=True)
        sys.stdout.write(f"{len(faults)} faults, {len(found) - len(faults)} notes\n")
    if faults:
        raise typer.Exit(ExitCode.UNEXPECTED)


def list_rules(packs: Packs = None, *, json_output: Json = False) -> None:
    """List the rules of packs with their level, what they do, and their hash."""
    from monitor import policy

    rules = [
        {
            "pack": rule.pack,
            "pack_version": rule.pack_version,
            "name": rule.name,
            "id": rule.id,
            "title": rule.written.title,
            "level": rule.written.level,
            "action": rule.written.effective_action,
            "on_unknown": rule.written.effective_on_unknown,
            "falsepositives": rule.written.falsepositives,
            "hash": rule.rule_hash,
        }
        for rule in policy.load(_paths(packs)).rules
    ]
    if json_output:
        emit_json("monitor.rules/1", {"rules": rules})
        return
    table = Table("pack", "rule", "level", "action", "on unknown", "title", box=None, header_style="dim")
    for rule in rules:
        cells = (rule[key] for key in ("pack", "name", "level", "action", "on_unknown", "title"))
        table.add_row(*(Text(one_line(str(cell), 70)) for cell in cells))
    stdout().print(table)
