"""``monitor serve``: spans of running agents over OTLP/HTTP, checked and added to the database."""

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli.console import note, plain
from monitor.cli.exit_codes import ExitCode
from monitor.cli.ingest import checks_of
from monitor.cli.options import Config, Db, ForceProbes, Probes, load_settings
from monitor.cli.scans import number
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.adapters.serve.recording import Recorded
    from monitor.settings import Settings
    from monitor.store import Store

__all__ = ["register", "serve"]

_VERDICTS = ("block", "flag", "unmeasured", "pass")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(serve)


def serve(
    *,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 is any that is free.")] = 4318,
    token: Annotated[
        str | None,
        typer.Option("--token", help="What senders must name; MONITOR_SERVE_TOKEN keeps it out of the process list."),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="A policy pack by name or path; may be given again.")
    ] = None,
    no_policy: Annotated[
        bool, typer.Option("--no-policy", help="Check nothing: no verdict can then be `pass`.")
    ] = False,
    probe: Probes = None,
    force_probes: ForceProbes = False,
    inbox: Annotated[
        Path | None,
        typer.Option("--inbox", metavar="FILE", help="Where spans wait. Default: beside the database's file."),
    ] = None,
    inbox_limit: Annotated[
        int, typer.Option("--inbox-limit", metavar="MIB", min=1, help="How much may wait before senders are told to.")
    ] = 512,
    settle: Annotated[
        float, typer.Option("--settle", metavar="SECONDS", min=0, help="How long a whole trace waits for more of it.")
    ] = 10.0,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long a span waits for those around it.")
    ] = 600.0,
    db: Db = None,
    config: Config = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object in each line.")] = False,
) -> None:
    """Receive spans of running agents, check them, and add them to the database.

    Takes OTLP/HTTP (protobuf or JSON) at /v1/traces, and events of the log that belong to spans at /v1/logs. What was
    answered with 200 is on the disk. A trace is recorded when it is whole, or when what is missing did not come. What was
    over before it was checked cannot be stopped: rules that ask for more than a flag only flag, and the verdict says so.

    No judge is asked, for whoever may send spans would decide what is spent: questions of rules are not applicable here.
    To have them asked, write the spans to a file and use `monitor ingest`.

    Ctrl-C or SIGTERM ends it once what was accepted is recorded; a second one at once, and the next start goes on.
    """
    if policy and no_policy:
        raise ConfigError("--policy and --no-policy contradict each other: give one of them")
    settings = load_settings(
        config=config, db=db, policies=() if no_policy else policy, probes=probe, serve_token=token
    )

    from monitor.adapters.serve.recording import Patience
    from monitor.adapters.serve.server import Place, Serving, listen, require_installed
    from monitor.store import Store

    require_installed()
    checks = checks_of(settings, force_probes=force_probes)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds) as store:
        place = Place(
            host,
            port,
            inbox or _beside(store),
            settings.serve_token.get_secret_value() if settings.serve_token else "",
            inbox_limit * 2**20,
            Patience(settle, max(settle, wait)),
        )
        log = _Log(store.url, json_output=json_output)
        with listen(place) as listening:
            address = _url(host, listening.getsockname()[1])
            try:
                left = asyncio.run(
                    Serving(place, store, checks, log.recorded).run(
                        listening, lambda: log.listening(address, settings, place.inbox, asks=checks.asks)
                    )
                )
            except (KeyboardInterrupt, asyncio.CancelledError):
                log.abandoned(place.inbox)
                sys.stdout.flush()
                raise typer.Exit(ExitCode.CANCELLED) from None
        log.ended(*left, place.inbox)


def _beside(store: "Store") -> Path:
    return store.path.with_name(f"{store.path.name}.inbox") if store.path else Path("monitor.inbox")


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Log:
    """What is said while it runs: a line for each trace that was recorded or could not be."""

    def __init__(self, db: str, *, json_output: bool) -> None:
        self._db, self._json = db, json_output

    def _say(self, event: str, text: str, **facts: Any) -> None:
        if self._json:
            sys.stdout.write(json.dumps({"format": "monitor.serve/1", "event": event, **plain(facts)}) + "\n")
            sys.stdout.flush()
        else:
            note(text)

    def listening(self, url: str, settings: "Settings", inbox: Path, *, asks: bool) -> None:
        packs = ", ".join(settings.policies) or "no policy: nothing can pass"
        text = f"listening on {url}/v1/traces; checked with {packs}; stored in {self._db}; Ctrl-C ends it"
        self._say("listening", text, url=url, db=self._db, inbox=inbox, policies=settings.policies)
        if asks and settings.judge_model:
            why = "questions of rules are not applicable here: this command asks no judge (monitor ingest does)"
            self._say("problem", why, run_id="", why=why)

    def recorded(self, one: "Recorded") -> None:
        report = one.report
        why = one.problem or "; ".join(problem.why for problem in report.problems)
        if why:
            self._say("problem", f"trace {one.trace_id[:8] or '-'}: {why}", run_id=one.trace_id, why=why)
        added = report.total("subcalls_taken")
        if not added:
            return
        verdicts = {value: report.verdicts[value] for value in _VERDICTS}
        said = ", ".join(f"{count} {value}" for value, count in verdicts.items() if count)
        late = f"; {report.too_late} too late to stop" if report.too_late else ""
        more = f"; {number(one.remaining, 'span')} of it still wait" if one.remaining else ""
        self._say(
            "recorded",
            f"run {one.trace_id[:8]}: {number(added, 'subcall')} added ({said}{late}){more}",
            run_id=one.trace_id,
            subcalls=added,
            verdicts=verdicts,
            too_late=report.too_late,
            waiting=one.remaining,
        )

    def abandoned(self, inbox: Path) -> None:
        self._say("abandoned", f"ended at once: what is not recorded is in {inbox}; the next start goes on with it")

    def ended(self, waiting: int, unended: int, inbox: Path) -> None:
        left = f"; {number(unended, 'span')} of which no end came are in {inbox}" if unended else ""
        self._say("ended", f"ended: all that was accepted is recorded{left}", waiting=waiting, unended=unended)
