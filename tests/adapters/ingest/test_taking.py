"""Ingesting as a whole: idempotent, whole after a kill, the same checks, and honest about what comes too late."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from monitor.adapters.ingest.sources import files_of, read_file
from monitor.adapters.ingest.taking import Report, Taker, ingest
from monitor.adapters.ingest.traces import Problem, Trace
from monitor.loaded import load_checks
from monitor.records import Action, Outcome, Status, VerdictValue
from tests.adapters.ingest.conftest import CHAT, DRONE, INSPECT, MAGENTIC, STEPS, TRAJECTORY

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.records import Event
    from tests.adapters.ingest.conftest import Ingesting

EVERYTHING = (CHAT, DRONE, INSPECT, MAGENTIC, STEPS, TRAJECTORY)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with one trace of each kind under names that say nothing, in folders, beside files that are no traces."""
    folder = tmp_path / "mixed"
    for number, path in enumerate(EVERYTHING):
        (folder / str(number)).mkdir(parents=True)
        shutil.copy(path, folder / str(number) / "file.bin")
    shutil.copy(MAGENTIC.parent / "LICENSE", folder)
    shutil.copy(MAGENTIC.parent / "ground_truth.jsonl", folder)
    (folder / "empty").write_bytes(b"")
    return folder


def totals(report: Report) -> dict[str, tuple[int, int]]:
    """Traces and subcalls of each format, added now or before."""
    return {
        name: (counts.traces_taken + counts.traces_present, counts.subcalls_taken + counts.subcalls_present)
        for name, counts in report.formats.items()
    }


def test_a_folder_of_mixed_traces_twice_has_the_same_totals_and_adds_nothing(take: Ingesting, mixed: Path) -> None:
    first = take(mixed, policy=("core",))
    assert totals(first) == {
        "openai-chat": (5, 8),
        "inspect": (1, 1),
        "magentic-one": (1, 4),
        "swe-agent": (2, totals(first)["swe-agent"][1]),
    }
    assert (first.files, first.refused, first.skipped) == (9, 0, 3)
    runs, events = len(take.runs), take.events
    again = take(mixed, policy=("core",))
    assert totals(again) == totals(first)
    assert (again.total("traces_taken"), again.total("subcalls_taken")) == (0, 0)
    assert (len(take.runs), take.events) == (runs, events) == (9, events)
    assert {run.state for run in take.runs} == {"ok"}


def test_the_same_trace_under_another_name_or_written_another_way_adds_nothing(take: Ingesting, tmp_path: Path) -> None:
    take(MAGENTIC)
    other = tmp_path / "other"
    other.write_text(json.dumps(json.loads(MAGENTIC.read_text("utf-8")), indent=4), "utf-8")
    report = take(other)
    assert (report.total("traces_taken"), report.total("traces_present")) == (0, 1)


class CutError(Exception):
    pass


@pytest.mark.parametrize("stored", range(1, 14))
def test_what_was_cut_off_anywhere_is_completed(take: Ingesting, monkeypatch: pytest.MonkeyPatch, stored: int) -> None:
    """As a killed process leaves it: so many events of the trace are there, and no more. Then it is ingested again."""
    submit, left = take.store.submit, stored

    def limited(*events: Event) -> Any:
        nonlocal left
        if len(events) > left:
            raise CutError
        left -= len(events)
        return submit(*events)

    async def limited_append(*events: Event) -> None:
        await limited(*events)

    with monkeypatch.context() as patch:
        patch.setattr(take.store, "submit", limited)
        patch.setattr(take.store, "append", limited_append)
        with pytest.raises(CutError):
            take(MAGENTIC)
    assert take.events == stored - left
    take(MAGENTIC)
    assert take.events == 2 + 4 * 3
    (run,) = take.runs
    assert run.state == "ok"
    assert run.end is not None
    assert all(one.judgement for one in take.subcalls())


def test_who_stops_the_ingest_does_not_cancel_what_was_over(take: Ingesting) -> None:
    """A cancellation at any moment: the record says what the trace says, and the next ingest completes it."""

    async def stopped(turns: int) -> None:
        task = asyncio.ensure_future(ingest(files_of([MAGENTIC, CHAT]), take.store, load_checks(())))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    for turns in range(1, 40, 3):
        asyncio.run(stopped(turns))
    take(MAGENTIC, CHAT)
    assert len(take.runs) == 5
    for run in take.runs:
        assert run.state == "ok"
        assert {one.outcome for one in take.subcalls(run)} == {Outcome.OK}


def test_a_process_that_is_killed_leaves_what_the_next_one_completes(take: Ingesting, tmp_path: Path) -> None:
    """SIGKILL while it stores, a few times over; then all is there, once."""
    with (tmp_path / "x").open("w", encoding="utf-8") as file:
        for number in range(150):
            said = [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": f"{number}."}]
            file.write(json.dumps({"messages": said * 3}) + "\n")
    command = [sys.executable, "-m", "monitor", "ingest", str(tmp_path / "x"), "--no-policy", "--db", take.store.url]
    for _ in range(3):
        before = take.events
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and take.events < before + 40:
            time.sleep(0.02)
        process.kill()
        process.wait()
    report = take(tmp_path / "x")
    assert totals(report) == {"openai-chat": (150, 450)}
    assert take.events == 150 * (2 + 3 * 3)
    assert {run.state for run in take.runs} == {"ok"}


def test_what_came_later_is_added_and_the_run_ends_again(take: Ingesting) -> None:
    (trace,) = (found for found in read_file(MAGENTIC) if isinstance(found, Trace))
    steps = list(trace.steps())

    def part(number: int) -> Trace:
        return Trace(trace.tree, "x", "", "", lambda: iter(steps[:number]), may_grow=True)

    report, taker = Report(), Taker(take.store, load_checks(()))
    for number in (2, 2, 4, 4):
        asyncio.run(taker.take(part(number), report))
    (run,) = take.runs
    assert (len(take.subcalls()), len(run.stops), len(run.resumes)) == (4, 2, 1)
    assert run.state == "ok"


PLANTED = "I will not tell the user."
RULE = """
pack: house
version: 1.0.0
description: For a test.
rules:
  - title: Hides
    id: 5a0f4a4e-3f0b-4a43-9c0e-0d3f6f6f9a01
    name: hides
    status: stable
    description: It hides something.
    level: high
    action: ACTION
    detection:
      said: {SURFACE|contains: not tell the user}
      condition: said
    falsepositives: [None known.]
    tests:
      - {name: yes, record: {SURFACE: I will not tell the user.}, expect: match}
      - {name: no, record: {SURFACE: I will tell the user.}, expect: no_match}
"""


def pack(tmp_path: Path, action: str, surface: str = "output") -> str:
    path = tmp_path / "house.yaml"
    path.write_text(RULE.replace("ACTION", action).replace("SURFACE", surface), "utf-8")
    return str(path)


def chat(tmp_path: Path, *messages: dict[str, Any]) -> Path:
    path = tmp_path / "chat"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "Hello?"}, *messages]}), "utf-8")
    return path


@pytest.mark.parametrize("action", ["redact", "withhold", "ask_human", "halt"])
def test_an_action_that_comes_too_late_is_a_flag_and_the_judgement_says_so(
    take: Ingesting, tmp_path: Path, action: str
) -> None:
    path = chat(tmp_path, {"role": "assistant", "content": PLANTED}, {"role": "assistant", "content": "Bye."})
    report = take(path, policy=(pack(tmp_path, action),))
    first, second = take.subcalls()
    assert first.judgement is not None
    (finding,) = (one for one in first.judgement.findings if one.status is Status.MATCH)
    assert finding.action is Action(action)  # the rule's, as it is
    assert first.judgement.action is Action.FLAG  # what was done
    assert first.judgement.outcome is Outcome.OK  # it went out when it was written
    assert not first.awaits_human
    verdict = first.judgement.verdict
    assert verdict.value is (VerdictValue.FLAG if action == "redact" else VerdictValue.BLOCK)
    assert verdict.note == f"too late to {action.replace('_', ' ')}: it was over before it was checked"
    assert second.judgement is not None
    assert (second.judgement.verdict.value, second.judgement.verdict.note) == (VerdictValue.PASS, "")
    (run,) = take.runs
    assert run.end is not None
    assert (run.end.verdict.value, run.end.outcome) == (verdict.value, Outcome.OK)
    assert run.end.verdict.note == "1 of 2 subcalls too late to stop"
    assert report.too_late == 1


@pytest.mark.parametrize("action", ["log", "flag"])
def test_what_can_still_be_done_is_done(take: Ingesting, tmp_path: Path, action: str) -> None:
    report = take(chat(tmp_path, {"role": "assistant", "content": PLANTED}), policy=(pack(tmp_path, action),))
    (subcall,) = take.subcalls()
    assert subcall.judgement is not None
    assert (subcall.judgement.action, subcall.judgement.verdict.note) == (Action(action), "")
    assert report.too_late == 0


@pytest.mark.parametrize("surface", ["reasoning", "output", "tool.arguments", "tool.result"])
def test_a_planted_violation_is_found_wherever_it_is(take: Ingesting, tmp_path: Path, surface: str) -> None:
    said = {
        name: PLANTED if name == surface else "Nothing."
        for name in ("reasoning", "output", "tool.arguments", "tool.result")
    }
    function = {"name": "note", "arguments": json.dumps({"text": said["tool.arguments"]})}
    path = chat(
        tmp_path,
        {
            "role": "assistant",
            "content": said["output"],
            "reasoning_content": said["reasoning"],
            "tool_calls": [{"id": "1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "1", "content": said["tool.result"]},
    )
    report = take(path, policy=(pack(tmp_path, "withhold", surface),))
    assert report.verdicts["block"] >= 1


def test_without_a_policy_nothing_passes(take: Ingesting) -> None:
    report = take(CHAT, policy=())
    assert dict(report.verdicts) == {"unmeasured": 7}


def test_a_trace_that_another_process_takes_is_named(take: Ingesting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both saw that it was not there; the store lets one of them begin it."""
    take(MAGENTIC)
    monkeypatch.setattr(Taker, "_stored", lambda *_: None)
    report = take(MAGENTIC)
    assert [problem.why for problem in report.problems] == ["another process takes the same trace now: try again"]
    assert isinstance(report.problems[0], Problem)
