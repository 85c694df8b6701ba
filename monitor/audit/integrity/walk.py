"""One pass over every event in the order of the log: hashes, columns, the rules of the log, and the tree that grows.

Nothing that the database says of itself is believed: each hash is computed anew, and each column is compared with the
canonical text that the hash is of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from monitor.audit.integrity.coverage import CoverageCount
from monitor.errors import StoreFormatError
from monitor.store.codec import PAYLOADS
from monitor.store.decoding import parse, references
from monitor.store.ledger import leaf_hash_of
from monitor.store.merkle import Frontier
from monitor.store.raw import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from monitor.store.raw import RawEvent

_COLUMNS = ("run_id", "span_id", "seq", "kind", "at")
_OF_RUNS = frozenset({"run_started", "run_resumed", "run_queued", "run_suspended", "run_ended"})
_FIRST = {"run_started": 0, "started": 0, "reviewed": 0, "redacted": 0, "observed": 1, "judged": 2}
_HEX = frozenset("0123456789abcdef")


@dataclass(slots=True)
class Steps:
    """What is known of one span: the kinds of its events by their places, their leaves, the newest time."""

    kinds: dict[int, str] = field(default_factory=dict)
    leaves: list[int] = field(default_factory=list)
    last: int = -1
    at: str = ""
    asks: bool = False


@dataclass(slots=True)
class Walk:
    """What a pass over the log found. ``roots`` and ``peaks`` are those at the sizes that were asked for.

    ``broken_at`` is the first leaf that is not there: beyond it there is no tree to compare. ``texts`` and ``heads`` are
    what events refer to, ``erased`` the commitments that redactions name, ``dropped`` what adapters could not read, by run.
    ``unparsed`` counts rows of which nothing is known, for they are no events that can be read.
    """

    sizes: frozenset[int] = frozenset()
    faults: list[Fault] = field(default_factory=list)
    frontier: Frontier = field(default_factory=Frontier)
    roots: dict[int, bytes] = field(default_factory=dict)
    peaks: dict[int, list[bytes]] = field(default_factory=dict)
    broken_at: int | None = None
    events: int = 0
    without_leaf: set[int] = field(default_factory=set)
    spans: dict[tuple[str, str], Steps] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    texts: set[bytes] = field(default_factory=set)
    heads: set[bytes] = field(default_factory=set)
    erased: set[bytes] = field(default_factory=set)
    mentions: list[tuple[str, str, str, str]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    coverage: CoverageCount = field(default_factory=CoverageCount)
    unparsed: int = 0

    def go(self, events: Iterable[RawEvent], progress: Callable[[int], None]) -> None:
        """Take all events. Raises what reading them raises."""
        self._mark()
        for number, event in enumerate(events, 1):
            self._take(event)
            if not number % 500:
                progress(number)

    def _mark(self) -> None:
        if self.frontier.size in self.sizes and self.broken_at is None:
            self.roots[self.frontier.size] = self.frontier.root()
            self.peaks[self.frontier.size] = list(self.frontier.peaks)

    def _take(self, event: RawEvent) -> None:
        self.events += event.canonical is not None
        fault = self._fault_of(event)
        digest = self._digest(event, fault)
        if event.leaf_index is None:
            self.without_leaf.add(event.position)
        else:
            self._leaf(event, digest, fault)
        parsed = self._parsed(event, fault) if isinstance(event.canonical, str) else None
        self.unparsed += parsed is None
        if parsed is not None:
            self._know(event, parsed, fault)

    def _fault_of(self, event: RawEvent) -> Callable[[str], None]:
        row = f"leaf {event.leaf_index}" if event.leaf_index is not None else f"position {event.position}"
        run, span = (str(value) if isinstance(value, str) else "" for value in (event.run_id, event.span_id))
        name = f"{row} ({event.kind} {run}/{span}/{event.seq})"
        return lambda problem: self.faults.append(Fault("events", name, problem, run, span))

    def _digest(self, event: RawEvent, fault: Callable[[str], None]) -> bytes:
        """The hash of the leaf, computed anew; of an event that has no text to hash, one that nothing has."""
        if event.canonical is None and event.leaf_hash is None:
            fault("the log has a leaf here, and the event is gone")
            return bytes(32)
        try:
            found = leaf_hash_of(event.canonical)
        except (AttributeError, TypeError, UnicodeEncodeError):
            fault(f"its canonical text is no text ({type(event.canonical).__name__})")
            return bytes(32)
        if found != event.leaf_hash:
            fault(f"it was changed: its hash should be {found}, found {_short(event.leaf_hash)}")
        if event.leaf_index is not None and event.log_hash != event.leaf_hash:
            fault(f"the log has another hash for it: {_short(event.log_hash)}")
        return bytes.fromhex(found)

    def _leaf(self, event: RawEvent, digest: bytes, fault: Callable[[str], None]) -> None:
        expected = self.frontier.size
        if event.leaf_index != expected and self.broken_at is None:
            self.broken_at = expected
            fault(f"expected leaf {expected} next: what was there is gone, or the order was changed")
        self.frontier.add(digest)
        self._mark()

    def _parsed(self, event: RawEvent, fault: Callable[[str], None]) -> dict[str, Any] | None:
        try:
            parsed = parse(event.canonical)
        except StoreFormatError as problem:
            fault(str(problem))
            return None
        for name in _COLUMNS:
            told, column = parsed.get(name), getattr(event, name)
            if told != column or type(told) is not type(column):
                fault(f"the column {name} should be {_short(told)}, found {_short(column)}")
        if parsed.get("kind") not in PAYLOADS or not isinstance(parsed.get("body"), dict):
            fault(f"no event of this version is like that: kind {_short(parsed.get('kind'))}")
            return None
        if (
            not all(isinstance(parsed[name], str) for name in ("run_id", "span_id", "at"))
            or type(parsed["seq"]) is not int
        ):
            fault("its ids, its place or its time are of another type than they should be")
            return None
        return parsed

    # ---------------------------------------------------------------------------------------- the rules of the log

    def _know(self, event: RawEvent, parsed: dict[str, Any], fault: Callable[[str], None]) -> None:
        run, span, seq, kind, body = (parsed[name] for name in ("run_id", "span_id", "seq", "kind", "body"))
        steps = self.spans.setdefault((run, span), Steps())
        if seq in steps.kinds:
            fault(f"the same place is taken twice, by {steps.kinds[seq]} and {kind}")
        elif kind == "released":
            self._part(seq, steps, fault)
        elif seq < steps.last:
            fault(f"it comes after step {steps.last} of the same span: the order of the log was changed")
        if not _has_place(kind, seq):
            fault(f"no {kind} event has place {seq}")
        steps.kinds[seq] = kind
        if isinstance(event.leaf_index, int):
            steps.leaves.append(event.leaf_index)
        steps.last = max(steps.last, seq)
        steps.at = max(steps.at, parsed["at"])
        if kind == "run_started":
            if run in self.runs:
                fault(f"run {run} starts twice")
            self.runs[run] = span
        elif run not in self.runs:
            fault(f"its run {run} has not started: the event that starts it is gone, or comes later")
        if kind == "judged":
            steps.asks = body.get("action") == "ask_human" and body.get("outcome") == "blocked"
        elif kind == "decided":
            steps.asks = steps.asks and body.get("choice") == "escalate"
        elif kind == "run_ended" and isinstance(count := body.get("dropped", 0), int) and count:
            self.dropped[run] = max(count, self.dropped.get(run, 0))
        elif kind == "redacted":
            self.erased.update(_digests(body.get("texts", ()), fault))
        self._mention(run, span, kind, body)
        self._refer(parsed, fault)
        self.coverage.take(run, span, kind, body)

    @staticmethod
    def _part(seq: int, steps: Steps, fault: Callable[[str], None]) -> None:
        """Parts of a stream count down from -1, between the start of their subcall and its answer."""
        if steps.last != 0:
            where = "step 0" if steps.last < 0 else f"step {steps.last}"
            fault(f"a part of a stream stands {'before' if steps.last < 0 else 'after'} {where} of its subcall")
        elif seq < -1 and seq + 1 not in steps.kinds:
            fault(f"part {-seq} of a stream is there, and part {-seq - 1} is not, or comes later")

    def _mention(self, run: str, span: str, kind: str, body: dict[str, Any]) -> None:
        """Note which other spans of its run an event names."""
        names = {"started": ("parent_id", "retry_of"), "reviewed": ("span",), "run_queued": ("span",)}.get(kind, ())
        for name in names:
            if body.get(name):
                self.mentions.append((run, span, kind, body[name]))
        for pending in body.get("pending", ()) if kind == "run_suspended" else ():
            self.mentions.append((run, span, kind, pending))

    def _refer(self, parsed: dict[str, Any], fault: Callable[[str], None]) -> None:
        texts, heads = references(parsed)
        self.texts.update(_digests(texts, fault))
        self.heads.update(_digests(heads, fault))


def _has_place(kind: str, seq: int) -> bool:
    if kind in _FIRST:
        return seq == _FIRST[kind]
    if kind == "released":
        return seq < 0
    return seq >= 1 if kind in _OF_RUNS else seq > _FIRST["judged"]


def _digests(names: Iterable[Any], fault: Callable[[str], None]) -> Iterator[bytes]:
    for name in names:
        if isinstance(name, str) and len(name) == 64 and _HEX.issuperset(name):
            yield bytes.fromhex(name)
        else:
            fault(f"it refers to {_short(name)}, which is the name of no text and no message")


def _short(value: Any) -> str:
    """A value as messages show it. Only hashes, ids, kinds and times come here, never a text."""
    shown = ascii(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"
