"""System calls that Python has no function for, through libc's ``syscall`` and ``prctl``."""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words for each of the three sets


class UnsupportedError(Exception):
    """This machine cannot confine a tool; the message says what is not there."""


def machine() -> str:
    """``x86_64`` or ``aarch64``. Raises UnsupportedError for any other machine, system or word size."""
    name = os.uname().machine
    if not sys.platform.startswith("linux") or name not in _CAPSET or sys.maxsize < 2**32:
        raise UnsupportedError(f"it needs Linux on x86_64 or aarch64, and this is {sys.platform} on {name}")
    return name


def syscall(number: int, *arguments: object) -> int:
    """Make a system call. Raises OSError."""
    return _checked(_LIBC.syscall(ctypes.c_long(number), *map(_as_word, arguments)))


def prctl(option: int, *arguments: object) -> int:
    """Call libc's prctl; arguments that are not given are 0. Raises OSError."""
    words = [*map(_as_word, arguments), *[ctypes.c_ulong(0)] * (4 - len(arguments))]
    return _checked(_LIBC.prctl(ctypes.c_int(option), *words))


def drop_capabilities() -> None:
    """Give up every capability: a child of root is then no more than the owner of root's files. Raises OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    nothing = (ctypes.c_uint32 * 6)()
    syscall(_CAPSET[machine()], ctypes.byref(header), ctypes.byref(nothing))


_LIBC = ctypes.CDLL(None, use_errno=True)


def _as_word(argument: object) -> object:
    return ctypes.c_ulong(argument) if isinstance(argument, int) else argument


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
