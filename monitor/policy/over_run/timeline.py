"""The order in which the subcalls of a run stand to each other, as its log has it.

A subcall *begins* where its call is stored, before the model is asked, and is *seen* where it is judged. One comes
**before** another if it was seen before the other began: only then can its answer have played a part in what the other was
asked. Two that overlap have no order, so in whatever order they finish, rules over a run say the same of them.

Both are places in the log, so a rescan of the log finds the order that the run had.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.records import Call

NO_TIME = float("-inf")


class Moment(NamedTuple):
    """Where one subcall stands. ``number`` counts the run's subcalls as they begin, from 0; ``at`` is when it began, in
    seconds since 1970 (UTC), but never before one that began earlier: a clock that is set back stands still. ``began`` and
    ``seen`` are places in the order of the log.
    """

    number: int
    at: float
    began: int
    seen: int


@dataclass(frozen=True, slots=True)
class Window:
    """How near to each other subcalls must begin: within so many subcalls, or so many seconds, or anywhere in the run."""

    subcalls: int | None = None
    seconds: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is the whole run."""
        return self.subcalls is None and self.seconds is None

    def place(self, moment: Moment) -> float:
        """Where a subcall stands, in the unit of the window."""
        return moment.number if self.seconds is None else moment.at

    def holds(self, first: float, last: float) -> bool:
        """Whether the places ``first`` and ``last`` lie in one window; n subcalls span n - 1 steps."""
        if self.subcalls is not None:
            return last - first < self.subcalls
        return self.seconds is None or last - first <= self.seconds


class Timeline:
    """Follows the log of one run. What it remembers are the subcalls in flight."""

    def __init__(self) -> None:
        self._tick = 0
        self._number = 0
        self._at = NO_TIME
        self._in_flight: dict[str, tuple[int, float, int]] = {}

    def begin(self, call: Call) -> None:
        """The call is being stored. A second time for one span, as after a resume, is nothing new."""
        if call.span_id not in self._in_flight:
            self._at = max(self._at, _seconds(call.at))
            self._in_flight[call.span_id] = self._number, self._at, self._tick
            self._number += 1
            self._tick += 1

    def see(self, call: Call) -> Moment:
        """The subcall is being judged: it is in flight no longer."""
        self.begin(call)
        number, at, began = self._in_flight.pop(call.span_id)
        moment = Moment(number, at, began, self._tick)
        self._tick += 1
        return moment

    def started(self, span_id: str) -> tuple[int, int]:
        """The number of a subcall in flight, and the place at which it began."""
        number, _, began = self._in_flight[span_id]
        return number, began

    @property
    def in_flight(self) -> Iterator[int]:
        """Where the subcalls in flight began."""
        return (began for _, _, began in self._in_flight.values())

    @property
    def next_began(self) -> int:
        """No subcall that is yet to be seen began before this."""
        first = next(iter(self._in_flight.values()), None)  # a dictionary keeps the order in which they began
        return self._tick if first is None else first[2]

    def next_place(self, window: Window) -> float:
        """No subcall that is yet to be seen stands before this place."""
        number, at, _ = next(iter(self._in_flight.values()), (self._number, self._at, self._tick))
        return number if window.seconds is None else at


def _seconds(at: str) -> float:
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return NO_TIME
