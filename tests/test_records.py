"""Records that are made without validation equal those made with it, and times are UTC to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticUndefined

from monitor import records
from monitor.records import (
    Call,
    Event,
    Frozen,
    Judgement,
    Limits,
    Message,
    Observation,
    Outcome,
    StoredSubcall,
    Usage,
    Verdict,
    now,
)
from monitor.records.words import VerdictValue

VERDICT = {"value": VerdictValue.PASS, "applicable": 3}
CALL = Call(run_id="a" * 32, span_id="b" * 16, key="k", role="clerk", messages=(Message(role="user", content="x"),))
SEEN = Observation(outcome=Outcome.OK, output="y", usage=Usage(calls=1))


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Usage, {"calls": 1, "cost": 0.25}),
        (Limits, {"calls": 0, "seconds": 1.5}),
        (Verdict, VERDICT),
        (Judgement, {"verdict": Verdict(**VERDICT), "outcome": Outcome.OK, "at": "x"}),
        (StoredSubcall, {"call": CALL, "observation": SEEN}),
        (records.Record, {"call": CALL, "observation": SEEN}),
        (Event, {"run_id": "a" * 32, "span_id": "b" * 16, "kind": "started", "payload": CALL, "after": None}),
    ],
)
def test_a_trusted_record_is_the_validated_one(model: type[Frozen], values: dict[str, object]) -> None:
    made, checked = model.trusted(**values), model(**values)
    assert made == checked
    assert list(made.__dict__) == list(checked.__dict__)
    assert made.model_fields_set == checked.model_fields_set
    assert made.model_dump_json() == checked.model_dump_json()
    assert made.model_copy(update={}) == checked
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, next(iter(values)), None)


def test_no_record_shares_a_default_that_can_change() -> None:
    for name in records.__all__:
        model = getattr(records, name)
        if isinstance(model, type) and issubclass(model, Frozen):
            for field in model.model_fields.values():
                assert field.default_factory is None
                if field.default is not PydanticUndefined:
                    hash(field.default)


def test_times_are_utc_with_microseconds() -> None:
    before = datetime.now(UTC) - timedelta(microseconds=1)
    said = [now() for _ in range(1000)]
    after = datetime.now(UTC)
    assert said == sorted(said)
    assert all(len(text) == len("2026-01-02T03:04:05.678901Z") for text in said)
    assert before <= datetime.fromisoformat(said[0]) <= datetime.fromisoformat(said[-1]) <= after


def test_a_message_is_no_less_guarded() -> None:
    assert Message(role="user", content="a\0b").content == "a␛0000b"
