"""``monitor show`` and ``monitor list``: what the database knows of runs."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from monitor.canonical import parse_json
from monitor.cli.console import emit_json, stdout
from monitor.cli.detail import evidence_lines, far_lines, print_subcall
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.redacted import REDACTED, hide_erased, marked, said_of
from monitor.cli.runs import RunRef, find_run
from monitor.cli.safe import one_line, visible
from monitor.cli.tree import draw, expired, notable, run_label, standing, state_text, verdict_text
from monitor.errors import ConfigError
from monitor.records import AWAITING_HUMAN, ProbeScore, RunStart, StoredRun, StoredSubcall

__all__ = ["list_runs", "register", "run_json", "show"]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(show)
    app.command("list")(list_runs)


def show(
    ref: RunRef,
    *,
    subcall: Annotated[
        str | None,
        typer.Option("--subcall", "-s", metavar="SPAN", help="Show one subcall in full; the beginning of its id."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="With --subcall: show very long texts whole.")] = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Show a stored run, or one of its subcalls.

    The tree with outcome, verdict, tokens and seconds, then what was found and why, then the answer.
    """
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        run = find_run(store, ref)
        redactions = store.redactions(run.start.run_id)
        run, subcalls = hide_erased(run, store.subcalls(run.start.run_id), redactions)
    if subcall is not None:
        chosen = _pick(subcalls, subcall)
        if json_output:
            early = chosen.released_before_final
            told = {name: value for name, value in chosen if name not in {"began_at", "judged_at"}}  # the log has those
            emit_json("monitor.subcall/1", {"state": chosen.state, "released_before_final": early, **told})
        else:
            print_subcall(stdout(), chosen, full=full, run={one.call.span_id: one for one in subcalls})
    elif json_output:
        emit_json("monitor.run/1", {**run_json(run, subcalls), "redactions": list(redactions)})
    else:
        _print_run(run, subcalls, said_of(redactions))


def _pick(subcalls: Sequence[StoredSubcall], prefix: str) -> StoredSubcall:
    found = [item for item in subcalls if item.call.span_id.startswith(prefix.lower())]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(f"--subcall {prefix}: no such subcall in this run; `monitor show RUN` lists their ids")
    ids = ", ".join(item.call.span_id for item in found[:5])
    raise ConfigError(f"--subcall {prefix}: {len(found)} subcalls begin so ({ids} …): give more of the id")


def run_json(run: StoredRun, subcalls: Sequence[StoredSubcall]) -> dict[str, Any]:
    """Return a run as ``show --json`` prints it (``monitor.run/1``); findings are those that matched or are unknown."""
    return {
        "run_id": run.start.run_id,
        "state": run.state,
        "start": run.start,
        "resumes": list(run.resumes),
        "end": run.end,
        "queued": list(run.queued),
        "subcalls": [
            {
                "span_id": item.call.span_id,
                "parent_id": item.call.parent_id,
                "retry_of": item.call.retry_of,
                "attempt": item.call.attempt,
                "kind": item.call.kind,
                "role": item.call.role,
                "depth": item.call.depth,
                "state": item.state,
                "released_before_final": item.released_before_final,
                "decisions": list(item.decisions),
                "verdict": item.judgement.verdict.value if item.judgement else None,
                "usage": item.charged,
                "seconds": item.observation.seconds if item.observation else None,
                "task": item.call.task,
                "findings": notable(item),
                "probes": [score.model_dump(exclude={"tokens"}) for score in _probes(item)],
                "answers": list(item.judgement.answers) if item.judgement else [],
                "is_monitors": item.call.is_monitors,
            }
            for item in subcalls
        ],
    }


def _probes(subcall: StoredSubcall) -> tuple[ProbeScore, ...]:
    return subcall.judgement.probes if subcall.judgement else ()


def _isolation_note(start: RunStart) -> str:
    """Said of a run whose untrusted roles' tools had less around them than they could."""
    if start.options == REDACTED:
        return ""
    isolation = parse_json(start.options or "{}").get("tool_isolation", "landlock")
    return "" if isolation == "landlock" else f"tool_isolation {isolation}: tools of untrusted roles were not confined"


def _judge_note(run: StoredRun) -> str:
    """Who answered the rules' questions, and who did where a resume found another judge in the settings."""
    judges = [run.start.judge, *(resume.judge for resume in run.resumes)]
    changed = [judge for before, judge in pairwise(judges) if judge != before]
    return "; ".join([judges[0] or ("none" if changed else ""), *(f"resumed with {one or 'none'}" for one in changed)])


def _print_run(run: StoredRun, subcalls: Sequence[StoredSubcall], redacted: Sequence[str]) -> None:
    console, start = stdout(), run.start
    console.print(draw(run_label(run), subcalls))
    console.print()
    facts = [("run", start.run_id), ("started", start.at), ("model", start.model), ("recipe", start.recipe)]
    facts += [
        ("policies", ", ".join(start.policies) or "none"),
        *(("filter", said) for said in expired((run.resumes[-1] if run.resumes else start).filters)),
        ("tools", _isolation_note(start)),
        ("judge", _judge_note(run)),
        ("resumed", f"{len(run.resumes)} times" if run.resumes else ""),
    ]
    if run.state == "started":
        on = "" if start.is_observed else f"; monitor resume {start.run_id[:8]}"
        if start.is_ingested:
            on = f"; monitor ingest {start.source}" if start.source else "; monitor serve goes on with it"
        facts.append(("state", f"not ended: it still runs, or was killed{on}"))
    elif run.state == AWAITING_HUMAN:
        on = "its program goes on" if start.is_observed else f"monitor resume {start.run_id[:8]}"
        facts.append(("state", f"waits for a decision: monitor pending; then {on}"))
    elif run.end:
        facts.append(("note", run.end.verdict.note))
        facts.append(("error", f"{run.end.error.kind}: {run.end.error.message}" if run.end.error else ""))
        facts += [("exceeded", str(exceeded)) for exceeded in run.end.exceeded]
    facts += [("review", f"{item.span[:8]}, score {item.score:g}: {item.why}") for item in run.queued]
    facts += [("redacted", said) for said in redacted]
    for name, value in facts:
        if value:
            console.print(Text.assemble((f"{name:<9} ", "dim"), visible(value)), soft_wrap=True)
    _print_findings(subcalls)
    if run.end and run.state == "ok":
        console.print(Text("\nanswer", style="bold"))
        sys.stdout.write(f"{visible(run.end.answer)}\n")


def _print_findings(subcalls: Sequence[StoredSubcall]) -> None:
    console = stdout()
    found = [(item, finding) for item in subcalls for finding in notable(item)]
    run = {item.call.span_id: item for item in subcalls}
    judged = [item.judgement.verdict for item in subcalls if item.judgement and not item.call.is_monitors]
    console.print(Text("\nfindings", style="bold"))
    if not found:
        applied = sum(verdict.applicable for verdict in judged)
        subcalls_in_words = "1 subcall" if len(judged) == 1 else f"{len(judged)} subcalls"
        console.print(f"none: {applied} rule checks applied to {subcalls_in_words}, none matched or failed")
    for item, finding in found:
        where = f"in {item.call.role} {item.call.span_id[:8]}{standing(finding)}"
        console.print(
            Text.assemble(
                (f"{finding.status.value} ", "yellow"),
                one_line(finding.title or finding.name, 100),
                (f"  {finding.name}, {finding.level.value}, {where}", "dim"),
            ),
            soft_wrap=True,
        )
        if finding.cause:
            console.print(Text(f"    why: {visible(finding.cause)}", style="dim"), soft_wrap=True)
        for line in evidence_lines(item, finding):
            console.print(Text("    ").append_text(line), soft_wrap=True)
        for line in far_lines(run, finding):
            console.print(Text("    with ").append_text(line), soft_wrap=True)


def list_runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, the newest first.")] = 20,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """List stored runs, the newest first."""
    from monitor.store import Store, without_password

    settings = load_settings(config=config, db=db)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        runs = store.runs(limit=limit)
    if json_output:
        emit_json("monitor.runs/1", {"runs": [_listed(run) for run in runs]})
        return
    if not runs:
        sys.stdout.write(f"no runs in {without_password(settings.db)}\n")
        return
    table = Table(
        "run", "started", "state", "verdict", "calls", "recipe", "model", "task", box=None, header_style="dim"
    )
    for run in runs:
        end = run.stops[-1] if run.is_stopped else None
        table.add_row(
            Text(run.start.run_id[:8]),
            Text(run.start.at[:19].replace("T", " ")),
            state_text(run.state),
            verdict_text(end.verdict.value.value) if end else Text(),
            Text(str(end.usage.calls) if end else ""),
            Text(one_line(run.start.recipe, 24)),
            Text(one_line(run.start.model, 24)),
            Text(one_line(marked(run.start.task), 40)),
        )
    stdout().print(table)


def _listed(run: StoredRun) -> dict[str, Any]:
    end = run.stops[-1] if run.is_stopped else None
    return {
        "run_id": run.start.run_id,
        "state": run.state,
        "verdict": end.verdict.value if end else None,
        "recipe": run.start.recipe,
        "model": run.start.model,
        "task": marked(run.start.task),
        "started": run.start.at,
        "seconds": end.seconds if end else None,
        "usage": end.usage if end else None,
    }
