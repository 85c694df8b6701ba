"""One foreign call on its way: begun in the door's loop, made where it was asked for, judged in the door's loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from monitor.adapters import door
from monitor.adapters.places import Place, inside
from monitor.errors import AwaitingHuman, ConfigError, SubcallCancelled
from monitor.records import Observation, Outcome, Usage, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from monitor.adapters.observed import ObservedRun
    from monitor.orchestrate.foreign import Asked
    from monitor.records import Call, StoredSubcall


def _nothing(_call: Call) -> Observation | None:
    return None


def through(
    asked: Asked,
    place: Place,
    work: Callable[[Call], Observation],
    *,
    left: Callable[[Call], Observation | None] = _nothing,
) -> StoredSubcall:
    """Take a call through the door from code that waits; ``work`` makes it, in this thread.

    ``left`` says what had come of it where ``work`` is cut off: by a cancellation, or by Ctrl-C.

    Raises:
        SubcallError: it ended without an answer that may be used.
        StoreError: the record could not be written.
        ConfigError: this is the door's own loop, or the call's cost cannot be bounded.
    """
    if door.is_inside():
        raise ConfigError("a call of foreign code from inside the monitor's own loop would wait for itself")
    passage = Passage(place.run, asked, place)
    call = passage.begin()
    if call is not None:
        passage.make(work, call, left)
    return passage.result()


async def through_async(
    asked: Asked,
    place: Place,
    work: Callable[[Call], Awaitable[Observation]],
    *,
    left: Callable[[Call], Observation | None] = _nothing,
) -> StoredSubcall:
    """As ``through``, in an event loop: ``work`` runs in the task that asks."""
    passage = Passage(place.run, asked, place)
    try:
        call = await passage.begin_async()
        if call is not None:
            await passage.make_async(work, call, left)
        return await passage.result_async()
    except asyncio.CancelledError:
        passage.cancel()
        raise


class Passage:
    """One call on its way, for code that begins and ends it in places of its own: callbacks."""

    def __init__(self, run: ObservedRun, asked: Asked, place: Place) -> None:
        self._run, self._place = run, place
        self._asked = replace(asked, parent_id=asked.parent_id or place.span_id, depth=place.depth + 1)
        self._go: Future[Call | None] = Future()
        self._came: Future[Observation] = Future()
        self._step: Future[StoredSubcall] = door.submit(run.step(self._asked, place.budget, self._bridge))
        self._step.add_done_callback(self._refused)

    def _refused(self, _step: Future[StoredSubcall]) -> None:
        if not self._go.done():
            self._go.set_result(None)

    async def _bridge(self, call: Call) -> Observation:
        try:
            self._go.set_result(call)
        except InvalidStateError:  # whoever asked was cancelled meanwhile: the call is not made, and costs nothing
            return Observation(outcome=Outcome.CANCELLED, usage=Usage(cost=0.0), at=now())
        try:
            return await asyncio.wrap_future(self._came)
        except asyncio.CancelledError:
            if not self._came.done() or self._came.cancelled():
                raise
            return self._came.result()  # it was back before whoever asked was cancelled: the record has it

    def begin(self) -> Call | None:
        """Wait until the call's start is stored. None where it is not to be made: ``result`` says why."""
        try:
            return self._go.result()
        except BaseException:
            self.cancel()
            raise

    async def begin_async(self) -> Call | None:
        """As ``begin``."""
        return await asyncio.shield(asyncio.wrap_future(self._go))

    def make(
        self,
        work: Callable[[Call], Observation],
        call: Call,
        left: Callable[[Call], Observation | None] = _nothing,
    ) -> None:
        """Make the call, here; calls that it makes in its turn hang below it. What came back goes to the door."""
        came: Observation | BaseException
        with inside(self.below(call)):
            try:
                came = work(call)
            except BaseException as exc:  # noqa: BLE001 - the record says so, and it is raised again afterwards
                came = exc
        if isinstance(came, Observation | Exception):
            self.finish(came)
        else:
            self.finish(left(call) or came)
            raise came  # KeyboardInterrupt and SystemExit are this thread's, not the door's

    async def make_async(
        self,
        work: Callable[[Call], Awaitable[Observation]],
        call: Call,
        left: Callable[[Call], Observation | None] = _nothing,
    ) -> None:
        """As ``make``."""
        came: Observation | BaseException
        with inside(self.below(call)):
            try:
                came = await work(call)
            except BaseException as exc:  # noqa: BLE001 - as above
                came = exc
        if isinstance(came, Observation | Exception):
            self.finish(came)
        else:
            self.finish(left(call) or came)
            raise came

    def below(self, call: Call) -> Place:
        """The place of what the call makes in its turn."""
        return Place(self._run, self._place.budget, call.span_id, self._asked.depth)

    def finish(self, came: Observation | BaseException) -> None:
        """Hand in what came of the call, or what it was ended by."""
        with suppress(InvalidStateError):  # it was cut off meanwhile: what came then is nobody's
            if isinstance(came, Observation):
                self._came.set_result(came)
            elif isinstance(came, Exception):
                self._came.set_exception(came)
            else:  # a cancellation, or an exit, which would end the door's loop
                self._came.cancel()
                self.cancel()

    @property
    def is_over(self) -> bool:
        """Whether it has ended already, as where its run was: what comes now is nobody's."""
        return self._step.done()

    def cancel(self) -> None:
        """Cut the call off; its record says so."""
        self._step.cancel()

    def result(self) -> StoredSubcall:
        """Wait for the verdict. Raises SubcallError, StoreError."""
        try:
            return self._step.result()
        except BaseException as exc:  # noqa: BLE001 - raised on at once
            raise _translated(exc, self._run) from None

    async def result_async(self) -> StoredSubcall:
        """As ``result``."""
        try:
            return await asyncio.shield(asyncio.wrap_future(self._step))
        except BaseException as exc:
            task = asyncio.current_task()
            if isinstance(exc, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            raise _translated(exc, self._run) from None


def _translated(exc: BaseException, run: ObservedRun) -> BaseException:
    """The error as foreign code gets it: a call that the run cut off is no cancellation of the code that asked."""
    if isinstance(exc, asyncio.CancelledError | FutureCancelledError):
        if run.is_suspended:
            return AwaitingHuman("the answer waits for a person, and nobody decided in time", run_id=run.run_id)
        return SubcallCancelled("the run ended while the call was in flight", run_id=run.run_id)
    return exc
