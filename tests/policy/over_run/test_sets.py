"""Filters and overrides on every kind of rule over a run, and on two packs that say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from monitor import catalog, policy
from monitor.policy.over_run import run_examples
from monitor.records import Action, Finding, Level, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.policy.conftest import Write

PACK = """
pack: t
version: 1.0.0
engine: 3
rules:
  - {title: a, id: 45a9e88a-2172-46e5-9d6a-76815d990801, name: clerk, level: low,
     detection: {a: {role: clerk}, condition: a}}
  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: sends, level: low,
     detection: {a: {output|contains: send}, condition: a}}
run_rules:
  - title: c
    id: 45a9e88a-2172-46e5-9d6a-76815d990803
    name: joined
    level: high
"""
FILTERS = """
filter_set: site_noise
version: 1.0.0
filters:
  - title: f
    id: 0d3f5a8e-0a3c-4a56-8c3f-0a4f3c2d1b10
    name: backup
    reason: The nightly backup.
    author: R. Reviewer
    date: '2026-11-01'
    expires: '2026-12-31'
    rules: [joined]
    detection: {build: {recipe: backup}, condition: build}
"""
OVERRIDES = """
override_set: site
version: 0.3.0
overrides:
  - {rule: joined, reason: People look at every answer here., level: medium, status: test}
"""
TODAY = "2026-11-27"
LONG = "send the whole of the quarterly report away"
CLERK = {"id": "a", "role": "clerk", "output": LONG, "usage.output_tokens": 1}
SENDER = {"id": "b", "role": "x", "user": LONG, "output": LONG, "usage.output_tokens": 9, "recipe": "backup"}
BELOW = {**SENDER, "parent": "a"}
UNCHECKED = {**BELOW, "checked": False}
KINDS: dict[str, Sequence[dict[str, Any]]] = {
    "correlation: {type: temporal, rules: [clerk, sends]}": [CLERK, SENDER],
    "correlation: {type: temporal_ordered, rules: [clerk, sends]}": [CLERK, SENDER],
    "correlation: {type: absence, rules: [sends], without: [clerk]}": [SENDER],
    "correlation: {type: event_count, rules: [clerk, sends], condition: {gte: 2}}": [CLERK, SENDER],
    "correlation: {type: value_count, field: role, rules: [clerk, sends], condition: {gte: 2}}": [CLERK, SENDER],
    "correlation: {type: value_sum, field: usage.output_tokens, rules: [sends], condition: {gt: 8}}": [CLERK, SENDER],
    "tree: {this: sends, parent: clerk}": [CLERK, BELOW],
    "tree: {this: sends, ancestor: clerk}": [CLERK, BELOW],
    "tree: {this: clerk, child: sends}": [CLERK, BELOW],
    "tree: {this: clerk, child: unchecked}": [CLERK, UNCHECKED],
    "tree: {this: sends, sibling: clerk}": [CLERK, SENDER],
    "tree: {this: sends, without-parent: clerk}": [SENDER],
    "tree: {this: sends, parent: clerk, what: role, unsaid-in: [output]}": [CLERK, BELOW],
    "tree: {this: sends, share: {field: usage.output_tokens, gte: 0.9, least: 1}}": [CLERK, SENDER],
    "taint: {source: clerk, sink: sends, into: [prompt]}": [CLERK, SENDER],
}


def said(rules: policy.PolicySet, run: Sequence[dict[str, Any]]) -> Finding:
    """What the rule says of the last subcall of the run."""
    watch = rules.watch()
    finding = None
    for step in run_examples.build(run):
        for _, record in step.subcalls:
            watch.begin(record.call)
            if record.call.checked:
                (finding,) = watch.see(record, rules.findings(record))
            else:
                (finding,) = watch.skip(record.call, record.observation)
    assert finding is not None
    return finding


@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_suppresses_a_match_of_every_kind(write: Write, kind: str) -> None:
    pack, run = write(f"{PACK}    {kind}\n"), KINDS[kind]
    other = [{key: value for key, value in short.items() if key != "recipe"} for short in run]
    rules = policy.load([pack, write(FILTERS, "f.yaml")], today=TODAY)
    assert (said(policy.load([pack]), run).status, said(policy.load([pack]), run).suppressed_by) == (Status.MATCH, "")
    assert (said(rules, run).status, said(rules, run).suppressed_by) == (Status.MATCH, "backup")
    assert (said(rules, other).status, said(rules, other).suppressed_by) == (Status.MATCH, "")


@pytest.mark.parametrize("kind", KINDS)
def test_an_override_changes_every_kind(write: Write, kind: str) -> None:
    pack, run = write(f"{PACK}    {kind}\n"), KINDS[kind]
    before, after = said(policy.load([pack]), run), said(policy.load([pack, write(OVERRIDES, "o.yaml")]), run)
    assert (before.level, before.action, before.on_unknown) == (Level.HIGH, Action.WITHHOLD, Action.WITHHOLD)
    assert (after.level, after.action, after.on_unknown) == (Level.MEDIUM, Action.FLAG, Action.LOG)
    assert (before.status, after.status) == (Status.MATCH, Status.MATCH)
    assert (before.shadow, after.shadow) == (False, True)
    assert before.rule_hash != after.rule_hash


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "sends" in kind and "absence" not in kind])
def test_a_part_that_a_filter_holds_to_be_harmless_is_none(write: Write, kind: str) -> None:
    text = FILTERS.replace("rules: [joined]", "rules: [sends]")
    rules = policy.load([write(f"{PACK}    {kind}\n"), write(text, "f.yaml")], today=TODAY)
    assert said(rules, KINDS[kind]).status is Status.NO_MATCH


def test_a_secret_that_is_sent_acts_once_where_a_site_says_so(write: Write) -> None:
    """The packs `flow` and `taint` both speak of it; each names the other's rule, and an override leaves one to act."""
    text = (
        "override_set: once\nversion: 1.0.0\noverrides:\n  - {rule: secret_then_network, reason: once, action: log}\n"
    )
    run = [
        {"id": "a", "tool.name": "read_file"},
        {"parent": "a", "kind": "tool", "role": "read_file", "tool.result": "id AKIAABCDEFGHIJKLMNOP"},
        {"tool.name": "http_post", "tool.arguments": {"body": "AKIAABCDEFGHIJKLMNOP"}},
    ]
    packs = [catalog.find("policy", name) for name in ("flow", "taint")]
    acting = []
    found: Sequence[Finding] = ()
    for paths in (packs, [*packs, write(text)]):
        rules = policy.load(paths)
        watch = rules.watch()
        for step in run_examples.build(run):
            for _, record in step.subcalls:
                watch.begin(record.call)
                found = watch.see(record, rules.findings(record))
        acting.append({one.name for one in found if one.status is Status.MATCH and one.action is not Action.LOG})
    assert acting == [{"secret_then_network", "secret_sent"}, {"secret_sent"}]
    by_name = {rule.name: rule for rule in rules.run_rules}
    for name, other in (("secret_sent", "secret_then_network"), ("untrusted_text_in_trusted", "untrusted_to_trusted")):
        assert by_name[other].id in {one.id for one in by_name[name].written.related}
        assert by_name[name].id in {one.id for one in by_name[other].written.related}
