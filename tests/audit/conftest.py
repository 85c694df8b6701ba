"""Traces that went through the real door: stored, checked by real rules and judged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from monitor import policy
from monitor.audit.reviews import event_of, make_review
from monitor.checks import AccountingCheck, PolicyCheck
from monitor.loaded import LoadedChecks
from monitor.pipeline import Pipeline
from monitor.records import (
    Call,
    Event,
    Message,
    Observation,
    Outcome,
    Reasoning,
    ReasoningState,
    RunEnd,
    RunStart,
    Verdict,
    VerdictValue,
    new_run_id,
    new_span_id,
    now,
)
from monitor.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from monitor.policy import PolicySet
    from monitor.records import StoredSubcall

RULE = """
  - title: {title}
    id: {id}
    name: {name}
    level: {level}
    action: {action}
    detection:
      clause: {{{clause}}}
      condition: clause
    tests:
      - record: {{reasoning: x}}
        expect: no_match
"""


def rule(number: int, clause: str, *, level: str = "medium", action: str = "flag") -> str:
    """The YAML of a rule ``rule_NUMBER``."""
    uuid = f"2c0fb6a1-6d0e-4a55-9f2b-{number:012d}"
    return RULE.format(
        title=f"Rule {number}", id=uuid, name=f"rule_{number}", level=level, action=action, clause=clause
    )


class Desk:
    """A store, and runs in it."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self._folder = folder
        self._packs = 0

    def rules(self, *rules: str) -> PolicySet:
        """Load a pack of these rules."""
        self._packs += 1
        path = self._folder / f"pack{self._packs}.yaml"
        head = f"pack: pack{self._packs}\nversion: 1.0.0\ndescription: x\nrules:\n"
        path.write_text(head + "".join(rules), encoding="utf-8")
        return policy.load([path])

    def run(self, recipe: str = "answer", run_id: str | None = None) -> str:
        """Start a run; returns its id."""
        run_id, span_id = run_id or new_run_id(), new_span_id()
        start = RunStart(run_id=run_id, span_id=span_id, recipe=recipe, task="t", model="m", at=now())
        self.store.append_sync(Event.of(run_id, span_id, start))
        return run_id

    def end(self, run_id: str) -> None:
        """End a run."""
        end = RunEnd(outcome=Outcome.OK, verdict=Verdict(value=VerdictValue.PASS), at=now())
        self.store.append_sync(Event.of(run_id, self.store.run(run_id).start.span_id, end))

    def think(self, run_id: str, reasoning: str, rules: PolicySet | None = None, **fields: Any) -> StoredSubcall:
        """Take a subcall that thinks this through the door, checked by ``rules``."""
        seen = {"output": "an answer", "reasoning": Reasoning(state=ReasoningState.PLAIN, text=reasoning)}
        seen |= fields.pop("seen", {})
        call = Call(
            **{
                "run_id": run_id,
                "span_id": new_span_id(),
                "key": "k",
                "role": "clerk",
                "task": "do it",
                "messages": (Message(role="user", content="do it"),),
                "at": now(),
                **fields,
            }
        )
        loaded = LoadedChecks(((PolicyCheck(rules),) if rules else ()) + (AccountingCheck(),))

        async def work() -> Observation:
            return Observation(**{"outcome": Outcome.OK, "at": now(), **seen})

        return asyncio.run(Pipeline(self.store, loaded).observe(call, work))

    def label(self, subcall: StoredSubcall, name: str, label: str, *, by: str = "ann", why: str = "I looked") -> None:
        """Label what a rule said of it when it was recorded."""
        assert subcall.judgement
        (finding,) = (finding for finding in subcall.judgement.findings if finding.name == name)
        review = make_review(subcall.call.span_id, finding, label, why=why, by=by)
        self.store.append_sync(event_of(subcall.call.run_id, review))


@pytest.fixture
def desk(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Desk]:
    with Store.open(new_database()) as store:
        yield Desk(store, tmp_path)
