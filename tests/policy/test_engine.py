"""The engine's version: kept findings are taken over for as long as it stays the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor import catalog, policy
from monitor.canonical import canonical_hash
from monitor.policy import examples
from monitor.policy.engine import ENGINE, rule_keys
from monitor.policy.over_run import run_examples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.policy import PolicySet

SAID = {1: "b1409cd3d344e7b7", 2: "b1409cd3d344e7b7", 3: "b1409cd3d344e7b7"}
"""What each version of the engine says of the records below. A change that makes this differ needs another ``ENGINE`` and a
line of its own here: results that are kept were made by the old one.
"""
SAID_OVER_RUN = {2: "239ca59b0d26a187", 3: "239ca59b0d26a187"}
"""The same of the rules over a run below."""
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

OVER_RUN = """
pack: engine
version: 1.0.0
engine: 3
description: Every kind of rule over a run.
rules:
  - title: A secret
    id: 5f0fb6a1-6d0e-4a55-9f2b-000000000101
    name: secret
    level: low
    detection: {a: {output|contains: secret}, condition: a}
  - title: The network
    id: 5f0fb6a1-6d0e-4a55-9f2b-000000000102
    name: network
    level: low
    detection: {a: {tool.name: http_get}, condition: a}
run_rules:
"""
RUN_RULE = """
  - title: Over the run {number}
    id: 5f0fb6a1-6d0e-4a55-9f2b-{number:012d}
    name: over_run_{number}
    level: medium
    action: flag
    {kind}
"""
KINDS = (
    "correlation: {type: temporal, rules: [secret, network], subcalls: 3}",
    "correlation: {type: temporal_ordered, rules: [secret, network], timespan: 60s}",
    "correlation: {type: event_count, rules: [secret], subcalls: 4, condition: {gte: 2}}",
    "correlation: {type: value_count, rules: [secret], field: role, condition: {gte: 2}}",
    "correlation: {type: value_sum, rules: [secret], field: usage.output_tokens, condition: {gt: 50}}",
    "correlation: {type: absence, rules: [network], without: [secret], group-by: [role]}",
    "tree: {this: network, child: unchecked}",
    "tree: {this: secret, share: {field: usage.output_tokens, gte: 0.5, least: 2}}",
    "taint: {source: secret, from: [output], sink: network, into: [tool.arguments], least: 12}",
)
RUNS: tuple[list[Any], ...] = (
    [
        {"id": "a", "role": "clerk", "output": "the secret is 8841 blue herons", "usage": {"output_tokens": 40}},
        {"parent": "a", "tool_calls": [{"name": "http_get", "arguments": {"q": "8841 BLUE  herons"}}], "started": 30},
        {"role": "scout", "output": "a secret again", "usage": {"output_tokens": 30}},
    ],
    [
        {"id": "b", "tool_calls": [{"name": "http_get", "arguments": {"q": "x"}}], "output": "x"},
        {"parent": "b", "checked": False, "output": "secret"},
        {"reasoning": {"state": "encrypted"}, "output": "secret", "usage": {"output_tokens": 60}},
    ],
)


def test_what_the_engine_says_of_runs_has_the_version_that_it_says(tmp_path: Path) -> None:
    rules = [RUN_RULE.format(number=201 + number, kind=kind) for number, kind in enumerate(KINDS)]
    path = tmp_path / "engine.yaml"
    path.write_text(OVER_RUN + "".join(rules), encoding="utf-8")
    loaded = policy.load([path])
    said = [list(_followed(loaded, run)) for run in RUNS]
    matched = {one["name"] for findings in said for one in findings if one["status"] == "match"}
    assert len(matched) == len(KINDS), matched
    assert canonical_hash(said)[:16] == SAID_OVER_RUN[ENGINE]
    assert max(SAID_OVER_RUN) == ENGINE


def _followed(loaded: PolicySet, run: list[Any]) -> Iterator[dict[str, Any]]:
    watch = loaded.watch()
    for step in run_examples.build(run):
        for _, record in step.subcalls:
            watch.begin(record.call)
            found = watch.see(record, loaded.findings(record)) if record.call.checked else watch.skip(record.call)
            yield from (one.model_dump(mode="json") for one in found)


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
