"""Decisions from outside of a run: what waits, and what somebody decides of it, in any process and at any time."""

from __future__ import annotations

import getpass
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.canonical import canonical_text, escape_text, parse_json
from monitor.errors import ConfigError, ConflictError
from monitor.loaded import LoadedChecks
from monitor.orchestrate.replies import REASONING_FIELD, Malformed, parse_answer
from monitor.pipeline import Pipeline, decided
from monitor.records import Choice, Decision, Outcome, now
from monitor.settings import Settings
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Literal

    from monitor.records import Event, StoredRun, StoredSubcall

OVER = frozenset({Outcome.OK, Outcome.BLOCKED, Outcome.REJECTED})
"""Ends after which a run does not go on, so that nothing of it waits any more."""

THE_MONITOR = "the monitor"
"""Who closes what still waits when its run ends for good."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A subcall that waits for a decision, and its run."""

    run: StoredRun
    subcall: StoredSubcall

    @property
    def id(self) -> str:
        """``RUN/SPAN``: names it among everything that waits."""
        return f"{self.subcall.call.run_id}/{self.subcall.call.span_id}"


def pending(store: Store) -> list[Pending]:
    """What waits for a decision in runs that can go on, the oldest first. Raises StoreError."""
    waiting = store.asked()
    runs = {run_id: store.run(run_id) for run_id in {subcall.call.run_id for subcall in waiting}}
    listed = [Pending(runs[subcall.call.run_id], subcall) for subcall in waiting]
    return [item for item in listed if item.run.state not in OVER]


def find(store: Store, ref: str) -> StoredSubcall:
    """The subcall that ``ref`` names: ``SPAN`` or ``RUN/SPAN``, either of them by its beginning.

    Raises:
        ConfigError: nothing that a person was asked about is named so, or several are.
    """
    run, _, span = ref.strip().lower().rpartition("/")
    found = [
        subcall
        for subcall in store.asked(settled=True)
        if subcall.call.span_id.startswith(span) and subcall.call.run_id.startswith(run)
    ]
    named = [subcall for subcall in found if subcall.awaits_human] or found
    if len(named) == 1 and span:
        return named[0]
    if not named or not span:
        raise ConfigError(f"nobody was asked about a subcall {ref!r}; `monitor pending` lists what waits")
    ids = ", ".join(f"{item.call.run_id}/{item.call.span_id}" for item in named[:5])
    raise ConfigError(f"{ref!r} begins the ids of {len(named)} subcalls ({ids} …): give more of it")


def find_waiting(store: Store, ref: str) -> StoredSubcall:
    """As ``find``, for a subcall that waits for a decision in a run that can go on.

    Raises:
        ConfigError: as ``find`` does.
        ConflictError: it does not wait any more; says why.
    """
    subcall = find(store, ref)
    _refuse_settled(subcall)
    state = store.run(subcall.call.run_id).state
    if state in OVER:
        raise ConflictError(
            f"run {subcall.call.run_id} has ended ({state}), and nothing of it waits any more: a decision would change "
            "nothing. Nothing was changed"
        )
    return subcall


def close(store: Store, run_id: str, spans: Iterable[str], outcome: Outcome) -> Iterator[Event]:
    """Reject what of ``spans`` still waits in a run that ends for good: every subcall ends. Raises StoreError."""
    for span_id in spans:
        subcall = store.subcall(run_id, span_id)
        if subcall.awaits_human:
            why = f"the run ended ({outcome.value}) before anybody decided"
            yield decided(subcall, Decision(choice=Choice.REJECT, why=why, by=THE_MONITOR, via="call", at=now()))


def this_person() -> str:
    """Who decides, as far as the operating system knows: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = "unknown"
    return f"{user}@{platform.node()}"


def make_decision(
    subcall: StoredSubcall,
    choice: Choice | str,
    *,
    why: str,
    by: str | None = None,
    output: str | None = None,
    via: Literal["command", "terminal", "call"] = "call",
) -> Decision:
    """Make a decision that fits the subcall.

    Args:
        subcall: What is decided about.
        choice: One of ``Choice``; ``modify`` needs ``output``.
        why: The reason; not empty.
        by: Who decides. Default: ``this_person()``.
        output: The answer that takes the place of the model's: for a role with an output schema a JSON object that fits it.
        via: Where the person was asked.

    Raises:
        ConfigError: it does not fit; says what is missing.
    """
    choice = Choice(choice)
    if not why.strip():
        raise ConfigError("a decision needs a reason: say why")
    if (output is None) == (choice is Choice.MODIFY):
        raise ConfigError("`modify` needs the answer that takes the place of the model's, and nothing else takes one")
    text = escape_text(output or "")
    if subcall.call.output_schema and output is not None:
        try:
            text = canonical_text(parse_answer(output, _answer_schema(subcall)))
        except Malformed as exc:
            raise ConfigError(f"the modified answer does not fit the role's output schema: {exc}") from exc
    person = by.strip() if by and by.strip() else this_person()
    return Decision(choice=choice, why=escape_text(why), by=escape_text(person), output=text, via=via, at=now())


def _answer_schema(subcall: StoredSubcall) -> dict[str, Any]:
    """The role's output schema for an answer that comes without reasoning, as stored outputs do."""
    schema: dict[str, Any] = parse_json(subcall.call.output_schema)
    properties = {name: value for name, value in schema["properties"].items() if name != REASONING_FIELD}
    required = [name for name in schema.get("required", ()) if name != REASONING_FIELD]
    return {**schema, "properties": properties, "required": required}


async def decide(
    ref: str,
    choice: Choice | str,
    *,
    why: str,
    by: str | None = None,
    output: str | None = None,
    via: Literal["command", "call"] = "call",
    db: str | None = None,
    settings: Settings | None = None,
) -> StoredSubcall:
    """Decide about a subcall that waits: ``RUN/SPAN`` or ``SPAN``; the other arguments are ``make_decision``'s.

    A process that still waits for it goes on by itself; a suspended run goes on when it is resumed.

    Raises:
        ConfigError: nothing of that name waits, or the decision does not fit.
        ConflictError: it was decided already, perhaps at this very moment; says by whom. Or its run has ended for good.
        StoreError: the decision could not be committed.
    """
    settings = settings or Settings(db=db)
    with Store.open(db or settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        subcall = find_waiting(store, ref)
        decision = make_decision(subcall, choice, why=why, by=by, output=output, via=via)
        try:
            return await Pipeline(store, LoadedChecks(())).decide(subcall, decision)
        except ConflictError as exc:
            _refuse_settled(store.subcall(subcall.call.run_id, subcall.call.span_id))
            raise ConflictError(f"somebody escalated {ref} at this moment: look again, then decide") from exc


def _refuse_settled(subcall: StoredSubcall) -> None:
    """Raise ConflictError, which says who decided what, unless the subcall waits for a decision."""
    if subcall.awaits_human:
        return
    last = subcall.decisions[-1]
    raise ConflictError(
        f"subcall {subcall.call.span_id} was decided already: {last.choice.value} by {last.by} at {last.at}: {last.why}. "
        "Nothing was changed"
    )
