"""The child and its parent: whatever a tool does instead of answering is an error in plain words."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.orchestrate.confinement import problem_of
from monitor.orchestrate.isolation import folders, limits, parent
from monitor.orchestrate.isolation.parent import Told, run_in_child
from tests.orchestrate.isolation.conftest import needs_landlock

if TYPE_CHECKING:
    from monitor.orchestrate.isolation.child import Request

pytestmark = needs_landlock


def request(source: str, isolation: str = "landlock", **arguments: Any) -> Request:
    return {
        "isolation": isolation,
        "file": "/somewhere/tool.py",
        "source": source,
        "function": "tool",
        "arguments": arguments,
        "options": {},
        "paths": [],
        "grants": folders.grants_of([], frozenset()),
        "imports": folders.imports(),
        "parent": 0,
    }


def told(body: str, isolation: str = "landlock", **arguments: Any) -> Told:
    """What is told of a tool with this body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    source = f"import ctypes, os, sys, time\ndef tool({', '.join(arguments)}):\n{lines}\n"
    return asyncio.run(run_in_child(request(source, isolation, **arguments)))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("return {}[1]", "KeyError: 1"),
        ("raise ValueError", "ValueError"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("return b'x'", "TypeError: Object of type bytes is not JSON serializable"),
        ("return 'x' * (1 << 21)", "its answer has 2097164 bytes; at most 1048576 are taken"),
        ("return 'x' * (1 << 30)", "MemoryError"),
        ("x = []\nx.append(x)\nreturn x", "ValueError: Circular reference detected"),
        ("os._exit(3)", "it left with status 3 and without an answer"),
        ("os._exit(0)", "it left with status 0 and without an answer"),
        ("os.abort()", "it was ended by signal 6 (SIGABRT) before it answered"),
        ("ctypes.string_at(0)", "it was ended by signal 11 (SIGSEGV) before it answered"),
        ("os.kill(os.getpid(), 9)", "it was ended by signal 9 (SIGKILL) before it answered"),
        ("os.write(3, b'not JSON\\n')", "it answered something that is not the answer of a tool"),
        ("os.write(3, b'[' * 90000 + b'\\n')", "it answered something that is not the answer of a tool"),
        ("os.write(3, b'{\"text\": 1}\\n')", "it answered something that is not the answer of a tool"),
        ("os.write(3, b'half of'); os._exit(0)", "it answered something that is not the answer of a tool"),
        ("open('large', 'wb').truncate(1 << 30)", "OSError: [Errno 27] File too large"),
    ],
)
def test_whatever_is_no_answer_is_an_error(body: str, error: str) -> None:
    assert told(body) == Told("error", error)


def test_what_cannot_even_be_loaded_is_an_error() -> None:
    assert asyncio.run(run_in_child(request("def tool(:"))).content.startswith("SyntaxError")
    assert "no attribute 'tool'" in asyncio.run(run_in_child(request("x = 1"))).content


def test_processor_time_is_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By a child whose limit is a second."""
    copy = tmp_path / "monitor"
    shutil.copytree(Path(parent.__file__).parents[2], copy, ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / "orchestrate" / "isolation" / "limits.py"
    file.write_text(file.read_text().replace("CPU_SECONDS = 10", "CPU_SECONDS = 1"))
    command = (*parent._PYTHON[:-1], str(file.with_name("child.py")))
    monkeypatch.setattr(parent, "_PYTHON", command)
    assert told("while True: pass") == Told("error", "it used more than 10 seconds of CPU time and was ended")


def test_wall_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SECONDS", 0.5)
    assert told("time.sleep(60)") == Told("error", "it did not answer within 0.5 seconds")


def test_every_value_comes_back_as_it_was() -> None:
    values = {"a": [1, 2.5, None, True, "é \ud800 \0 \u2028 \n"], "large": 2**70, "nan": "x"}
    for isolation in ("landlock", "process"):
        assert told("return value", isolation, value=values) == Told("value", values)


@settings(max_examples=10, deadline=None)
@given(st.text(st.characters(), max_size=50))
def test_every_text_comes_back_as_it_was(text: str) -> None:
    assert told("return value", "process", value=text) == Told("text", text)


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_no_line_of_an_answer_breaks_the_parent(line: bytes) -> None:
    assert parent._read(line).kind in {"text", "value", "error", "unconfined"}


def test_a_cancelled_call_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(_empty(tmp_path)))
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)

    async def cancelled(delay: float) -> None:
        call = asyncio.ensure_future(run_in_child(request("import time\ndef tool(): time.sleep(60)")))
        await asyncio.sleep(delay)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    for delay in (0, 0.001, 0.2):
        asyncio.run(cancelled(delay))
    assert started
    assert all(process.returncode is not None for process in started)
    assert list((tmp_path / "empty").iterdir()) == []


def test_its_folder_is_its_own_and_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(_empty(tmp_path)))
    folder = told("open('x', 'w').close()\nreturn [os.getcwd(), os.environ['TMPDIR'], os.listdir()]").content
    assert folder == [folder[0], folder[0], ["x"]]
    assert Path(folder[0]).parent == tmp_path / "empty"
    assert list((tmp_path / "empty").iterdir()) == []


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_packages_can_be_imported_and_an_async_tool_awaited() -> None:
    assert (
        told("import pydantic, sqlite3, zoneinfo\nreturn zoneinfo.ZoneInfo('Europe/Oslo').key").content == "Europe/Oslo"
    )
    source = "import asyncio\nasync def tool():\n    await asyncio.sleep(0)\n    return await asyncio.to_thread(int)\n"
    assert asyncio.run(run_in_child(request(source))) == Told("value", 0)


@pytest.mark.parametrize("isolation", ["landlock", "process"])
def test_it_runs_with_no_rights_of_root_or_not_at_all(isolation: str) -> None:
    """Where it cannot be confined the tool's file is not even loaded."""
    assert asyncio.run(problem_of(isolation)) == ""  # type: ignore[arg-type]  # mypy widens the parameter
    if isolation == "landlock" and os.getuid() == 0:
        assert told("return os.access('/root/.profile', os.W_OK), os.getuid()", "landlock").content[1] == 0
        assert told("os.setuid(65534)").content.startswith("PermissionError")


def test_without_landlock_the_tool_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child on a machine without it, which a changed copy of the child plays."""
    copy = tmp_path / "monitor"
    shutil.copytree(Path(parent.__file__).parents[2], copy, ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / "orchestrate" / "isolation" / "landlock.py"
    file.write_text(file.read_text().replace("444, 445, 446", "9444, 9445, 9446"))
    monkeypatch.setattr(parent, "_PYTHON", (*parent._PYTHON[:-1], str(file.with_name("child.py"))))
    marker = tmp_path / "ran"
    answer = asyncio.run(run_in_child(request(f"open({str(marker)!r}, 'w')\ndef tool(): ...")))
    assert (answer.kind, "no Landlock" in answer.content) == ("unconfined", True)
    assert not marker.exists()
    assert asyncio.run(run_in_child(request("def tool(): return 'ran'", "process"))).content == "ran"


def test_the_child_imports_nothing_heavy_before_it_is_confined() -> None:
    """Less than what runs in front of the walls cannot be attacked: the standard library and our own few files."""
    program = (
        "import runpy, sys\n"
        "from monitor.orchestrate.isolation import child, kernel, landlock, limits, seccomp\n"
        "ours = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "print(*sorted(ours))"
    )
    root = str(Path(parent.__file__).parents[3])
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({root!r})\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - {"__main__"} == {"monitor"}
