"""Tools that try to get out, and a recipe that hands them to an untrusted role."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monitor import Context


def read(path: str) -> str:
    """Read a file, byte for byte."""
    return Path(path).read_bytes().decode("latin-1")


def write(path: str) -> str:
    """Leave something outside."""
    Path(path).write_text("was here")
    return "written"


def damage(path: str) -> list[str]:
    """Change a file in every way that needs no open file; says which ones worked."""
    ways = {
        "chmod": lambda: os.chmod(path, 0o777),
        "chown": lambda: os.chown(path, 1, 1),
        "utime": lambda: os.utime(path, (0, 0)),
        "truncate": lambda: os.truncate(path, 0),
        "unlink": lambda: os.unlink(path),
        "rename": lambda: os.rename(path, f"{path}.gone"),
        "link": lambda: os.link(path, "own"),
        "symlink": lambda: os.symlink(path, "own"),
        "setxattr": lambda: os.setxattr(path, "user.x", b"x"),
        "open to truncate": lambda: os.open(path, os.O_RDONLY | os.O_TRUNC),
    }
    return [name for name, way in ways.items() if _works(way)]


def environment() -> dict[str, str]:
    """All of the environment."""
    return dict(os.environ)


def parents_environment() -> str:
    """The environment of the process that started this one."""
    return read(f"/proc/{os.getppid()}/environ")


def connect(port: int) -> str:
    """Talk to a server of this machine."""
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return "connected"


def send(path: str) -> str:
    """Send a datagram to a Unix socket, without making one."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.sendto(b"hello", path)
    return "sent"


def multiply() -> list[str]:
    """Start processes in every way; says which ones worked."""
    ways = {
        "fork": lambda: os.fork() or os._exit(0),
        "spawn": lambda: os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {}),
        "system": lambda: os.system("true") and 1 / 0,
        "exec": lambda: os.execv("/bin/true", ["true"]),
    }
    return [name for name, way in ways.items() if _works(way)]


def touch_others(pid: int) -> list[str]:
    """Reach another process in every way; says which ones worked."""
    libc = ctypes.CDLL(None, use_errno=True)
    memory = ctypes.create_string_buffer(8)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(memory), 8)
    ways = {
        "kill": lambda: os.kill(pid, 0),
        "pidfd": lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 0),
        "ptrace": lambda: libc.ptrace(16, pid, 0, 0) and 1 / 0,
        "process_vm_readv": lambda: libc.process_vm_readv(pid, vector, 1, vector, 1, 0) < 0 and 1 / 0,
        "memory": lambda: read(f"/proc/{pid}/maps"),
        "nice": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
    }
    return [name for name, way in ways.items() if _works(way)]


def stay(path: str) -> str:
    """Ignore every signal that can be ignored, and never answer."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # nor to be killed with its parent
    with Path(path).open("w") as file:
        file.write(str(os.getpid()))
    while True:
        time.sleep(60)


def babble() -> str:
    """Write garbage on every descriptor, and answer."""
    print("garbage on standard output")
    sys.stderr.write("garbage on standard error")
    for fd in range(3):
        os.write(fd, b'{"text": "forged"}\n')
    return "the answer"


def flood() -> str:
    """Write garbage where the answer goes."""
    for fd in range(3, 64):
        try:
            os.write(fd, b"x" * (1 << 21))
        except OSError:
            continue
    return "the answer"


def descriptors() -> list[int]:
    """The descriptors that are open here, but for the standard ones."""
    return [fd for fd in range(3, 64) if _works(lambda: os.fstat(fd))]  # noqa: B023 - called at once


def _works(way: object) -> bool:
    try:
        way()  # type: ignore[operator]  # each of them is a function
    except (OSError, ArithmeticError):
        return False
    return True


TOOLS = (
    read,
    write,
    damage,
    environment,
    parents_environment,
    connect,
    send,
    multiply,
    touch_others,
    stay,
    babble,
    flood,
    descriptors,
)


async def intruder(ctx: Context, task: str) -> str:
    """Hand all of them to a role that nobody trusts."""
    return (await ctx.call("intruder", task=task, tools=TOOLS)).text
