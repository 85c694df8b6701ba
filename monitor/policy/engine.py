"""The engine's version, and what the findings of a rule depend on besides the record.

Findings over stored records are kept, and taken as they are where nothing that they depend on has changed. So whoever
changes what a rule says of any record, be it only a cause's words or a place in the evidence, raises ``ENGINE``;
``tests/policy/test_engine.py`` says when that was forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.canonical import canonical_hash

if TYPE_CHECKING:
    from monitor.policy.rules import PolicySet

ENGINE = 3
"""The version of what makes findings of rules and a record: fields, matching, logic, suppression."""


def rule_keys(rules: PolicySet) -> tuple[str, ...]:
    """For each rule what its findings depend on: a hash over its own, those of its filters of today, and ``ENGINE``."""
    return tuple(
        canonical_hash(
            {
                "engine": ENGINE,
                "rule": rule.rule_hash,
                "filters": [[one.name, one.filter_hash] for one in rules.filters_about(rule)],
            }
        )
        for rule in rules.every
    )
