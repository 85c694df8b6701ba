"""Landlock: from here on this process opens only the files that it was granted (landlock(7), Linux 5.13 and newer).

Nothing is granted to execute, to make folders or links, or to delete folders. What Landlock does not cover (the metadata of
a file whose path is known, sockets before version 4, signals before version 6) is ``seccomp``'s.
"""

from __future__ import annotations

import ctypes
import os
import stat
from typing import TYPE_CHECKING, Literal, TypeAlias

from monitor.orchestrate.isolation import kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

Right: TypeAlias = Literal["read", "list", "scratch", "null"]
"""What a path is granted for: reading everything below it; only listing; reading, writing and deleting files directly in
it; reading and writing that one file.
"""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8, 1 << 14
_FILES_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP = 0b11  # bind and connect, from version 4
_SCOPES = 0b11  # abstract Unix sockets and signals, from version 6
_RIGHTS: dict[Right, int] = {
    "read": _READ_FILE | _READ_DIR,
    "list": _READ_DIR,
    "scratch": _READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE,
    "null": _READ_FILE | _WRITE_FILE,
}
_OF_A_FILE = _READ_FILE | _WRITE_FILE | _TRUNCATE


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # what packing implies; Python 3.14 wants it said
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of Landlock that this kernel speaks. Raises kernel.UnsupportedError where it has none, or it is off."""
    kernel.machine()
    try:
        return kernel.syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError as exc:
        raise kernel.UnsupportedError(f"this kernel has no Landlock, or it is switched off ({exc.strerror})") from exc


def restrict(grants: Iterable[tuple[str, Right]], *, at_most: int | None = None) -> None:
    """Confine this thread and all that it starts to ``grants``, and to no TCP; it cannot be undone.

    A path that is not there, or that is a symbolic link, grants nothing. ``at_most`` does as an older version would.

    Raises:
        kernel.UnsupportedError: the kernel has no Landlock.
        OSError: the kernel refused; the caller must not go on.
    """
    spoken = min(version(), at_most or 1_000)
    handled = _FILES_BY_VERSION[min(spoken, max(_FILES_BY_VERSION))]
    ruleset = _Ruleset(handled, _TCP if spoken >= 4 else 0, _SCOPES if spoken >= 6 else 0)
    size = 8 if spoken < 4 else 16 if spoken < 6 else 24
    ruleset_fd = kernel.syscall(_CREATE_RULESET, ctypes.byref(ruleset), size, 0)
    try:
        for path, right in grants:
            _grant(ruleset_fd, path, _RIGHTS[right] & handled)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.syscall(_RESTRICT_SELF, ruleset_fd, 0)
    finally:
        os.close(ruleset_fd)


def _grant(ruleset_fd: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISDIR(mode):
            rights &= _OF_A_FILE
        if not stat.S_ISLNK(mode) and rights:
            rule = _PathBeneath(rights, fd)
            kernel.syscall(_ADD_RULE, ruleset_fd, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(fd)
