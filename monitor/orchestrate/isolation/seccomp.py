"""A seccomp filter: from here on this process starts nothing, connects to nothing and touches no other process.

It covers what Landlock leaves open on every kernel (signals, ptrace, sockets, the metadata of files) and a truncation that
Landlock before version 3 lets through. Refused calls fail with EPERM, as for lack of permission; what the table does not
know, because it is newer, fails with ENOSYS, as on an older kernel. Threads may be started.
"""

from __future__ import annotations

import ctypes
import errno
import os

from monitor.orchestrate.isolation import kernel

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_…, linux/audit.h
_NEWEST = 462  # mseal, Linux 6.10: what has a higher number (x32's calls among them) is unknown here

# Numbers from linux/asm-generic and arch/x86; from 424 on they are the same everywhere.
_X86_64 = {
    "processes": {"fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "unshare": 272, "setns": 308},
    "others": {
        "ptrace": 101,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "kcmp": 312,
        "perf_event_open": 298,
        "tkill": 200,
        "rt_sigqueueinfo": 129,
        "rt_tgsigqueueinfo": 297,
        "setpriority": 141,
        "sched_setparam": 142,
        "sched_setscheduler": 144,
        "sched_setaffinity": 203,
        "sched_setattr": 314,
        "ioprio_set": 251,
        "migrate_pages": 256,
        "move_pages": 279,
    },
    "sockets": {"socket": 41, "connect": 42, "bind": 49, "mq_open": 240, "shmget": 29, "semget": 64, "msgget": 68},
    "metadata": {
        "chmod": 90,
        "fchmod": 91,
        "fchmodat": 268,
        "chown": 92,
        "fchown": 93,
        "lchown": 94,
        "fchownat": 260,
        "utime": 132,
        "utimes": 235,
        "futimesat": 261,
        "utimensat": 280,
        "setxattr": 188,
        "lsetxattr": 189,
        "fsetxattr": 190,
        "removexattr": 197,
        "lremovexattr": 198,
        "fremovexattr": 199,
        "truncate": 76,
    },
    "kernel": {
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "bpf": 321,
        "userfaultfd": 323,
        "mount": 165,
        "umount2": 166,
        "pivot_root": 155,
        "chroot": 161,
        "open_by_handle_at": 304,
    },
    "by argument": {
        "clone": 56,
        "kill": 62,
        "tgkill": 234,
        "prctl": 157,
        "prlimit64": 302,
        "socketpair": 53,
        "open": 2,
        "openat": 257,
    },
}
_AARCH64 = {
    "processes": {"execve": 221, "execveat": 281, "unshare": 97, "setns": 268},
    "others": {
        "ptrace": 117,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "kcmp": 272,
        "perf_event_open": 241,
        "tkill": 130,
        "rt_sigqueueinfo": 138,
        "rt_tgsigqueueinfo": 240,
        "setpriority": 140,
        "sched_setparam": 118,
        "sched_setscheduler": 119,
        "sched_setaffinity": 122,
        "sched_setattr": 274,
        "ioprio_set": 30,
        "migrate_pages": 238,
        "move_pages": 239,
    },
    "sockets": {
        "socket": 198,
        "connect": 203,
        "bind": 200,
        "mq_open": 180,
        "shmget": 194,
        "semget": 190,
        "msgget": 186,
    },
    "metadata": {
        "fchmod": 52,
        "fchmodat": 53,
        "fchown": 55,
        "fchownat": 54,
        "utimensat": 88,
        "setxattr": 5,
        "lsetxattr": 6,
        "fsetxattr": 7,
        "removexattr": 14,
        "lremovexattr": 15,
        "fremovexattr": 16,
        "truncate": 45,
    },
    "kernel": {
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "bpf": 280,
        "userfaultfd": 282,
        "mount": 40,
        "umount2": 39,
        "pivot_root": 41,
        "chroot": 51,
        "open_by_handle_at": 265,
    },
    "by argument": {
        "clone": 220,
        "kill": 129,
        "tgkill": 131,
        "prctl": 167,
        "prlimit64": 261,
        "socketpair": 199,
        "openat": 56,
    },
}
_EVERYWHERE = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_open": 434,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "process_mrelease": 448,
    "fchmodat2": 452,
}
_ABSENT = {"clone3": 435, "openat2": 437}
"""Their arguments lie in memory, where no filter sees them: to be taken for a kernel without them, and ``clone`` and
``openat`` are used instead.
"""
TABLES = {"x86_64": _X86_64, "aarch64": _AARCH64}
COMMON = _EVERYWHERE | _ABSENT

_LOAD, _EQUALS, _ABOVE, _HAS_BITS, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_CLONE_THREAD = 0x00010000
_SOCK_STREAM, _SOCK_TYPES = 1, 0xF
_MODE_FILTER = 2

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, constant: struct sock_filter."""


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def program(machine: str, own_pid: int) -> list[Instruction]:
    """The filter for a machine (a key of ``TABLES``) and the one process that may be signalled: this one."""
    table = TABLES[machine]
    special = table["by argument"]
    refused = [number for group, numbers in table.items() if group != "by argument" for number in numbers.values()]
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUALS, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_ABOVE, 0, 1, _NEWEST),
        (_RETURN, 0, 0, _UNKNOWN),
    ]
    for number in _ABSENT.values():
        lines += _when(number, [(_RETURN, 0, 0, _UNKNOWN)])
    for number in [*refused, *_EVERYWHERE.values()]:
        lines += _when(number, [(_RETURN, 0, 0, _REFUSE)])
    threads_only = [(_HAS_BITS, 1, 0, _CLONE_THREAD), (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    only_self = [(_EQUALS, 1, 0, own_pid), (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    lines += _when(special["clone"], [_argument(0), *threads_only])
    lines += _when(special["kill"], [_argument(0), *only_self])
    lines += _when(special["tgkill"], [_argument(0), *only_self])
    lines += _when(special["prlimit64"], [_argument(0), (_EQUALS, 2, 0, 0), *only_self])
    stays_mortal = [(_EQUALS, 0, 1, kernel.PR_SET_PDEATHSIG), (_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    lines += _when(special["prctl"], [_argument(0), *stays_mortal])
    # A pair of datagram sockets could be turned to an address afterwards; a pair of streams leads nowhere else.
    streams = [
        (_AND, 0, 0, _SOCK_TYPES),
        (_EQUALS, 1, 0, _SOCK_STREAM),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    lines += _when(special["socketpair"], [_argument(1), *streams])
    for name, position in (("open", 1), ("openat", 2)):
        if name in special:
            lines += _when(special[name], _no_truncation_without_writing(position))
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def restrict() -> None:
    """Install the filter for this thread and all that it starts; it cannot be undone. Needs no-new-privileges.

    Raises:
        kernel.UnsupportedError: this kernel, or this machine, has no such filters.
    """
    lines = program(kernel.machine(), os.getpid())
    instructions = (_Instruction * len(lines))(*(_Instruction(*line) for line in lines))
    made = _Program(len(lines), instructions)
    try:
        kernel.prctl(kernel.PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(made))
    except OSError as exc:
        raise kernel.UnsupportedError(f"this kernel takes no seccomp filter ({exc.strerror})") from exc


def _when(number: int, block: list[Instruction]) -> list[Instruction]:
    """Run ``block``, which returns on every way, for one system call."""
    return [(_EQUALS, 0, len(block), number), *block]


def _argument(position: int) -> Instruction:
    """Load the low word of an argument; both machines are little-endian."""
    return (_LOAD, 0, 0, 16 + 8 * position)


def _no_truncation_without_writing(position: int) -> list[Instruction]:
    """Refuse O_TRUNC unless the file is opened for writing, which Landlock asks about."""
    return [
        _argument(position),
        (_HAS_BITS, 0, 4, os.O_TRUNC),
        (_AND, 0, 0, os.O_ACCMODE),
        (_EQUALS, 2, 0, os.O_WRONLY),
        (_EQUALS, 1, 0, os.O_RDWR),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
