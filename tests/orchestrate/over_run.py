"""Rules over a run for the tests of whole runs, and a process that is killed between two of its subcalls."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from monitor.models.scripted import Reply, ScriptedModel
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor.records import Finding, StoredSubcall

PACK = """
pack: run
version: 1.0.0
engine: 3
rules:
  - title: A secret
    id: 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1
    name: secret
    level: low
    detection: {a: {output|contains: SECRET}, condition: a}
  - title: The network
    id: 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f2
    name: network
    level: low
    detection: {a: {output|contains: NETWORK}, condition: a}
run_rules:
  - title: A secret, then the network
    id: 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f3
    name: secret_then_network
    level: high
    action: ACTION
    correlation: {type: temporal_ordered, rules: [secret, network]}
  - title: The network, and no secret before
    id: 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f4
    name: network_alone
    level: low
    correlation: {type: absence, rules: [network], without: [secret]}
  - title: Two of them
    id: 0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f5
    name: two
    level: low
    correlation: {type: event_count, rules: [secret, network], subcalls: 4, condition: {gte: 2}}
"""


def echo(request: Any) -> Reply:
    """The model says what it was asked."""
    return Reply(text=request.messages[-1].content)


def said_of(subcall: StoredSubcall) -> list[Finding]:
    """What the rules over the run say of a subcall, as it was recorded."""
    assert subcall.judgement is not None
    wanted = {"secret_then_network", "network_alone", "two"}
    return [finding for finding in subcall.judgement.findings if finding.name in wanted]


def matches(subcalls: Iterable[StoredSubcall]) -> list[tuple[str, str]]:
    """(task, rule) of every match of a rule over the run."""
    found = [(one.call.task, finding) for one in subcalls for finding in said_of(one)]
    return [(task, finding.name) for task, finding in found if finding.status is Status.MATCH]


def replayed(subcalls: Sequence[StoredSubcall], pack: str) -> dict[str, list[Finding]]:
    """What the rules say of the stored run, by span: its log followed anew."""
    from pathlib import Path

    from monitor import policy
    from monitor.records import Record

    rules = policy.load([Path(pack)])
    watch = rules.watch()
    begins = [(one.began_at, 0, one) for one in subcalls if one.began_at is not None]
    ends = [(one.judged_at, 1, one) for one in subcalls if one.judged_at is not None]
    said: dict[str, list[Finding]] = {}
    for _, is_end, one in sorted([*begins, *ends], key=lambda step: step[0]):
        if not is_end:
            watch.begin(one.call)
        elif not one.call.checked or one.observation is None:
            watch.skip(one.call)
            said[one.call.span_id] = []
        else:
            record = Record(call=one.call, observation=one.observation)
            said[one.call.span_id] = list(watch.see(record, rules.findings(record)))
    return said


def main(db: str, recipe: str, pack: str) -> None:
    """A run that is killed when its second call is made."""
    import monitor

    asked = 0

    def dying(request: Any) -> Reply:
        nonlocal asked
        asked += 1
        if asked == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return echo(request)

    monitor.run_sync(recipe, "SECRET NETWORK", model=ScriptedModel(dying), db=db, policies=[pack])


if __name__ == "__main__":
    main(*sys.argv[1:])
