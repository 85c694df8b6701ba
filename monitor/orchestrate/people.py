"""Waiting for people: a subcall that a rule wants a person to see waits here, and a run in which nothing else goes on is
suspended.

While others of the run still work, a waiting subcall looks into the store for a decision from elsewhere. When every
subcall in flight waits, the run's clock stops; after ``patience`` seconds of that the run is suspended: stored, and
continued by ``resume`` in any process once somebody has decided. Where the caller can ask a person there and then, it
hands in a ``Decider``.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from monitor.errors import ConflictError
from monitor.records import Choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.pipeline import Pipeline
    from monitor.records import Decision, StoredSubcall

LOOK_SECONDS = 0.5
_SETTLING_SECONDS = 0.05  # a recipe that was just woken may be about to make its next call


class Decider(Protocol):
    """Asks a person there and then."""

    async def __call__(self, subcall: StoredSubcall) -> Decision | None:
        """What they decide of ``subcall``; None leaves it for later."""
        ...


class StoppableClock:
    """Seconds that go by while the run works; they do not while it does nothing but wait for people."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stopped_at: float | None = None
        self._lost = 0.0
        self.on_change: Callable[[bool], object] = lambda _: None  # told whether the clock runs now

    def __call__(self) -> float:
        """Seconds since some fixed moment, less those for which the clock stood."""
        return (self._clock() if self._stopped_at is None else self._stopped_at) - self._lost

    def stop(self) -> None:
        """Stand still until ``go``."""
        if self._stopped_at is None:
            self._stopped_at = self._clock()
            self.on_change(False)

    def go(self) -> None:
        """Run on."""
        if self._stopped_at is not None:
            self._lost += self._clock() - self._stopped_at
            self._stopped_at = None
            self.on_change(True)


class People:
    """Those whom the subcalls of one execution wait for.

    ``look`` reads a subcall's present state from the store; ``is_idle`` tells whether all that is in flight are the
    ``count`` waiting subcalls it is given. When the run is suspended, ``is_suspended`` turns true and ``on_suspend`` is
    called, which must cut off the recipe; ``pending`` are then the span ids of what waits.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        look: Callable[[StoredSubcall], StoredSubcall],
        *,
        decider: Decider | None = None,
        patience: float = 0.0,
        clock: StoppableClock | None = None,
    ) -> None:
        self.is_suspended = False
        self.pending: tuple[str, ...] = ()
        self.put_off: dict[str, None] = {}  # span ids of what waits, and nobody waits for here
        self.is_paused = False  # the program itself waits for a person, and is gone on with later
        self.is_idle: Callable[[int], bool] = lambda _: True
        self.on_suspend: Callable[[], object] = lambda: None
        self._pipeline = pipeline
        self._look = look
        self._decider = decider
        self._patience = patience
        self._clock = clock or StoppableClock()
        self._waiting: list[str] = []  # span ids
        self._asking = 0  # how many of them a person is being asked about, or will be in this process
        self._idle_since: float | None = None
        self._one_question = asyncio.Lock()

    async def decide(self, subcall: StoredSubcall) -> StoredSubcall:
        """Return ``subcall`` with the decision that settles it. Cancelled if the run is suspended before there is one.

        Raises:
            StoreError: a decision could not be read or committed.
        """
        span_id = subcall.call.span_id
        self._waiting.append(span_id)
        try:
            if self._decider:
                subcall = await self._ask(subcall, self._decider)
            return subcall if not subcall.awaits_human else await self._elsewhere(subcall)
        finally:
            self._waiting.remove(span_id)
            self._idle_since = None
            self._clock.go()

    async def settle(self, subcall: StoredSubcall, decision: Decision | None) -> StoredSubcall:
        """The present state of a subcall that was put off, with ``decision`` unless somebody has decided meanwhile.

        One that still waits is put off again.

        Raises:
            StoreError: it could not be read or committed.
        """
        subcall = self._look(subcall)
        if decision is not None and subcall.awaits_human:
            try:
                subcall = await self._pipeline.decide(subcall, decision)
            except ConflictError:  # somebody elsewhere was quicker: theirs counts
                subcall = self._look(subcall)
        if subcall.awaits_human:
            self.put_off[subcall.call.span_id] = None
        else:
            self.put_off.pop(subcall.call.span_id, None)
        return subcall

    async def _ask(self, subcall: StoredSubcall, decider: Decider) -> StoredSubcall:
        """Ask the person at hand, one question at a time."""
        self._asking += 1
        try:
            async with self._one_question:
                if self._nothing_else():
                    self._clock.stop()
                subcall = self._look(subcall)
                while subcall.awaits_human and (decision := await decider(subcall)):
                    try:
                        subcall = await self._pipeline.decide(subcall, decision)
                    except ConflictError:  # somebody elsewhere was quicker: theirs counts
                        subcall = self._look(subcall)
                    if decision.choice is Choice.ESCALATE:
                        break  # somebody else's to say: not asked here again
        finally:
            self._asking -= 1
        return subcall

    async def _elsewhere(self, subcall: StoredSubcall) -> StoredSubcall:
        """Look for a decision from another process until there is one, or the run is suspended."""
        while True:
            pause = LOOK_SECONDS
            if self._nothing_else() and not self._asking:
                self._clock.stop()
                now = time.monotonic()
                if self._idle_since is None:
                    self._idle_since = now
                left = self._idle_since + max(self._patience, _SETTLING_SECONDS) - now
                if left <= 0:
                    self._suspend()
                pause = min(pause, max(left, 0.0))
            else:
                self._idle_since = None
            await asyncio.sleep(pause)
            subcall = self._look(subcall)
            if not subcall.awaits_human:
                return subcall

    def _nothing_else(self) -> bool:
        return self.is_idle(len(self._waiting))

    def _suspend(self) -> None:
        if not self.is_suspended:
            self.is_suspended = True
            self.pending = tuple(self._waiting)
            self.on_suspend()
