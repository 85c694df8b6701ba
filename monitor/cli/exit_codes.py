"""What the exit code of the command says: the one table, for the code, ``monitor run --help`` and ``docs/cli.md``."""

from enum import IntEnum

from monitor.errors import (
    AwaitingHuman,
    Blocked,
    BudgetExceeded,
    ConfigError,
    ModelError,
    MonitorError,
    ProbeError,
    Rejected,
    StoreError,
    SubcallCancelled,
    SubcallFailed,
)
from monitor.records import Outcome

__all__ = ["MEANINGS", "ExitCode", "for_error", "for_outcome", "table"]


class ExitCode(IntEnum):
    """The exit codes. A run whose answer was withheld is not a success."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    BLOCKED = 3
    BUDGET = 4
    FAILED = 5
    STORE = 6
    WAITING = 7
    ALTERED = 8
    INCOMPLETE = 9
    UNCOVERED = 10
    CANCELLED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "the answer was released (also with a `flag` verdict), or the command did what was asked",
    ExitCode.UNEXPECTED: "a check said no (`doctor`, `policy test`, `policy lint`, `policy import`, `evaluate rules`, "
    "`db copy`), an answer was cut or not everything was searched (`audit query`, `ask`, `search`), "
    "a stored subcall could not be looked at (`policy backtest`, `policy diff`, `policy coverage`, `review`, "
    "`audit rescan`, `audit diff`, `export`), "
    "a foreign record was refused (`ingest`), a query of a report could not be answered (`audit report`), "
    "or an error nobody foresaw",
    ExitCode.USAGE: "the command line, a setting, a recipe, a role, a policy file, a probe or its data is wrong",
    ExitCode.BLOCKED: "a check withheld the answer or halted the run, or a person rejected it",
    ExitCode.BUDGET: "a limit of the budget was reached before there was an answer",
    ExitCode.FAILED: "the model, its provider or a tool failed, or no attempt gave a well-formed answer",
    ExitCode.STORE: "the database cannot be read or written",
    ExitCode.WAITING: "the run waits for a person's decision (`monitor pending`), and goes on when it is resumed",
    ExitCode.ALTERED: "`audit verify` found that the record is not what was written, or could not read it",
    ExitCode.INCOMPLETE: "`audit verify` found the record unaltered, and something that should have followed is not there",
    ExitCode.UNCOVERED: "`audit verify` found less of the record checked than `--min-coverage` asks for",
    ExitCode.CANCELLED: "cancelled (Ctrl-C, SIGTERM); the run can be resumed",
}

_OUTCOMES: dict[Outcome, ExitCode] = {
    Outcome.OK: ExitCode.OK,
    Outcome.BUDGET_EXCEEDED: ExitCode.BUDGET,
    Outcome.BLOCKED: ExitCode.BLOCKED,
    Outcome.REJECTED: ExitCode.BLOCKED,
    Outcome.FAILED: ExitCode.FAILED,
    Outcome.CANCELLED: ExitCode.CANCELLED,
}

_ERRORS: tuple[tuple[type[MonitorError], ExitCode], ...] = (
    (ConfigError, ExitCode.USAGE),
    (ProbeError, ExitCode.USAGE),
    (ModelError, ExitCode.FAILED),
    (StoreError, ExitCode.STORE),
    (BudgetExceeded, ExitCode.BUDGET),
    (Blocked, ExitCode.BLOCKED),
    (Rejected, ExitCode.BLOCKED),
    (AwaitingHuman, ExitCode.WAITING),
    (SubcallFailed, ExitCode.FAILED),
    (SubcallCancelled, ExitCode.CANCELLED),
)


def for_outcome(outcome: Outcome | None, error_kind: str = "") -> ExitCode:
    """Return the exit code of a run that ended in ``outcome`` (None: it waits for people), with an error of that kind."""
    if outcome is None:
        return ExitCode.WAITING
    if outcome is Outcome.FAILED and error_kind == "config":
        return ExitCode.USAGE
    return _OUTCOMES[outcome]


def for_error(error: MonitorError) -> ExitCode:
    """Return the exit code for an error that reached the command line."""
    return next((code for kind, code in _ERRORS if isinstance(error, kind)), ExitCode.UNEXPECTED)


def table() -> str:
    """Return the table as help text; the backspace in front keeps its line ends."""
    lines = [f"{code.value:>4}  {meaning.replace('`', '')}" for code, meaning in MEANINGS.items()]
    return "\n".join(["\b", "Exit codes:", *lines])
