"""Every error that the package raises on purpose.

    MonitorError
    ├── ConfigError               something the user wrote or set is wrong
    │   ├── CatalogError          no such recipe, role, tool or policy pack
    │   ├── RoleError             a role file is wrong (file:line)
    │   ├── RecipeError           a recipe or a tool cannot be loaded, or broke the rules of one
    │   ├── PolicyError           a policy file is wrong (all of its faults at once, file:line:column)
    │   └── MissingExtraError     an optional part is not installed
    ├── ModelError                a model could not answer
    │   ├── ProviderError         the provider refused or broke (status, retryable)
    │   └── WeightsError          the embedded model's weights are missing or are not what they should be
    ├── StoreError                the record cannot be written or read
    │   ├── StoreUnavailableError locked, full, read-only, unreachable: nothing half-written, try again
    │   ├── StoreFormatError      no database, or one from a newer version
    │   └── ConflictError         somebody else already wrote this event
    └── SubcallError              a subcall ended, and not with an answer
        ├── BudgetExceeded        a limit was reached; carries every limit exceeded, the outermost first
        ├── Blocked               a check withheld the answer
        │   └── Halted            a check stopped the whole run
        ├── Rejected              a human said no
        ├── SubcallFailed         the model, its provider or a tool failed; or the answer was malformed
        │   └── Undecided         it was asked several times, and no answer was decided on
        └── SubcallCancelled      it was cancelled before it had an answer

A message says what was expected, what was found and what to do. No message ever carries a key: text that came from
a provider is cleaned by ``monitor.models.secrets`` before it gets here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Self

    from monitor.records import Exceeded, Judgement, Observation


class MonitorError(Exception):
    """The root of all errors raised on purpose."""


class ConfigError(MonitorError):
    """Something that the user wrote or set is wrong; the message says where and how to mend it."""


class CatalogError(ConfigError):
    """No recipe, role, tool or policy pack of that name; the message names the nearest ones."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a file: where it is, what is wrong, and what to write instead."""

    path: str
    line: int
    column: int
    problem: str
    fix: str = ""

    def __str__(self) -> str:
        tail = f" {self.fix}" if self.fix else ""
        return f"{self.path}:{self.line}:{self.column}: {self.problem}{tail}"


MAX_FAULTS = 100
_MAX_SAID = 2_000


class TooManyFaultsError(Exception):
    """A file has more than ``MAX_FAULTS`` faults; it is read no further. Never leaves the reader."""


class FileFaults(list[Fault]):
    """The faults of one file, so that a file of nothing but faults costs no more than its first ``MAX_FAULTS``.

    Adding one more raises TooManyFaultsError; ``give_up`` then says so in a fault of its own. What a fault quotes of the
    file is cut.
    """

    def append(self, fault: Fault) -> None:
        """Add one fault. Raises TooManyFaultsError."""
        if len(self) >= MAX_FAULTS:
            raise TooManyFaultsError
        super().append(replace(fault, problem=_cut(fault.problem), fix=_cut(fault.fix)))

    def __iadd__(self, faults: Iterable[Fault]) -> Self:  # type: ignore[override,misc]  # a list's takes any iterable too
        for fault in faults:
            self.append(fault)
        return self

    def give_up(self) -> None:
        """Put the faults in order, and say after the last one that there are more."""
        self.sort(key=lambda fault: (fault.line, fault.column))
        last, problem = self[-1], f"there are more faults than these {MAX_FAULTS}."
        super().append(Fault(last.path, last.line, last.column, problem, "Mend these first, and look again."))


def _cut(said: str) -> str:
    return said if len(said) <= _MAX_SAID else f"{said[:_MAX_SAID]}…"


class FileFaultsError(ConfigError):
    """A file (or several) with faults, all of them reported at once, in the order of the files."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class RoleError(FileFaultsError):
    """A role file is wrong."""


class PolicyError(FileFaultsError):
    """A policy file is wrong."""


class RecipeError(ConfigError):
    """A recipe or a tool cannot be loaded or used so, or a recipe did something that it may not do."""

    def __init__(self, message: str, path: Path | None = None) -> None:
        self.path = path
        super().__init__(f"{path}: {message}" if path else message)


class MissingExtraError(ConfigError):
    """An optional part is not installed; ``command`` installs it."""

    def __init__(self, what: str, extra: str) -> None:
        self.what = what
        self.command = f'pip install "factored-monitor[{extra}]"'
        super().__init__(f"{what} is not installed; install it with: {self.command}")


class ModelError(MonitorError):
    """A model could not answer."""


class ProviderError(ModelError):
    """The provider refused, broke off or could not be reached.

    ``status`` is the HTTP status, or None where no answer came. ``kind`` is one of ``rate_limit``, ``server_error``,
    ``auth``, ``bad_request``, ``timeout``, ``connection`` and ``invalid_response``. ``retryable`` says whether the same
    request may succeed later. ``billed_unknown`` is true where the provider may have worked (and charged) although no
    usage came back: such a call stays charged at what was reserved for it.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        status: int | None = None,
        retryable: bool = False,
        billed_unknown: bool = False,
    ) -> None:
        self.kind = kind
        self.status = status
        self.retryable = retryable
        self.billed_unknown = billed_unknown
        super().__init__(message)


class WeightsError(ModelError):
    """The embedded model's weights are missing, or their hash is not the pinned one."""


class StoreError(MonitorError):
    """The record cannot be written or read."""


class StoreUnavailableError(StoreError):
    """The store cannot be used now (locked, full, read-only, gone). What was committed before is whole."""


class StoreFormatError(StoreError):
    """The file is not a monitor database, or a newer version of the monitor made it."""


class ConflictError(StoreError):
    """This event is there already: another process took the same step first."""


class SubcallError(MonitorError):
    """A subcall ended, and not with an answer. Its record is in the store under ``(run_id, span_id)``."""

    def __init__(self, message: str, *, run_id: str = "", span_id: str = "") -> None:
        self.run_id = run_id
        self.span_id = span_id
        super().__init__(message)


class BudgetExceeded(SubcallError):  # noqa: N818 - the field's usual name, as asyncio's TimeoutError peers read
    """A limit was reached. ``exceeded`` lists all of them, the outermost first; ``partial`` is what had been written."""

    def __init__(
        self,
        message: str,
        exceeded: Sequence[Exceeded],
        *,
        partial: Observation | None = None,
        run_id: str = "",
        span_id: str = "",
    ) -> None:
        self.exceeded = tuple(exceeded)
        self.partial = partial
        super().__init__(message, run_id=run_id, span_id=span_id)


class Blocked(SubcallError):  # noqa: N818 - an outcome of the design, not a programming error
    """A check withheld the answer. ``judgement`` has the findings; the answer itself is only in the store."""

    def __init__(self, message: str, judgement: Judgement, *, run_id: str = "", span_id: str = "") -> None:
        self.judgement = judgement
        super().__init__(message, run_id=run_id, span_id=span_id)


class Halted(Blocked):
    """A check stopped the whole run."""


class Rejected(SubcallError):  # noqa: N818 - an outcome of the design
    """A human decided against the answer. ``judgement`` has the findings for which they were asked."""

    def __init__(
        self, message: str, judgement: Judgement | None = None, *, run_id: str = "", span_id: str = ""
    ) -> None:
        self.judgement = judgement
        super().__init__(message, run_id=run_id, span_id=span_id)


class Terminated(Rejected):
    """A human ended the whole run."""


class AwaitingHuman(SubcallError):  # noqa: N818 - a state of the design
    """A human was asked about the answer and has not decided yet."""


class SubcallFailed(SubcallError):  # noqa: N818 - an outcome of the design
    """The model, its provider or a tool failed, or no attempt gave a well-formed answer.

    ``kind`` is that of the record's error (``malformed_output``, ``rate_limit``, ``tool`` …), empty where there is none.
    ``withheld`` says that a check withholds or covers what came of it, be it the text of an error: it is not to be told.
    """

    def __init__(
        self, message: str, *, kind: str = "", withheld: bool = False, run_id: str = "", span_id: str = ""
    ) -> None:
        self.kind = kind
        self.withheld = withheld
        super().__init__(message, run_id=run_id, span_id=span_id)


class Undecided(SubcallFailed):
    """The same thing was asked several times, as often as was allowed, and no answer was decided on."""


class SubcallCancelled(SubcallError):  # noqa: N818 - an outcome of the design
    """The subcall was cancelled before it had an answer (only seen when a stored run is read back)."""


class ProbeError(MonitorError):
    """A probe cannot be had, trained, calibrated or applied; the message says why and what to do."""


class ArtefactError(ProbeError):
    """A probe's artefact is refused: damaged, unsafe, or not of the model that is to be probed; all differences at once."""


class CalibrationError(ProbeError):
    """A rate was asked for that the benign texts cannot support; the message says how many would."""


class ProbeDataError(ProbeError):
    """Labelled data, or a training configuration, is wrong: file, line, what is wrong and how to mend it."""
