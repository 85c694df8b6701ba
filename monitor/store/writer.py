"""The one writer of a store: a thread that commits what waits for it in groups.

While one group is being flushed to the disk the next one gathers, so the cost of a flush is shared by all that wait.
Each member of a group succeeds or fails alone: where a group fails, its members are written again one by one. Nothing
that was accepted is dropped, whatever becomes of the task that waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from monitor.errors import StoreError, StoreUnavailableError
from monitor.store.ledger import Ledger
from monitor.store.sqlite import breaks_connection, driver, translate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from monitor.records import Event

_GROUP_LIMIT = 256
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Request:
    """Events that are written together or not at all, and the future (of a loop, or of a thread) that waits for them."""

    events: Sequence[Event]
    waiter: asyncio.Future[None] | Future[None]
    failure: Exception | None = field(default=None)


class Writer:
    """Appends events to the file at ``path`` from one thread, which starts with the first append and ends with ``stop``."""

    def __init__(self, path: Path, *, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._gate = threading.Lock()  # orders submitting against stopping: nothing is accepted behind the last request
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._process = os.getpid()
        self._ledger: Ledger | None = None

    # -------------------------------------------------------------------------------------- the callers' side

    async def append(self, events: Sequence[Event]) -> None:
        """Return once ``events`` are durable. A cancelled caller no longer waits; its events are written all the same.

        Raises:
            StoreError: none of ``events`` was written.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._submit(_Request(events, waiter))
        await waiter

    def append_sync(self, events: Sequence[Event]) -> None:
        """Block until ``events`` are durable. Raises StoreError: none of them was written."""
        waiter: Future[None] = Future()
        self._submit(_Request(events, waiter))
        waiter.result()

    def stop(self) -> None:
        """Write all that was accepted, then end the thread and close the connection. Safe to call twice."""
        with self._gate:
            first, self._stopped = not self._stopped, True
            thread = self._thread if os.getpid() == self._process else None
            if first and thread:
                self._requests.put(None)
        if thread:
            thread.join()

    def _submit(self, request: _Request) -> None:
        if os.getpid() != self._process:
            raise StoreError("this store was opened before a fork; open it anew in the child process")
        with self._gate:
            if self._stopped:
                raise StoreError(f"{self._path}: this store was closed; open it again to append")
            self._requests.put(request)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="monitor-store-writer", daemon=True)
                self._thread.start()

    # --------------------------------------------------------------------------------------- the thread's side

    def _run(self) -> None:
        last = False
        while not last:
            group, last = self._next_group()
            if group:
                self._write(group)
                _wake(group)
        self._disconnect()

    def _next_group(self) -> tuple[list[_Request], bool]:
        """Wait for a request and take all that wait with it; say whether they are the last ones."""
        group: list[_Request] = []
        request = self._requests.get()
        while request is not None:
            group.append(request)
            if len(group) == _GROUP_LIMIT:
                return group, False
            try:
                request = self._requests.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _write(self, group: Sequence[_Request]) -> None:
        """Write ``group`` in one transaction; if that fails, each of its members in one of its own."""
        try:
            ledger = self._connected()
            ledger.begin()
        except Exception as exc:  # noqa: BLE001 - the thread's boundary: each caller gets the failure
            for request in group:
                request.failure = self._translated(exc)
            self._recover(exc)
            return
        try:
            for request in group:
                ledger.append(request.events)
            ledger.commit()
        except Exception as exc:  # noqa: BLE001 - as above
            self._recover(exc)
            if len(group) == 1:
                group[0].failure = self._translated(exc)
                return
            for request in group:
                self._write([request])

    def _connected(self) -> Ledger:
        if self._ledger is None:
            self._ledger = Ledger(self._path, busy_seconds=self._busy_seconds)
        return self._ledger

    def _disconnect(self) -> None:
        if self._ledger is not None:
            try:
                self._ledger.close()
            except driver().Error as exc:
                _log.warning("%s: closing the store: %s", self._path, exc)
            self._ledger = None

    def _recover(self, failure: Exception) -> None:
        """Leave no transaction open, and no connection that the failure may have spoilt."""
        if self._ledger is None:
            return
        try:
            self._ledger.rollback()
        except driver().Error:
            self._disconnect()
            return
        moved = isinstance(failure, StoreUnavailableError)
        if moved or (isinstance(failure, driver().Error) and breaks_connection(failure)):
            self._disconnect()

    def _translated(self, failure: Exception) -> Exception:
        """The store's error for a failure: a new one each time, for several tasks may raise it."""
        if isinstance(failure, driver().Error):
            error: Exception = translate(failure, self._path, busy_seconds=self._busy_seconds)
        elif isinstance(failure, StoreError):
            error = type(failure)(*failure.args)
        else:
            error = StoreError(f"{self._path}: nothing was written: {type(failure).__name__}: {failure}")
        error.__cause__ = failure
        return error


def _wake(group: Sequence[_Request]) -> None:
    """Tell everyone who waits how it went: once for each event loop, for every call into a loop is a system call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Request]] = defaultdict(list)
    for request in group:
        if isinstance(request.waiter, asyncio.Future):
            by_loop[request.waiter.get_loop()].append(request)
        elif request.failure:
            request.waiter.set_exception(request.failure)
        else:
            request.waiter.set_result(None)
    for loop, requests in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, requests)
        except RuntimeError:  # the loop was closed while its events were being written
            _report(requests)


def _resolve(requests: Sequence[_Request]) -> None:
    """Resolve the futures of one loop, in its own thread."""
    for request in requests:
        if request.waiter.done():
            _report([request])
        elif request.failure:
            request.waiter.set_exception(request.failure)
        else:
            request.waiter.set_result(None)


def _report(requests: Sequence[_Request]) -> None:
    """Log the failures that nobody waits for any more."""
    for request in requests:
        if request.failure:
            _log.error("events of a cancelled task were not stored: %s", request.failure)
