"""Checks are run in order, and one that breaks fails closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import checks
from monitor.policy import examples, load
from monitor.records import Action, Level, Status, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from monitor.records import Finding, Record

PACK = """\
pack: example
version: 1.0.0
rules:
  - title: Says x
    id: 3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11
    name: says_x
    level: low
    detection: {sel: {output: x}, condition: sel}
"""


class Broken:
    """A check with a bug, whose message quotes the record."""

    name = "broken"

    def findings(self, record: Record) -> Sequence[Finding]:
        raise LookupError(record.observation.output)


@pytest.fixture
def policy_check(tmp_path: Path) -> checks.PolicyCheck:
    path = tmp_path / "pack.yaml"
    path.write_text(PACK, encoding="utf-8")
    return checks.PolicyCheck(load([path]))


def over(usage: dict[str, int], reserved: dict[str, int], *, reported: bool = True) -> Record:
    record = examples.build({"output": "x"})
    return record.model_copy(
        update={
            "call": record.call.model_copy(update={"reserved": Usage.model_validate(reserved)}),
            "observation": record.observation.model_copy(
                update={"usage": Usage.model_validate(usage), "usage_reported": reported}
            ),
        }
    )


def test_no_checks_find_nothing() -> None:
    assert checks.run((), examples.build({})) == ()


def test_findings_keep_the_order_of_checks(policy_check: checks.PolicyCheck) -> None:
    record = over({"output_tokens": 9}, {"calls": 1, "output_tokens": 8})
    found = checks.run((checks.AccountingCheck(), policy_check), record)
    assert [finding.name for finding in found] == ["usage_over_reservation", "says_x"]


def test_a_check_that_breaks_is_unknown_and_withholds(policy_check: checks.PolicyCheck) -> None:
    outage, after = checks.run((Broken(), policy_check), examples.build({"output": "secret"}))
    assert (outage.name, outage.status, outage.on_unknown) == ("broken", Status.UNKNOWN, Action.WITHHOLD)
    assert outage.cause == "LookupError"
    assert "secret" not in outage.model_dump_json()
    assert after.name == "says_x"


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_more_reported_than_reserved_is_a_finding(name: str) -> None:
    (found,) = checks.AccountingCheck().findings(over({name: 101}, {"calls": 1, name: 100}))
    assert (found.check, found.name, found.status) == ("budget", "usage_over_reservation", Status.MATCH)
    assert (found.level, found.action) == (Level.HIGH, Action.FLAG)
    assert found.cause == f"{name} 101 reported, 100 reserved"


@pytest.mark.parametrize(
    "record",
    [
        over({"input_tokens": 100}, {"calls": 1, "input_tokens": 100}),
        over({"input_tokens": 101}, {}),
        over({"input_tokens": 101}, {"calls": 1, "input_tokens": 100}, reported=False),
    ],
    ids=["within", "nothing was reserved", "nothing was reported"],
)
def test_otherwise_accounting_is_silent(record: Record) -> None:
    """Not even ``no_match``: a run without policies must stay unmeasured."""
    assert checks.AccountingCheck().findings(record) == ()


def test_every_public_name_is_there() -> None:
    assert checks.__all__ == sorted(checks.__all__)
    assert all(hasattr(checks, name) for name in checks.__all__)
