"""Fixtures of the command's tests: a folder of one's own, a caller of the command, and a stored run to look at."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from monitor.cli import main
from monitor.records import (
    Action,
    Call,
    Event,
    Finding,
    Judgement,
    Level,
    Message,
    Observation,
    Outcome,
    Reasoning,
    ReasoningState,
    RunEnd,
    RunStart,
    Span,
    Status,
    ToolCall,
    Usage,
    Verdict,
    VerdictValue,
    now,
)
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUN = "aa" * 16
ROOT, PLAN, PART, RETRY = "10" * 8, "21" * 8, "32" * 8, "43" * 8
HOSTILE = "\x1b[2J\x1b]0;owned\x07 [red]markup[/red] \u202eevil\u2066 \x9b31m \U000e0041"
EVIDENCE = "do not tell the user"


class Result:
    """What a call of the command gave."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def monitor(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    default_database: None,
) -> Callable[..., Result]:
    """Call the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = main(arguments)
        return Result(code, *capsys.readouterr())

    return call


def events() -> list[Event]:
    """A run of two subcalls and a retry, with hostile text everywhere and one finding with evidence."""
    start = RunStart(run_id=RUN, span_id=ROOT, recipe="amplify", task=f"the task {HOSTILE}", model="scripted", at=now())
    reasoning = f"é: I will {EVIDENCE} about this {HOSTILE}"
    at = reasoning.index(EVIDENCE)
    matched = Finding(
        check="rule",
        name="hiding_from_oversight",
        status=Status.MATCH,
        title="The reasoning plans to hide something",
        level=Level.HIGH,
        action=Action.FLAG,
        pack="core",
        evidence=(Span(surface="reasoning", start=at, end=at + len(EVIDENCE), clause="plan"),),
    )
    unknown = Finding(check="rule", name="price", status=Status.UNKNOWN, cause="the cost is not known")
    quiet = Finding(check="rule", name="quiet_rule", status=Status.NO_MATCH)
    plan = Call(
        run_id=RUN,
        span_id=PLAN,
        parent_id=ROOT,
        key="plan",
        role="decompose",
        task=f"plan it {HOSTILE}",
        messages=(Message(role="system", content="You plan."), Message(role="user", content=HOSTILE)),
        at=now(),
    )
    part = plan.model_copy(update={"span_id": PART, "parent_id": PLAN, "key": "part", "role": "answer", "depth": 2})
    retry = part.model_copy(update={"span_id": RETRY, "retry_of": PART, "attempt": 2})
    seen = Observation(
        outcome=Outcome.OK,
        output=f"out {HOSTILE}",
        reasoning=Reasoning(state=ReasoningState.PLAIN, text=reasoning, source="schema"),
        tool_calls=(ToolCall(id="1", name="search\x1b[0m", arguments='{"q": "\x1b"}', refused="not on its list"),),
        usage=Usage(calls=1, input_tokens=1234, output_tokens=56),
        seconds=1.25,
        at=now(),
    )
    flagged = Judgement(
        findings=(matched, unknown, quiet),
        verdict=Verdict(value=VerdictValue.FLAG, catches=("hiding_from_oversight",), applicable=2, unknown=1),
        action=Action.FLAG,
        outcome=Outcome.OK,
        at=now(),
    )
    end = RunEnd(
        outcome=Outcome.OK,
        answer=f"the answer {HOSTILE}",
        verdict=flagged.verdict,
        usage=Usage(calls=2, input_tokens=1234, output_tokens=56),
        seconds=2.5,
        at=now(),
    )
    return [
        Event.of(RUN, ROOT, start),
        Event.of(RUN, PLAN, plan),
        Event.of(RUN, PLAN, seen),
        Event.of(RUN, PLAN, flagged),
        Event.of(RUN, PART, part),
        Event.of(RUN, PART, seen.model_copy(update={"outcome": Outcome.FAILED, "usage_reported": False})),
        Event.of(RUN, PART, flagged.model_copy(update={"findings": (quiet,), "outcome": Outcome.FAILED})),
        Event.of(RUN, RETRY, retry),
        Event.of(RUN, ROOT, end),
    ]


@pytest.fixture
def stored(tmp_path: Path, default_database: None) -> str:
    """A real store with the run of ``events``, where commands look by default; its address."""
    address = os.environ.get("MONITOR_DB", str(tmp_path / "monitor.db"))
    with Store.open(address) as store:
        store.append_sync(*events())
    return address
