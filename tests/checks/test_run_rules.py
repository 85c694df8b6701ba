"""Rules over a run where the rules over one subcall break as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import checks
from monitor.policy import examples, load
from monitor.records import Judgement, Outcome, Status, StoredSubcall, Verdict, VerdictValue

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.policy import PolicySet
    from monitor.records import Record

PACK = """
pack: t
version: 1.0.0
engine: 3
rules:
  - {title: a, id: 45a9e88a-2172-46e5-9d6a-76815d990801, name: reads, level: low,
     detection: {a: {output|contains: I read}, condition: a}}
  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: sends, level: low,
     detection: {a: {output|contains: I send}, condition: a}}
run_rules:
  - {title: c, id: 45a9e88a-2172-46e5-9d6a-76815d990803, name: read_then_sent, level: high,
     correlation: {type: temporal_ordered, rules: [reads, sends]}}
  - {title: d, id: 45a9e88a-2172-46e5-9d6a-76815d990804, name: sent_below, level: high,
     tree: {this: sends, ancestor: reads}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> PolicySet:
    path = tmp_path / "pack.yaml"
    path.write_text(PACK, "utf-8")
    return load([path])


def made(number: int, output: str) -> Record:
    record = examples.build({"output": output})
    place = {"span_id": f"{number:016x}", "parent_id": f"{number - 1:016x}"}
    return record.model_copy(update={"call": record.call.model_copy(update=place)})


class Broken:
    name = "policy"

    def findings(self, _: Record) -> tuple[()]:
        raise LookupError


def test_what_they_would_have_said_is_unknown_later(rules: PolicySet) -> None:
    check = checks.RunCheck(rules)
    first, second = made(1, "I read it."), made(2, "I send it.")
    check.begin(first.call)
    assert [one.status for one in check.see(first, checks.run([Broken()], first))] == [Status.NO_MATCH] * 2
    check.begin(second.call)
    assert [one.status for one in check.see(second, rules.findings(second))] == [Status.UNKNOWN, Status.UNKNOWN]


def test_a_resume_goes_on_where_they_break_while_it_recalls(rules: PolicySet, monkeypatch: pytest.MonkeyPatch) -> None:
    check = checks.RunCheck(rules)
    first, second = made(1, "I read it."), made(2, "I send it.")
    judgement = Judgement(verdict=Verdict(value=VerdictValue.UNMEASURED), outcome=Outcome.OK)
    stored = StoredSubcall.trusted(
        call=first.call, observation=first.observation, judgement=judgement, began_at=0, judged_at=1
    )
    with monkeypatch.context() as broken:
        broken.setattr(type(rules), "findings", lambda *_: 1 / 0)
        check.recall([stored])
    check.begin(second.call)
    assert [one.status for one in check.see(second, rules.findings(second))] == [Status.UNKNOWN, Status.UNKNOWN]
