"""Events for tests: small, valid, and different where they must be."""

from __future__ import annotations

from typing import Any

from monitor.records import (
    Action,
    Call,
    Choice,
    Decision,
    Event,
    Judgement,
    Label,
    Observation,
    Outcome,
    Released,
    Review,
    RunEnd,
    RunResume,
    RunStart,
    RunSuspend,
    Status,
    Verdict,
    VerdictValue,
    new_run_id,
    new_span_id,
    now,
)


def run_started(run_id: str | None = None, **fields: Any) -> Event:
    run_id, span_id = run_id or new_run_id(), new_span_id()
    start = RunStart(
        run_id=run_id, span_id=span_id, **{"recipe": "answer", "task": "why?", "model": "m", "at": now(), **fields}
    )
    return Event.of(run_id, span_id, start)


def run_resumed(start: Event) -> Event:
    return Event.of(start.run_id, start.span_id, RunResume(at=now()))


def run_ended(start: Event, **fields: Any) -> Event:
    end = RunEnd(
        **{
            "outcome": Outcome.OK,
            "verdict": Verdict(value=VerdictValue.PASS),
            "answer": "because",
            "at": now(),
            **fields,
        }
    )
    return Event.of(start.run_id, start.span_id, end)


def started(run_id: str, **fields: Any) -> Event:
    span_id = fields.pop("span_id", None) or new_span_id()
    return Event.of(
        run_id, span_id, Call(run_id=run_id, span_id=span_id, **{"key": "k", "role": "answer", "at": now(), **fields})
    )


def observed(call: Event, **fields: Any) -> Event:
    return Event.of(
        call.run_id, call.span_id, Observation(**{"outcome": Outcome.OK, "output": "42", "at": now(), **fields})
    )


def judged(call: Event, **fields: Any) -> Event:
    verdict = Verdict(value=VerdictValue.PASS, applicable=1)
    return Event.of(
        call.run_id, call.span_id, Judgement(**{"verdict": verdict, "outcome": Outcome.OK, "at": now(), **fields})
    )


def decided(call: Event, *, after: int | None = None, **fields: Any) -> Event:
    decision = Decision(**{"choice": Choice.APPROVE, "why": "it is fine", "by": "ann", "at": now(), **fields})
    return Event.of(call.run_id, call.span_id, decision, after=after)


def reviewed(call: Event, **fields: Any) -> Event:
    review = Review(
        **{
            "span": call.span_id,
            "check": "rule",
            "name": "r",
            "rule_id": "id-of-r",
            "rule_hash": "h1",
            "status": Status.MATCH,
            "label": Label.TRUE,
            "why": "it is there",
            "by": "ann",
            "at": now(),
            **fields,
        }
    )
    return Event.of(call.run_id, new_span_id(), review)


def asking(call: Event) -> Event:
    """A judgement that asks a person."""
    verdict = Verdict(value=VerdictValue.BLOCK, applicable=1, catches=("r",))
    return judged(call, verdict=verdict, action=Action.ASK_HUMAN, outcome=Outcome.BLOCKED)


def run_suspended(start: Event, *pending: Event) -> Event:
    verdict = Verdict(value=VerdictValue.BLOCK)
    ids = tuple(call.span_id for call in pending)
    return Event.of(start.run_id, start.span_id, RunSuspend(pending=ids, verdict=verdict, seconds=1.5, at=now()))


def trio(run_id: str, text: str = "42") -> tuple[Event, Event, Event]:
    call = started(run_id, task=text)
    return call, observed(call, output=text), judged(call)


def released(call: Event, *, after: int = 0, **fields: Any) -> Event:
    """A part of a stream that was handed on before its end, ``after`` so many others."""
    return Event.of(call.run_id, call.span_id, Released(**{"output": "42", "at": now(), **fields}), after=after)
