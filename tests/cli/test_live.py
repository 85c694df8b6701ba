"""What is shown while a run goes."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from monitor.cli.live import RunState, watching
from monitor.cli.tree import draw
from monitor.records import Call, StoredSubcall
from tests.cli.conftest import PART, PLAN, RUN, events

REPLIES = Path(__file__).parent.parent / "packaging/replies.yaml"


def render(subcalls: list[StoredSubcall], max_lines: int | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    console.print(draw(Text("run"), subcalls, max_lines=max_lines))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def test_the_state_follows_the_events() -> None:
    state = RunState()
    seen = []
    for event in events():
        state.hear(event)
        subcall = state.subcall(PLAN)
        seen.append(subcall.state if subcall else "")
    assert seen == ["", "started", "observed", "ok", "ok", "ok", "ok", "ok", "ok"]
    assert state.run_id == RUN
    assert state.run
    assert state.run.state == "ok"
    assert [item.state for item in state.subcalls()] == ["ok", "failed", "started"]


def test_events_of_subcalls_that_were_not_heard_of_do_no_harm() -> None:
    state = RunState()
    for event in events()[2:4]:
        state.hear(event)
    assert state.subcalls() == []


def test_in_a_log_every_event_is_one_harmless_line() -> None:
    console = Console(file=io.StringIO(), width=100)
    with watching(console) as progress:
        for event in events():
            progress(event)
    file = console.file
    assert isinstance(file, io.StringIO)
    lines = file.getvalue().splitlines()
    assert len(lines) == len(events())
    assert "decompose judged flag: ok, match hiding_from_oversight, unknown price" in lines[3]
    assert "\x1b" not in file.getvalue()


def test_quiet_says_nothing() -> None:
    console = Console(file=io.StringIO())
    with watching(console, quiet=True) as progress:
        for event in events():
            progress(event)
    file = console.file
    assert isinstance(file, io.StringIO)
    assert file.getvalue() == ""
    assert progress.state.run_id == RUN


def finished_branches(count: int) -> list[StoredSubcall]:
    """``count`` finished plans with three finished parts each, and at last one plan that still goes on."""
    state = RunState()
    for event in events():
        state.hear(event)
    done = state.subcall(PLAN)
    assert done
    made = []
    for number in range(count):
        top = f"{number:08x}{0:08x}"
        made.append(done.model_copy(update={"call": done.call.model_copy(update={"span_id": top})}))
        for part in range(3):
            update = {"span_id": f"{number:08x}{part + 1:08x}", "parent_id": top, "role": "part"}
            made.append(done.model_copy(update={"call": done.call.model_copy(update=update)}))
    going = Call(run_id=RUN, span_id=PART, key="k", role="going")
    return [*made, StoredSubcall(call=going)]


def test_when_there_is_no_room_finished_branches_are_folded_the_earliest_first() -> None:
    subcalls = finished_branches(3)
    assert sum("part" in line for line in render(subcalls)) == 9
    folded = render(subcalls, max_lines=10)
    assert sum("part" in line for line in folded) == 3
    assert sum("(+3 finished)" in line for line in folded) == 2
    assert "going" in folded[-1], "what still goes on stays in sight"


def test_no_line_of_a_very_deep_tree_is_lost() -> None:
    calls = [
        Call(run_id=RUN, span_id=f"{n + 1:016x}", parent_id=f"{n:016x}", key="k", role=f"r{n}") for n in range(1500)
    ]
    lines = render([StoredSubcall(call=call) for call in calls])
    assert [n for n in range(1500) if f" r{n}  started" not in lines[n + 1]] == []


def test_a_subcall_whose_parent_is_missing_is_still_shown() -> None:
    orphan = StoredSubcall(call=Call(run_id=RUN, span_id=PART, parent_id="ff" * 8, key="k", role="orphan"))
    assert "orphan" in render([orphan])[1]


def test_on_a_terminal_the_tree_is_live(tmp_path: Path) -> None:
    """A real pseudo-terminal on standard error; the answer still goes to standard output alone."""
    main_end, terminal = pty.openpty()
    (tmp_path / "one.py").write_text("async def one(ctx, task):\n    return await ctx.call('answer', task=task)\n")
    command = [sys.executable, "-m", "monitor", "run", "./one.py", "two and two \x1b[2J", "--no-policy"]
    command += ["--model", f"scripted:{REPLIES}"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "20"}
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal, env=environment) as process:
        os.close(terminal)
        assert process.stdout
        shown = b""
        while chunk := read(main_end):
            shown += chunk
        answer = process.stdout.read()
    os.close(main_end)
    assert (process.returncode, answer) == (0, b"4\n"), shown.decode()
    assert b"\x1b[?25l" in shown, "the cursor is hidden while the tree is live"
    assert b"\x1b[?25h" in shown, "and comes back"
    assert b"\x1b[2J" not in shown
    assert "└── " in shown.decode()


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed: that is how a pseudo-terminal ends
        return b""
