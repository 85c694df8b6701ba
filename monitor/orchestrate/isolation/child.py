"""The program that an isolated tool runs in: one call, given as JSON on standard input, one line of JSON as its answer.

Until it is confined it runs nothing but the standard library and the files beside it. Then the tool's source is run, and
its function called. The tool's own standard input, output and error lead nowhere; the answer goes to a descriptor of its
own. A tool that writes there by itself has forged nothing but its own answer.

    {"text": "…"} or {"value": …}     what the function returned
    {"error": "ValueError: …"}        what it raised
    {"unconfined": "…"}               it was not run, for it could not be confined
"""

from __future__ import annotations

import json
import os
import sys
import types
from typing import TYPE_CHECKING, TypedDict

if __name__ == "__main__":  # started by path, with no package around it
    sys.path.append(os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..")))  # noqa: PTH100, PTH118, PTH120 - pathlib takes longer to import than the rest

from monitor.orchestrate.isolation import limits

if TYPE_CHECKING:
    from monitor.orchestrate.isolation.landlock import Right


class Request(TypedDict):
    """One call. ``paths`` names the options that are paths; ``grants`` are those of ``landlock``; ``imports`` is where
    packages are found.
    """

    isolation: str
    file: str
    source: str
    function: str
    arguments: dict[str, object]
    options: dict[str, object]
    paths: list[str]
    grants: list[tuple[str, Right]]
    imports: list[str]
    parent: int


def main() -> None:
    """Answer the one request on standard input, and end without any of the tool's own farewells."""
    request: Request = json.loads(sys.stdin.buffer.read())
    answer_fd = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    try:
        confine(request)
    except OSError as exc:
        line = json.dumps({"unconfined": f"the kernel refused to confine it: {exc}"})
    except Exception as exc:  # noqa: BLE001 - whatever went wrong, the tool must not run
        line = json.dumps({"unconfined": str(exc)})
    else:
        os.dup2(nowhere, 2)
        sys.path.extend(path for path in request["imports"] if path not in sys.path)
        line = call(request)
    if len(line) >= limits.ANSWER_BYTES:
        line = json.dumps({"error": f"its answer has {len(line)} bytes; at most {limits.ANSWER_BYTES} are taken"})
    _write(answer_fd, line.encode() + b"\n")
    os._exit(0)


def confine(request: Request) -> None:
    """Raise every wall. Raises OSError or kernel.UnsupportedError; then nothing of the tool may run."""
    limits.restrict(processes=request["isolation"] == "process")
    if request["isolation"] == "process":
        return
    from monitor.orchestrate.isolation import kernel, landlock, seccomp  # noqa: PLC0415 - Linux only

    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
    if os.getppid() != request["parent"]:
        raise OSError("the monitor is gone")
    kernel.drop_capabilities()
    landlock.restrict(request["grants"])
    seccomp.restrict()


def call(request: Request) -> str:
    """Run the tool's file, call its function, and put what it returns or raises into a line of JSON."""
    try:
        module = types.ModuleType("monitor_tool_file")
        module.__file__ = request["file"]
        sys.modules[module.__name__] = module
        exec(compile(request["source"], request["file"], "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the tool
        result = getattr(module, request["function"])(**request["arguments"], **_options(request))
        if hasattr(result, "__await__"):
            import asyncio  # noqa: PLC0415 - most tools need none

            result = asyncio.run(_awaited(result))
        return json.dumps({"text": result} if isinstance(result, str) else {"value": result})
    except BaseException as exc:  # noqa: BLE001 - every way in which a tool can fail is told to the model
        return json.dumps({"error": f"{type(exc).__name__}: {exc}".removesuffix(": ")})


def _options(request: Request) -> dict[str, object]:
    if not request["paths"]:
        return request["options"]
    from pathlib import Path  # noqa: PLC0415 - most tools need none

    return {
        name: Path(str(value)) if name in request["paths"] and value is not None else value
        for name, value in request["options"].items()
    }


async def _awaited(result: object) -> object:
    return await result  # type: ignore[misc]  # it has __await__


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


if __name__ == "__main__":
    main()
