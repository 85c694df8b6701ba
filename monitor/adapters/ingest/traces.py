"""What a reader makes of a foreign trace: a run, and the steps of which its tree is made.

Ids are the same however often a trace is read: its own where it has such, else made of its content (the run) and of the
place in it (the subcall).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from monitor.canonical import MAX_SAFE_INTEGER, canonical_hash, escape_text
from monitor.records import Call, Observation, Outcome, Usage, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.records import ErrorInfo, Message

_ORDINARY = 1e12
MAX_RECORD = 64 * 1024 * 1024
"""Bytes of one trace as it is stored, at most: one at a time is in memory."""


class Broken(ValueError):  # noqa: N818 - a property of the record, not of the program
    """A record is not what its format says. The message says what was expected where, and does not quote it at length."""


class Problem(NamedTuple):
    """What was not taken, and why. ``is_refused`` is false for a file that is simply no trace, such as a licence."""

    file: str
    where: str
    why: str
    is_refused: bool = True


class Step(NamedTuple):
    """One subcall of a foreign trace."""

    call: Call
    observation: Observation


@dataclass(frozen=True, slots=True)
class Trace:
    """One foreign run. Its texts are escaped; ``steps`` gives the same steps whenever it is called, and cannot fail.

    ``file`` and ``where`` say where it was read. ``usage`` is what the trace itself reports of the whole run, if it does.
    ``may_grow`` says that more of it may come, under the same id. ``length`` are the characters of its messages; one of
    which that is not counted is taken as long. ``dropped`` counts what belongs to it and could not be read.
    """

    tree: Tree
    file: str
    where: str
    content: str
    steps: Callable[[], Iterator[Step]]
    task: str = ""
    model: str = ""
    answer: str = ""
    outcome: Outcome = Outcome.OK
    error: ErrorInfo | None = None
    usage: Usage | None = None
    at: str = ""
    may_grow: bool = False
    length: int = MAX_RECORD
    dropped: int = 0

    @property
    def run_id(self) -> str:
        """The id of the run that it becomes."""
        return self.tree.run_id


@dataclass(frozen=True, slots=True)
class Tree:
    """The ids of one run, and how its calls are put down."""

    adapter: str
    run_id: str
    root: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.span_id(""))

    @classmethod
    def of_content(cls, adapter: str, content: str) -> Tree:
        """The tree of a trace without an id of its own; ``content`` is the hash of what it says."""
        return cls(adapter, digest(adapter, content)[:32])

    def span_id(self, place: str) -> str:
        """The id of what stands at a place of the trace."""
        return digest(self.run_id, place)[:16]

    def call(
        self,
        place: str,
        role: str,
        *,
        kind: Literal["model", "tool"] = "model",
        span_id: str = "",
        below: str = "",
        depth: int = 1,
        messages: tuple[Message, ...] = (),
        at: str = "",
        **rest: Any,
    ) -> Call:
        """The call at a place; ``below`` is the span that it hangs under, none for the run itself."""
        return Call(
            run_id=self.run_id,
            span_id=span_id or self.span_id(place),
            parent_id=below or self.root,
            key=place,
            kind=kind,
            role=escape_text(role),
            adapter=self.adapter,
            depth=depth,
            messages=messages,
            at=at or now(),
            **rest,
        )


def digest(*parts: str) -> str:
    """SHA-256 (64 hex digits) of texts, each told from the next."""
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode(errors="surrogatepass")).hexdigest()


def content_hash(value: Any) -> str:
    """The hash of what a record says, the same however its JSON is written. Raises Broken for what cannot be read."""
    try:
        return canonical_hash(value)
    except RecursionError:
        raise Broken("nested too deeply to read") from None


def whole_number(value: Any) -> int | None:
    """``value`` where it is a whole number that JSON can write everywhere, else None."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and abs(value) <= MAX_SAFE_INTEGER else None


def count_of(value: Any) -> int | None:
    """``value`` where it is a count, else None."""
    found = whole_number(value)
    return found if found is not None and found >= 0 else None


def number_of(value: Any) -> float | None:
    """``value`` where it is a number of an ordinary size, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < _ORDINARY else None


def seconds_of(value: Any) -> float:
    """``value`` where it can be seconds, else 0."""
    return max(0.0, number_of(value) or 0.0)


def tool_usage() -> Usage:
    """What one execution of a tool uses."""
    return Usage(tool_calls=1, cost=0.0)


def when(value: Any) -> str:
    """A time as events carry it (UTC, microseconds), or nothing where ``value`` is none with a zone."""
    if not isinstance(value, str):
        return ""
    try:
        given = datetime.fromisoformat(value)
        in_utc = given.astimezone(UTC) if given.tzinfo else None
    except (ValueError, OverflowError):
        return ""
    return f"{in_utc.replace(tzinfo=None).isoformat(timespec='microseconds')}Z" if in_utc else ""


def between(start: str, end: str) -> float:
    """Seconds from one time to another, as ``when`` gives them; 0 where one is not known or they are out of order."""
    if not start or not end:
        return 0.0
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())
