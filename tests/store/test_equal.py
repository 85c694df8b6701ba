"""The same workload on SQLite and on PostgreSQL ends in the same events, answers, errors and views, byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.errors import MonitorError
from monitor.records import (
    Action,
    Call,
    Choice,
    Decision,
    ErrorInfo,
    Event,
    Exceeded,
    Finding,
    Judgement,
    Label,
    Limits,
    Message,
    Observation,
    Outcome,
    Payload,
    ProbeScore,
    QueuedReview,
    Reasoning,
    ReasoningState,
    Released,
    Review,
    RuleRef,
    RunEnd,
    RunResume,
    RunStart,
    RunSuspend,
    Span,
    Status,
    TokenScores,
    ToolCall,
    Usage,
    Verdict,
    VerdictValue,
)
from monitor.store import Store, Wanted
from monitor.store import ledger as shared
from monitor.store.postgres import ledger as theirs
from tests.store.databases import Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import Server

VIEWS = {
    "runs": "run_id",
    "subcalls": "run_id, span_id",
    "releases": "leaf_index",
    "findings": "run_id, span_id, finding",
    "decisions": "run_id, span_id, seq",
    "review_queue": "leaf_index",
    "reviews": "leaf_index",
    "probe_scores": "leaf_index, probe",
    "leaves": "leaf_index",
    "messages": "run_id, span_id, place",
    "tool_calls": "run_id, span_id, place",
    "verdicts": "run_id, span_id",
    "budgets": "run_id, span_id, owner, limit_name",
    "run_rules": "run_id, seq, pack, name, rule_id",
}
OF_RUNS = ("suspend", "resume", "end", "queue")
WRONG = ("observe", "judge", "decide", "again", "stray")  # more often than not
KINDS = ("run", *["start"] * 4, *["next"] * 12, *["release"] * 3, *["review"] * 3, *OF_RUNS, *WRONG)

_SCORES = (
    ProbeScore(
        probe="first",
        score=-0.0,
        fpr=1 / 3,
        mode="reader",
        surface="reasoning",
        threshold=2,
        rate=0.05,
        unread=7,
        evidence=(Span(surface="reasoning", start=0, end=1),),
        tokens=TokenScores(surface="reasoning", starts=(0,), ends=(1,), scores=(-0.0,)),
    ),
    ProbeScore(probe="second", applies=False, cause="there is no output"),
)

_RULES = (
    RuleRef(name="r", rule_id="i", rule_hash="h", pack="p", pack_version="1"),
    RuleRef(name="s", rule_id="j", rule_hash="h", pack="p", overridden_by="o"),
)
_EXCEEDED = (
    Exceeded(owner="run", limit="calls", allowed=1, used=1, needed=1),
    Exceeded(owner="branch", limit="cost", allowed=0.5, used=0.25, needed=0.5),
)

hostile = st.sampled_from(
    [
        *["", "why?", "a\0b", "\ud800", "␛241b", "\u202eevil", '"\\\n\x1f\u2028', "'; DROP TABLE events; --"],
        *["%s ? :x $1", "\\.", "\U0001f3f3\ufe0f\u200d\U0001f308"],
    ]
) | st.text(st.characters(codec=None, exclude_categories=()), max_size=6)
numbers = st.sampled_from([0, 7, 2**53 + 1, 2**63, 2**70])
reals = st.sampled_from([0.0, -0.0, 0.1, 1.5, 1e-7, 1e300, math.inf, math.nan])


@dataclass(frozen=True)
class Step:
    """One event to be, its ids chosen by number among those that there are by then."""

    kind: str
    which: int
    text: str
    number: int
    real: float
    after: int | None


steps = st.builds(
    Step,
    kind=st.sampled_from(KINDS),
    which=st.integers(0, 5),
    text=hostile,
    number=numbers,
    real=reals,
    after=st.sampled_from([None, None, None, None, 0, 1, 2, 3]),
)
workloads = st.lists(
    st.tuples(st.sampled_from(["alone", "together", "at once"]), st.lists(steps, min_size=1, max_size=4)),
    min_size=6,
    max_size=20,
)


class Script:
    """Makes the events of a workload; the same ones every time."""

    def __init__(self) -> None:
        self.runs: list[Event] = []
        self.calls: list[Event] = []
        self.taken: dict[str, int] = {}
        self.reviews = 0
        self.last: Event | None = None
        self.clock = 0

    def at(self) -> str:
        self.clock += 1
        return f"2026-11-22T10:{self.clock // 60:02}:{self.clock % 60:02}.000000Z"

    def event(self, step: Step) -> Event:
        """The next event; what it follows from may be missing, or too late: then the store refuses it."""
        made = self._make(step)
        self.last = made
        return made

    def _make(self, step: Step) -> Event:
        if step.kind == "again" and self.last:
            return self.last
        if step.kind == "run" or not self.runs:
            return self._run(step)
        run = self.runs[step.which % len(self.runs)]
        if step.kind == "stray":
            return Event.of("f" * 32, run.span_id, RunResume(at=self.at()))
        of_run: dict[str, RunSuspend | RunResume | QueuedReview | RunEnd] = {
            "suspend": RunSuspend(pending=(), verdict=Verdict(value=VerdictValue.BLOCK), seconds=step.real, at="x"),
            "resume": RunResume(host=step.text, at="x"),
            "queue": QueuedReview(span="ab" * 8, why=step.text, score=step.real, at="x"),
            "end": RunEnd(
                outcome=Outcome.OK,
                answer=step.text,
                verdict=Verdict(value=VerdictValue.PASS),
                usage=Usage(calls=3, input_tokens=step.number, cost=step.real),
                seconds=step.real,
                at="x",
            ),
        }
        if step.kind in of_run:
            payload = of_run[step.kind].model_copy(update={"at": self.at()})
            return Event.of(run.run_id, run.span_id, payload, after=step.after)
        if step.kind == "start" or not self.calls:
            return self._call(run, step)
        call = self.calls[step.which % len(self.calls)]
        if step.kind == "review":
            return self._review(call, step)
        if step.kind == "next":
            return self._next(call, step)
        if step.kind == "release":
            thought = step.text if step.number else ""
            part = Released(output=step.text, reasoning=thought, output_start=step.which, at=self.at())
            return Event.of(call.run_id, call.span_id, part, after=step.after)
        return Event.of(call.run_id, call.span_id, self._later(step), after=step.after)

    def _next(self, call: Event, step: Step) -> Event:
        """The step that the subcall waits for, if nothing else came in between."""
        place = self.taken[call.span_id] = self.taken.get(call.span_id, 0) + 1
        kind = "observe" if place == 1 else "decide" if place > 2 else "judge" if step.number else "ask"
        later = self._later(replace(step, kind=kind))
        return Event.of(call.run_id, call.span_id, later, after=place - 1 if place > 2 else None)

    def _review(self, call: Event, step: Step) -> Event:
        """What one of two people says of a subcall; refused where it is not judged yet."""
        self.reviews += 1
        review = Review(
            span=call.span_id,
            check="rule",
            name="quiet" if step.number else "r",
            rule_hash=f"{step.which % 2}",
            status=Status.NO_MATCH if step.number else Status.MATCH,
            label=list(Label)[step.which % 3],
            recorded=step.after is None,
            why=step.text,
            by=step.text if step.real else "ann",
            at=self.at(),
        )
        return Event.of(call.run_id, f"{self.reviews + 4096:016x}", review)

    def _run(self, step: Step) -> Event:
        run_id, span_id = f"{len(self.runs) + 1:04x}" * 8, f"{len(self.runs) + 1:016x}"
        start = RunStart(
            run_id=run_id, span_id=span_id, recipe="r", task=step.text, model=step.text,
            limits=Limits(calls=step.number, cost=step.number * 0.5), rules=_RULES[: step.which], at=self.at(),
        )  # fmt: skip
        self.runs.append(Event.of(run_id, span_id, start))
        return self.runs[-1]

    def _call(self, run: Event, step: Step) -> Event:
        span_id = f"{len(self.calls) + 256:016x}"
        history = tuple(Message(role="user", content=f"{step.text}{place}") for place in range(step.which))
        call = Call(
            run_id=run.run_id, span_id=span_id, key=step.text, role="answer", task=step.text, messages=history,
            depth=step.which, at=self.at(),
            budget_left=Limits(input_tokens=step.number), reserved=Usage(input_tokens=step.number, cost=step.real),
        )  # fmt: skip
        self.calls.append(Event.of(run.run_id, span_id, call))
        return self.calls[-1]

    def _later(self, step: Step) -> Payload:
        if step.kind == "observe":
            return Observation(
                outcome=Outcome.FAILED if step.which == 5 else Outcome.OK,
                output=step.text,
                reasoning=Reasoning(state=ReasoningState.PLAIN, text=step.text * 2),
                usage=Usage(calls=1, input_tokens=step.number, output_tokens=2, cost=step.real),
                error=ErrorInfo(kind="k", message=step.text) if step.which == 5 else None,
                tool_calls=tuple(
                    ToolCall(id="1", name=step.text, arguments=f"{step.text}{place}", refused=None if place else "no")
                    for place in range(step.which)
                ),
                exceeded=_EXCEEDED[: step.which],
                seconds=step.real,
                at=self.at(),
            )
        if step.kind == "decide":
            choice = list(Choice)[step.which % len(Choice)]
            return Decision(choice=choice, why=step.text, by="ann", output=step.text, at=self.at())
        asks = step.kind == "ask"
        evidence = (Span(surface="reasoning", start=0, end=step.number, clause=step.text),)
        found = Finding(check="rule", name="r", status=Status.MATCH, title=step.text, evidence=evidence)
        value = VerdictValue.BLOCK if asks else VerdictValue.PASS
        return Judgement(
            findings=(found, Finding(check="rule", name="quiet", status=Status.NO_MATCH))[: step.which],
            verdict=Verdict(value=value, applicable=1, catches=("r", 'q"')[: step.which], outages=("r",), note="n"),
            action=Action.ASK_HUMAN if asks else Action.LOG,
            outcome=Outcome.BLOCKED if asks else Outcome.OK,
            probes=_SCORES[: step.which],
            at=self.at(),
        )


def outcome(failure: BaseException | None, store: Store) -> str:
    """How an append went, the database's own name aside."""
    return "" if failure is None else f"{type(failure).__name__}: {str(failure).replace(store.url, 'DB')}"


def play(stores: list[Store], workload: Any) -> list[str]:
    """Append the workload's events in turn by several writers; return how each append went."""
    script = Script()
    outcomes: list[str] = []
    for number, (how, some) in enumerate(workload):
        store = stores[number % len(stores)]
        events = [script.event(step) for step in some]
        if how == "at once":
            outcomes += [outcome(failure, store) for failure in asyncio.run(at_once(store, events))]
            continue
        for group in [events] if how == "together" else [[event] for event in events]:
            try:
                store.append_sync(*group)
            except MonitorError as failure:
                outcomes.append(outcome(failure, store))
            else:
                outcomes.append("")
    return outcomes


async def at_once(store: Store, events: list[Event]) -> list[BaseException | None]:
    return await asyncio.gather(*(store.append(event) for event in events), return_exceptions=True)


def answers(store: Store) -> Iterator[str]:
    """What every reading method says, in a form in which NaN equals NaN."""
    runs = store.runs()
    yield repr(runs)
    yield repr(store.runs(limit=2))
    yield repr(store.asked())
    yield repr(store.asked(settled=True))
    yield repr(store.reviews())
    told: list[tuple[int, int]] = []
    yield repr(list(store.scan(progress=lambda done, total: told.append((done, total)))))
    yield repr(told[-1:])
    yield repr(
        list(store.scan(Wanted(roles=frozenset({"answer"}), recipes=frozenset({"r"}), since="2026-11-22T10:00:05")))
    )
    for run in runs:
        run_id = run.start.run_id
        yield repr(store.events(run_id))
        yield repr(store.reviews(run_id))
        yield repr(list(store.scan(Wanted(run_id=run_id))))
        yield repr(store.run(run_id.upper()[:5]))
        for subcall in store.subcalls(run_id):
            yield repr(store.subcall(run_id, subcall.call.span_id))
    for prefix in ("0001", "00", "ffff", "0000000000000100", "000000000000010", "'; --", "%%%%"):
        for ask in (store.run, store.subcalls, store.events, store.find_subcall):
            try:
                yield repr(ask(prefix))
            except MonitorError as failure:
                yield outcome(failure, store)


def plain(column: str, value: object) -> object:
    """A value of a view in a form that is the same for both: PostgreSQL has numbers where SQLite has their escapes."""
    if isinstance(value, str) and value.startswith(('{"$int"', '{"$float"')):
        ((mark, digits),) = json.loads(value).items()
        value = int(digits) if mark == "$int" else float(digits)
    if isinstance(value, Decimal):
        value = int(value)
    if isinstance(value, (int, float)):
        return f"{float(value) + 0.0:.3g}" if column == "waited_seconds" else repr(float(value) + 0.0)
    return value


def shown(address: str) -> dict[str, list[list[object]]]:
    with Database(address) as database:
        found: dict[str, list[list[object]]] = {}
        for view, order in VIEWS.items():
            columns, rows = database.table(f"SELECT * FROM {view} ORDER BY {order}")
            found[view] = [list(columns), *([plain(*cell) for cell in zip(columns, row, strict=True)] for row in rows)]
        return found


def salted_by_content(data: bytes) -> tuple[str, bytes]:
    salt = hashlib.sha256(b"salt" + data).digest()
    return hmac.digest(salt, data, "sha256").hex(), salt


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workloads)
def test_the_same_workload_ends_in_the_same_record(
    server: Server, tmp_path_factory: pytest.TempPathFactory, workload: Any
) -> None:
    folder: Path = tmp_path_factory.mktemp("equal")
    with pytest.MonkeyPatch.context() as patch, server.database() as name:
        patch.setattr(shared, "commit_to", salted_by_content)
        patch.setattr(theirs, "commit_to", salted_by_content)
        results = []
        for address in (str(folder / "monitor.db"), server.url(name)):
            with Store.open(address) as one, Store.open(address) as other:
                outcomes = play([one, other], workload)
                one.sequence()
                assert one.pending_leaves() == 0
                results.append((outcomes, list(answers(other)), shown(address)))
    ours, served = results
    assert ours[0] == served[0]
    assert ours[1] == served[1]
    assert ours[2] == served[2]
