"""The calls of a foreign program, over the engine of the run that observes it.

They may make others while they are under way, are never tried again here, and may be put before a person for later.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from monitor.orchestrate.calls import Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from monitor.orchestrate.budget import Budget, Reservation
    from monitor.orchestrate.engine import Engine
    from monitor.orchestrate.foreign import Asked
    from monitor.records import Call, Decision, Observation, StoredSubcall


class ForeignCalls:
    """What a foreign program calls in one run. There is one for a run: it tells the run's people what is under way."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[str, Reservation] = {}  # by the span of the call that holds it
        self._below: Counter[str] = Counter()  # calls in flight, by the call that makes them
        engine.people.is_idle = lambda waiting: waiting == self._working()

    async def make(self, asked: Asked, budget: Budget, work: Callable[[Call], Awaitable[Observation]]) -> StoredSubcall:
        """Take a call that a foreign agent makes through the door; ``work`` makes it, once its start is stored.

        ``work`` finds in the call what its output may be at most.

        Returns the judged subcall whose answer may be used, or, with ``asks_later``, one that waits for a person. Nothing
        of it is ever tried again here.

        Raises:
            SubcallError: it ended otherwise (see ``actions.release``).
            ConfigError: a cost limit holds and the price of the call is unknown.
        """
        engine = self._engine
        with engine.flying():
            budget.begin()
            if asked.parent_id in self._held:
                self._held[asked.parent_id].pin()
            asked = asked.bounded(budget)
            first = asked.first
            key = first.key if first else engine.seal.key(engine.name_step(asked.key))
            place = Place.of(asked.parent_id or engine.root_span, first.span_id if first else None)
            probes = engine.pipeline.probes_of(())
            self._below[asked.parent_id or ""] += 1
            try:
                subcall = await engine.through_the_door(
                    lambda reserved, left: asked.call(engine.run_id, key, place, probes, reserved, left),
                    asked.depth,
                    budget,
                    asked.wanted,
                    work,
                    held=self._held,
                )
                if subcall.awaits_human and asked.asks_later:
                    engine.people.put_off[subcall.call.span_id] = None
                    return subcall
                return engine.release(await self._decided_or_suspended(subcall))
            finally:
                self._below[asked.parent_id or ""] -= 1

    async def settle(self, subcall: StoredSubcall, decision: Decision | None) -> StoredSubcall:
        """The subcall that was put off, decided; without a decision of our own, by whoever has decided meanwhile.

        Raises:
            SubcallError: it ended otherwise than with an answer, or (AwaitingHuman) nobody has decided yet.
            StoreError: the decision could not be committed.
        """
        self._engine.stop_if_over()
        return self._engine.release(await self._engine.people.settle(subcall, decision))

    async def _decided_or_suspended(self, subcall: StoredSubcall) -> StoredSubcall:
        """As ``_decided``; where the run is suspended meanwhile, foreign code is told what it waits for."""
        try:
            return await self._engine.decided(subcall)
        except asyncio.CancelledError:
            if self._engine.people.is_suspended:
                return subcall
            raise

    def _working(self) -> int:
        """How many of the calls in flight do something: not those that wait for a call that they make."""
        return self._engine.in_flight - sum(self._below[span_id] > 0 for span_id in self._held)
