"""Sums and shares are of the numbers that are written, not of the binary ones near to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor import policy

if TYPE_CHECKING:
    from tests.policy.conftest import Write

PACK = """
pack: t
version: 1.0.0
engine: 3
rules:
  - {title: a, id: 45a9e88a-2172-46e5-9d6a-76815d990811, name: clerk, level: low,
     detection: {a: {role: clerk}, condition: a}}
run_rules:
  - title: b
    id: 45a9e88a-2172-46e5-9d6a-76815d990812
    name: much
    level: low
"""


@pytest.mark.parametrize(
    ("rule", "others", "own", "expect"),
    [
        ("tree: {this: clerk, share: {field: usage.cost, gte: 0.8, least: 0.1}}", 0.2, 0.8, "match"),
        ("tree: {this: clerk, share: {field: usage.cost, gte: 0.8, least: 0.1}}", 0.2, 0.79, "no_match"),
        ("tree: {this: clerk, share: {field: usage.cost, gte: 0.1, least: 0.7}}", 6.3, 0.7, "match"),
        (
            "correlation: {type: value_sum, field: usage.cost, rules: [any_role], condition: {gte: 0.8}}",
            0.7,
            0.1,
            "match",
        ),
        (
            "correlation: {type: value_sum, field: usage.cost, rules: [any_role], condition: {gt: 0.8}}",
            0.7,
            0.1,
            "no_match",
        ),
        (
            "correlation: {type: value_sum, field: usage.cost, rules: [any_role], subcalls: 2, condition: {gte: 0.8}}",
            0.7,
            0.1,
            "match",
        ),
    ],
)
def test_what_reaches_a_limit_exactly(write: Write, rule: str, others: float, own: float, expect: str) -> None:
    part = (
        "  - {title: c, id: 45a9e88a-2172-46e5-9d6a-76815d990813, name: any_role, level: low,\n"
        "     detection: {a: {role|exists: true}, condition: a}}\nrun_rules:"
    )
    run = f"[{{role: x, usage.cost: {others}}}, {{role: clerk, usage.cost: {own}}}]"
    text = f"{PACK.replace('run_rules:', part)}    {rule}\n    tests:\n      - {{run: {run}, expect: {expect}}}\n"
    (result,) = policy.load([write(text)]).run_tests()
    assert result.passed
