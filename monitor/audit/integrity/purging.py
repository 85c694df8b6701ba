"""``monitor audit purge``: the texts of whole old runs, but for what other runs need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.audit.integrity.redaction import Done, forget_caches
from monitor.canonical import escape_text
from monitor.errors import ConflictError
from monitor.records import Event, Redaction, new_span_id, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.store.erasing import Eraser, Use


@dataclass(slots=True)
class PurgePlan:
    """What a purge would erase: for each old run the texts that no run which stays needs.

    ``shared`` counts texts of old runs that stay for that reason; ``done`` counts old runs that have nothing left to erase.
    ``size`` is how many leaves the log had.
    """

    runs: dict[str, set[str]] = field(default_factory=dict)
    shared: int = 0
    done: int = 0
    size: int = 0

    @property
    def texts(self) -> int:
        """How many texts there are to erase."""
        return len(set().union(*self.runs.values())) if self.runs else 0


def plan_purge(
    eraser: Eraser, before: str, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> PurgePlan:
    """The runs whose last event is older than ``before`` (ISO 8601), with what of them can be erased."""
    size = eraser.size()
    newest = eraser.newest()
    old = sorted((run for run, at in newest.items() if at < before), key=lambda run: newest[run])
    texts = eraser.texts_by_run(progress)
    needed = set().union(*(texts[run] for run in texts if run not in set(old)))
    of_old = set().union(*(texts.get(run, set()) for run in old))
    live = eraser.live(of_old)
    plan = PurgePlan(shared=len(of_old & needed & live), size=size)
    for run in old:
        names = (texts.get(run, set()) & live) - needed
        if names:
            plan.runs[run] = names
        else:
            plan.done += 1
    return plan


def purge(
    eraser: Eraser,
    plan: PurgePlan,
    *,
    why: str,
    by: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Done:
    """Erase the texts of whole runs, each run in a transaction of its own: a purge that was cut off is simply made again.

    What was used again since it was planned stays, and its uses are in ``left``.

    Raises StoreError: what was purged until then stays so.
    """
    done = Done()
    planned: set[str] = set().union(*plan.runs.values())
    again = _Again()
    size = plan.size
    for number, (run, texts) in enumerate(plan.runs.items(), 1):
        again.wanted = texts - again.names
        while again.wanted:
            names = sorted(again.wanted)
            redaction = Redaction(whole=True, texts=tuple(names), why=escape_text(why), by=escape_text(by), at=now())
            event = Event.of(run, new_span_id(), redaction)
            looked_up_to = eraser.size()
            try:
                done.texts += eraser.erase(names, [event], size=size, among=planned, check=again.take)
            except _UsedAgainError:
                again.wanted -= again.names
            else:
                done.runs.append(run)
                break
            finally:
                size = looked_up_to
        progress(number, len(plan.runs))
    done.left = again.uses
    done.caches = forget_caches()
    return done


class _UsedAgainError(ConflictError):
    """A text that was to be purged was used meanwhile."""


class _Again:
    """The texts that were used again after a purge was planned; ``wanted`` are those that are to be erased next."""

    def __init__(self) -> None:
        self.uses: list[Use] = []
        self.names: set[str] = set()
        self.wanted: set[str] = set()

    def take(self, found: list[Use]) -> None:
        """Take in new uses. Raises _UsedAgainError if one is of a wanted text."""
        self.uses += found
        self.names |= {use.commitment for use in found}
        if self.names & self.wanted:
            raise _UsedAgainError("a text was used meanwhile")
