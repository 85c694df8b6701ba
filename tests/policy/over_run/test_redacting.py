"""What a rule over a run says to redact is covered wherever it stands in the answer, and not only where it stands first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import actions, policy
from monitor.policy.matching import MAX_SPANS
from monitor.records import Action, Status
from monitor.redaction import redacted
from tests.policy.over_run.test_joined import SECRET, record

if TYPE_CHECKING:
    from tests.policy.conftest import Write

PACK = """
pack: t
version: 1.0.0
engine: 3
rules:
  - {title: a, id: 45a9e88a-2172-46e5-9d6a-76815d990801, name: reads, level: low,
     detection: {a: {output|contains: opened}, b: {output|contains: rumpelstilzchen}, condition: a or b}}
  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: tells, level: low,
     detection: {a: {output|contains: rumpelstilzchen}, condition: a}}
run_rules:
  - title: f
    id: 45a9e88a-2172-46e5-9d6a-76815d990806
    name: joined
    level: medium
    action: redact
"""
KINDS = [
    "correlation: {type: temporal_ordered, rules: [reads, tells]}",
    "correlation: {type: event_count, rules: [reads, tells], condition: {gte: 2}}",
    "tree: {this: tells, parent: reads}",
    "tree: {this: tells, parent: reads, unsaid-in: [task]}",
    "taint: {source: reads, sink: tells, into: [output]}",
]


@pytest.mark.parametrize("times", [1, 5, MAX_SPANS - 1, MAX_SPANS + 5])
@pytest.mark.parametrize("kind", KINDS)
def test_every_place_is_covered(write: Write, kind: str, times: int) -> None:
    rules = policy.load([write(f"{PACK}    {kind}\n")])
    watch = rules.watch()
    first = record(1, output=f"I opened it. {SECRET}")
    last = record(2, 1, role="boss", output=" and ".join(f"{number}: {SECRET}" for number in range(times)))
    for one in (first, last):
        watch.begin(one.call)
        (said,) = watch.see(one, rules.findings(one))
    assert (said.status, said.action) == (Status.MATCH, Action.REDACT)
    released = redacted(last.observation, actions.judge(last.observation, [said]))
    assert "rumpelstilzchen" not in released.output
