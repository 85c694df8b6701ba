"""Each wall by itself: Landlock without the filter, at every version; the filter without Landlock, on both machines."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import re2

from monitor.orchestrate.isolation import landlock, seccomp
from tests.orchestrate.isolation.conftest import needs_landlock

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]
TRY = """
import json, os, signal, socket, sys
from monitor.orchestrate.isolation import kernel, landlock, seccomp
outside, inside, port, parent = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ways = {
    "read inside": lambda: open(f"{inside}/file").read(),
    "write inside": lambda: open(f"{inside}/file", "w"),
    "make inside": lambda: open(f"{inside}/new", "w"),
    "write scratch": lambda: open("own", "w").close(),
    "delete scratch": lambda: os.unlink("own"),
    "folder in scratch": lambda: os.mkdir("folder"),
    "read outside": lambda: open(f"{outside}/file").read(),
    "list outside": lambda: os.listdir(outside),
    "write outside": lambda: open(f"{outside}/file", "w"),
    "truncate inside": lambda: os.truncate(f"{inside}/file", 0),
    "open inside to truncate": lambda: os.close(os.open(f"{inside}/file", os.O_RDONLY | os.O_TRUNC)),
    "open inside for nothing and truncate": lambda: os.close(os.open(f"{inside}/file", os.O_ACCMODE | os.O_TRUNC)),
    "tcp": lambda: socket.create_connection(("127.0.0.1", port), 5),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)),
    "signal": lambda: os.kill(parent, 0),
    "signal self": lambda: os.kill(os.getpid(), 0),
    "pair": lambda: socket.socketpair(),
    "fork": lambda: os.fork() or os._exit(0),
    "own limits": lambda: __import__("resource").setrlimit(7, (40, 40)),
    "thread": lambda: (lambda t: (t.start(), t.join()))(__import__("threading").Thread(target=int)),
}
WALLS
worked = []
for name, way in ways.items():
    try:
        way()
        worked.append(name)
    except (OSError, RuntimeError):
        pass
print(json.dumps(worked))
"""
ALWAYS = {"signal self", "pair", "own limits", "thread"}
"""What no wall takes away: event loops need a pair of sockets, sqlite may need a thread."""


def tried(walls: str, folder: Path) -> set[str]:
    """What works behind some walls, in a process of its own whose working directory is its scratch folder."""
    for name in ("outside", "inside", "scratch"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "file").write_text("text")
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = [folder / "outside", folder / "inside", server.getsockname()[1], os.getpid()]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", TRY.replace("WALLS", walls), *map(str, arguments)],
            cwd=folder / "scratch",
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
    assert (folder / "outside" / "file").read_text() == "text" or not walls
    return set(json.loads(done.stdout))


GRANTS = (
    '[(inside, "read"), (os.getcwd(), "scratch"), (sys.base_prefix, "read"), ("/usr/lib", "read"), ("/lib", "read")]'
)


def test_without_walls_everything_works(tmp_path: Path) -> None:
    """Otherwise the tests below would prove nothing."""
    every = {part.partition('"')[2].partition('"')[0] for part in TRY.split("\n") if part.startswith('    "')}
    assert tried("", tmp_path) == every


@needs_landlock
@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7])
def test_landlock_alone(tmp_path: Path, version: int) -> None:
    """What each version leaves open is what the filter is for."""
    if landlock.version() < version:
        pytest.skip("this kernel's Landlock is older")
    open_still = {"read inside", "write scratch", "delete scratch", "udp", "fork", *ALWAYS}
    truncations = {"truncate inside", "open inside to truncate", "open inside for nothing and truncate"}
    open_still |= truncations if version < 3 else set()
    open_still |= {"tcp"} if version < 4 else set()
    open_still |= {"signal"} if version < 6 else set()
    assert tried(f"landlock.restrict({GRANTS}, at_most={version})", tmp_path) == open_still


@needs_landlock
def test_the_filter_alone(tmp_path: Path) -> None:
    files = {"read inside", "write inside", "make inside", "write scratch", "delete scratch", "folder in scratch"}
    files |= {"read outside", "list outside"}
    walls = "kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1); seccomp.restrict(); del ways['write outside']"
    assert tried(walls, tmp_path) == files | ALWAYS


@needs_landlock
@pytest.mark.parametrize("version", [1, 7])
def test_both_walls(tmp_path: Path, version: int) -> None:
    """The oldest Landlock with the filter leaves open what the newest does."""
    walls = f"landlock.restrict({GRANTS}, at_most={version}); seccomp.restrict()"
    assert tried(walls, tmp_path) == {"read inside", "write scratch", "delete scratch", *ALWAYS}


# -------------------------------------------------------------------------------- the filter, instruction by instruction

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
PID = 4711


def outcome(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter says of one system call: a machine for the few instructions that it uses (bpf(4))."""
    data = {0: number, 4: ARCHITECTURES[machine] if architecture is None else architecture}
    for position, argument in enumerate((*arguments, *[0] * (6 - len(arguments)))):
        data[16 + 8 * position] = argument & 0xFFFFFFFF
        data[20 + 8 * position] = argument >> 32
    lines, at, accumulator = seccomp.program(machine, PID), 0, 0
    while True:
        code, true, false, constant = lines[at]
        at += 1
        if code == 0x20:
            accumulator = data[constant]
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x06:
            return constant
        else:
            holds = {0x15: accumulator == constant, 0x25: accumulator > constant, 0x45: bool(accumulator & constant)}
            at += true if holds[code] else false


def numbers(machine: str) -> dict[str, int]:
    return {name: number for group in seccomp.TABLES[machine].values() for name, number in group.items()}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_says_what_the_table_says(machine: str) -> None:
    table = seccomp.TABLES[machine]
    special = table["by argument"]
    refused = {number for group, calls in table.items() if group != "by argument" for number in calls.values()}
    refused |= {number for name, number in seccomp.COMMON.items() if name not in {"clone3", "openat2"}}
    for number in range(463):
        if number in refused:
            assert outcome(machine, number) == EPERM, number
        elif number in {435, 437}:
            assert outcome(machine, number) == ENOSYS
        elif number not in special.values():
            assert outcome(machine, number) == ALLOW, number
    assert {outcome(machine, number) for number in (463, 600, 0x40000000, 0x40000029, 2**32 - 1)} == {ENOSYS}
    assert outcome(machine, 0, architecture=0x40000003) == KILL


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_looks_at_arguments(machine: str) -> None:
    number = seccomp.TABLES[machine]["by argument"]
    thread, process = 0x003D0F00, 0x01200011  # what pthread_create and fork ask of clone
    assert (outcome(machine, number["clone"], thread), outcome(machine, number["clone"], process)) == (ALLOW, EPERM)
    for name in ("kill", "tgkill"):
        assert (outcome(machine, number[name], PID, 9), outcome(machine, number[name], 1, 9)) == (ALLOW, EPERM)
        assert {outcome(machine, number[name], pid, 9) for pid in (0, 2**64 - 1, 2**32 - PID)} == {EPERM}
    assert [outcome(machine, number["prlimit64"], pid) for pid in (0, PID, 1)] == [ALLOW, ALLOW, EPERM]
    assert [outcome(machine, number["prctl"], option) for option in (1, 15, 38)] == [EPERM, ALLOW, ALLOW]
    stream, datagram = socket.SOCK_STREAM | 0o2000000, socket.SOCK_DGRAM
    assert [outcome(machine, number["socketpair"], 1, kind) for kind in (stream, datagram)] == [ALLOW, EPERM]
    for name in {"open", "openat"} & number.keys():
        before = [0] * (1 if name == "open" else 2)
        said = {flags: outcome(machine, number[name], *before, flags) for flags in range(8 * os.O_TRUNC)}
        wrong = {
            flags
            for flags, what in said.items()
            if (what == EPERM) != (bool(flags & os.O_TRUNC) and flags & 3 in {0, 3})
        }
        assert wrong == set()


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_the_numbers_are_the_kernels(machine: str, header: str) -> None:
    """As Linux's own headers have them, where they are installed."""
    if not Path(header).exists():
        pytest.skip("no kernel headers here")
    found: Mapping[str, int] = {
        name: int(number)
        for name, number in re2.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text())
    }
    wrong = {name: number for name, number in numbers(machine).items() if found.get(name) != number}
    assert wrong == {}
    newer = {name: number for name, number in seccomp.COMMON.items() if found.get(name, number) != number}
    assert newer == {}
