"""A rule that asks a person: the run waits, is suspended, and goes on in whatever process somebody decides."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import monitor
from monitor.errors import ConfigError, ConflictError
from monitor.models.scripted import Reply, ScriptedModel
from monitor.orchestrate import deciding
from monitor.orchestrate.deciding import decide, make_decision
from monitor.orchestrate.people import StoppableClock
from monitor.pipeline import decided
from monitor.records import Action, Choice, Decision, Limits, Outcome, StoredSubcall, VerdictValue
from monitor.settings import Settings
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.models.base import ModelRequest
    from tests.orchestrate.conftest import Desk

ROOT = Path(__file__).parents[2]


def answers(request: ModelRequest) -> Reply:
    """``danger`` where the task has a 2, else the task."""
    task = request.messages[-1].content
    return Reply(text=f"danger {task}" if "2" in task else f"fine {task}")


@pytest.fixture
def asking(policy: Callable[..., str]) -> str:
    return policy("danger", action="ask_human")


def suspended(desk: Desk, asking: str, recipe: str = "many", **arguments: Any) -> monitor.RunResult:
    result = desk.run(recipe, ScriptedModel(answers), "number", policies=[asking], **arguments)
    assert result.outcome is None
    return result


def again(desk: Desk, run_id: str, **arguments: Any) -> monitor.RunResult:
    return monitor.resume_sync(run_id, model=ScriptedModel(answers), db=desk.db, **arguments)


def settle(desk: Desk, ref: str, choice: str, **arguments: Any) -> StoredSubcall:
    return asyncio.run(decide(ref, choice, why="I looked", by="ann", db=desk.db, **arguments))


def test_a_run_is_suspended_when_nothing_else_of_it_goes_on(desk: Desk, asking: str) -> None:
    result = suspended(desk, asking)
    (waiting,) = result.pending
    states = {subcall.call.task: subcall.state for subcall in desk.subcalls()}
    # The others were not cut off: what had been asked for is there.
    assert states == {f"number {n}": "awaiting_human" if n == 2 else "ok" for n in range(4)}
    assert (result.answer, result.verdict.value) == ("", VerdictValue.BLOCK)
    with Store.open(desk.db) as store:
        assert store.run(result.run_id).state == "awaiting_human"
        (item,) = deciding.pending(store)
        assert item.id == f"{result.run_id}/{waiting}"
        kinds = [event.kind for event in store.events(result.run_id)]
    assert (kinds.count("run_suspended"), kinds.count("run_ended")) == (1, 0)


@pytest.mark.parametrize(
    ("choice", "outcome", "answer"),
    [
        (Choice.APPROVE, Outcome.OK, "fine number 0 fine number 1 danger number 2 fine number 3"),
        (Choice.MODIFY, Outcome.OK, "fine number 0 fine number 1 harmless fine number 3"),
        (Choice.REJECT, Outcome.REJECTED, ""),
        (Choice.TERMINATE, Outcome.REJECTED, ""),
    ],
)
def test_what_is_decided_happens(desk: Desk, asking: str, choice: Choice, outcome: Outcome, answer: str) -> None:
    result = suspended(desk, asking)
    decided = settle(desk, result.pending[0], choice.value, output="harmless" if choice is Choice.MODIFY else None)
    assert decided.decision is not None
    model = ScriptedModel(answers)
    after = monitor.resume_sync(result.run_id, model=model, db=desk.db)
    assert (after.outcome, after.answer) == (outcome, answer)
    assert model.calls == 0  # what was judged is not called again
    assert after.usage == result.usage
    if outcome is Outcome.REJECTED:
        assert after.error is not None
        assert "ann" in after.error.message
        assert "I looked" in after.error.message
    with Store.open(desk.db) as store:
        assert deciding.pending(store) == []
        subcall = store.subcall(result.run_id, result.pending[0])
    assert [(item.choice, item.by, item.why) for item in subcall.decisions] == [(choice, "ann", "I looked")]
    # The trace stays what the model said, and the verdict what the rules said.
    assert subcall.observation is not None
    assert subcall.observation.output == "danger number 2"
    assert after.verdict.value is VerdictValue.BLOCK


@pytest.mark.parametrize("choice", ["reject", "terminate"])
def test_what_waits_beside_the_one_that_ends_the_run_is_closed(desk: Desk, asking: str, choice: str) -> None:
    model = ScriptedModel(lambda request: Reply(text=f"danger {request.messages[-1].content}"))
    result = desk.run("many", model, "number", policies=[asking], options={"count": 3}, concurrency=3)
    first, *others = result.pending
    assert len(others) == 2
    settle(desk, first, choice)
    after = monitor.resume_sync(result.run_id, model=model, db=desk.db)
    assert after.outcome is Outcome.REJECTED
    assert [subcall.state for subcall in desk.subcalls()] == ["rejected"] * 3
    with Store.open(desk.db) as store:
        assert deciding.pending(store) == []
        closed = [store.subcall(result.run_id, span).decisions for span in others]
    why = "the run ended (rejected) before anybody decided"
    assert [[(one.choice, one.by, one.why) for one in some] for some in closed] == [
        [("reject", "the monitor", why)]
    ] * 2
    with pytest.raises(ConflictError, match="was decided already: reject by the monitor"):
        settle(desk, others[0], "approve")
    assert monitor.resume_sync(result.run_id, model=model, db=desk.db).outcome is Outcome.REJECTED


def test_what_an_older_version_left_waiting_in_an_ended_run_is_not_decided(
    desk: Desk, asking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedModel(lambda request: Reply(text=f"danger {request.messages[-1].content}"))
    result = desk.run("many", model, "number", policies=[asking], options={"count": 2})
    first, second = result.pending
    settle(desk, first, "reject")
    with monkeypatch.context() as older:
        older.setattr("monitor.orchestrate.execution.OVER", frozenset())
        monitor.resume_sync(result.run_id, model=model, db=desk.db)
    with pytest.raises(ConflictError, match=r"has ended \(rejected\), and nothing of it waits any more"):
        settle(desk, second, "approve")
    (_, waiting) = sorted(desk.subcalls(), key=lambda subcall: subcall.call.span_id == second)
    assert (waiting.awaits_human, waiting.decisions) == (True, ())


def test_a_decision_at_the_moment_in_which_the_run_ends_counts(
    desk: Desk, asking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedModel(lambda request: Reply(text=f"danger {request.messages[-1].content}"))
    result = desk.run("many", model, "number", policies=[asking], options={"count": 2})
    first, second = result.pending
    settle(desk, first, "reject")
    real = deciding.close

    def late(*arguments: Any) -> Any:
        closing = list(real(*arguments))
        if closing:
            with Store.open(desk.db) as store:
                subcall = store.subcall(result.run_id, second)
                store.append_sync(decided(subcall, make_decision(subcall, "approve", why="quick", by="bob")))
        return closing

    monkeypatch.setattr("monitor.orchestrate.execution.close", late)
    assert monitor.resume_sync(result.run_id, model=model, db=desk.db).outcome is Outcome.REJECTED
    decisions = {subcall.call.span_id: [one.by for one in subcall.decisions] for subcall in desk.subcalls()}
    assert decisions == {first: ["ann"], second: ["bob"]}
    with Store.open(desk.db) as store:
        assert store.run(result.run_id).state == "rejected"


def test_without_a_decision_a_resumed_run_waits_again(desk: Desk, asking: str) -> None:
    result = suspended(desk, asking)
    assert settle(desk, result.pending[0], "escalate").awaits_human
    second = again(desk, result.run_id)
    assert (second.outcome, second.pending, second.usage) == (None, result.pending, result.usage)
    with Store.open(desk.db) as store:
        (item,) = deciding.pending(store)
    assert [decision.choice for decision in item.subcall.decisions] == [Choice.ESCALATE]
    settle(desk, result.pending[0], "approve")
    assert again(desk, result.run_id).outcome is Outcome.OK


def test_whoever_is_at_hand_is_asked_there_and_then(desk: Desk, asking: str) -> None:
    asked = []

    async def ann(subcall: StoredSubcall) -> Decision | None:
        asked.append(subcall.call.task)
        await asyncio.sleep(0)
        return make_decision(subcall, "approve", why="fine by me", by="ann", via="terminal")

    result = desk.run("many", ScriptedModel(answers), "number", policies=[asking], decider=ann)
    assert (result.outcome, asked) == (Outcome.OK, ["number 2"])
    (subcall,) = (subcall for subcall in desk.subcalls() if subcall.decisions)
    assert (subcall.state, subcall.decisions[0].via) == ("ok", "terminal")


def test_somebody_elsewhere_may_be_quicker_than_the_person_at_hand(desk: Desk, asking: str) -> None:
    async def slow(subcall: StoredSubcall) -> Decision | None:
        await decide(subcall.call.span_id, "reject", why="quicker", by="bob", db=desk.db)
        return make_decision(subcall, "approve", why="too late", by="ann")

    result = desk.run("many", ScriptedModel(answers), "number", policies=[asking], decider=slow)
    assert result.outcome is Outcome.REJECTED
    (subcall,) = (subcall for subcall in desk.subcalls() if subcall.decisions)
    assert [decision.by for decision in subcall.decisions] == ["bob"]


def test_a_patient_run_goes_on_by_itself(desk: Desk, asking: str) -> None:
    async def both() -> monitor.RunResult:
        going = asyncio.create_task(
            desk.start(
                "many", ScriptedModel(answers), "number", policies=[asking], patience=60, budget=Limits(seconds=5)
            )
        )
        while True:
            await asyncio.sleep(0.05)
            assert not going.done()
            with Store.open(desk.db) as store:
                if waiting := deciding.pending(store):
                    break
        await decide(waiting[0].id, "approve", why="seen", by="ann", db=desk.db)
        return await going

    assert asyncio.run(both()).outcome is Outcome.OK


def test_waiting_for_people_is_not_the_runs_own_time() -> None:
    now = [100.0]
    clock = StoppableClock(lambda: now[0])
    heard: list[bool] = []
    clock.on_change = heard.append
    assert clock() == 100
    clock.stop()
    now[0] = 5000.0
    clock.stop()
    assert clock() == 100
    clock.go()
    clock.go()
    now[0] = 5001.0
    assert (clock(), heard) == (101.0, [False, True])


def test_a_person_may_take_longer_than_the_run_may(desk: Desk, asking: str) -> None:
    async def slow(subcall: StoredSubcall) -> Decision | None:
        await asyncio.sleep(3.5)  # beyond the run's second and the grace after it
        return make_decision(subcall, "approve", why="at last", by="ann")

    result = desk.run(
        "single", ScriptedModel(answers), "2", policies=[asking], decider=slow, budget=Limits(seconds=1.0)
    )
    assert result.outcome is Outcome.OK
    assert result.seconds < 3


def test_a_decision_must_fit(desk: Desk, asking: str) -> None:
    result = suspended(desk, asking)
    (waiting,) = result.pending
    with pytest.raises(ConfigError, match="needs a reason"):
        asyncio.run(decide(waiting, "approve", why=" ", db=desk.db))
    with pytest.raises(ConfigError, match="`modify` needs the answer"):
        settle(desk, waiting, "modify")
    with pytest.raises(ConfigError, match="nothing else takes one"):
        settle(desk, waiting, "approve", output="x")
    with pytest.raises(ConfigError, match="nobody was asked about"):
        settle(desk, "0" * 16, "approve")
    settle(desk, f"{result.run_id[:6]}/{waiting[:6]}", "approve")
    with pytest.raises(ConflictError, match=r"was decided already: approve by ann at .*: I looked"):
        settle(desk, waiting, "reject")


def test_a_modified_answer_fits_the_schema_of_the_role(desk: Desk, policy: Callable[..., str]) -> None:
    text = '{"reasoning": "because it is so", "answer": "danger"}'
    result = desk.run("answer", ScriptedModel([Reply(text=text)]), policies=[policy("danger", action="ask_human")])
    (waiting,) = result.pending
    with pytest.raises(ConfigError, match="does not fit the role's output schema"):
        settle(desk, waiting, "modify", output='{"answr": "x"}')
    settle(desk, waiting, "modify", output='{"answer": "something else"}')
    after = monitor.resume_sync(result.run_id, model=ScriptedModel([]), db=desk.db)
    assert (after.outcome, after.answer) == (Outcome.OK, "something else")


BROKEN = [Reply(text="danger, and no JSON"), Reply(text='{"reasoning": "because it is so", "answer": "x"}', times=None)]


@pytest.mark.parametrize(
    ("choice", "ended", "says"),
    [
        (
            "approve",
            ("failed", ""),
            "ann approved its answer, but there is none that can be used (malformed_output: ",
        ),
        ("modify", ("ok", "something else"), ""),
        ("reject", ("rejected", ""), "ann rejected the answer"),
    ],
)
def test_a_caught_answer_is_asked_about_if_malformed_too(
    desk: Desk, asking: str, choice: str, ended: tuple[str, str], says: str
) -> None:
    """A model that is caught earns no second try by breaking its JSON."""
    model = ScriptedModel(BROKEN)
    result = desk.run("answer", model, policies=[asking])
    assert (result.outcome, model.calls) == (None, 1)
    settle(desk, result.pending[0], choice, output='{"answer": "something else"}' if choice == "modify" else None)
    after = monitor.resume_sync(result.run_id, model=model, db=desk.db)
    assert (after.outcome, after.answer, model.calls) == (*ended, 1)
    assert says in (after.error.message if after.error else "")
    (subcall,) = desk.subcalls()
    assert subcall.state == ended[0]


def test_a_malformed_answer_that_was_judged_as_failed_before_is_sampled_again_on_resume(
    desk: Desk, asking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that an older version stored goes the way that it would have gone."""
    model = ScriptedModel(BROKEN)
    with monkeypatch.context() as older:
        older.setattr("monitor.actions._is_malformed", lambda _: False)
        result = desk.run("answer", model, policies=[asking], budget=Limits(calls=1))
    assert (result.outcome, model.calls) == (Outcome.BUDGET_EXCEEDED, 1)
    after = monitor.resume_sync(result.run_id, model=model, db=desk.db, budget=Limits(calls=9), retry_failed=True)
    assert (after.outcome, after.answer, model.calls) == (Outcome.OK, "x", 2)


def test_a_question_that_cannot_be_answered_is_still_a_question(desk: Desk, tmp_path: Path) -> None:
    """``on_unknown: ask_human`` asks too: an outage is brought before a person."""
    pack = tmp_path / "unknown.yaml"
    pack.write_text(
        textwrap.dedent("""\
        pack: test
        version: 1.0.0
        description: one rule
        rules:
          - title: Says how much it cost
            id: 7d0b2f5e-93a4-4f0a-9a52-0c3f6b8d7a11
            name: the_cost
            level: low
            on_unknown: ask_human
            detection:
              costly:
                usage.cost|gt: 1
              condition: costly
            tests:
              - record: {usage: {cost: 2}}
                expect: match
        """)
    )
    result = desk.run("single", ScriptedModel(answers, price=None), policies=[str(pack)])
    assert result.outcome is None
    assert result.verdict.outages == ("the_cost",)
    settle(desk, result.pending[0], "approve")
    assert again(desk, result.run_id).outcome is Outcome.OK


PATIENT = """
import asyncio, sys
import monitor
from monitor.models.scripted import ScriptedModel
from tests.orchestrate.test_people import answers
recipe, db, pack = sys.argv[1:]
print("going", flush=True)
asyncio.run(monitor.run(recipe, "number", model=ScriptedModel(answers), db=db, policies=[pack], patience=600))
"""
DECIDING = """
import asyncio, sys
from monitor.errors import ConflictError
from monitor.orchestrate.deciding import decide
ref, db, who = sys.argv[1:]
sys.stdin.readline()
try:
    asyncio.run(decide(ref, "approve", why=f"{who} says so", by=who, db=db))
    print("won")
except ConflictError as exc:
    print(exc)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_a_decision_after_a_kill_in_another_process_continues_the_run(desk: Desk, asking: str) -> None:
    """Must show 5: killed with SIGKILL while it waits; two decide at once in other processes; one wins, and it goes on."""
    recipe = f"{ROOT / 'tests/orchestrate/recipes/office.py'}:many"
    process = start(PATIENT, recipe, desk.db, asking)
    assert process.stdout is not None
    assert process.stdout.readline() == "going\n"
    deadline = time.monotonic() + 120
    waiting: list[deciding.Pending] = []
    while not waiting:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        if not desk.stores_nothing():
            with Store.open(desk.db) as store:
                waiting = deciding.pending(store)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    ref, run_id = waiting[0].id, waiting[0].run.start.run_id
    deciders = [start(DECIDING, ref, desk.db, who) for who in ("ann", "bob")]
    for decider in deciders:
        assert decider.stdin is not None
        decider.stdin.write("go\n")
        decider.stdin.flush()
    told = [decider.communicate(timeout=120)[0].strip() for decider in deciders]
    assert sorted(text == "won" for text in told) == [False, True]
    winner = ("ann", "bob")[told.index("won")]
    (loser,) = (text for text in told if text != "won")
    assert f"was decided already: approve by {winner}" in loser
    model = ScriptedModel(answers)
    after = monitor.resume_sync(run_id, model=model, db=desk.db, settings=Settings(db=desk.db))
    assert (after.outcome, after.answer) == (
        Outcome.OK,
        "fine number 0 fine number 1 danger number 2 fine number 3",
    )
    with Store.open(desk.db) as store:
        events = store.events(run_id)
    assert sum(event.kind == "decided" for event in events) == 1
    assert sum(event.kind == "started" for event in events) == 4 + model.calls


def test_a_question_to_a_halted_run_is_not_asked(desk: Desk, policy: Callable[..., str]) -> None:
    packs = [policy("danger", action="ask_human")]
    halting = Path(policy("danger", action="halt"))
    text = halting.read_text()
    for old, new in (("the_word", "the_halt"), ("7a11", "7a12"), ("pack: test", "pack: two"), ("The word", "Halts at")):
        text = text.replace(old, new)
    halting.write_text(text)
    result = desk.run("single", ScriptedModel(answers), "2", policies=[*packs, str(halting)])
    assert result.outcome is Outcome.BLOCKED
    (subcall,) = desk.subcalls()
    assert subcall.judgement is not None
    assert (subcall.judgement.action, subcall.state) == (Action.HALT, "blocked")
