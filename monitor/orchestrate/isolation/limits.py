"""How much one call of an isolated tool may use."""

from __future__ import annotations

import resource
import sys

SECONDS = 60
"""Wall time, whatever the budget leaves."""
CPU_SECONDS = 10
MEMORY_BYTES = 512 << 20
"""Of address space."""
FILE_BYTES = 16 << 20
"""Of any one file that it writes, in a folder of its own that is removed afterwards."""
OPEN_FILES = 64
ANSWER_BYTES = 1 << 20
"""Of the answer, as JSON."""


def restrict(*, processes: bool) -> None:
    """Set the limits of this process. ``processes``: limit their number as well, to this one.

    The kernel does not count the processes of root, and on Linux it counts threads as processes.

    Raises:
        OSError: a limit cannot be set, but for those that the system does not have (memory, on macOS).
    """
    wanted = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ]
    if processes:
        wanted.append((resource.RLIMIT_NPROC, 0))
    if sys.platform != "darwin":
        wanted.append((resource.RLIMIT_AS, MEMORY_BYTES))
    for which, most in wanted:
        hard = resource.getrlimit(which)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # One second between the two limits of CPU time: the first is a signal that tells the cause, the second kills.
        resource.setrlimit(
            which, (allowed, allowed + 1 if which == resource.RLIMIT_CPU and hard != allowed else allowed)
        )
