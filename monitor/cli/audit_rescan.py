"""``monitor audit rescan``: later checks over stored subcalls, their results kept beside what was recorded."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from monitor.cli.console import emit_json, error_line, note, stderr
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.scans import Recipe, Role, Run, Since, Unchecked, Until, number, print_line, wanted
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.audit.rescan.job import Job
    from monitor.audit.rescan.scan import Engine, Summary
    from monitor.audit.rescan.sources import Source
    from monitor.settings import Settings
    from monitor.store import Store

__all__ = ["progress_bar", "register", "rescan"]

Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", "-p", metavar="PACK", help="A pack, filters or overrides, by name or path; repeatable."),
]
Probes = Annotated[
    list[str] | None, typer.Option("--probe", metavar="PROBE", help="A probe by name or path; repeatable.")
]
ForceProbes = Annotated[
    bool, typer.Option("--force-probes", help="Use probes whose evaluation raised an alarm as well.")
]
EngineName = Annotated[
    str, typer.Option("--engine", metavar="ENGINE", help="local: processes of this machine; ray: Ray Data.")
]
Address = Annotated[
    str | None, typer.Option("--address", metavar="ADDRESS", help="The Ray cluster; without it one is begun here.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, metavar="N", help="How many workers; default: one a processor.")
]
From = Annotated[
    Path | None, typer.Option("--from", metavar="FILE", help="Scan a file of `monitor export` instead of the database.")
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="URL", help="Keep the results in this store; made where there is none."),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Take over no result of an earlier scan, and go on with none.")]


def register(group: typer.Typer) -> None:
    """Add the command to ``monitor audit``."""
    group.command()(rescan)


def rescan(
    *,
    policies: Policies = None,
    probes: Probes = None,
    force_probes: ForceProbes = False,
    run: Run = None,
    since: Since = None,
    until: Until = None,
    role: Role = None,
    recipe: Recipe = None,
    unchecked: Unchecked = False,
    engine: EngineName = "local",
    address: Address = None,
    workers: Workers = None,
    from_file: From = None,
    out: Out = None,
    fresh: Fresh = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Check stored subcalls again, with the rules and probes of today. What was recorded stays as it is.

    No model is called but the one whose activations a probe reads. A result is stored for each subcall, in the database
    that is scanned or in --out. A scan that was interrupted goes on where it was when the same command is given again;
    where an earlier scan had the same checks, its results of the same events are taken as they are.

    Exit code 1 if something that was asked for was not covered: a subcall that cannot be read back or evaluated (a result
    says why), or that has no place in the log yet.
    """
    from monitor.audit.rescan.scan import rescan as run_scan
    from monitor.store import Store

    if not (policies or probes):
        raise ConfigError(
            "say what to check with: --policy PACK or --probe PROBE (`monitor policy list`, `probe list`)"
        )
    settings = load_settings(config=config, db=db)
    chosen = _engine(engine, address, workers)
    with _source(settings, from_file, (run, since, until, role, recipe)) as (source, store):
        job = _job(source, policies, probes, settings, force=force_probes, unchecked=unchecked)
        where = out or (settings.db if store is not None else None)
        if where is None:
            raise ConfigError("say where the results are to be kept: --out STORE (it is made where there is none)")
        with (
            Store.open(where, busy_seconds=settings.busy_seconds, create=out is not None) as kept,
            progress_bar(quiet=json_output) as progress,
        ):
            summary = run_scan(job, kept.scans, chosen, fresh=fresh, progress=progress)
    if json_output:
        emit_json("monitor.rescan/1", _json(summary))
    else:
        _print(summary, apart=out is not None)
    if not summary.is_whole:
        if not json_output:
            _say_what_is_missing(summary)
        raise typer.Exit(ExitCode.UNEXPECTED)


@contextmanager
def _source(
    settings: "Settings", from_file: Path | None, selection: tuple[Any, ...]
) -> "Iterator[tuple[Source, Store | None]]":
    """What is scanned, and the store that it is, where it is one."""
    from monitor.audit.rescan.sources import StoreSource
    from monitor.store import Store

    if from_file is not None:
        from monitor.audit.rescan.parquet import ParquetSource

        yield ParquetSource.of(from_file, wanted(None, *selection)), None
        return
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        _sequenced(store)
        which = wanted(store, *selection)
        yield StoreSource.of(settings.db, store, which, busy_seconds=settings.busy_seconds), store


def _sequenced(store: "Store") -> None:
    """Give every event its place in the log, as far as this user may; what has none is counted as not covered."""
    from monitor.errors import StoreError

    try:
        store.sequence()
    except StoreError as failure:
        note(f"events without a place in the log were left so: {failure}")


def _job(
    source: "Source",
    policies: list[str] | None,
    probes: list[str] | None,
    settings: "Settings",
    *,
    force: bool,
    unchecked: bool,
) -> "Job":
    from monitor import catalog
    from monitor.audit.rescan.job import Job, PolicyText

    paths = [catalog.find("policy", name) for name in policies or ()]
    return Job(
        source,
        PolicyText.of(paths),
        tuple(str(catalog.find("probe", name)) for name in probes or ()),
        dict(settings.probe_models),
        force_probes=force,
        unchecked=unchecked,
    )


def _engine(name: str, address: str | None, workers: int | None) -> "Engine":
    from monitor.audit.rescan import local

    if name == "ray":
        from monitor.audit.rescan import on_ray

        return lambda job, tasks, _: on_ray.run(job, tasks, address=address, workers=workers)
    if name != "local":
        raise ConfigError(f"--engine {name!r}: expected local or ray")
    if address is not None:
        raise ConfigError("--address is the one of a Ray cluster: it goes with --engine ray")
    return lambda job, tasks, loaded: local.run(job, tasks, workers=local.fitting(job, workers), loaded=loaded)


@contextmanager
def progress_bar(*, quiet: bool) -> "Iterator[Callable[[int, int], None]]":
    """A bar on a terminal's standard error: how many parts are done, and how long the rest takes."""
    columns = (TextColumn("parts"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True, disable=quiet or not sys.stderr.isatty()) as bar:
        task = bar.add_task("parts", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


# ----------------------------------------------------------------------------------------------------------- printing


def _print(summary: "Summary", *, apart: bool) -> None:
    done = summary.of_status("done")
    print_line(f"scan {summary.scan_id}: {number(done, 'subcall')} looked at, of the log up to leaf {_size(summary):,}")
    parts = [f"{summary.evaluated:,} results made now"]
    if summary.reused:
        parts.append(f"{summary.reused:,} taken from earlier scans with the same checks")
    if summary.resumed:
        parts.append(f"{number(summary.resumed, 'part')} of {summary.header['parts']:,} done before")
    print_line("; ".join(parts), 2)
    for status, why in (
        ("unanswered", "not looked at: nothing had come back"),
        ("unchecked", "not looked at: left unchecked by the recipe (--unchecked looks at them)"),
    ):
        if count := summary.of_status(status):
            print_line(f"{number(count, 'subcall')} {why}", 2)
    if summary.erased:
        print_line(
            f"{number(summary.erased, 'subcall')} looked at without texts that were erased: nothing is found in those",
            2,
        )
    verdicts = ", ".join(
        f"{count:,} {verdict}"
        for verdict in ("block", "flag", "unmeasured", "pass")
        if (count := summary.of_verdict(verdict))
    )
    print_line(f"verdicts  {verdicts or 'none'}")
    for kind, name, counts in _by_check(summary):
        print_line(f"{name if kind == 'rule' else f'{kind} {name}'}: {counts}", 2)
    if not apart:  # what was recorded is in the store that was scanned
        print_line(f"compare: monitor audit diff recorded {summary.scan_id}")


def _by_check(summary: "Summary") -> Iterator[tuple[str, str, str]]:
    """The checks that matched or could not be evaluated, with how often."""
    for check in summary.header["checks"]:
        kind, name = check["check"], check["name"]
        counts = [(status, summary.spoken.get((kind, name, status), 0)) for status in ("match", "unknown")]
        said = ", ".join(f"{count:,} {status}" for status, count in counts if count)
        if said:
            yield kind, name, said


def _say_what_is_missing(summary: "Summary") -> None:
    for failure in summary.failures:
        note(f"  {failure.run_id}/{failure.span_id}: {failure.problem}")
    failed = summary.of_status("failed")
    if failed > len(summary.failures):
        note(f"  and {failed - len(summary.failures)} more")
    missing = []
    if failed:
        missing.append(f"{number(failed, 'subcall')} could not be looked at")
    if summary.pending:
        missing.append(f"{number(summary.pending, 'subcall')} have no place in the log yet (monitor db sequence)")
    left = int(summary.header["parts"]) - summary.parts_done
    if left:
        missing.append(f"{number(left, 'part')} of the scan are not done (give the same command again)")
    error_line(f"{'; '.join(missing)}: this scan does not cover everything")


def _size(summary: "Summary") -> int:
    return int(summary.header["tree_size"])


def _json(summary: "Summary") -> dict[str, Any]:
    statuses = ("done", "failed", "unanswered", "unchecked")
    return {
        "scan": summary.scan_id,
        "whole": summary.is_whole,
        "tree_size": _size(summary),
        "parts": summary.header["parts"],
        "parts_done": summary.parts_done,
        "evaluated": summary.evaluated,
        "reused": summary.reused,
        "resumed_parts": summary.resumed,
        "pending": summary.pending,
        "erased": summary.erased,
        "statuses": {status: summary.of_status(status) for status in statuses},
        "verdicts": {word: summary.of_verdict(word) for word in ("block", "flag", "unmeasured", "pass")},
        "checks": [
            {
                **{name: check.get(name, "") for name in ("check", "name", "pack", "rule_id", "rule_hash", "artefact")},
                **{
                    status: summary.spoken.get((check["check"], check["name"], status), 0)
                    for status in ("match", "unknown", "not_applicable")
                },
            }
            for check in summary.header["checks"]
        ],
        "failures": [
            {"run_id": one.run_id, "span_id": one.span_id, "problem": one.problem} for one in summary.failures
        ],
    }
