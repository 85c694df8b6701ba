"""A run around foreign code.

    with monitor.observed_run("Answer the customer's mail", policy=["core"], budget=Limits(calls=20)) as run:
        agent.invoke(...)          # any wrapped client or framework in here belongs to the run
    run.result.verdict

Where no run is open, a wrapped call makes one of its own: ``Standing``.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from monitor.adapters import places
from monitor.adapters.observed import ObservedRun
from monitor.adapters.options import Options
from monitor.adapters.places import current
from monitor.cancellation import outlasting

if TYPE_CHECKING:
    import contextvars
    from types import TracebackType

    from monitor.adapters.places import Place

T = TypeVar("T")


class Around:
    """Observe a block as one run, in ``with`` or ``async with``. Whoever opens a run for a block opens it by this.

    What leaves the block, an error or a cancellation, ends the run as what it is, and is raised on.
    """

    def __init__(self, task: str, name: str, options: Options) -> None:
        self._task, self._name, self._options = task, name, options
        self._run: ObservedRun | None = None
        self._token: contextvars.Token[Place | None] | None = None

    def _made(self) -> ObservedRun:
        self._run = ObservedRun(self._task, name=self._name, options=self._options)
        return self._run

    def __enter__(self) -> ObservedRun:
        run = self._made()
        self._token = places.enter(run.open())
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave().close(error)

    async def __aenter__(self) -> ObservedRun:
        run = self._made() if self._options.is_loaded else await asyncio.to_thread(self._made)  # reads packs and probes
        opening = run.begin()
        try:
            place = await asyncio.shield(asyncio.wrap_future(opening))
        except asyncio.CancelledError as exc:  # it opens all the same, and must not stay open
            with suppress(Exception):
                await outlasting(asyncio.wrap_future(opening))
                await outlasting(asyncio.wrap_future(run.end(exc)))
            raise
        self._token = places.enter(place)
        return run

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await outlasting(asyncio.wrap_future(self._leave().end(error)))

    def _leave(self) -> ObservedRun:
        assert self._run is not None
        assert self._token is not None
        places.leave(self._token)
        return self._run


class Standing:
    """The place where this code stands, or the top of a run of its own, for a call outside of any: in ``with`` or ``async
    with``. Where the answer outlasts the call, whoever reads it keeps that run open (``kept_open``).
    """

    def __init__(self, task: str, name: str, options: Options) -> None:
        self._around = Around(task, name, options)
        self._ends_run = False

    def __enter__(self) -> Place:
        here = current()
        if here is None:
            here, self._ends_run = self._around.__enter__().top, True
        return here

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ends_run:
            self._around.__exit__(kind, error, traceback)

    async def __aenter__(self) -> Place:
        here = current()
        if here is None:
            here, self._ends_run = (await self._around.__aenter__()).top, True
        return here

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ends_run:
            await self._around.__aexit__(kind, error, traceback)

    def kept_open(self) -> Kept:
        """The call's own run, if it made one, open until this is left; the caller stands where it stood before."""
        kept = Kept(self._around._leave() if self._ends_run else None)
        self._ends_run = False
        return kept


class Kept:
    """Ends a run when it is left, in ``with`` or ``async with``, in whatever thread or task that is; None is no run."""

    def __init__(self, run: ObservedRun | None) -> None:
        self._run = run

    def __enter__(self) -> None:
        """Nothing to do: it is open."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._run is not None:
            self._run.close(error)

    async def __aenter__(self) -> None:
        """Nothing to do."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._run is not None:
            await outlasting(asyncio.wrap_future(self._run.end(error)))


class observed_run(Around):  # noqa: N801 - used as a function, in `with` and in `async with`
    """Observe the wrapped calls of foreign code as one run: ``with`` and ``async with``, from any thread.

    Args:
        task: What is asked, for the record.
        name: What the program is called.
        policy: Policy packs by name or path; an empty list is no policy, and then nothing can pass.
        budget: Limits of the run; those that are not given are the settings'.
        probes: Activation probes by name or path.
        force_probes: Attach those too whose evaluation raised an alarm.
        db: Where the run is stored.
        settings: All settings at once.
        listener: Told of each event after its commit.
        decider: Asked there and then where a rule says ``ask_human``.
        patience: Seconds to wait for ``monitor decide`` where nothing else of the run goes on.

    An error that leaves the block ends the run as what it is, and is raised on.

    Entering the block raises:
        ConfigError: something that was asked for is not there or is wrong; nothing was spent.
        StoreError: the record could not be written; leaving the block raises it, too.
    """

    def __init__(self, task: str = "", *, name: str = "python", **options: Any) -> None:
        super().__init__(task, name, Options(**options))
