"""A run: how it starts, is resumed and ends."""

from __future__ import annotations

from pydantic import Field

from monitor.canonical import parse_json
from monitor.records.judging import Verdict
from monitor.records.probing import ProbeRef
from monitor.records.trace import ErrorInfo, Exceeded, Limits, Usage
from monitor.records.words import Frozen, Outcome, Text


class RuleRef(Frozen):
    """A rule as a run used it. ``overridden_by`` names the site's file that changed it, with its version."""

    name: str
    rule_id: str
    rule_hash: str
    pack: str
    pack_version: str = ""
    overridden_by: str = ""


class FilterRef(Frozen):
    """A filter as a run used it. ``expires`` is its last day (ISO 8601); an expired one suppressed nothing."""

    name: str
    filter_id: str
    filter_hash: str
    filter_set: str
    version: str = ""
    expires: str = ""
    is_expired: bool = False


OBSERVED = "observed:"
"""Before the name of somebody else's program in a run's ``recipe``: such a run goes on where that program does."""
INGESTED = "ingested:"
"""Before the name of a format in a run's ``recipe``: such a run was over before it came, and was never executed here."""


class RunStart(Frozen):
    """The payload of a run's ``started`` event: the task and all that decides how the run goes.

    ``salt`` seals the keys and seeds of its steps (see ``records.sealing``).
    """

    run_id: str
    span_id: str
    recipe: str
    recipe_hash: str = ""
    task: Text
    salt: Text = ""
    model: str
    seed: int = 0
    limits: Limits = Limits()
    policies: tuple[str, ...] = ()
    rules: tuple[RuleRef, ...] = ()
    filters: tuple[FilterRef, ...] = ()
    probes: tuple[ProbeRef, ...] = ()
    options: Text = ""
    host: str = ""
    pid: int = 0
    process_started: float = 0.0
    version: str = ""
    at: str = ""

    @property
    def is_observed(self) -> bool:
        """Whether the run observes somebody else's program."""
        return self.recipe.startswith(OBSERVED)

    @property
    def is_ingested(self) -> bool:
        """Whether the run was read from a trace that another program left."""
        return self.recipe.startswith(INGESTED)

    @property
    def source(self) -> str:
        """The file that an ingested run was read from, by its name; nothing for other runs and for what was received."""
        return self._option("ingested", "file")

    @property
    def judge(self) -> str:
        """The model that rules' questions were put to; nothing where there was none, or where the record does not say."""
        return self._option("judge")

    def _option(self, *path: str) -> str:
        try:
            found = parse_json(self.options)
            for name in path:
                found = found[name]
        except (ValueError, KeyError, TypeError):
            return ""
        return found if isinstance(found, str) else ""


class RunResume(Frozen):
    """The payload of a run's ``resumed`` event: what may differ from the start. ``judge`` is as in ``RunStart.judge``."""

    recipe_hash: str = ""
    limits: Limits = Limits()
    retry_failed: bool = False
    rules: tuple[RuleRef, ...] = ()
    filters: tuple[FilterRef, ...] = ()
    probes: tuple[ProbeRef, ...] = ()
    judge: str = ""
    host: str = ""
    pid: int = 0
    process_started: float = 0.0
    version: str = ""
    at: str = ""


class RunEnd(Frozen):
    """The payload of a run's ``ended`` event. ``verdict`` is the worst of its subcalls'.

    ``dropped`` counts what an adapter found of a foreign run and could not take in: what it was is not recorded.
    """

    outcome: Outcome
    answer: Text = ""
    verdict: Verdict
    usage: Usage = Usage()
    error: ErrorInfo | None = None
    exceeded: tuple[Exceeded, ...] = ()
    seconds: float = 0.0
    dropped: int = Field(default=0, ge=0)
    at: str = ""


class QueuedReview(Frozen):
    """The payload of a run's ``queued`` event: the recipe put a subcall before a person, for later; nothing waits for it.

    ``score`` orders the queue, the most suspicious first; what it counts is the recipe's to say in ``why``.
    """

    span: str
    why: Text
    score: float = 0.0
    at: str = ""


class RunSuspend(Frozen):
    """The payload of a run's ``suspended`` event: it waits for people to decide, and nothing of it runs meanwhile.

    ``pending`` are the span ids of the subcalls that wait. ``verdict`` and ``usage`` are those of the run so far.
    """

    pending: tuple[str, ...]
    verdict: Verdict
    usage: Usage = Usage()
    seconds: float = 0.0
    at: str = ""
