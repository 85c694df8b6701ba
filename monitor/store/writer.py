"""The one writer of a store: what waits is committed in groups, and nothing that was accepted is dropped.

Most requests go to a thread. While it flushes one group to the disk the next one gathers, so the cost of a flush is
shared by all that wait. A request that nobody contends with is written where it is made, before ``submit`` returns,
because handing it to the thread and back would cost as much as a third of its commit. An event loop does so only while
the disk has lately answered within ``_INLINE_SECONDS`` and the texts are short, and it never waits there for another
process: those requests go to the thread too. What several tasks ask for in one turn of the loop is gathered and goes to
the thread as one group; once that has happened, the next turns gather before they write, until one has a single request.

Each member of a group succeeds or fails alone: where a group fails, its members are written again one by one.

A server's connection can be lost, even between a commit and the answer to it. Then the writer connects anew, until the
time is up; it looks for the very rows that it wrote, waits until the lost transaction has ended, and writes only what is
not there. So each event is stored once, or the caller is told that it is not known.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from monitor.errors import StoreError, StoreUnavailableError
from monitor.store.requests import Request, is_light, resolve, wake

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monitor.records import Event
    from monitor.store.backend import Backend
    from monitor.store.ledger import Ledger

_GROUP_LIMIT = 256
_INLINE_SECONDS = 0.002
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds between attempts to reach a server
_CALMING = 0.8  # how much of the slowest recent write is remembered from one write to the next
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Turn:
    """What is asked for in one turn of an event loop: by which task first, and what waits for the turn to end."""

    task: asyncio.Task[object] | None
    gathered: list[Request] = field(default_factory=list)
    is_shared: bool = False


class Writer:
    """Appends events to a database; usable from any number of event loops and threads until ``stop``."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._place = backend.place
        self._busy_seconds = backend.busy_seconds
        self._writes_inline = backend.writes_inline
        self._queue: SimpleQueue[Request | None] = SimpleQueue()
        self._turns: dict[asyncio.AbstractEventLoop, _Turn] = {}
        self._crowded = False  # whether the last turn had requests of several tasks
        self._gate = threading.Lock()  # guards what is accepted: the queue's last entry, the turns, the thread
        self._turn = threading.Lock()  # guards the ledger: who has it writes
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._process = os.getpid()
        self._ledger: Ledger | None = None
        self._pace = 1.0  # seconds that the slowest recent write took; nothing is known of the disk yet

    # -------------------------------------------------------------------------------------- the callers' side

    def submit(self, events: Sequence[Event]) -> asyncio.Future[None]:
        """Return a future of the running loop that is done once ``events`` are durable, often at once.

        Who cancels the future no longer waits; its events are written all the same. The future raises StoreError if none
        of ``events`` was written.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        request = Request(events, waiter)
        with self._gate:
            self._check_open()
            if not self._writes_inline or self._pace > _INLINE_SECONDS or not is_light(events):
                self._enqueue([request])
                return waiter
            task = asyncio.current_task()
            turn = self._turns.get(loop)
            if turn is None:
                turn = self._turns[loop] = _Turn(task)
                loop.call_soon(self._end_turn, loop)
            elif turn.task is not task:
                turn.is_shared = True
            if self._crowded or turn.is_shared or not self._write_here(request):
                turn.gathered.append(request)
        return waiter

    def append_sync(self, events: Sequence[Event]) -> None:
        """Block until ``events`` are durable. Raises StoreError: none of them was written."""
        waiter: Future[None] = Future()
        request = Request(events, waiter)
        if not self._write_here(request):
            with self._gate:
                self._check_open()
                self._enqueue([request])
        waiter.result()

    def stop(self) -> None:
        """Write all that was accepted, then end the thread and close the connection. Safe to call twice."""
        if os.getpid() != self._process:
            return  # a forked child: the thread, the connection and what was accepted are the parent's
        with self._gate:
            if not self._stopped:
                self._stopped = True
                for turn in self._turns.values():
                    self._enqueue(turn.gathered)
                self._turns.clear()
                if self._thread:
                    self._queue.put(None)
        if self._thread:
            self._thread.join()
        with self._turn:
            self._disconnect()

    def _check_open(self) -> None:
        if os.getpid() != self._process:
            raise StoreError("this store was opened before a fork; open it anew in the child process")
        if self._stopped:
            raise StoreError(f"{self._place}: this store was closed; open it again to append")

    def _enqueue(self, requests: Sequence[Request]) -> None:
        """Hand requests to the thread, which starts with the first of them. The caller holds the gate."""
        for request in requests:
            self._queue.put(request)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="monitor-store-writer", daemon=True)
            self._thread.start()

    def _end_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write what one turn of the loop gathered: a single request here, several as one group in the thread."""
        with self._gate:
            turn = self._turns.pop(loop, None)
            if turn is None:
                return
            self._crowded = turn.is_shared
            requests = turn.gathered
            if requests and (len(requests) > 1 or not self._write_here(requests[0])):
                self._enqueue(requests)

    def _write_here(self, request: Request) -> bool:
        """Write in the caller's own thread if that is possible at once; say whether it was done."""
        if not self._writes_inline or not self._queue.empty() or not self._turn.acquire(blocking=False):
            return False
        try:
            self._check_open()
            done = self._write([request], patience=0)
        finally:
            self._turn.release()
        if done:
            resolve([request])
        return done

    # --------------------------------------------------------------------------------------- the thread's side

    def _run(self) -> None:
        last = False
        while not last:
            group, last = self._next_group()
            if group:
                with self._turn:
                    self._write(group, patience=self._busy_seconds)
                wake(group)

    def _next_group(self) -> tuple[list[Request], bool]:
        """Wait for a request and take all that wait with it; say whether they are the last ones."""
        group: list[Request] = []
        request = self._queue.get()
        while request is not None:
            group.append(request)
            if len(group) == _GROUP_LIMIT:
                return group, False
            try:
                request = self._queue.get_nowait()
            except Empty:
                return group, False
        return group, True

    # ------------------------------------------------------------------------------- whoever has the turn's side

    def _write(self, group: Sequence[Request], *, patience: float) -> bool:
        """Write ``group`` in one transaction; if that fails, each of its members in one of its own.

        Args:
            group: the requests; the failure of each is noted in it.
            patience: seconds to wait for another process's lock.

        Returns:
            False if ``patience`` was 0 and another process held the lock: then nothing was tried.
        """
        try:
            ledger = self._connected()
            ledger.begin(patience=patience)
        except Exception as exc:  # noqa: BLE001 - the boundary: each caller gets the failure
            self._recover(exc)
            if not patience and self._backend.is_busy(exc):
                return False
            if self._backend.is_lost(exc):
                self._write_again(group, exc, None)
            else:
                self._fail(group, exc)
            return True
        started = time.perf_counter()
        try:
            self._append(ledger, group)
            ledger.commit()
        except Exception as exc:  # noqa: BLE001 - as above
            self._recover(exc)
            if self._backend.is_lost(exc):
                self._write_again(group, exc, ledger)
            else:
                self._write_alone(group, exc)
        self._pace = max(time.perf_counter() - started, self._pace * _CALMING)
        return True

    def _append(self, ledger: Ledger, group: Sequence[Request]) -> None:
        ledger.expect(event for request in group for event in request.events)
        for request in group:
            request.written = ledger.append(request.events)

    def _write_alone(self, group: Sequence[Request], failure: Exception) -> None:
        """Write each member of a group that failed in a transaction of its own."""
        if len(group) == 1:
            self._fail(group, failure)
            return
        for request in group:
            self._write([request], patience=self._busy_seconds)

    def _write_again(self, group: Sequence[Request], failure: Exception, lost: Ledger | None) -> None:
        """Write ``group`` whose connection was lost, on a new one: what is there already is done.

        Args:
            group: the requests.
            failure: what ended the connection.
            lost: the ledger that was writing, if the group had got so far.
        """
        deadline = time.monotonic() + self._busy_seconds
        pause = _FIRST_PAUSE
        missing = list(group)
        unfinished = lost.unfinished if lost else None
        while True:
            ledger: Ledger | None = None
            try:
                ledger = self._connected()
                if unfinished:
                    ledger.settle(unfinished, deadline=deadline)
                ledger.begin(patience=max(0.0, deadline - time.monotonic()))
                if unfinished and unfinished.committing:
                    missing = [request for request in missing if not ledger.holds(request.written)]
                unfinished = None  # it has ended, and what it has not written is missing
                self._append(ledger, missing)
                ledger.commit()
            except Exception as exc:  # noqa: BLE001 - the boundary: each caller gets the failure
                self._recover(exc)
                if not self._backend.is_lost(exc):
                    self._write_alone(missing, exc)
                    return
                failure = exc
                unfinished = unfinished or (ledger.unfinished if ledger else None)
            else:
                return
            left = deadline - time.monotonic()
            if left <= 0:
                self._fail(missing, failure, in_doubt=unfinished is not None and unfinished.committing)
                return
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _fail(self, group: Sequence[Request], failure: Exception, *, in_doubt: bool = False) -> None:
        for request in group:
            request.failure = self._translated(failure)
            if in_doubt:
                request.failure = StoreUnavailableError(
                    f"{self._place}: the connection was lost during the commit, and could not be made again within "
                    f"{self._busy_seconds:g} s: whether the events are stored is not known. Nothing was released"
                )
                request.failure.__cause__ = failure

    def _connected(self) -> Ledger:
        if self._ledger is None:
            self._ledger = self._backend.connect()
        return self._ledger

    def _disconnect(self) -> None:
        if self._ledger is not None:
            try:
                self._ledger.close()
            except self._backend.errors as exc:
                _log.warning("%s: closing the store: %s", self._place, exc)
            self._ledger = None

    def _recover(self, failure: Exception) -> None:
        """Leave no transaction open, and no connection that the failure may have spoilt."""
        if self._ledger is None:
            return
        try:
            self._ledger.rollback()
        except self._backend.errors:
            self._disconnect()
            return
        moved = isinstance(failure, StoreUnavailableError)
        if moved or (isinstance(failure, self._backend.errors) and self._backend.breaks_connection(failure)):
            self._disconnect()

    def _translated(self, failure: Exception) -> Exception:
        """The store's error for a failure: a new one each time, for several tasks may raise it."""
        if isinstance(failure, self._backend.errors):
            error: Exception = self._backend.translate(failure)
        elif isinstance(failure, StoreError):
            error = type(failure)(*failure.args)
        else:
            error = StoreError(f"{self._place}: nothing was written: {type(failure).__name__}: {failure}")
        error.__cause__ = failure
        return error
