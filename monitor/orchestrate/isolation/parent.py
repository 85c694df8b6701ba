"""The monitor's side of an isolated tool: start the child, read its one answer, end it with all that it started."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from monitor.orchestrate.isolation import limits
from monitor.orchestrate.threads import in_thread

if TYPE_CHECKING:
    from monitor.orchestrate.isolation.child import Request

_CHILD = Path(__file__).with_name("child.py")
_PYTHON = (sys.executable, "-I", "-S", "-X", "utf8", str(_CHILD))
_PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""All that is left of the environment: without it some builds of Python do not start."""
_CHUNK = 1 << 16
_CAUSES = {
    "SIGXCPU": f"it used more than {limits.CPU_SECONDS} seconds of CPU time",
    "SIGXFSZ": f"it wrote a file of more than {limits.FILE_BYTES} bytes",
    "SIGSYS": "it made a system call that is not allowed",
}

Kind: TypeAlias = Literal["text", "value", "error", "unconfined"]


@dataclass(frozen=True, slots=True)
class Told:
    """What the child told: see ``child``. Anything but a well-formed answer is an ``error`` in plain words."""

    kind: Kind
    content: Any


async def run_in_child(request: Request) -> Told:
    """Make one call in a fresh child process, which does not outlive this call, however it ends.

    Raises asyncio.CancelledError, at the budget's deadline among others, once the child is gone.
    """
    child = _Child(request)
    running = asyncio.ensure_future(in_thread(f"tool-{request['function']}", child.run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        child.kill()
        await asyncio.wait([running])
        raise


class _Child:
    """One child process. ``run`` blocks in a thread; ``kill`` may be called from another one."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def run(self) -> Told:
        scratch = tempfile.mkdtemp(prefix="monitor-tool-")
        try:
            with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complaints:
                grants = [*self._request["grants"], (os.path.realpath(scratch), "scratch")]
                said.write(json.dumps({**self._request, "grants": grants, "parent": os.getpid()}).encode())
                said.seek(0)
                self._start(scratch, said, complaints)
                line, cause = self._listen()
                status = self._end()
                return _read(line) if line is not None else Told("error", cause or _cause(status, complaints))
        except OSError as exc:
            return Told("error", f"the process for it cannot be started: {exc}")
        except (TypeError, ValueError, RecursionError) as exc:
            return Told("error", f"its arguments cannot be handed over: {exc}")
        finally:
            self._end()
            _remove(scratch)

    def kill(self) -> None:
        """End the child and its group now; ``run`` then returns."""
        with self._lock:
            self._killed = True
            self._kill_group()

    def _start(self, scratch: str, said: IO[bytes], complaints: IO[bytes]) -> None:
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with self._lock:
            if self._killed:
                raise OSError("it was cancelled before it began")
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own file
                _PYTHON,
                stdin=said,
                stdout=subprocess.PIPE,
                stderr=complaints,
                cwd=scratch,
                env={"TMPDIR": scratch, **kept},
                start_new_session=True,
            )

    def _listen(self) -> tuple[bytes | None, str]:
        """Return the answer's line, or None and why there is none (nothing where the child's end tells it)."""
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        read = bytearray()
        deadline = time.monotonic() + limits.SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in read:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    return None, f"it did not answer within {limits.SECONDS} seconds"
                chunk = os.read(pipe, _CHUNK)
                if not chunk:
                    return None, "" if not read else "it answered something that is not the answer of a tool"
                read += chunk
                if len(read) > limits.ANSWER_BYTES:
                    return None, f"it answered more than {limits.ANSWER_BYTES} bytes"
        return bytes(read).partition(b"\n")[0], ""

    def _end(self) -> int:
        """Kill whatever is left of the group, then reap the child; its exit status.

        In this order: the number of a child that was not reaped belongs to nobody else.
        """
        if self._process is None:
            return 0
        with self._lock:
            self._kill_group()
            assert self._process.stdout is not None
            self._process.stdout.close()
            return self._process.wait()

    def _kill_group(self) -> None:
        if self._process is not None and self._process.returncode is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self._process.kill()  # the group's leader is a zombie already (macOS), or has no group yet


def _read(line: bytes) -> Told:
    """The answer in a line; the line may be anything, for the tool could write it."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict) and len(told) == 1:
        ((kind, content),) = told.items()
        if kind == "value" or (kind in {"text", "error", "unconfined"} and isinstance(content, str)):
            return Told(kind, content)
    return Told("error", "it answered something that is not the answer of a tool")


def _cause(status: int, complaints: IO[bytes]) -> str:
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = "unknown"
        known = _CAUSES.get(name)
        return f"{known} and was ended" if known else f"it was ended by signal {-status} ({name}) before it answered"
    complaints.seek(0)
    said = complaints.read(_CHUNK).decode(errors="replace").strip().splitlines()
    return f"it left with status {status} and without an answer{': ' + said[-1][:500] if said else ''}"


def _remove(scratch: str) -> None:
    try:
        os.chmod(scratch, 0o700)  # noqa: PTH101 - a string all the way
        shutil.rmtree(scratch, ignore_errors=True)
    except (OSError, RecursionError):
        pass
