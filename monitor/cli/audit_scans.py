"""``monitor audit scans`` and ``diff``: which scans there are, and what changes from one to another."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli.console import emit_json, error_line
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.scans import number, print_line

if TYPE_CHECKING:
    from monitor.audit.rescan.compare import Change, Comparison, Side
    from monitor.store import Store

__all__ = ["diff", "register", "scans"]

ScanName = Annotated[
    str, typer.Argument(metavar="SCAN", help="The id of a scan, its beginning, `latest` or `recorded`.")
]
_EXAMPLES = 3


def register(group: typer.Typer) -> None:
    """Add the commands to ``monitor audit``."""
    for command in (scans, diff):
        group.command()(command)


def scans(*, db: Db = None, config: Config = None, json_output: Json = False) -> None:
    """List the scans that are kept in a store, the newest first."""
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        known = store.scans.scans()
    if json_output:
        shown = [
            {"scan": one.scan_id, "begun_at": one.begun_at, "finished": one.is_finished, "header": one.header}
            for one in known
        ]
        emit_json("monitor.scans/1", {"scans": shown})
        return
    for one in known:
        of_rules = dict.fromkeys(check["pack"] for check in one.header["checks"] if check["check"] == "rule")
        of_probes = [check["name"] for check in one.header["checks"] if check["check"] == "probe"]
        what = ", ".join([*of_rules, *of_probes])
        state = "finished" if one.is_finished else f"{one.parts_done:,} of {one.parts:,} parts done"
        print_line(f"{one.scan_id}  {one.begun_at[:19]}  {state}  {what}")
    if not known:
        print_line("no scan is kept here; `monitor audit rescan` makes one")


# --------------------------------------------------------------------------------------------------------------- diff


def diff(
    before: ScanName,
    after: ScanName,
    *,
    each: Annotated[
        bool, typer.Option("--each", help="Print every subcall that changes, and not only examples.")
    ] = False,
    fail_on_change: Annotated[
        bool, typer.Option("--fail-on-change", help="Exit code 1 also where a verdict or action changes.")
    ] = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Say which subcalls have another verdict or action in one scan than in another, and by which checks.

    `recorded` stands for what was recorded when the runs went. Nothing is evaluated.

    Exit code 0 whatever changes; 1 if a scan is not finished or could not look at some of its subcalls, or if no subcall is
    judged on both sides.
    """
    from monitor.audit.rescan.compare import compare
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    changes: list[Change] = []
    most = None if each else _EXAMPLES

    def told(change: "Change") -> None:
        if most is None or len(changes) < most:
            changes.append(change)

    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        sides = [_side(store, name) for name in (before, after)]
        result = compare(sides[0][0], sides[1][0], listener=told)
    problems = [problem for _, problem, _ in sides if problem]
    if not result.compared and all(size for _, _, size in sides):
        problems.append("no subcall is judged on both sides, in this store")
    if json_output:
        emit_json("monitor.audit-diff/1", _diff_json(result, changes, problems))
    else:
        _print_diff(result, changes)
        for problem in problems:
            error_line(f"{problem}: these figures are not of everything")
    if problems or (fail_on_change and result.changed):
        raise typer.Exit(ExitCode.UNEXPECTED)


def _side(store: "Store", name: str) -> "tuple[Side, str, int]":
    """A side, what is missing on it, and how many results it has; what was recorded is held to have some."""
    from monitor.audit.rescan import compare

    if name == "recorded":
        return compare.recorded(store), "", 1
    log = store.scans
    scan = log.scan(name)
    counts = log.counts(scan.scan_id)
    failed = sum(count for (status, _), count in counts.items() if status == "failed")
    problems = []
    if not scan.is_finished:
        problems.append(f"is not finished ({scan.parts_done:,} of {scan.parts:,} parts)")
    if failed:
        problems.append(f"could not look at {number(failed, 'subcall')}")
    said = f"scan {scan.scan_id} {' and '.join(problems)}" if problems else ""
    return compare.scanned(log, scan), said, sum(counts.values())


def _print_diff(result: "Comparison", changes: "list[Change]") -> None:
    print_line(f"{number(result.compared, 'subcall')} compared, {result.changed:,} with another verdict or action")
    if result.quiet:
        print_line(f"{result.quiet:,} with other findings, and the same verdict and action", 2)
    for reason, count in sorted(result.uncompared.items()):
        print_line(f"{count:,} not compared: {reason}", 2)
    for (old, new), count in result.verdicts.most_common():
        print_line(f"{count:,}  {old}  →  {new}", 2)
    for difference, count in result.reasons.most_common():
        print_line(f"{count:,}  {difference.check}: {difference.before}  →  {difference.after}", 2)
    for change in changes:
        print_line(f"{change.run_id}/{change.span_id}  {change.before}  →  {change.after}")
        for one in change.differences:
            print_line(f"{one.check}: {one.before}  →  {one.after}", 4)


def _diff_json(result: "Comparison", changes: "list[Change]", problems: list[str]) -> dict[str, Any]:
    return {
        "compared": result.compared,
        "changed": result.changed,
        "quiet": result.quiet,
        "uncompared": dict(result.uncompared),
        "verdicts": [
            {"before": old, "after": new, "subcalls": count} for (old, new), count in result.verdicts.most_common()
        ],
        "reasons": [{**reason._asdict(), "subcalls": count} for reason, count in result.reasons.most_common()],
        "changes": [
            {
                "run_id": change.run_id,
                "span_id": change.span_id,
                "before": change.before,
                "after": change.after,
                "differences": [one._asdict() for one in change.differences],
            }
            for change in changes
        ],
        "problems": problems,
    }
