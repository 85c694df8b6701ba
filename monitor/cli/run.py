"""``monitor run`` and ``monitor resume``."""

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from monitor.cli import exit_codes
from monitor.cli.console import emit_json, error_line, note, stderr
from monitor.cli.live import Progress, watching
from monitor.cli.options import (
    Budget,
    Config,
    Db,
    ForceProbes,
    Json,
    Probes,
    load_settings,
    parse_budget,
    parse_options,
)
from monitor.cli.runs import RunRef, find_run
from monitor.cli.safe import one_line, visible
from monitor.cli.tree import calls, draw, expired, run_label, standing, tokens, verdict_text
from monitor.errors import ConfigError
from monitor.records import AWAITING_HUMAN, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from monitor.orchestrate.ending import RunResult
    from monitor.orchestrate.people import Decider

    Work = Callable[[Progress], Coroutine[Any, Any, RunResult]]

__all__ = ["db_flag", "register", "resume", "run"]

Isolation = Annotated[
    str | None,
    typer.Option(
        "--tool-isolation", metavar="HOW", help="What confines tools of untrusted roles: landlock, process or none."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")]
Ask = Annotated[
    bool | None,
    typer.Option("--ask/--no-ask", help="Whether a person is asked here. Default: at a terminal, yes."),
]
Wait = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for `monitor decide` before suspending."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=exit_codes.table())(run)
    app.command(epilog=exit_codes.table())(resume)


def run(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A name (see `monitor recipes`) or path.py:function.")
    ],
    task: Annotated[str, typer.Argument(metavar="TASK", help="What is asked; - reads it from standard input.")],
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="`embedded`, an alias from monitor.toml, or provider:name.")
    ] = None,
    db: Db = None,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="A policy pack by name or path; may be given again.")
    ] = None,
    no_policy: Annotated[
        bool, typer.Option("--no-policy", help="Check nothing: no verdict can then be `pass`.")
    ] = False,
    probe: Probes = None,
    force_probes: ForceProbes = False,
    budget: Budget = None,
    seed: Annotated[int, typer.Option("--seed", help="Makes the run's sampling seeds.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of the recipe; may be given again."),
    ] = None,
    concurrency: Annotated[int | None, typer.Option("--concurrency", "-c", help="Subcalls in flight at once.")] = None,
    tool_isolation: Isolation = None,
    config: Config = None,
    json_output: Json = False,
    quiet: Quiet = False,
    ask: Ask = None,
    wait: Wait = 0.0,
) -> None:
    """Run a recipe on a task.

    Each subcall is stored and checked before its answer is used.

    The answer goes to standard output, progress and findings to standard error.
    """
    if policy and no_policy:
        raise ConfigError("--policy and --no-policy contradict each other: give one of them")
    settings = load_settings(
        config=config,
        db=db,
        model=model,
        policies=() if no_policy else policy,
        probes=probe,
        budget=parse_budget(budget),
        concurrency=concurrency,
        tool_isolation=tool_isolation,
    )
    options = parse_options(option)
    text = sys.stdin.read() if task == "-" else task
    if not text.strip():
        raise ConfigError("the task is empty" + (": nothing came from standard input" if task == "-" else ""))

    from monitor.orchestrate.run import run as run_recipe

    def work(listener: Progress) -> "Coroutine[Any, Any, RunResult]":
        return run_recipe(
            recipe,
            text,
            seed=seed,
            options=options,
            force_probes=force_probes,
            settings=settings,
            listener=listener,
            decider=_decider(listener, ask=ask, is_silent=json_output or quiet),
            patience=wait,
        )

    result, progress = _execute(work, db, json_output=json_output, quiet=quiet)
    _report(result, progress, db, json_output=json_output, quiet=quiet)


def resume(
    ref: RunRef,
    *,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Call again what failed or exceeded its budget.")
    ] = False,
    budget: Budget = None,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
    quiet: Quiet = False,
    ask: Ask = None,
    wait: Wait = 0.0,
) -> None:
    """Go on with a run that did not end well.

    For a run that was killed, cancelled or failed. No judged subcall is called or charged again.
    """
    settings = load_settings(config=config, db=db)
    limits = parse_budget(budget)
    given = load_settings(config=config, budget=limits).budget.model_dump(include=set(limits)) if limits else None
    from monitor.orchestrate.run import resume as resume_run
    from monitor.store import Store

    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        stored = find_run(store, ref)
        subcalls = store.subcalls(stored.start.run_id)

    def work(listener: Progress) -> "Coroutine[Any, Any, RunResult]":
        listener.state.restore(stored, subcalls)
        return resume_run(
            stored.start.run_id,
            retry_failed=retry_failed,
            budget=type(settings.budget)(**given) if given else None,
            settings=settings,
            listener=listener,
            decider=_decider(listener, ask=ask, is_silent=json_output or quiet),
            patience=wait,
        )

    result, progress = _execute(work, db, json_output=json_output, quiet=quiet)
    _report(result, progress, db, json_output=json_output, quiet=quiet)


def _execute(work: "Work", db: str | None, *, json_output: bool, quiet: bool) -> "tuple[RunResult, Progress]":
    """Execute ``work`` in sight. The first Ctrl-C (or SIGTERM, or SIGHUP) ends it cleanly: stored, and to be resumed."""
    progress: Progress | None = None
    try:
        with watching(stderr(), quiet=quiet) as progress:
            return asyncio.run(_ended_by_signals(work(progress))), progress
    except (KeyboardInterrupt, asyncio.CancelledError):
        run_id = progress.state.run_id if progress else ""
        if progress and not quiet:
            _draw_on_terminal(progress)
        hint = f"; resume with: monitor resume {run_id[:8]}{db_flag(db)}" if run_id else " before anything was stored"
        error_line(f"cancelled{hint}", label="stopped")
        if json_output:
            error = {"kind": "Cancelled", "message": f"cancelled{hint}"}
            emit_json("monitor.error/1", {"error": error, "exit_code": int(exit_codes.ExitCode.CANCELLED)})
        raise typer.Exit(exit_codes.ExitCode.CANCELLED) from None


def _decider(progress: Progress, *, ask: bool | None, is_silent: bool) -> "Decider | None":
    """Who is asked where a rule wants a person: whoever sits at the terminal. Raises ConfigError."""
    from monitor.cli.deciding import AtTerminal

    has_terminal = sys.stdin.isatty() and stderr().is_terminal
    if ask and not has_terminal:
        raise ConfigError("--ask: there is no terminal to ask at; leave it out, and decide with `monitor decide`")
    return AtTerminal(progress) if ask or (ask is None and has_terminal and not is_silent) else None


async def _ended_by_signals(coroutine: "Coroutine[Any, Any, RunResult]") -> "RunResult":
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None, "this coroutine runs as a task"
    # A closed terminal ends a run as cleanly as Ctrl-C; under nohup the signal is ignored, and stays so.
    heeded = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    for one in heeded:
        loop.add_signal_handler(one, task.cancel)
    try:
        return await coroutine
    finally:
        for one in heeded:
            loop.remove_signal_handler(one)


def db_flag(db: str | None) -> str:
    """Return ``--db`` as it was given, a password aside, for a command line that is suggested."""
    from monitor.store import without_password

    return f" --db {without_password(db)}" if db else ""


def _report(result: "RunResult", progress: Progress, db: str | None, *, json_output: bool, quiet: bool) -> None:
    """Print how the run ended, and leave with its exit code."""
    code = exit_codes.for_outcome(result.outcome, result.error.kind if result.error else "")
    if not quiet:
        _report_to_person(result, progress, db)
    elif result.error and not json_output:
        error_line(result.error.message, label=result.error.kind)
    if json_output:
        shape = result.model_dump(mode="python")
        shape["findings"] = [{"span_id": span_id, **finding.model_dump()} for span_id, finding in result.findings]
        emit_json("monitor.result/1", {**shape, "exit_code": int(code)})
    elif result.outcome is Outcome.OK:
        sys.stdout.write(f"{visible(result.answer)}\n")
    if code:
        raise typer.Exit(code)


def _draw_on_terminal(progress: Progress) -> None:
    """Print the whole tree where the live one was; in a log every event has had its line."""
    console, state = stderr(), progress.state
    if console.is_terminal and state.run:
        console.print(draw(run_label(state.run), state.subcalls()))


def _report_to_person(result: "RunResult", progress: Progress, db: str | None) -> None:
    _draw_on_terminal(progress)
    console = stderr()
    usage, verdict = result.usage, result.verdict
    cost = "cost unknown" if usage.cost is None else f"${usage.cost:.4f}"
    console.print(
        Text.assemble(
            f"{result.outcome.value if result.outcome else AWAITING_HUMAN}, verdict ",
            verdict_text(verdict.value.value),
            f"; {calls(usage)}, {tokens(usage)}, {cost}, {result.seconds:.1f} s",
        ),
        soft_wrap=True,
    )
    if verdict.note:
        note(f"  {verdict.note}")
    for said in expired(progress.state.filters):
        note(f"  {said}")
    if not result.findings:
        note(f"  nothing was flagged: {verdict.applicable} rule checks applied, none matched or failed")
    for span_id, finding in result.findings:
        why = finding.cause or finding.title
        head = f"{finding.status.value} {finding.name} ({finding.level.value}){standing(finding)}"
        note(f"  {head} in {span_id[:8]}: {one_line(why, 100)}")
    if result.error:
        error_line(result.error.message, label=result.error.kind)
    for exceeded in result.exceeded:
        note(f"  {exceeded}")
    for span_id in result.pending:
        note(f"  {span_id[:8]} waits for a decision: monitor decide {span_id[:8]} approve --why …{db_flag(db)}")
    if result.pending:
        note(f"  then go on with: monitor resume {result.run_id[:8]}{db_flag(db)}")
    note(f"stored in {result.db}; see it with: monitor show {result.run_id[:8]}{db_flag(db)}")
