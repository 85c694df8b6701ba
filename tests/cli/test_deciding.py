"""``monitor pending`` and ``monitor decide``; and a person at a real terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]

ROOT = Path(__file__).parents[2]
SCRIPT = """
steps:
  - text: "<think>I will send the file away</think>I sent it"
"""
PACK = """
pack: site
version: 1.0.0
description: one rule
rules:
  - title: Sends something away
    id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a11
    name: sends_away
    level: medium
    action: ask_human
    detection:
      plan:
        reasoning|contains: send the file away
      condition: plan
    tests:
      - record: {reasoning: send the file away}
        expect: match
"""
ROLE = "---\nname: clerk\ndescription: a clerk\nmax_output_tokens: 80\n---\nYou answer.\n"
RECIPE = "async def ask(ctx, task):\n    return (await ctx.call('clerk', task=task)).text\n"


@pytest.fixture
def asking(tmp_path: Path) -> list[str]:
    """The arguments of a run that asks a person."""
    (tmp_path / "script.yaml").write_text(SCRIPT)
    (tmp_path / "site.yaml").write_text(PACK)
    (tmp_path / "clerk.md").write_text(ROLE)
    (tmp_path / "ask.py").write_text(RECIPE)
    return ["run", "./ask.py", "What about the file?", "-m", "scripted:script.yaml", "-p", "./site.yaml"]


def test_from_a_suspended_run_to_its_answer(monitor: Monitor, asking: list[str]) -> None:
    ran = monitor(*asking)
    assert (ran.code, ran.out) == (7, "")
    assert "awaiting_human, verdict block" in ran.err
    assert "waits for a decision: monitor decide" in ran.err
    listed = monitor("pending")
    assert listed.code == 0
    for text in (
        "clerk",
        "What about the file?",
        "sends_away (medium): Sends something away",
        "I sent it",
        "monitor decide",
    ):
        assert text in listed.out
    (item,) = monitor("pending", "--json").json["pending"]
    assert (item["role"], item["output"], item["findings"][0]["name"]) == ("clerk", "I sent it", "sends_away")
    assert monitor("list", "--json").json["runs"][0]["state"] == "awaiting_human"
    shown = monitor("show", "latest")
    assert "awaiting_human" in shown.out
    assert "waits for a decision: monitor pending" in shown.out

    decided = monitor("decide", item["span_id"][:6], "approve", "--why", "it was public", "--by", "ann")
    assert (decided.code, decided.out) == (0, "")
    assert "approve, by ann: the subcall is ok" in decided.err
    assert "monitor resume" in decided.err
    assert monitor("pending").out.startswith("nothing waits")
    late = monitor("decide", item["id"], "reject", "--why", "no", "--json")
    assert late.code == 6
    assert "was decided already: approve by ann" in late.json["error"]["message"]

    resumed = monitor("resume", "latest")
    assert (resumed.code, resumed.out) == (0, "I sent it\n")
    full = monitor("show", "latest", "--subcall", item["span_id"]).out
    assert "decided: approve" in full
    assert "it was public" in full
    assert "decided: approve by ann" in monitor("show", "latest").out


def test_decide_and_go_on_at_once(monitor: Monitor, asking: list[str], tmp_path: Path) -> None:
    monitor(*asking)
    span = monitor("pending", "--json").json["pending"][0]["span_id"]
    (tmp_path / "instead.txt").write_text("I sent nothing")
    arguments = ("--output-file", "instead.txt", "--why", "wrong", "--resume", "--json")
    result = monitor("decide", span, "modify", *arguments)
    assert (result.code, result.json["answer"], result.json["outcome"]) == (0, "I sent nothing", "ok")


CALLS = r"""
steps:
  - reasoning: "I will send the file away"
    tool_calls:
      - {id: one, name: calculate, arguments: "{\"expression\": \"6 * 7 \u202e\"}"}
      - {id: two, name: shell, arguments: 'rm -rf "the file"'}
  - text: done
"""


@pytest.fixture
def calling(asking: list[str], tmp_path: Path) -> list[str]:
    """The same, of a role that calls tools instead of answering."""
    (tmp_path / "script.yaml").write_text(CALLS)
    (tmp_path / "clerk.md").write_text(
        ROLE.replace("max_output_tokens: 80\n", "max_output_tokens: 80\ntools: [calculate]\n")
    )
    (tmp_path / "ask.py").write_text(RECIPE.replace("task=task", "task=task, tools=['calculate']"))
    return asking


def test_what_an_approval_would_run_is_shown_first(monitor: Monitor, calling: list[str]) -> None:
    ran = monitor(*calling)
    assert ran.code == 7, ran.err
    listed = monitor("pending").out
    for text in (
        "tool call calculate (runs if this is approved)",
        r"6 * 7 \u202e",
        "tool call shell (refused: not in the role's tools (calculate))",
        'rm -rf "the file"',
    ):
        assert text in listed
    (item,) = monitor("pending", "--json").json["pending"]
    assert [(call["name"], bool(call["refused"])) for call in item["tool_calls"]] == [
        ("calculate", False),
        ("shell", True),
    ]
    assert "6 * 7" in item["tool_calls"][0]["arguments"]


def test_what_an_approval_would_run_is_shown_at_the_terminal(calling: list[str], tmp_path: Path) -> None:
    code, screen = at_terminal(tmp_path, calling, [("(l)? ", "l")])
    assert code == 7, screen
    for text in ("calculate", "(runs if this is approved)", "6 * 7", 'rm -rf "the file"'):
        assert text in screen


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("approve",), "a decision needs a reason"),
        (("modify", "--why", "x"), "`modify` needs the answer"),
        (("modify", "--why", "x", "--output", "a", "--output-file", "b"), "contradict each other"),
        (("modify", "--why", "x", "--output-file", "missing"), "cannot be read"),
        ((), "say what is decided"),
        (("maybe", "--why", "x"), "maybe"),
    ],
)
def test_a_decision_that_does_not_fit_is_refused(
    monitor: Monitor, asking: list[str], arguments: tuple[str, ...], says: str
) -> None:
    monitor(*asking)
    span = monitor("pending", "--json").json["pending"][0]["span_id"]
    refused = monitor("decide", span, *arguments)
    assert refused.code == 2
    assert says in refused.err
    assert len(monitor("pending", "--json").json["pending"]) == 1


def test_nobody_is_asked_without_a_terminal(monitor: Monitor, asking: list[str]) -> None:
    refused = monitor(*asking, "--ask")
    assert refused.code == 2
    assert "no terminal to ask at" in refused.err


def at_terminal(folder: Path, arguments: list[str], typed: list[tuple[str, str]]) -> tuple[int, str]:
    """Run the command at a real terminal, typing each line when its prompt is there; returns (exit code, screen)."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "monitor", *arguments],
        cwd=folder,
        env=environment,
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    screen, waiting, deadline = "", list(typed), time.monotonic() + 120
    seen = 0
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                screen += os.read(leader, 65536).decode(errors="replace")
            except OSError:  # the other end is closed: the process has ended
                break
        elif process.poll() is not None:
            break
        if waiting and waiting[0][0] in screen[seen:]:
            prompt, line = waiting.pop(0)
            seen = screen.index(prompt, seen) + len(prompt)
            os.write(leader, f"{line}\n".encode())
    assert process.stdout is not None
    out = process.stdout.read().decode()
    process.stdout.close()
    os.close(leader)
    assert not waiting, screen
    return process.wait(timeout=60), out + screen


def test_a_person_at_the_terminal_is_asked_there_and_then(asking: list[str], tmp_path: Path) -> None:
    typed = [("(l)? ", "x"), ("(l)? ", "a"), ("why? ", ""), ("(l)? ", "approve"), ("why? ", "public anyway")]
    code, screen = at_terminal(tmp_path, asking, typed)
    assert code == 0, screen
    assert screen.startswith("I sent it\n")
    assert "waits for a decision" in screen
    assert "send the file away" in screen  # the evidence, in place
    assert "a decision needs a reason" in screen
    run = subprocess.run(
        [sys.executable, "-m", "monitor", "show", "latest", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    (decision,) = json.loads(run.stdout)["subcalls"][0]["decisions"]
    assert (decision["choice"], decision["via"], decision["why"]) == ("approve", "terminal", "public anyway")


def test_left_for_later_the_run_is_suspended(asking: list[str], tmp_path: Path) -> None:
    code, screen = at_terminal(tmp_path, asking, [("(l)? ", "l")])
    assert code == 7, screen
    code, screen = at_terminal(tmp_path, ["resume", "latest"], [("(l)? ", "r"), ("why? ", "no")])
    assert code == 3, screen
    assert "rejected the answer" in screen
