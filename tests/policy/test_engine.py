"""The engine's version: kept findings are taken over for as long as it stays the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor import catalog, policy
from monitor.canonical import canonical_hash
from monitor.policy import examples
from monitor.policy.engine import ENGINE, rule_keys

if TYPE_CHECKING:
    from pathlib import Path

SAID = {1: "b1409cd3d344e7b7"}
"""What each version of the engine says of the records below. A change that makes this differ needs another ``ENGINE`` and a
line of its own here: results that are kept were made by the old one.
"""
PACK = """
pack: engine
version: 1.0.0
description: Every kind of clause, for records that hold and lack what it looks at.
rules:
"""
RULE = """
  - title: Rule {number}
    id: 5f0fb6a1-6d0e-4a55-9f2b-{number:012d}
    name: rule_{number}
    level: medium
    action: flag
    detection:
      a: {{{clause}}}
      condition: {condition}
    tests:
      - record: {{reasoning: x}}
        expect: {expect}
"""
CLAUSES = (
    "reasoning|contains: HIDE",
    "reasoning|contains|all: [hide, étage]",
    "output|startswith: yes",
    "output|endswith: done",
    "'output|re': '\\b[0-9]{2,}\\b'",
    "'written|contains': hide",
    "'prompt|contains': secret",
    "'data|contains': secret",
    "'tool.name': [shell, bash]",
    "'tool.arguments|contains': 'rm -rf'",
    "'tool.result|contains': root",
    "'usage.output_tokens|gt': 50",
    "'reasoning.state': absent",
    "outcome: failed",
    "'probe.truth.score|gt': 0.5",
)
RECORDS = (
    {"reasoning": "I will hide it on the étage", "output": "yes, all 42 are done"},
    {"reasoning": "nothing", "output": ""},
    {"output": "no reasoning at all"},
    {"reasoning": {"state": "encrypted"}, "output": "done"},
    {"tool_calls": [{"name": "shell", "arguments": {"cmd": "rm -rf /"}}], "output": "x"},
    {"messages": [{"role": "user", "content": "a secret"}, {"role": "tool", "content": "root"}], "output": "x"},
    {"usage": {"output_tokens": 90}, "outcome": "failed", "error": "it broke"},
    {"probe.truth.score": 0.9, "output": "x"},
    {"probe.truth.score": None, "output": "x"},
)


def test_what_the_engine_says_has_the_version_that_it_says(tmp_path: Path) -> None:
    rules = [
        RULE.format(number=2 * number + negated, clause=clause, condition=condition, expect="no_match")
        for number, clause in enumerate(CLAUSES)
        for negated, condition in enumerate(("a", "not a"))
    ]
    path = tmp_path / "engine.yaml"
    path.write_text(PACK + "".join(rules), encoding="utf-8")
    loaded = policy.load([path])
    said = [
        # ``elsewhere`` is of rules over a run alone
        [finding.model_dump(mode="json", exclude={"elsewhere"}) for finding in loaded.findings(examples.build(record))]
        for record in RECORDS
    ]
    assert {found["status"] for findings in said for found in findings} == {
        "match",
        "no_match",
        "unknown",
        "not_applicable",
    }
    assert canonical_hash(said)[:16] == SAID[ENGINE]
    assert max(SAID) == ENGINE


def test_a_rule_s_key_changes_with_the_rule_its_filters_and_nothing_else(tmp_path: Path) -> None:
    pack = catalog.find("policy", "core")
    plain = policy.load([pack])
    copied = tmp_path / "other.yaml"
    copied.write_text(pack.read_text(encoding="utf-8").replace("\npack: core", "\npack: other"), encoding="utf-8")
    assert rule_keys(policy.load([copied])) == rule_keys(plain)
    rule = plain.rules[0]
    filters = tmp_path / "filters.yaml"
    written = """
filter_set: house
version: 1.0.0
description: x
filters:
  - title: Known
    id: 6f0fb6a1-6d0e-4a55-9f2b-000000000001
    name: known
    rules: [RULE]
    reason: it is known
    author: ann
    date: 2026-01-01
    expires: EXPIRES
    detection:
      a: {role: clerk}
      condition: a
    tests:
      - record: {role: clerk}
        expect: match
"""
    for expires, is_other in (("2999-01-01", True), ("2026-01-02", False)):
        filters.write_text(written.replace("RULE", rule.name).replace("EXPIRES", expires), encoding="utf-8")
        keys = rule_keys(policy.load([pack, filters]))
        assert (keys[0] != rule_keys(plain)[0]) is is_other
        assert keys[1:] == rule_keys(plain)[1:]
