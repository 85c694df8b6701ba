"""Bad records to attack with: the positives of the rules' own tests, a peer's attacks, and labelled files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.audit.evaluation.attack import Target
from monitor.audit.evaluation.peer_rules import SOURCE, read_peer
from monitor.audit.evaluation.reading import DEVELOPMENT
from monitor.audit.evaluation.samples import Label
from monitor.audit.evaluation.split import read_split
from monitor.errors import ConfigError
from monitor.policy import examples
from monitor.records import Status

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.audit.evaluation.cases import Cases
    from monitor.policy import PolicySet


def of_tests(rules: PolicySet) -> list[Target]:
    """The records inside the rules that are to match; the group is the rule."""
    found = []
    for rule in rules.rules:
        for number, test in enumerate(rule.written.tests, 1):
            if test.expect == Status.MATCH.value:
                found.append(Target(f"{rule.name} {number}", rule.name, examples.build(test.record)))
    return found


def of_peer(data: Path) -> list[Target]:
    """A peer's attacks, of the development half alone: the rules' author knew these, and knows nothing of the other half.

    Raises:
        ConfigError: there are none.
    """
    part = read_peer(data, read_split().get(SOURCE, {}), DEVELOPMENT)
    if part.missing:
        raise ConfigError(f"{data}: {part.missing}")
    bad = [sample for sample in part.samples if sample.label is Label.ATTACK]
    return [Target(f"{sample.group} {number}", sample.group, sample.record) for number, sample in enumerate(bad, 1)]


def of_cases(cases: Cases) -> list[Target]:
    """The bad cases of labelled files.

    Raises:
        ConfigError: there are none.
    """
    found = [Target(case.key, case.group, case.record) for case in cases.cases if case.bad]
    if not found:
        raise ConfigError(f"{cases.name}: no case is labelled true, and there is nothing to rewrite")
    return found
