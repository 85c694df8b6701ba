"""``monitor audit redact``: what is to be erased, what else holds it, and the events that stay."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from monitor.canonical import escape_text
from monitor.errors import ConfigError, ConflictError
from monitor.models.weights import cache_dir
from monitor.records import Event, RedactedPlace, Redaction, new_span_id, now
from monitor.store.standing import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from monitor.store.erasing import Eraser, Use

_NAMED = 5
SHORTEST = 6
"""Codepoints of the shortest text that is looked for inside of others: shorter ones stand in texts by chance."""

SURFACES = ("task", "messages", "reasoning", "output", "raw", "tool_calls", "error", "decision", "review", "queued")
"""The texts of a subcall. Those of a run itself are ``task``, ``options``, ``answer`` and ``error``."""
RUN_SURFACES = ("task", "options", "answer", "error")
_WITH_ALL = frozenset({"tokens"})  # ids and scores of tokens tell the text: they go with any text of their subcall
_DECISIONS = {"decided": "decision", "reviewed": "review", "run_queued": "queued"}


def _identifies(use: Use) -> bool:
    """Whether the text is of use to try out what an erased text of its run was: it goes with any of them."""
    return use.kind == "run_started" and use.path == "salt"


def surface_of(use: Use) -> str:
    """What the text at this place is called."""
    if use.kind in _DECISIONS:
        return _DECISIONS[use.kind]
    return "tokens" if use.is_json else use.path.partition(".")[0].partition("[")[0]


def first_of(subcalls: Sequence[tuple[str, str]], most: int) -> str:
    """Subcalls (run, span) for a sentence, the first ``most`` of them."""
    return ", ".join(f"{run}/{span}" for run, span in subcalls[:most]) + (" …" if subcalls[most:] else "")


@dataclass(slots=True)
class Plan:
    """What a redaction would erase: ``targets`` are the uses that were asked for.

    ``shared`` are other uses of the same texts; ``containing`` are uses of other texts in which one of them stands. Both
    go too with ``--everywhere`` and stay with ``--only``. ``short`` counts texts too short to be looked for in others.
    ``in_ids`` are subcalls (run, span) in which one of them stands in the id of a tool call, which nothing can erase.
    ``size`` is how many leaves the log had, ``phrase`` what was looked for.
    """

    targets: list[Use] = field(default_factory=list)
    shared: list[Use] = field(default_factory=list)
    containing: list[Use] = field(default_factory=list)
    short: int = 0
    bodies: dict[str, str] = field(default_factory=dict)
    in_ids: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0
    phrase: str = ""

    @property
    def uses(self) -> list[Use]:
        """Every use of the texts that it knows."""
        return [*self.targets, *self.shared, *self.containing]

    def chosen(self, *, everywhere: bool) -> set[str]:
        """The commitments of the texts that are to be erased."""
        wanted = {use.commitment for use in self.targets}
        if everywhere:
            return wanted | {use.commitment for use in self.containing}
        left = wanted - {use.commitment for use in self.shared}
        return left if any(use.commitment in left and not use.is_json for use in self.targets) else set()


def plan_redaction(
    eraser: Eraser,
    *,
    run_id: str = "",
    span_id: str = "",
    surfaces: Sequence[str] = (),
    phrase: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """Find out what to erase: the texts of a run or subcall, or all texts in which ``phrase`` stands.

    Args:
        eraser: The store.
        run_id: The run; not with ``phrase``.
        span_id: Only this subcall of it; the run's root span are the run's own texts.
        surfaces: Only these texts, of ``SURFACES`` or ``RUN_SURFACES``.
        phrase: What the texts contain.
        progress: Told how much was looked at, and of how much.

    Raises:
        ConfigError: there is no such text, or it was erased before.
    """

    def is_asked(use: Use) -> bool:
        if use.kind == "redacted" or _identifies(use):
            return False
        if phrase:
            return True
        is_there = use.run_id == run_id and (not span_id or span_id in {use.span_id, use.about})
        return is_there and (not surfaces or surface_of(use) in {*surfaces, *_WITH_ALL})

    size = eraser.size()
    streams = _Streams.of(eraser)
    in_ids = eraser.ids_holding([escape_text(phrase)]) if phrase else []
    if phrase:
        bodies = eraser.containing([escape_text(phrase)], progress)
        bodies |= streams.containing([escape_text(phrase)])
    else:
        asked = [use for use in eraser.uses_in(run_id, {span_id} if span_id else ()) if is_asked(use)]
        bodies = eraser.bodies(use.commitment for use in asked)
        if all(use.is_json for use in asked if use.commitment in bodies):
            bodies = {}
    if not bodies and in_ids:
        raise ConfigError(
            f"it stands in no text, and in ids of tool calls of {first_of(in_ids, _NAMED)}: these are part of the log, and "
            "nothing erases them"
        )
    if not bodies:
        raise ConfigError("there is no such text, or all of it was erased before; nothing was done")
    plan = Plan(bodies=bodies, in_ids=in_ids, size=size, phrase=phrase)
    others: dict[str, str] = {}
    if not phrase:
        plan.short = len({body for body in bodies.values() if len(body) < SHORTEST})
        long = [body for body in bodies.values() if len(body) >= SHORTEST]
        others = eraser.containing(long, progress) | streams.containing(long)
        plan.in_ids = eraser.ids_holding(long)
    uses = eraser.uses_of(bodies.keys() | others.keys(), progress)
    for released in streams.begun_by(uses):  # the parts of an answer go with it, whatever of it stands in them
        added = bodies if released.of <= bodies.keys() else others
        added |= {name: body for name, body in released.parts.items() if name not in bodies}
    missing = (bodies.keys() | others.keys()) - {use.commitment for use in uses}
    for use in [*uses, *(eraser.uses_of(missing, progress) if missing else [])]:
        if use.kind == "redacted":
            continue
        if use.commitment not in bodies:
            plan.containing.append(use)
        else:
            (plan.targets if is_asked(use) else plan.shared).append(use)
    plan.bodies = bodies | others
    return plan


class _Released(NamedTuple):
    """The parts of a stream, and the answer or thought that it came to."""

    of: set[str]
    parts: dict[str, str]


class _Streams:
    """What was released in parts: a text can stand across them, and they are the beginning of an answer."""

    def __init__(self, parts: dict[tuple[str, str, str], dict[str, str]]) -> None:
        self._parts = parts

    @classmethod
    def of(cls, eraser: Eraser) -> _Streams:
        """Those of which every text is read into memory: few streams are released before their end."""
        streams = eraser.streams()
        bodies = eraser.bodies(name for names in streams.values() for name in names)
        return cls({key: {name: bodies[name] for name in names if name in bodies} for key, names in streams.items()})

    def containing(self, texts: Sequence[str]) -> dict[str, str]:
        """The parts of all streams in which one of these texts stands, across their parts."""
        wanted = Wanted(texts)
        found: dict[str, str] = {}
        for parts in self._parts.values():
            whole = "".join(parts.values())
            if wanted.stands_in(whole):
                found |= parts
        return found

    def begun_by(self, uses: Sequence[Use]) -> Iterator[_Released]:
        """The streams that came to one of these answers or thoughts."""
        for use in uses:
            if use.kind == "observed" and (parts := self._parts.get((use.run_id, use.span_id, surface_of(use)))):
                yield _Released({use.commitment}, parts)


@dataclass(slots=True)
class Done:
    """What was erased: how many texts, in which runs; ``left`` are uses of what was asked for that were left alone."""

    texts: int = 0
    runs: list[str] = field(default_factory=list)
    left: list[Use] = field(default_factory=list)
    caches: int = 0


def redact(eraser: Eraser, plan: Plan, *, everywhere: bool, why: str, by: str) -> Done:
    """Erase what ``plan`` says, and append one event to each run that it concerns, in one transaction.

    Token ids and scores of every subcall that loses a text go with it, for the text can be read from them; so does, of
    every run that loses one, what the text could be tried against: the salt of its keys and seeds, and of an ingested run
    its options, which have the hash of the file. These are not counted.

    Raises:
        ConfigError: ``why`` or ``by`` holds what is to be erased.
        ConflictError: one of the texts was used again since it was planned; nothing was erased.
        StoreError: nothing was erased.
    """
    names = plan.chosen(everywhere=everywhere)
    _refuse_quoting(why, by, [plan.bodies[name] for name in names], plan.phrase)
    uses = [use for use in plan.uses if use.commitment in names]
    touched: dict[str, set[str]] = defaultdict(set)
    for use in uses:
        touched[use.run_id].add(use.about)
    marks = eraser.marks_of(touched)
    tokens = {use.commitment for run, spans in touched.items() for use in eraser.uses_in(run, spans) if use.is_json}
    uses += [use for use in eraser.uses_of(tokens - names, lambda _done, _total: None) if use.kind != "redacted"]
    places: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    texts: dict[str, set[str]] = defaultdict(set)
    for use in uses:
        places[use.run_id][use.about].add(surface_of(use))
        texts[use.run_id].add(use.commitment)
    for run, held in marks.items():
        texts[run] |= held
    at = now()
    events = [
        Event.of(
            run,
            new_span_id(),
            Redaction(
                places=tuple(
                    RedactedPlace(span=span, surfaces=tuple(sorted(found))) for span, found in sorted(spans.items())
                ),
                texts=tuple(sorted(texts[run])),
                why=escape_text(why),
                by=escape_text(by),
                at=at,
            ),
        )
        for run, spans in sorted(places.items())
    ]
    known = frozenset(plan.uses)
    unseen = len(eraser.live(set().union(*marks.values()) - {use.commitment for use in uses}))

    def check(found: list[Use]) -> None:
        new = [use for use in found if use.commitment in names and use not in known]
        if new:
            raise ConflictError(
                f"run {new[0].run_id} used one of these texts since it was looked where they are used; nothing was erased: "
                "give the command again"
            )

    erased = eraser.erase(sorted(set().union(*texts.values())), events, size=plan.size, check=check) - unseen
    left = [] if everywhere else [*plan.shared, *plan.containing]
    return Done(erased, sorted(places), left, forget_caches())


def _refuse_quoting(why: str, by: str, bodies: Iterable[str], phrase: str) -> None:
    for body in (phrase, *(body for body in bodies if len(body) >= SHORTEST)):
        if body and (body in why or body in by):
            raise ConfigError("the reason, or the name, quotes the text that is to be erased; say it without the text")


def forget_caches() -> int:
    """Delete the activations that probes keep on this machine, which were made of texts; return how many files it were.

    They are made again where they are needed.
    """
    folder = cache_dir() / "probes" / "activations"
    files = [path for path in folder.glob("*") if path.is_file()] if folder.is_dir() else []
    for path in files:
        path.unlink(missing_ok=True)
    return len(files)
