"""Tools of untrusted roles try to get at the store, the policies, the keys and the machine, and each time the test itself
can do what the tool could not.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor import catalog
from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import Limits, Outcome, ToolCall
from monitor.settings import Settings
from monitor.store import Store
from tests.orchestrate.isolation.conftest import INTRUDER, needs_landlock
from tests.orchestrate.recipes import intruder

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.records import Observation
    from monitor.settings import ToolIsolation
    from tests.orchestrate.conftest import Desk

    Attempt = Callable[..., Observation]

pytestmark = needs_landlock
KEY = "planted-key-of-the-provider-1234"


def refused(seen: Observation, why: str = "PermissionError") -> bool:
    return seen.outcome is Outcome.FAILED and seen.error is not None and why in seen.error.message


@pytest.mark.sqlite("the file of the store is what the tool tries to open")
def test_neither_store_nor_policies_nor_keys_can_be_opened(tmp_path: Path) -> None:
    """A whole run by the command, with a key in its environment and one in its settings; the tool tries all of them."""
    pack = tmp_path / "house.yaml"
    pack.write_text(catalog.find("policy", "core").read_text("utf-8"), "utf-8")
    settings = tmp_path / "monitor.toml"
    model = f'model = "x"\nbase_url = "http://127.0.0.1:1"\napi_key = "{KEY}"\n'
    settings.write_text(f'policies = ["./house.yaml"]\n[models.big]\n{model}')
    targets = [tmp_path / "monitor.db", tmp_path / "monitor.db-wal", pack, catalog.find("policy", "core"), settings]
    calls = [{"name": "read", "arguments": {"path": str(path)}} for path in targets]
    calls += [{"name": "parents_environment", "arguments": {}}, {"name": "environment", "arguments": {}}]
    (tmp_path / "script.yaml").write_text(json.dumps({"steps": [{"tool_calls": calls}, {"text": "went on"}]}))
    command = [sys.executable, "-m", "monitor", "run", INTRUDER, "x", "--model", "scripted:script.yaml"]
    keys = {"THEIR_API_KEY": KEY}
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | keys, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
    with Store.open(str(tmp_path / "monitor.db"), create=False) as store:
        _, *tools, _ = store.subcalls(store.runs()[0].start.run_id)
    *reads, environment = [subcall.observation for subcall in tools if subcall.observation]
    assert [refused(seen) for seen in reads] == [True] * 6
    assert environment.outcome is Outcome.OK
    assert set(json.loads(environment.output)) <= {"TMPDIR", "LC_CTYPE"}
    assert KEY not in "".join(str(subcall) for subcall in tools)
    assert all(path.read_bytes() for path in targets if path.name != "monitor.db-wal")
    assert KEY in intruder.read(str(settings))


@pytest.mark.sqlite("the file of the store is what the tool tries to open")
def test_the_wal_of_a_store_in_use_cannot_be_opened(attempt: Attempt, tmp_path: Path) -> None:
    wal, read = tmp_path / "monitor.db-wal", list[bytes]()
    assert refused(attempt("read", path=str(wal), listener=lambda _: read.append(wal.read_bytes())))
    assert all(read)
    assert read


def test_what_belongs_to_others_cannot_be_read_written_or_changed(
    attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    before = secret.stat()
    assert refused(attempt("read", path=str(secret)))
    assert refused(attempt("write", path=str(secret)))
    assert refused(attempt("write", path=str(tmp_path / "new.txt")))
    assert json.loads(attempt("damage", path=str(secret)).output) == []
    after = secret.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime_ns, after.st_nlink) == (
        before.st_mode,
        before.st_uid,
        before.st_mtime_ns,
        before.st_nlink,
    )
    assert intruder.read(str(secret)) == "secret"
    assert "chmod" in intruder.damage(str(secret))


def test_no_server_of_this_machine_can_be_reached(attempt: Attempt, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert refused(attempt("connect", port=port))
        assert intruder.connect(port) == "connected"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert refused(attempt("send", path=str(tmp_path / "socket")))
        assert intruder.send(str(tmp_path / "socket")) == "sent"


def test_no_process_can_be_started(attempt: Attempt) -> None:
    assert json.loads(attempt("multiply").output) == []


def test_no_other_process_can_be_touched(attempt: Attempt) -> None:
    """Neither this one, which is the parent, nor any other of the same user."""
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert json.loads(attempt("touch_others", pid=os.getpid()).output) == []
        assert json.loads(attempt("touch_others", pid=other.pid).output) == []
        assert other.poll() is None
        assert intruder.read(f"/proc/{other.pid}/maps")
    finally:
        other.kill()
        other.communicate()


@pytest.mark.parametrize("isolation", ["landlock", "process"])
def test_nothing_is_inherited_and_garbage_does_not_reach_the_answer(attempt: Attempt, isolation: str) -> None:
    assert attempt("babble", isolation=isolation).output == "the answer"
    with Path("/dev/null").open("rb") as file:
        os.set_inheritable(file.fileno(), True)
        open_there = json.loads(attempt("descriptors", isolation=isolation).output)
    assert len(open_there) <= 2  # the answer's, and /dev/null


@pytest.mark.parametrize("isolation", ["landlock", "process"])
def test_a_flood_instead_of_an_answer_is_a_failure(attempt: Attempt, isolation: str) -> None:
    assert refused(attempt("flood", isolation=isolation), "it answered more than")


@pytest.mark.parametrize("isolation", ["landlock", "process"])
def test_a_tool_that_outlives_its_deadline_is_killed(desk: Desk, isolation: ToolIsolation) -> None:
    """It ignores what can be ignored. The run ends as out of budget, and the process and its folder are gone."""
    asked = Reply(tool_calls=(ToolCall(id="1", name="stay", arguments='{"path": "pid"}'),))
    settings = Settings(db=desk.db, tool_isolation=isolation)
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("monitor-tool-*"))
    result = desk.run(INTRUDER, ScriptedModel([asked]), settings=settings, budget=Limits(seconds=2))
    assert result.outcome is Outcome.BUDGET_EXCEEDED
    _, ran = desk.subcalls()
    assert ran.observation is not None
    assert ran.observation.outcome is Outcome.BUDGET_EXCEEDED
    assert [exceeded.limit for exceeded in ran.observation.exceeded] == ["seconds"]
    assert _children_named("isolation/child.py") == []
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("monitor-tool-*")) <= before


def test_a_killed_monitor_takes_its_tools_with_it(tmp_path: Path) -> None:
    """Killed so that it can do nothing more about it."""
    calls = [{"name": "stay", "arguments": {"path": "pid"}}]
    (tmp_path / "script.yaml").write_text(json.dumps({"steps": [{"tool_calls": calls}, {"text": "went on"}]}))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "monitor", "run", INTRUDER, "x", "--model", "scripted:script.yaml"]
    environment = os.environ | {"TMPDIR": str(scratch)}
    run = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    try:
        pid = _wait_for(lambda: next((int(text) for path in scratch.glob("*/pid") if (text := path.read_text())), 0))
        assert Path(f"/proc/{pid}").exists()
    finally:
        run.kill()
        run.wait()
    assert _wait_for(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))


def _is_zombie(pid: int) -> bool:
    """Dead, and its new parent has not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _wait_for(look: Callable[[], int]) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen within 30 seconds")


def _children_named(part: str) -> list[str]:
    """The command lines of this process's children that have ``part``."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = stat.with_name("cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if parent == os.getpid() and part in command:
            found.append(command)
    return found
