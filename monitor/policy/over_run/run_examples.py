"""Tests of rules over a run: subcalls in short form, one after the other, and what the rule says of the run.

    run:
      - {id: reads, tool.name: read_file, tool.arguments: {path: .env}}
      - [{role: worker}, {role: worker}]        # answered at the same time
      - {parent: reads, tool.name: http_get, started: 90}
    expect: match

Each is a record in short form (see ``examples``) with four keys more: ``id``, a name for this test; ``parent``, the ``id``
of the subcall below which it was asked; ``started``, seconds after the run began (without it, the subcall before says);
``checked``, which is false for one that no check looks at. Of those answered at the same time, one below another is
answered before it, as where an agent works for another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from monitor.policy import examples
from monitor.policy.names import describe
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from monitor.policy.over_run.run_rules import RunRule
    from monitor.policy.over_run.watch import RunWatch
    from monitor.policy.schema import RunExampleFile
    from monitor.records import Finding, Record
    from monitor.strict_yaml import Mark, Node

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_WEIGHT = (Status.MATCH, Status.UNKNOWN, Status.NO_MATCH, Status.NOT_APPLICABLE)
_LONGEST = 1_000_000_000
_OWN = {"id": "text", "parent": "text", "started": "a number", "checked": "true or false"}


@dataclass(frozen=True, slots=True)
class Step:
    """Subcalls that are answered at the same time, most often one; each with its ``id``, which may be empty."""

    subcalls: tuple[tuple[str, Record], ...]


def faults(test: Node) -> Iterator[tuple[Mark, str, str]]:
    """What is wrong with the subcalls of one test, as (place, problem, fix)."""
    run = test.get("run")
    ids: set[str] = set()
    for step in run.items() if run else []:
        if step.value == []:
            yield step.mark, "there is no subcall in this list.", "Write those that are answered at the same time."
        for node in step.items() if isinstance(step.value, list) else [step]:
            if not isinstance(node.value, dict):
                yield node.mark, "a subcall is a map of fields.", "Write it as a record: `{reasoning: …}`."
                continue
            yield from _faults_of(node, ids)
    at = test.get("at")
    if at and isinstance(at.value, str) and at.value not in ids:
        yield at.mark, f"no subcall of this test has the id `{at.value}`.", "Give one that `id`."


def _faults_of(node: Node, ids: set[str]) -> Iterator[tuple[Mark, str, str]]:
    assert isinstance(node.value, dict)
    for key, expected in _OWN.items():
        own = node.get(key)
        if own is None:
            continue
        is_flag = isinstance(own.value, bool)
        if expected == "a number":
            is_right = isinstance(own.value, (int, float)) and not is_flag
        else:
            is_right = isinstance(own.value, str) if expected == "text" else is_flag
        if not is_right:
            yield own.mark, f"`{key}`: expected {expected}, found {describe(own.plain())}.", ""
        elif expected == "a number" and not abs(own.plain()) <= _LONGEST:
            problem = f"`{key}`: a run of {own.plain():g} seconds is none."
            yield own.mark, problem, f"Write the seconds since it began, at most {_LONGEST:,}."
    parent, name = node.get("parent"), node.get("id")
    if parent and isinstance(parent.value, str) and parent.value not in ids:
        yield parent.mark, f"no subcall before this one has the id `{parent.value}`.", "Give one that `id`."
    if name and isinstance(name.value, str):
        if name.value in ids:
            yield name.mark, f"the id `{name.value}` is taken already in this test.", "Give another one."
        ids.add(name.value)
    short = {key: value for key, value in node.plain().items() if key not in _OWN}
    for step, problem, fix in examples.faults(short):
        yield node.place(step), problem, fix


def build(run: Sequence[Any]) -> list[Step]:
    """The subcalls that a test stands for; only for one without ``faults``."""
    spans: dict[str, str] = {}
    steps: list[Step] = []
    number, started = 0, 0.0
    for step in run:
        made = []
        for short in step if isinstance(step, list) else [step]:
            span = hashlib.sha256(str(number).encode()).hexdigest()[:16]
            name = str(short.get("id", ""))
            started = float(short.get("started", started))
            record = examples.build({key: value for key, value in short.items() if key not in _OWN})
            at = (_BEGAN + timedelta(seconds=started)).isoformat()
            call = record.call.model_copy(
                update={
                    "span_id": span,
                    "parent_id": spans.get(short.get("parent", "")),
                    "key": str(number),
                    "at": at,
                    "checked": short.get("checked", True),
                }
            )
            made.append((name, record.model_copy(update={"call": call})))
            if name:
                spans[name] = span
            number += 1
        steps.append(Step(tuple(made)))
    return steps


def in_order(step: Step) -> list[tuple[str, Record]]:
    """The subcalls of one step in the order in which they are answered: what is below another before it."""
    ordered: list[tuple[str, Record]] = []

    def answer(one: tuple[str, Record]) -> None:
        if one not in ordered:
            for other in step.subcalls:
                if other[1].call.parent_id == one[1].call.span_id:
                    answer(other)
            ordered.append(one)

    for one in step.subcalls:
        if not any(other[1].call.span_id == one[1].call.parent_id for other in step.subcalls):
            answer(one)
    return ordered


def said_of(
    rule: RunRule,
    test: RunExampleFile,
    findings: Callable[[Record], Sequence[Finding]],
    watch: Callable[[], RunWatch],
) -> Finding:
    """What the rule says of the run of one test: of the subcall ``at``, else the first of match, unknown, no match and not
    applicable that it says of any.
    """
    watching = watch()
    said: list[tuple[str, Finding]] = []
    for step in build(test.run):
        for _, record in step.subcalls:
            watching.begin(record.call)
        for name, record in in_order(step):
            if record.call.checked:
                found = watching.see(record, findings(record))
            else:
                found = watching.skip(record.call, record.observation)
            of_rule = (finding for finding in found if finding.rule_id == rule.id)
            said.append((name, next(of_rule, rule.finding(Status.NOT_APPLICABLE))))
    wanted = [finding for name, finding in said if test.at is None or name == test.at]
    return min(wanted, key=lambda finding: _WEIGHT.index(finding.status))
