"""A source of which one subcall kills every process but the first that reads it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.audit.rescan.by_run import RunSource
from monitor.audit.rescan.sources import Opened, StoreSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.store import Found


@dataclass(frozen=True, slots=True)
class Deadly(StoreSource):
    """``at`` is the leaf of the deadly subcall; with a file ``once``, it kills only as long as the file is not there.

    ``in_any_process``: and not only in those that ``multiprocessing`` began.
    """

    at: int = -1
    once: str = ""
    in_any_process: bool = False

    def by_runs(self) -> DeadlyRuns:
        return replace(DeadlyRuns.of(self.url, self.extent, self.wanted, self.busy_seconds), at=self.at, whole=self)

    def open(self, *, whole: bool) -> Opened:
        return _Opened(self, StoreSource.open(self, whole=whole))


@dataclass(frozen=True, slots=True)
class DeadlyRuns(RunSource):
    """The same by whole runs."""

    at: int = -1
    whole: Deadly | None = None

    def open(self, *, whole: bool) -> Opened:
        assert self.whole is not None
        return _Opened(self.whole, RunSource.open(self, whole=whole))


class _Opened:
    def __init__(self, source: Deadly, opened: Opened) -> None:
        self._source, self._opened = source, opened

    def part(self, number: int) -> Iterator[Found]:
        for found in self._opened.part(number):
            yield replace_call(found, self._source) if found.leaf_index == self._source.at else found

    def is_wanted(self, found: Found) -> bool:
        return self._opened.is_wanted(found)

    def close(self) -> None:
        self._opened.close()


def replace_call(found: Found, source: Deadly) -> Found:
    """The subcall with a text that kills whoever evaluates it."""
    return found._replace(call=_Call(found.call, source))  # type: ignore[arg-type]  # it stands for a call


class _Call:
    def __init__(self, call: Any, source: Deadly) -> None:
        self._call, self._source = call, source

    def __getattr__(self, name: str) -> Any:
        once = Path(self._source.once) if self._source.once else None
        is_worker = self._source.in_any_process or multiprocessing.parent_process() is not None
        if is_worker and not (once and once.exists()):
            if once:
                once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self._call, name)
