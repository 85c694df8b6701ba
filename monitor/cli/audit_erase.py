"""``monitor audit redact`` and ``purge``: erase texts, and leave in their place that it was done, by whom and why."""

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from monitor.cli.asking import read_line
from monitor.cli.console import emit_json, error_line, note, stderr, stdout
from monitor.cli.durations import parse_duration
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.runs import find_run
from monitor.cli.safe import visible
from monitor.cli.working import working
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.audit.integrity.redaction import Done, Plan
    from monitor.store.erasing import Use
    from monitor.store.scrubbing import Scrubbed

__all__ = ["purge", "redact", "register"]

Why = Annotated[str | None, typer.Option("--why", help="The reason; it is stored, so it must not quote the text.")]
By = Annotated[str | None, typer.Option("--by", help="Who does it; default: the name of the user of this machine.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be erased, and erase nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_SHOWN = 20


def register(group: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (redact, purge):
        group.command()(command)


def redact(
    ref: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The run: its id, its beginning, or `latest`.")
    ] = None,
    subcall: Annotated[
        str | None, typer.Argument(metavar="SUBCALL", help="Only this subcall; the beginning of its id.")
    ] = None,
    *,
    surface: Annotated[
        list[str] | None,
        typer.Option("--surface", help="Only this text, such as output or reasoning; may be given again."),
    ] = None,
    containing: Annotated[
        Path | None,
        typer.Option(
            "--containing", metavar="FILE", help="Instead of RUN: all texts in which the text of FILE stands."
        ),
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Also wherever else the text is used, or stands in another text.")
    ] = False,
    only: Annotated[bool, typer.Option("--only", help="Leave what others use too, and texts that contain it.")] = False,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Also in a run that has not ended.")] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Erase nothing more; only take what was erased out of the files.")
    ] = False,
    why: Why = None,
    by: By = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    address: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Erase texts for good: body, salt, content hash and whatever was made of them.

    The events stay, with every hash and proof, and a `redacted` event says what was erased, by whom and why. A text that
    other subcalls use, or that stands in other texts, is not erased by halves: the command lists them, and asks for
    --everywhere or --only. Afterwards the file is written anew and its log emptied, so that nothing is left in free space.
    """
    from monitor.audit.integrity.redaction import RUN_SURFACES, SURFACES, plan_redaction
    from monitor.audit.integrity.redaction import redact as erase
    from monitor.store import Store
    from monitor.store.erasing import Eraser
    from monitor.store.scrubbing import Scrubbed

    settings = load_settings(config=config, db=address)
    known = tuple(dict.fromkeys((*SURFACES, *RUN_SURFACES)))
    if wrong := set(surface or ()) - set(known):
        raise ConfigError(f"--surface {min(wrong)}: no such text; known: {', '.join(known)}")
    if finish:
        with Eraser.opened(settings.db, busy_seconds=settings.busy_seconds) as eraser:
            _finish(eraser.scrub(note), {}, json_output=json_output)
        return
    if (ref is None) == (containing is None) or (everywhere and only):
        raise ConfigError("expected RUN, or --containing FILE, and at most one of --everywhere and --only")
    run = span = ""
    if ref is not None:
        with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
            found = find_run(store, ref)
            run, span = found.start.run_id, ""
            if subcall:
                span = store.subcall(run, subcall).call.span_id
        if not found.is_stopped and not unfinished:
            raise ConfigError(
                f"run {run} has not ended: it still runs, or was killed, and could not go on without its texts; "
                "add --unfinished to redact it all the same"
            )
    with Eraser.opened(settings.db, busy_seconds=settings.busy_seconds) as eraser:
        with working("looking where the texts are used", quiet=json_output) as told:
            phrase = _phrase(containing) if containing else ""
            plan = plan_redaction(
                eraser, run_id=run, span_id=span, surfaces=surface or (), phrase=phrase, progress=told
            )
        facts = _plan_json(plan, everywhere=everywhere)
        is_decided = everywhere or only or not (plan.shared or plan.containing)
        if not dry_run and not is_decided:
            _refuse(plan, facts, json_output=json_output)
        if not dry_run and not plan.chosen(everywhere=everywhere):
            raise ConfigError("every one of these texts is used elsewhere too: with --only nothing is erased")
        if dry_run:
            _tell_plan(plan, facts, json_output=json_output)
            if not is_decided:
                note("to erase it, add --everywhere (all of these) or --only (leave what others use or contain)")
            return
        _confirm(f"erase {facts['texts']} texts for good", yes=yes)
        done = erase(eraser, plan, everywhere=everywhere, why=_why(why), by=by or getpass.getuser())
        scrubbed = eraser.scrub(note)
        if plan.in_ids:
            scrubbed = Scrubbed(False, (_in_ids(plan), *scrubbed.left))
        _finish(scrubbed, {**_done_json(done), "in_ids": facts["in_ids"]}, json_output=json_output)


def purge(
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Runs whose last event is older: 90d, 12h.")
    ],
    why: Why = None,
    by: By = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    address: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Erase the texts of whole runs that are old; their events stay, with every hash and proof.

    A text that a younger run uses too, such as a role's instructions, stays until that run is purged. Each run is erased in
    a transaction of its own, so a purge that was cut off is made again.
    """
    from monitor.audit.integrity.purging import plan_purge
    from monitor.audit.integrity.purging import purge as erase
    from monitor.store.erasing import Eraser

    settings = load_settings(config=config, db=address)
    before = datetime.now(UTC) - parse_duration(older_than)
    cutoff = before.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    with Eraser.opened(settings.db, busy_seconds=settings.busy_seconds) as eraser:
        with working("looking for old runs", quiet=json_output) as told:
            plan = plan_purge(eraser, cutoff, progress=told)
        facts: dict[str, Any] = {
            "before": cutoff,
            "runs": list(plan.runs),
            "texts": plan.texts,
            "shared": plan.shared,
            "purged_before": plan.done,
        }
        if dry_run or not plan.runs:
            if json_output:
                emit_json("monitor.audit-purge/1", {**facts, "done": False})
                return
            _say(
                f"{len(plan.runs)} runs are older, with {plan.texts} texts to erase; {plan.shared} stay for younger runs"
            )
            if plan.done and not dry_run:
                _say("if a purge was cut off: `monitor audit redact --finish` takes what it erased out of the files")
            for run in list(plan.runs)[:_SHOWN]:
                _say(f"  {run}: {len(plan.runs[run])} texts")
            return
        _confirm(f"erase {plan.texts} texts of {len(plan.runs)} runs for good", yes=yes)
        with working("erasing", quiet=json_output) as told:
            done = erase(eraser, plan, why=why or f"older than {older_than}", by=by or getpass.getuser(), progress=told)
        said = {**facts, **_done_json(done)}
        _finish(eraser.scrub(note), said, json_output=json_output, shape="monitor.audit-purge/1")


def _phrase(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: expected a text in UTF-8, and it cannot be read: {exc}") from exc
    if not text.strip():
        raise ConfigError(f"{path}: it is empty, and every text contains nothing")
    return text


def _why(why: str | None) -> str:
    if not why or not why.strip():
        raise ConfigError("--why: say why; it is stored with the redaction, and must not quote the text")
    return why


def _confirm(what: str, *, yes: bool) -> None:
    """Ask, unless told not to. Raises ConfigError where nobody can be asked, and Exit where they say no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"nobody is there to be asked whether to {what}; add --yes")
    if read_line(stderr(), f"{what}? It cannot be undone. [y/N] ").lower() not in {"y", "yes"}:
        note("nothing was erased")
        raise typer.Exit(ExitCode.OK)


def _use_json(use: "Use") -> dict[str, str]:
    from monitor.audit.integrity.redaction import surface_of

    return {"run_id": use.run_id, "span_id": use.about, "surface": surface_of(use), "text": use.commitment}


def _plan_json(plan: "Plan", *, everywhere: bool) -> dict[str, Any]:
    return {
        "texts": len(plan.chosen(everywhere=everywhere)),
        "targets": _unique(plan.targets),
        "shared": _unique(plan.shared),
        "containing": _unique(plan.containing),
        "too_short_to_look_for": plan.short,
        "in_ids": [{"run_id": run, "span_id": span} for run, span in plan.in_ids],
    }


def _done_json(done: "Done") -> dict[str, Any]:
    return {"erased": done.texts, "in_runs": done.runs, "left": _unique(done.left), "cache_files_deleted": done.caches}


def _unique(uses: "Sequence[Use]") -> list[dict[str, str]]:
    return list({tuple(found.values()): found for found in map(_use_json, uses)}.values())


def _refuse(plan: "Plan", facts: dict[str, Any], *, json_output: bool) -> None:
    """Say what else uses or contains the text, and end with exit code 2: nothing was erased."""
    if json_output:
        emit_json("monitor.audit-redact/1", {**facts, "done": False})
    else:
        _tell_uses("the same text is used here too", facts["shared"])
        _tell_uses("the text stands in these texts too", facts["containing"])
    error_line(
        f"{len(facts['shared'])} other places use the same texts, {len(facts['containing'])} texts contain one of them; "
        "nothing was erased. Add --everywhere to erase all of them, or --only to leave them"
    )
    raise typer.Exit(ExitCode.USAGE)


def _tell_plan(plan: "Plan", facts: dict[str, Any], *, json_output: bool) -> None:
    if json_output:
        emit_json("monitor.audit-redact/1", {**facts, "done": False})
        return
    _say(f"{facts['texts']} texts would be erased")
    _tell_uses("asked for", facts["targets"])
    _tell_uses("the same text is used here too", facts["shared"])
    _tell_uses("the text stands in these texts too", facts["containing"])
    if plan.in_ids:
        _say(_in_ids(plan))
    if plan.short:
        _say(f"{plan.short} texts are too short to be looked for in others")


def _in_ids(plan: "Plan") -> str:
    from monitor.audit.integrity.redaction import first_of

    named = first_of(plan.in_ids, _SHOWN)
    return f"it stands in ids of tool calls too, which are part of the log, and nothing erases them: {named}"


def _tell_uses(what: str, uses: list[dict[str, str]]) -> None:
    if uses:
        _say(f"{what}:")
    for use in uses[:_SHOWN]:
        _say(f"  {use['run_id'][:8]}/{use['span_id']} {use['surface']}")
    if len(uses) > _SHOWN:
        _say(f"  and {len(uses) - _SHOWN} more: --json lists them")


def _finish(
    scrubbed: "Scrubbed", facts: dict[str, Any], *, json_output: bool, shape: str = "monitor.audit-redact/1"
) -> None:
    """Report; exit code 6 where something of the text may still be in the database's own files."""
    if json_output:
        emit_json(shape, {**facts, "done": True, "files_clean": scrubbed.done, "left_to_do": list(scrubbed.left)})
    else:
        if facts:
            _say(f"{facts['erased']} texts were erased in {len(facts['in_runs'])} runs")
            _tell_uses("left as they are", facts["left"])
        clean = "nothing of them is left in the database's files" + (
            ", beside what was left as it is" if facts.get("left") else ""
        )
        _say(clean if scrubbed.done else "the files may still hold them")
        for left in scrubbed.left:
            _say(f"  {left}")
    if not scrubbed.done:
        raise typer.Exit(ExitCode.STORE)


def _say(text: str) -> None:
    stdout().print(Text(visible(text)), soft_wrap=True)
