"""What is compared is compared as a tool would take it, and what cannot be is unknown: never below every limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from monitor.policy import examples

if TYPE_CHECKING:
    from tests.policy.conftest import LoadDetection


@pytest.mark.parametrize(
    ("line", "arguments", "expected"),
    [
        ("tool.arguments.amount|gt: 1000", '{"amount": 5000}', "match"),
        ("tool.arguments.amount|gt: 1000", '{"amount": "5000"}', "match"),
        ("tool.arguments.amount|gt: 1000", '{"amount": " 5e3 "}', "match"),
        ("tool.arguments.amount|gt: 1000", '{"amount": "500"}', "no_match"),
        ("tool.arguments.amount|gt: 1000", '{"amount": null}', "unknown"),
        ("tool.arguments.amount|gt: 1000", '{"amount": NaN}', "unknown"),
        ("tool.arguments.amount|gt: 1000", '{"amount": Infinity}', "match"),
        ("tool.arguments.amount|gt: 1000", '{"amount": true}', "unknown"),
        ("tool.arguments.amount|gt: 1000", '{"amount": "five thousand"}', "unknown"),
        ("tool.arguments.amount|gt: 1000", '{"amount": "1-2"}', "unknown"),
        ("tool.arguments.amount|gt: 1000", '{"amount": ["a few", 5000]}', "match"),
        ("tool.arguments.amount|gt: 1000", '{"amount": {"unit": "EUR", "value": 10}}', "no_match"),
        ("tool.arguments.amount|gt: 1000", '{"other": "x"}', "no_match"),
        ("tool.arguments.amount|neq: 5", '{"amount": "5"}', "no_match"),
        ("tool.arguments.amount|neq: 5", '{"amount": "x"}', "unknown"),
        ("tool.arguments.force: true", '{"force": true}', "match"),
        ("tool.arguments.force: true", '{"force": "True"}', "match"),
        ("tool.arguments.force: true", '{"force": "false"}', "no_match"),
        ("tool.arguments.force: true", '{"force": 1}', "unknown"),
        ("tool.arguments.force: true", '{"force": null}', "unknown"),
    ],
)
def test_values_of_another_type(line: str, arguments: str, expected: str, load_detection: LoadDetection) -> None:
    rules = load_detection(f"a: {{{line}}}\ncondition: a")
    record = examples.build({"tool": {"name": "pay", "arguments": arguments}})
    assert [finding.status.value for finding in rules.findings(record)] == [expected]


@pytest.mark.parametrize("line", ["model_reported: evil", "model_reported|neq: good"])
def test_a_model_that_was_not_reported_is_unknown(line: str, load_detection: LoadDetection) -> None:
    rules = load_detection(f"a: {{{line}}}\ncondition: a")
    assert [finding.status.value for finding in rules.findings(examples.build({"output": "x"}))] == ["unknown"]
