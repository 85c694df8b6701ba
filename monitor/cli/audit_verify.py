"""``monitor audit verify``: three answers apart, as text and as JSON."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from monitor.cli.audit_keys import Vkey, read_note, verifier_of
from monitor.cli.console import emit_json, stdout
from monitor.cli.durations import parse_duration
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.safe import visible
from monitor.cli.working import working
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.audit.integrity.coverage import Share
    from monitor.audit.integrity.verify import Integrity, Verification

__all__ = ["register", "verify"]

_FAULTS_SHOWN = 50


def register(group: typer.Typer) -> None:
    """Add the command of this module."""
    group.command()(verify)


def verify(
    *,
    vkey: Vkey = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FILE", help="A checkpoint that was kept elsewhere."),
    ] = None,
    min_coverage: Annotated[
        list[str] | None,
        typer.Option(
            "--min-coverage",
            metavar="[SURFACE=]N",
            help="The least share (0 to 1) of subcalls, or of one text surface, that must have been checked.",
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", metavar="PACK", help="A pack whose rules ran, to know what they read; default: shipped ones."
        ),
    ] = None,
    grace: Annotated[
        str,
        typer.Option("--grace", metavar="TIME", help="Runs with an event in the last 30m, 2h, 1d may still go on."),
    ] = "0s",
    address: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Answer three questions apart: is the record unaltered, is it complete, and what was really checked?

    Rows are read by scans, hashes computed anew; nothing is changed. Exit code 8 if anything was altered or cannot be read,
    9 if the record is unaltered and incomplete, 10 if less was checked than --min-coverage asks for.
    """
    from monitor import catalog
    from monitor.audit.integrity.rules import surfaces_of
    from monitor.audit.integrity.verify import verify as check

    settings = load_settings(config=config, db=address)
    bounds = _bounds(min_coverage or [])
    now = datetime.now(UTC)
    with working("verifying", quiet=json_output) as told:
        found = check(
            settings.db,
            verifier=verifier_of(vkey, settings),
            outside=read_note(against) if against else "",
            grace_until=_at(now - parse_duration(grace)) if parse_duration(grace) else "",
            busy_seconds=settings.busy_seconds,
            progress=lambda _what, done, total: told(done, total),
        )
    shipped, ran = set(catalog.names("policy")), found.coverage.packs
    packs = policy or [*(shipped & ran.keys()), *(name for name in settings.policies if ran and name not in shipped)]
    reads, problems = surfaces_of(packs)
    found.coverage.resolve(reads)
    short = _short_of(found, bounds)
    code = _code(found, short)
    if json_output:
        emit_json("monitor.audit-verify/1", _as_json(found, short, problems, code))
    else:
        _print(found, short, problems)
    if code:
        raise typer.Exit(code)


def _at(when: datetime) -> str:
    return when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _bounds(given: list[str]) -> dict[str, float]:
    """``0.9`` and ``reasoning=0.9`` as bounds by name; ``""`` is that of subcalls. Raises ConfigError."""
    from monitor.audit.integrity.coverage import SURFACES

    bounds: dict[str, float] = {}
    for text in given:
        name, separator, number = text.rpartition("=")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1 or (separator and name not in SURFACES):
            raise ConfigError(
                f"--min-coverage {text}: expected a share from 0 to 1, or SURFACE=SHARE with one of {', '.join(SURFACES)}"
            )
        bounds[name] = share
    return bounds


def _short_of(found: "Verification", bounds: dict[str, float]) -> list[str]:
    """The bounds that are not reached, in words. Where nothing is present nothing is missing."""
    short = []
    for name, bound in bounds.items():
        share = (found.coverage.surfaces[name] if name else found.coverage.subcalls).share
        if share is not None and share < bound:
            short.append(f"{name or 'subcalls'}: {share:.1%} checked, {bound:.1%} asked for")
    return short


def _code(found: "Verification", short: list[str]) -> ExitCode:
    if not found.integrity.is_whole:
        return ExitCode.ALTERED
    if found.gaps or found.pending:
        return ExitCode.INCOMPLETE
    return ExitCode.UNCOVERED if short else ExitCode.OK


def _share(share: "Share") -> dict[str, Any]:
    return {"present": share.present, "checked": share.checked, "unclear": share.unclear, "share": share.share}


def _as_json(found: "Verification", short: list[str], problems: list[str], code: ExitCode) -> dict[str, Any]:
    integrity, coverage = found.integrity, found.coverage
    return {
        "store": found.place,
        "integrity": {
            "whole": integrity.is_whole,
            "found": integrity.found,
            "faults": [fault._asdict() for fault in integrity.faults],
            "events": integrity.events,
            "leaves": integrity.leaves,
            "root": integrity.root,
            "texts": integrity.texts,
            "erased": integrity.erased,
            "messages": integrity.messages,
            "checkpoints": [
                {"number": item.number, "origin": item.origin, "size": item.size, "state": item.state}
                for item in integrity.checkpoints
            ],
            "signed_up_to": integrity.covered,
            "outside_up_to": integrity.outside,
            "not_shown": integrity.limits,
        },
        "completeness": {
            "whole": found.is_complete,
            "read": found.is_read,
            "gaps": [gap._asdict() for gap in found.gaps],
            "in_progress": found.in_progress,
            "pending_leaves": found.pending,
        },
        "coverage": {
            "subcalls": _share(coverage.subcalls),
            "left_unchecked": coverage.unchecked,
            "not_judged": coverage.unjudged,
            "unmeasured": coverage.unmeasured,
            "monitors_own": coverage.own,
            "surfaces": {name: _share(share) for name, share in coverage.surfaces.items()},
            "packs": {pack: dict(counts) for pack, counts in sorted(coverage.packs.items())},
            "probes": {probe: dict(counts) for probe, counts in sorted(coverage.probes.items())},
            "on_trial": dict(coverage.trials),
            "rules_not_at_hand": sorted(coverage.strangers),
            "packs_not_loaded": problems,
            "below": short,
        },
        "exit_code": int(code),
    }


def _print(found: "Verification", short: list[str], problems: list[str]) -> None:
    console = stdout()
    _line(f"{found.place}\n", bold=True)
    _print_integrity(found.integrity)
    _print_completeness(found)
    coverage = found.coverage
    _line(f"\ncoverage  {_said(coverage.subcalls)} of subcalls were checked", bold=True)
    left = {
        "left unchecked by their recipe": coverage.unchecked,
        "never judged": coverage.unjudged,
        "with the verdict unmeasured": coverage.unmeasured,
        "of the monitor's own (questions to a judge), not counted in": coverage.own,
    }
    for what, count in left.items():
        if count:
            _line(f"  {count} {what}")
    table = Table("text surface", "checked", "not known", box=None, header_style="dim")
    for name, share in coverage.surfaces.items():
        if share.present:
            table.add_row(name, _said(share), str(share.unclear) if share.unclear else "")
    console.print(table)
    statuses = ("match", "no_match", "unknown", "not_applicable")
    table = Table("checked by", *statuses, box=None, header_style="dim")
    for name, counts in [*sorted(coverage.packs.items()), *sorted(coverage.probes.items())]:
        table.add_row(Text(visible(name)), *(str(counts[status]) for status in statuses))
    console.print(table)
    for stranger in sorted(coverage.strangers)[:_FAULTS_SHOWN]:
        _line(f"  what this rule reads is not known, for it is in no pack given (--policy): {stranger}")
    for problem in problems:
        _line(f"  not loaded: {problem}")
    for below in short:
        _line(f"  too little: {below}")


def _print_completeness(found: "Verification") -> None:
    gaps = found.gaps
    _line(f"\ncompleteness  {'nothing is missing' if found.is_complete else f'{len(gaps)} gaps'}", bold=True)
    if not found.is_read:
        _line("  not known: not every event could be read, so what is missing, or was checked, of those cannot be told")
    if found.pending:
        _line(f"  {found.pending} events have no leaf yet: monitor db sequence")
    if found.in_progress:
        _line(f"  {found.in_progress} runs still go on")
    for gap in gaps[:_FAULTS_SHOWN]:
        _line(f"  {gap.what}: run {gap.run_id}{f', subcall {gap.span_id}' if gap.span_id else ''}: {gap.detail}")
    if len(gaps) > _FAULTS_SHOWN:
        _line(f"  and {len(gaps) - _FAULTS_SHOWN} more: --json lists them")


def _print_integrity(integrity: "Integrity") -> None:
    state = "nothing was altered" if integrity.is_whole else f"{integrity.found} faults"
    _line(f"integrity  {state}", bold=True)
    _line(
        f"  {integrity.events} events, {integrity.texts} texts ({integrity.erased} erased), {integrity.messages} messages"
    )
    _line(f"  root over {integrity.leaves} leaves  {integrity.root}")
    for item in integrity.checkpoints[-3:]:
        name = "kept elsewhere" if item.number is None else f"checkpoint {item.number}"
        _line(f"  {name}: {item.origin}, {item.size} leaves: {item.state}")
    for fault in integrity.faults[:_FAULTS_SHOWN]:
        _line(f"  {fault.table} {fault.row}: {fault.problem}")
    if integrity.found > _FAULTS_SHOWN:
        _line(f"  and {integrity.found - _FAULTS_SHOWN} more: --json lists up to a thousand")
    for limit in integrity.limits:
        _line(f"  not shown: {limit}")


def _said(share: "Share") -> str:
    return "none present" if share.share is None else f"{share.share:.1%} ({share.checked} of {share.present})"


def _line(text: str, *, bold: bool = False) -> None:
    stdout().print(Text(visible(text), style="bold" if bold else ""), soft_wrap=True)
