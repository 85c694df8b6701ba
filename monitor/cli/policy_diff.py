"""``monitor policy diff``: which stored traces change verdict between two sets of packs, and why."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from monitor.cli.console import emit_json
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.safe import one_line, visible
from monitor.cli.scans import (
    Recipe,
    Role,
    Run,
    Samples,
    Seed,
    Since,
    Unchecked,
    Until,
    as_json,
    covered_json,
    excerpt_line,
    finish,
    load_packs,
    print_covered,
    print_line,
    scanning,
    wanted,
)
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.audit.policy_diff import Change, Diff, Difference

__all__ = ["diff", "register"]

Sets = Annotated[
    list[str],
    typer.Argument(metavar="OLD NEW", help="Two sets: a pack by name or path, or several with commas between them."),
]
Recorded = Annotated[
    bool, typer.Option("--recorded", help="Give NEW alone: compare it with what was recorded when the runs went.")
]
Each = Annotated[bool, typer.Option("--each", help="Print every subcall that changes, and not only examples.")]


def register(group: typer.Typer) -> None:
    """Add the command to ``monitor policy``."""
    group.command()(diff)


def diff(
    sets: Sets,
    *,
    recorded: Recorded = False,
    run: Run = None,
    since: Since = None,
    until: Until = None,
    role: Role = None,
    recipe: Recipe = None,
    sample: Samples = 1,
    seed: Seed = 0,
    each: Each = False,
    unchecked: Unchecked = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Say which stored subcalls get another verdict or action under other packs, and by which rules.

    OLD and NEW are evaluated over what is stored; no model is called, and nothing is stored. What budgets and probes found
    is taken from the record on both sides.

    Exit code 0 whatever changes; 1 if a stored subcall could not be looked at.
    """
    from monitor.audit import policy_diff as audit
    from monitor.store import Store

    if len(sets) != (1 if recorded else 2):
        shape = "monitor policy diff --recorded NEW" if recorded else "monitor policy diff OLD NEW"
        raise ConfigError(
            f"expected {shape}, found {len(sets)} sets; several packs in one set have commas between them"
        )
    old = None if recorded else load_packs(sets[0].split(","))
    new = load_packs(sets[-1].split(","))
    settings = load_settings(config=config, db=db)
    found: list[Change] = []

    def told(change: "Change") -> None:
        if json_output and each:
            found.append(change)
        elif each:
            _print_change(change)

    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        which = wanted(store, run, since, until, role, recipe)
        with scanning(store, which, old, new, quiet=json_output or each) as scanned:
            result = audit.diff(old, new, scanned, samples=sample, seed=seed, unchecked=unchecked, listener=told)
    if json_output:
        emit_json(
            "monitor.policy-diff/1",
            {**_json(result, recorded=recorded, seed=seed), "changes": [_change_json(change) for change in found]},
        )
        if not result.covered.is_whole:
            raise typer.Exit(ExitCode.UNEXPECTED)
        return
    _print(result)
    finish(result.covered)


def _print(result: "Diff") -> None:
    print_covered(result.covered)
    for word, names in (
        ("added", result.rules.added),
        ("removed", result.rules.removed),
        ("changed", result.rules.changed),
    ):
        print_line(f"rules {word}: {', '.join(names) or 'none'}")
    quiet = f"; {result.quiet:,} keep theirs, with other findings" if result.quiet else ""
    in_runs = f" (in {len(result.runs):,} run{'' if len(result.runs) == 1 else 's'})" if result.runs else ""
    print_line(f"{result.changed:,} of {result.covered.subcalls:,} subcalls change verdict or action{in_runs}{quiet}")
    for (before, after), count in result.verdicts.most_common():
        print_line(f"{count:>7,}  {before} → {after}")
    if result.reasons:
        print_line("\nwhy")
    for reason, count in result.reasons.most_common():
        print_line(
            Text.assemble(
                f"{count:>7,}  ", (visible(reason.rule), "bold"), visible(f": {reason.before} → {reason.after}")
            )
        )
        for example in result.examples.get(reason, ()):
            _print_change(example, indent=9)


def _print_change(change: "Change", indent: int = 0) -> None:
    where = f"{change.run_id[:8]}/{change.span_id[:8]}  {one_line(change.role, 30)}"
    print_line(Text.assemble((where, "cyan"), f"  {change.before} → {change.after}"), indent)
    if not indent:
        for reason in change.differences:
            print_line(f"{reason.rule}: {reason.before} → {reason.after}", indent + 4)
    for excerpt in change.evidence:
        print_line(excerpt_line(excerpt), indent + 4)


def _json(result: "Diff", *, recorded: bool, seed: int) -> dict[str, Any]:
    return {
        "covered": covered_json(result.covered),
        "recorded": recorded,
        "seed": seed,
        "rules": as_json(result.rules),
        "changed": result.changed,
        "changed_runs": len(result.runs),
        "quiet": result.quiet,
        "verdicts": [
            {"before": before, "after": after, "subcalls": count}
            for (before, after), count in result.verdicts.most_common()
        ],
        "reasons": [_reason_json(result, reason, count) for reason, count in result.reasons.most_common()],
    }


def _reason_json(result: "Diff", reason: "Difference", count: int) -> dict[str, Any]:
    examples = [_change_json(change) for change in result.examples.get(reason, ())]
    return {**reason._asdict(), "subcalls": count, "examples": examples}


def _change_json(change: "Change") -> dict[str, Any]:
    return {**as_json(change), "differences": [reason._asdict() for reason in change.differences]}
