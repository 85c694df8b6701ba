"""Which process runs a run, and whether it is still alive: two processes must not drive one run at once."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.records import Frozen

if TYPE_CHECKING:
    from monitor.records import RunResume, RunStart

_STARTTIME_FIELD = 22  # of /proc/PID/stat, see proc(5): clock ticks from boot to the start of the process


class Process(Frozen):
    """A process on a host. ``started`` is in clock ticks since boot (0 where the system does not say)."""

    host: str
    pid: int
    started: float


def this_process() -> Process:
    """The process that runs this code."""
    return _own(socket.gethostname(), os.getpid())


@lru_cache(maxsize=1)
def _own(host: str, pid: int) -> Process:
    return Process(host=host, pid=pid, started=_started(pid) or 0.0)


def owner_of(step: RunStart | RunResume) -> Process:
    """The process that a run's start or resume names."""
    return Process(host=step.host, pid=step.pid, started=step.process_started)


def is_alive(process: Process) -> bool:
    """Whether the process still runs. On another host, or where the system does not say, the answer is no."""
    if process.host != socket.gethostname():
        return False
    return process.started > 0 and _started(process.pid) == process.started


def _started(pid: int) -> float | None:
    """When a process started; None for one that is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name, in parentheses, may hold blanks
    return None if fields[0] == "Z" else float(fields[_STARTTIME_FIELD - 3])
