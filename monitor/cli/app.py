"""The application: all commands together, and the one place where an error becomes a message and an exit code."""

import io
import os
import sys
from collections.abc import Sequence

import typer

from monitor.cli import (
    audit,
    db,
    deciding,
    doctor,
    evaluate,
    export,
    ingest,
    models,
    parts,
    policy,
    probe,
    review,
    run,
    serve,
    show,
)
from monitor.cli.console import emit_json, error_line
from monitor.cli.exit_codes import ExitCode, for_error
from monitor.errors import MonitorError

__all__ = ["app", "main"]

app = typer.Typer(
    name="monitor",
    help="Break a task into bounded subcalls, store and check every thought, show the tree.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for module in (
    run,
    deciding,
    review,
    show,
    doctor,
    models,
    policy,
    probe,
    evaluate,
    ingest,
    serve,
    audit,
    export,
    db,
    parts,
):
    module.register(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Only ``MONITOR_DEBUG=1`` shows a traceback.

    With ``--json`` an error is also one JSON object on standard output (format ``monitor.error/1``).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without Unicode must not cost a finished run its answer
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        typer.main.get_command(app)(arguments, prog_name="monitor")
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except MonitorError as exc:
        if os.environ.get("MONITOR_DEBUG"):
            raise
        return _fail(arguments, type(exc).__name__, str(exc), for_error(exc))
    except Exception as exc:  # the outermost boundary: what nobody foresaw is said in one line
        if os.environ.get("MONITOR_DEBUG"):
            raise
        message = f"unexpected {type(exc).__name__}: {exc}. MONITOR_DEBUG=1 shows where it came from; please report it"
        return _fail(arguments, type(exc).__name__, message, ExitCode.UNEXPECTED)
    return ExitCode.OK


def _fail(arguments: Sequence[str], kind: str, message: str, code: ExitCode) -> int:
    error_line(message)
    if "--json" in arguments:
        emit_json("monitor.error/1", {"error": {"kind": kind, "message": message}, "exit_code": int(code)})
    return code
