"""``monitor pending`` and ``monitor decide``, and asking a person at the terminal while a run goes."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from monitor.cli import exit_codes, run
from monitor.cli.asking import read_line
from monitor.cli.console import emit_json, note, stderr, stdout
from monitor.cli.detail import evidence_lines, print_subcall, surfaces
from monitor.cli.live import Progress
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.safe import highlighted, one_line, visible
from monitor.cli.tree import notable
from monitor.errors import ConfigError
from monitor.records import Choice, Decision, StoredSubcall

if TYPE_CHECKING:
    from monitor.orchestrate.deciding import Pending

__all__ = ["AtTerminal", "decide", "pending", "register"]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="With --resume: print no progress.")]
_MENU = "approve (a), modify (m), reject (r), escalate (e), terminate the run (t), show all (s), leave for later (l)"
_SHOWN = 2_000  # codepoints of reasoning and answer; of longer ones the head and the evidence are shown
_KEYS = {choice.value[0]: choice for choice in Choice}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(pending)
    app.command(epilog=exit_codes.table())(decide)


def pending(*, db: Db = None, config: Config = None, json_output: Json = False) -> None:
    """List the subcalls that wait for a person's decision, with the evidence.

    Runs that ended for good are left out: nothing of them waits any more.
    """
    from monitor.orchestrate import deciding
    from monitor.store import Store, without_password

    settings = load_settings(config=config, db=db)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        waiting = deciding.pending(store)
    if json_output:
        emit_json("monitor.pending/1", {"pending": [_pending_json(item) for item in waiting]})
        return
    if not waiting:
        sys.stdout.write(f"nothing waits for a decision in {without_password(settings.db)}\n")
        return
    console = stdout()
    for item in waiting:
        _print_question(console, item.subcall)
        ref = item.subcall.call.span_id[:8]
        console.print(Text(f"decide: monitor decide {ref} approve --why …{run.db_flag(db)}\n", style="dim"))


def _pending_json(item: "Pending") -> dict[str, Any]:
    call, seen, judgement = item.subcall.call, item.subcall.observation, item.subcall.judgement
    return {
        "id": item.id,
        "run_id": call.run_id,
        "span_id": call.span_id,
        "run_state": item.run.state,
        "recipe": item.run.start.recipe,
        "role": call.role,
        "task": call.task,
        "output": seen.output if seen else "",
        "tool_calls": list(seen.tool_calls) if seen else [],
        "error": seen.error if seen else None,
        "output_schema": call.output_schema,
        "asked_at": judgement.at if judgement else "",
        "findings": notable(item.subcall),
        "decisions": list(item.subcall.decisions),
    }


def decide(
    ref: Annotated[
        str, typer.Argument(metavar="ID", help="SPAN or RUN/SPAN as `monitor pending` shows it; may be cut.")
    ],
    choice: Annotated[
        Choice | None, typer.Argument(help="What is decided; without it the question is asked at the terminal.")
    ] = None,
    *,
    why: Annotated[str | None, typer.Option("--why", help="The reason. It is stored with the decision.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", help="With modify: the answer that takes the place of the model's.")
    ] = None,
    output_file: Annotated[
        Path | None, typer.Option("--output-file", help="With modify: a file that has it.", dir_okay=False)
    ] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who decides. Default: user@host.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run at once.")] = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decide about an answer that waits for a person.

    approve releases it; modify releases what you write instead; reject ends the subcall without an answer; escalate leaves
    it to somebody else; terminate ends the whole run. Of two people who decide at once one wins, and the other is told.
    """
    from monitor.orchestrate import deciding
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    if output is not None and output_file is not None:
        raise ConfigError("--output and --output-file contradict each other: give one of them")
    if output_file is not None:
        output = _read(output_file)
    if choice is None:
        if json_output or not sys.stdin.isatty():
            raise ConfigError(f"say what is decided: monitor decide {ref} {'|'.join(Choice)} --why …")
        with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
            subcall = deciding.find_waiting(store, ref)
        asked = ask(stderr(), subcall, by=by)
        if asked is None:
            note("left for later")
            return
        choice, why, output = asked.choice, asked.why, asked.output or None
    decided = asyncio.run(
        deciding.decide(ref, choice, why=why or "", by=by, output=output, via="command", settings=settings)
    )
    run_id = decided.call.run_id
    if resume:
        run.resume(run_id, db=db, config=config, json_output=json_output, quiet=quiet)
        return
    if json_output:
        emit_json("monitor.decision/1", {"state": decided.state, **dict(decided)})
        return
    last = decided.decisions[-1]
    note(f"{last.choice.value}, by {last.by}: the subcall is {decided.state}")
    if decided.call.adapter != "orchestrate":
        note("go on where the program that asks does: by resuming its graph, or by starting it again")
    elif not decided.awaits_human:
        note(f"go on with: monitor resume {run_id[:8]}{run.db_flag(db)} (a process that still waits goes on by itself)")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--output-file {path}: cannot be read ({exc})") from exc


# ------------------------------------------------------------------------------------------------ at the terminal


class AtTerminal:
    """Asks the person at the terminal while a run goes; the live tree makes room meanwhile."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    async def __call__(self, subcall: StoredSubcall) -> Decision | None:
        """What they decide; None for later, also where the terminal was closed."""
        from monitor.orchestrate.threads import in_thread

        with self._progress.paused():
            return await in_thread("ask", lambda: ask(stderr(), subcall))  # the rest of the run goes on meanwhile


def ask(console: Console, subcall: StoredSubcall, *, by: str | None = None) -> Decision | None:
    """Show what a person is asked about, the evidence in place, and read what they decide; None is later."""
    from monitor.orchestrate.deciding import make_decision

    _print_question(console, subcall)
    while True:
        answer = read_line(console, f"{_MENU}? ").lower()
        if answer in {"", "l", "later"}:
            return None
        if answer in {"s", "show"}:
            print_subcall(console, subcall)
            continue
        choice = _KEYS.get(answer) or next((choice for choice in Choice if choice.value == answer), None)
        if choice is None:
            continue
        output = read_line(console, "the answer instead of the model's: ") if choice is Choice.MODIFY else None
        why = read_line(console, "why? ")
        try:
            return make_decision(subcall, choice, why=why, by=by, output=output, via="terminal")
        except ConfigError as exc:
            console.print(Text(visible(str(exc)), style="red"), soft_wrap=True)


def _print_question(console: Console, subcall: StoredSubcall) -> None:
    """Who waits, for what reason, and the answer with the evidence marked; the tool calls that an approval runs whole."""
    call, judgement = subcall.call, subcall.judgement
    since = f", {_ago(judgement.at)}" if judgement and judgement.at else ""
    title = f"{one_line(call.role, 30)} {call.span_id[:8]} of run {call.run_id[:8]} waits for a decision{since}"
    console.print(Rule(Text(title, style="bold"), align="left", style="yellow"))
    console.print(Text.assemble(("task    ", "dim"), one_line(call.task, 200)), soft_wrap=True)
    shown = surfaces(subcall)
    spans = [span for finding in notable(subcall) for span in finding.evidence]

    def marked(surface: str, limit: int | None = _SHOWN) -> Text:
        return highlighted(shown[surface], [span for span in spans if span.surface == surface], limit=limit)

    for surface in ("reasoning", "output", *(["error"] if shown["error"] else [])):
        console.print(Text.assemble((f"{surface:<10}", "dim"), marked(surface)), soft_wrap=True)
    for index, tool_call in enumerate(subcall.observation.tool_calls if subcall.observation else ()):
        name, arguments = marked(f"tool_calls[{index}].name"), marked(f"tool_calls[{index}].arguments", None)
        runs = f"refused: {visible(tool_call.refused)}" if tool_call.refused else "runs if this is approved"
        console.print(Text.assemble((f"{'tool call':<10}", "dim"), name, (f" ({runs})", "dim")), soft_wrap=True)
        console.print(Text.assemble((f"{'with':<10}", "dim"), arguments), soft_wrap=True)
    for finding in notable(subcall):
        head = f"{finding.status.value} {one_line(finding.name, 60)} ({finding.level.value}): "
        console.print(Text(head + one_line(finding.cause or finding.title, 120), style="yellow"), soft_wrap=True)
        for line in evidence_lines(subcall, finding):
            console.print(Text("  ").append_text(line), soft_wrap=True)
    for decision in subcall.decisions:
        who, when = one_line(decision.by, 40), decision.at[:19]
        said = f"{decision.choice.value} by {who} at {when}: {one_line(decision.why, 200)}"
        console.print(Text(said, style="yellow"), soft_wrap=True)


def _ago(at: str) -> str:
    """How long ago a moment was, in the largest unit that fits."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"for {seconds / size:.0f} {unit}"
    return f"for {max(0.0, seconds):.0f} seconds"
