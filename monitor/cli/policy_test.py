"""``monitor policy test``: the tests inside rules, and what those tests would not notice."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from monitor.cli.console import emit_json, stdout
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Json
from monitor.cli.policy_files import Packs, loaded
from monitor.cli.safe import visible
from monitor.cli.working import working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.policy import RuleTestResult
    from monitor.policy.tools.mutation import RuleMutation

__all__ = ["run_tests"]


def run_tests(
    packs: Packs = None,
    *,
    mutation: Annotated[
        bool, typer.Option("--mutation", help="Also change each rule a little, and say what no test notices.")
    ] = False,
    values: Annotated[
        bool | None,
        typer.Option("--values/--no-values", help="With --mutation: whether each value of a list is dropped as well."),
    ] = None,
    min_mutation: Annotated[
        float | None,
        typer.Option(
            "--min-mutation", metavar="PERCENT", min=0, max=100, help="Exit with 1 below; implies --mutation."
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Run the tests inside rules and filters. Exit code 1 if one fails.

    With --mutation each rule and filter is changed: each line and each selection dropped, each not taken away, each
    comparison of numbers moved by a step, each all made any, each value of a list dropped. A change that none of its
    own tests notices is a part of it that nobody has tried, and is named with the test that is missing.
    """
    with working("loading and testing rules", quiet=json_output):
        files, rules = loaded(packs)
        results = rules.run_tests()
    failed = [result for result in results if not result.passed]
    tried = None
    if mutation or values or min_mutation is not None:
        from monitor.policy.tools.mutation import try_mutants

        with working("changing rules", quiet=json_output) as told:
            tried = try_mutants(files, rules, values=values is not False, progress=told)
    if json_output:
        emit_json("monitor.policy-tests/1", _as_json(results, tried))
    else:
        for result in failed:
            why = f" ({result.cause})" if result.cause else ""
            line = f"{result.path}:{result.line}: {result.rule}: {result.test}: "
            line += f"expected {result.expected.value}, found {result.actual.value}{why}"
            stdout().print(Text(visible(line), style="red"), soft_wrap=True)
        if tried is not None:
            _print_mutation(tried)
        sys.stdout.write(f"{len(results) - len(failed)} passed, {len(failed)} failed\n")
    if failed or (tried is not None and min_mutation is not None and _is_below(tried, min_mutation)):
        raise typer.Exit(ExitCode.UNEXPECTED)


def _is_below(tried: "Sequence[RuleMutation]", least: float) -> bool:
    from monitor.policy.tools.mutation import share

    reached = share(tried)
    return reached is not None and reached < least


def _as_json(results: "Sequence[RuleTestResult]", tried: "Sequence[RuleMutation] | None") -> dict[str, Any]:
    failed = sum(not result.passed for result in results)
    shape: dict[str, Any] = {"passed": len(results) - failed, "failed": failed}
    shape["tests"] = [
        {"pack": r.pack, "rule": r.rule, "test": r.test, "expected": r.expected, "actual": r.actual}
        | {"passed": r.passed, "path": r.path, "line": r.line, "cause": r.cause}
        for r in results
    ]
    if tried is None:
        return shape
    from monitor.policy.tools.mutation import share

    rules = [
        {"pack": rule.pack, "rule": rule.rule, "killed": rule.killed, "total": len(rule.tried)}
        | {"equivalent": rule.equivalent, "ignored": list(rule.ignored), "path": rule.path, "line": rule.line}
        | {
            "mutants": [
                {"kind": one.kind, "what": one.what, "line": one.line, "noticed_by": list(one.noticed_by)}
                | {"advice": one.advice}
                for one in rule.tried
            ]
        }
        for rule in tried
    ]
    killed, total = sum(rule.killed for rule in tried), sum(len(rule.tried) for rule in tried)
    return {**shape, "mutation": {"killed": killed, "total": total, "percent": share(tried), "rules": rules}}


def _print_mutation(tried: "Sequence[RuleMutation]") -> None:
    for rule in tried:
        for name in rule.ignored:
            line = f"{rule.path}:{rule.line}: {rule.rule}: the test `{name}` fails already, and cannot notice anything"
            stdout().print(Text(visible(line), style="red"), soft_wrap=True)
        for one in rule.survivors:
            line = f"{rule.path}:{one.line}: {rule.rule}: {one.what} changes no test: {one.advice}"
            stdout().print(Text(visible(line), style="yellow"), soft_wrap=True)
    for rule in tried:
        if rule.survivors:
            sys.stdout.write(f"{rule.pack} {rule.rule}: {_figure([rule])}\n")
    for pack in dict.fromkeys(rule.pack for rule in tried):
        sys.stdout.write(f"{pack}: {_figure([rule for rule in tried if rule.pack == pack])}\n")


def _figure(tried: "Sequence[RuleMutation]") -> str:
    from monitor.policy.tools.mutation import share

    killed, total = sum(rule.killed for rule in tried), sum(len(rule.tried) for rule in tried)
    reached = share(tried)
    if reached is None:
        return "nothing to change"
    return f"tests notice {killed} of {total} changes ({reached:.0f} %)"
