"""A store with every kind of event, a key, and a checkpoint that is kept elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from monitor.audit.integrity.checkpoints import make
from monitor.audit.integrity.notes import Signer
from monitor.records import (
    ErrorInfo,
    Finding,
    Message,
    Outcome,
    QueuedReview,
    Reasoning,
    ReasoningState,
    Status,
    TokenEvidence,
    ToolCall,
    Verdict,
    VerdictValue,
)
from monitor.records import Event as StoredAs
from monitor.store import Store
from tests.store.events import asking, decided, judged, observed, released, reviewed, run_ended, run_started, started

if TYPE_CHECKING:
    from collections.abc import Callable

ORIGIN = "test.example/log"


@dataclass(frozen=True)
class Sealed:
    """A store at ``url``; ``note`` is a checkpoint over all of it, kept outside."""

    url: str
    signer: Signer
    note: str


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer.generate(ORIGIN)


@pytest.fixture
def store_url(new_database: Callable[[], str]) -> str:
    url = new_database()
    Store.open(url).close()
    return url


def fill(store: Store, *, runs: int = 3) -> list[str]:
    """Runs with histories, tools, reasoning, tokens, findings, decisions, reviews, parts of streams; returns their ids."""
    ids = []
    for number in range(runs):
        run = run_started(task=f"the task of run {number}", options='{"concurrency": 1, "options": {}}')
        store.append_sync(run)
        ids.append(run.run_id)
        history = [Message(role="system", content="You are careful and you say why.")]
        for step in range(3):
            history.append(Message(role="user", content=f"question {number}.{step}: what now?"))
            call = started(run.run_id, task=f"question {number}.{step}", messages=tuple(history), parent_id=run.span_id)
            seen = observed(
                call,
                output=f"answer {number}.{step}: forty-two",
                raw=f"<think>thought {number}.{step}</think>answer {number}.{step}: forty-two",
                reasoning=Reasoning(state=ReasoningState.PLAIN, text=f"thought {number}.{step}", source="think_tag"),
                tool_calls=(ToolCall(id="1", name="look", arguments=f'{{"at": "place {number}.{step}"}}'),),
                tokens=TokenEvidence(
                    prompt_ids=(1, 2, step), output_ids=(3, 4, number), logprobs=(-0.5, -0.25, -0.125)
                ),
            )
            parts = (
                released(call, reasoning=f"thought {number}.{step}", output=""),
                released(call, after=1, output=f"answer {number}.{step}", reasoning_start=11),
            )
            history.append(Message(role="assistant", content=f"answer {number}.{step}: forty-two"))
            if step == 2:
                store.append_sync(call, seen, asking(call), decided(call, why=f"because of {number}", by="ann"))
            else:
                store.append_sync(
                    call,
                    *(parts if step else ()),
                    seen,
                    checked(call),
                    reviewed(call, why=f"it is right {number}", by="bob"),
                )
        failed = started(run.run_id, task="to fail", parent_id=run.span_id)
        store.append_sync(
            failed,
            observed(failed, outcome=Outcome.FAILED, output="", error=ErrorInfo(kind="tool", message=f"no {number}")),
            judged(failed, outcome=Outcome.FAILED, verdict=Verdict(value=VerdictValue.UNMEASURED)),
        )
        queued = QueuedReview(span=failed.span_id, why=f"look at {number}", score=0.5)
        store.append_sync(
            StoredAs.of(run.run_id, run.span_id, queued), run_ended(run, answer=f"the answer of run {number}")
        )
    store.sequence()
    return ids


def checked(call: StoredAs) -> StoredAs:
    def finding(name: str, status: Status) -> Finding:
        return Finding(check="rule", name=name, status=status, rule_id=f"id-{name}", rule_hash=f"h-{name}", pack="p")

    found = (
        finding("reads_output", Status.NO_MATCH),
        finding("reads_reasoning", Status.UNKNOWN),
        finding("no_tools", Status.NOT_APPLICABLE),
    )
    return judged(call, findings=found, verdict=Verdict(value=VerdictValue.PASS, applicable=1))


@pytest.fixture
def sealed(new_database: Callable[[], str], signer: Signer) -> Sealed:
    """A store that is filled, closed, and under a checkpoint."""
    url = new_database()
    with Store.open(url) as store:
        fill(store)
        note = make(store, signer).note
    return Sealed(url, signer, note)
