"""``run`` and ``resume`` with the scripted model: output, exit codes, cancelling and going on."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]

RECIPE = """
async def mine(ctx, task, times=1):
    answers = [await ctx.call("./clerk.md", task=f"{task} {number}") for number in range(times)]
    return " ".join(answer.text for answer in answers)
"""
CLERK = """---
name: clerk
description: Answers in the tests.
trust: untrusted
max_output_tokens: 50
retries: 0
input: "{task}"
output:
  type: object
  required: [reasoning, answer]
  properties:
    reasoning: {type: string}
    answer: {type: string}
---
Answer.
"""
FOUR = "steps: [{text: {reasoning: Two and two more make four., answer: four}, times: forever}]\n"
POLICY = """
pack: mine
version: 1.0.0
rules:
  - title: The reasoning counts
    id: 8d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11
    name: counting
    level: LEVEL
    detection:
      word: {reasoning|contains: two more}
      condition: word
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "clerk.md").write_text(CLERK, encoding="utf-8")
    script(tmp_path, FOUR)


def script(folder: Path, text: str) -> None:
    (folder / "script.yaml").write_text(text, encoding="utf-8")


def policy(folder: Path, level: str) -> str:
    (folder / "policy.yaml").write_text(POLICY.replace("LEVEL", level), encoding="utf-8")
    return str(folder / "policy.yaml")


def run(monitor: Monitor, *arguments: str, task: str = "What is 2 + 2?") -> Result:
    checks = () if "--policy" in arguments else ("--no-policy",)
    return monitor("run", "./mine.py", task, "--model", "scripted:script.yaml", *checks, *arguments)


def test_the_answer_is_all_that_standard_output_gets(monitor: Monitor) -> None:
    done = run(monitor)
    assert (done.code, done.out) == (0, "four\n")
    for part in (
        "started: What is 2 + 2?",
        "judged unmeasured: ok",
        "ok, verdict unmeasured",
        "see it with: monitor show",
    ):
        assert part in done.err


def test_quiet(monitor: Monitor) -> None:
    done = run(monitor, "--quiet")
    assert (done.code, done.out, done.err) == (0, "four\n", "")


def test_quiet_says_why_there_is_no_answer(monitor: Monitor, tmp_path: Path) -> None:
    script(tmp_path, "steps: [{error: {kind: auth, status: 401, message: no such key}, times: forever}]\n")
    done = run(monitor, "--quiet")
    assert (done.code, done.out) == (5, "")
    assert "no such key" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_role_that_is_not_there_is_the_users_mistake(monitor: Monitor) -> None:
    done = monitor("run", "answer", "x", "--set", "role=./nowhere.md", "--model", "scripted:script.yaml")
    assert done.code == 2
    assert "nowhere.md" in done.err


def test_json(monitor: Monitor) -> None:
    shape = run(monitor, "--json").json
    assert (shape["format"], shape["outcome"], shape["answer"], shape["exit_code"]) == (
        "monitor.result/1",
        "ok",
        "four",
        0,
    )
    assert shape["usage"]["calls"] == 1
    assert monitor("list", "--json").json["runs"][0]["run_id"] == shape["run_id"]


def test_a_cancelled_run_is_json_too(monitor: Monitor, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("async def mine(ctx, task):\n    raise KeyboardInterrupt\n", encoding="utf-8")
    done = run(monitor, "--json")
    assert (done.code, done.json["format"], done.json["exit_code"]) == (130, "monitor.error/1", 130)
    assert "monitor resume " in done.json["error"]["message"]


def test_options_reach_the_recipe(monitor: Monitor) -> None:
    assert run(monitor, "--set", "times=3").out == "four four four\n"
    refused = run(monitor, "--set", "tims=3")
    assert (refused.code, "tims" in refused.err) == (2, True)


def test_the_task_from_standard_input(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a file"))
    assert run(monitor, task="-").code == 0
    assert monitor("list", "--json").json["runs"][0]["task"] == "from a file"


def test_a_flag_is_a_success_that_says_so(monitor: Monitor, tmp_path: Path) -> None:
    done = run(monitor, "--policy", policy(tmp_path, "medium"))
    assert (done.code, done.out) == (0, "four\n")
    assert "verdict flag" in done.err
    assert "match counting (medium)" in done.err


def test_a_withheld_answer_is_no_success_and_is_not_printed(monitor: Monitor, tmp_path: Path) -> None:
    done = run(monitor, "--policy", policy(tmp_path, "high"))
    assert (done.code, done.out) == (3, "")
    assert "verdict block" in done.err
    shape = run(monitor, "--policy", policy(tmp_path, "high"), "--json")
    assert (shape.code, shape.json["answer"], shape.json["exit_code"]) == (3, "", 3)
    assert [finding["name"] for finding in shape.json["findings"]] == ["counting"]


def test_a_budget_that_is_exceeded_names_the_limit(monitor: Monitor) -> None:
    done = run(monitor, "--set", "times=3", "--budget", "calls=2")
    assert (done.code, done.out) == (4, "")
    assert "calls 2 used + 1 needed > 2 allowed" in done.err


def test_a_provider_that_fails(monitor: Monitor, tmp_path: Path) -> None:
    script(tmp_path, "steps: [{error: {kind: auth, status: 401, message: no such key}, times: forever}]\n")
    done = run(monitor)
    assert (done.code, done.out) == (5, "")
    assert "no such key" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere", "x"], "no recipe named 'nowhere'"),
        (["run", "./mine.py:other", "x"], "no function 'other'"),
        (["run", "./mine.py", "x", "--model", "nonsense"], "nonsense"),
        (["run", "./mine.py", "x", "--budget", "calls"], "expected NAME=VALUE"),
        (["run", "./mine.py", "x", "--budget", "calls=many"], "--budget calls: Input should be a valid integer"),
        (["run", "./mine.py", "x", "--policy", "nowhere"], "no policy named 'nowhere'"),
        (["run", "./mine.py", "x", "--policy", "core", "--no-policy"], "contradict"),
        (["run", "./mine.py"], "Missing argument"),
        (["run", "./mine.py", " "], "the task is empty"),
        (["resume", "latest", "--nonsense"], "No such option"),
    ],
)
def test_what_the_user_got_wrong_is_said_in_one_message(monitor: Monitor, arguments: list[str], message: str) -> None:
    done = monitor(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert not Path("monitor.db").exists() or monitor("list", "--json").json["runs"] == []


def test_an_error_nobody_foresaw_is_one_line_and_its_traceback_is_to_be_had(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.settings.find_config", lambda start: start / 0)
    done = run(monitor)
    assert done.code == 1
    assert "error: unexpected TypeError" in done.err
    assert "MONITOR_DEBUG=1" in done.err
    monkeypatch.setenv("MONITOR_DEBUG", "1")
    with pytest.raises(TypeError):
        run(monitor)


def test_resume_of_a_budget_with_more_of_it(monitor: Monitor) -> None:
    """What was answered before is not called again: two calls, then one more."""
    assert run(monitor, "--set", "times=3", "--budget", "calls=2").code == 4
    done = monitor("resume", "latest", "--retry-failed", "--budget", "calls=5", "--json")
    assert (done.code, done.json["answer"], done.json["usage"]["calls"]) == (0, "four four four", 3)


def test_resume_of_what_is_not_there(monitor: Monitor) -> None:
    run(monitor)
    done = monitor("resume", "ffffffff")
    assert (done.code, done.out) == (2, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_cleanly_and_it_can_be_resumed(
    monitor: Monitor, tmp_path: Path, number: signal.Signals
) -> None:
    """The first answer is kept; the second hangs until the signal, and is asked for again by ``resume``."""
    script(tmp_path, FOUR.replace("times: forever", "when: asked 0").rstrip()[:-1] + ", {hang: true}]\n")
    command = [sys.executable, "-m", "monitor", "run", "./mine.py", "asked", "--set", "times=2", "--no-policy"]
    command += ["--model", "scripted:script.yaml"]
    # A shell that runs the tests in the background has them ignore SIGINT, and what they start would inherit that.
    before = {one: signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGHUP)}
    try:
        child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    with child as process:
        assert process.stderr
        said = ""
        for line in process.stderr:
            said += line
            if "started: asked 1" in line:
                break
        process.send_signal(number)
        said += process.stderr.read()
    assert process.returncode == 130
    assert "stopped: cancelled; resume with: monitor resume " in said
    assert "Traceback" not in said
    run_id = said.partition("monitor resume ")[2].split()[0]
    assert monitor("list", "--json").json["runs"][0]["state"] == "cancelled"
    script(tmp_path, FOUR)
    done = monitor("resume", run_id, "--json")
    assert (done.code, done.json["answer"]) == (0, "four four")
    states = [item["state"] for item in monitor("show", run_id, "--json").json["subcalls"]]
    assert states == ["ok", "cancelled", "ok"]
