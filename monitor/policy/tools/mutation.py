"""Mutation coverage: a rule is changed a little, and its own tests are asked whether they notice.

A change that no test notices is a part of the rule that nobody has tried: it could be wrong, or be lost, and every test
would still pass. A changed rule is evaluated as the rule itself is; one that certainly says the same of every record
(``satisfiability``) is no change, and is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.policy import examples
from monitor.policy.evaluation import says
from monitor.policy.rules import Rule
from monitor.policy.tools.mutants import mutants
from monitor.policy.tools.places import nodes_of
from monitor.policy.tools.run_mutants import run_mutants, status_of
from monitor.policy.tools.satisfiability import difference
from monitor.records import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.policy.detection import Detection
    from monitor.policy.files import PolicyFiles
    from monitor.policy.filters import Filter
    from monitor.policy.over_run import RunRule
    from monitor.policy.record_readings import RecordReadings
    from monitor.policy.rules import PolicySet
    from monitor.policy.tools.mutants import Mutant
    from monitor.policy.tools.satisfiability import Difference
    from monitor.strict_yaml import Node


@dataclass(frozen=True, slots=True)
class TriedMutant:
    """One change of a rule, and the tests that notice it. ``advice`` says what test is missing where none does."""

    kind: str
    what: str
    line: int
    noticed_by: tuple[str, ...]
    advice: str = ""


@dataclass(frozen=True, slots=True)
class RuleMutation:
    """What came of all changes of one rule or filter. ``ignored`` tests fail already, so they cannot tell anything.

    ``pack`` is of a filter its set.
    """

    rule: str
    pack: str
    path: str
    line: int
    tried: tuple[TriedMutant, ...]
    equivalent: int
    ignored: tuple[str, ...] = ()

    @property
    def survivors(self) -> tuple[TriedMutant, ...]:
        """The changes that no test notices."""
        return tuple(mutant for mutant in self.tried if not mutant.noticed_by)

    @property
    def killed(self) -> int:
        """The number of changes that a test notices."""
        return len(self.tried) - len(self.survivors)


def share(results: Sequence[RuleMutation]) -> float | None:
    """The share of changes that a test notices, in percent; None where there was nothing to change."""
    total = sum(len(result.tried) for result in results)
    return 100 * sum(result.killed for result in results) / total if total else None


def try_mutants(
    loaded: PolicyFiles,
    rules: PolicySet,
    *,
    values: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[RuleMutation, ...]:
    """Try every mutant of every rule and filter on its own tests.

    Args:
        loaded: The files, without faults.
        rules: The same rules at work.
        values: Also drop each value of a list.
        progress: Told after each of them how many are done, and of how many.
    """
    nodes = nodes_of(loaded)
    results = []
    parts: list[Rule | Filter] = [*rules.rules, *rules.filters]
    total = len(parts) + len(rules.run_rules)
    for done, part in enumerate(parts, start=1):
        detection = nodes[part.written.id].get("detection")
        assert detection is not None, "every rule and filter has one"
        results.append(_try(rules, part, list(mutants(part.detection, detection, values=values))))
        if progress:
            progress(done, total)
    for done, rule in enumerate(rules.run_rules, start=len(parts) + 1):
        results.append(_try_over_run(rules, rule, nodes[rule.id]))
        if progress:
            progress(done, total)
    return tuple(results)


def _try_over_run(rules: PolicySet, rule: RunRule, node: Node) -> RuleMutation:
    """The same of a rule over a run. Whether a change certainly changes nothing is not decided: each is counted."""
    right, ignored = [], []
    for number, test in enumerate(rule.written.tests):
        if status_of(rules, rule, number) is Status(test.expect):
            right.append(number)
        else:
            ignored.append(_name(rule, number))
    tried = []
    for mutant in run_mutants(rule, node):
        expected = [Status(test.expect) for test in rule.written.tests]
        noticed = [number for number in right if status_of(rules, mutant.rule, number) is not expected[number]]
        advice = "" if noticed else mutant.advice
        names = tuple(_name(rule, number) for number in noticed)
        tried.append(TriedMutant(mutant.kind, mutant.what, mutant.mark.line, names, advice))
    return RuleMutation(rule.name, rule.pack, rule.path, rule.line, tuple(tried), 0, tuple(ignored))


def _name(rule: RunRule, number: int) -> str:
    return rule.written.tests[number].name or f"test {number + 1}"


def _try(rules: PolicySet, part: Rule | Filter, changes: Sequence[Mutant]) -> RuleMutation:
    tests: list[tuple[str, Status, RecordReadings]] = []
    ignored = []
    for number, test in enumerate(part.written.tests, start=1):
        name, readings = test.name or f"test {number}", rules.readings(examples.build(test.record))
        if _status(part, part.detection, readings) is Status(test.expect):
            tests.append((name, Status(test.expect), readings))
        else:
            ignored.append(name)
    tried, equivalent = [], 0
    for mutant in changes:
        noticed = tuple(name for name, expected, on in tests if _status(part, mutant.detection, on) is not expected)
        differs = None if noticed else difference(part.detection, mutant.detection)
        if differs is not None and differs.is_none:
            equivalent += 1
            continue
        advice = "" if noticed else _advice(mutant, differs)
        tried.append(TriedMutant(mutant.kind, mutant.what, mutant.mark.line, noticed, advice))
    pack = part.pack if isinstance(part, Rule) else part.filter_set
    return RuleMutation(part.name, pack, part.path, part.line, tuple(tried), equivalent, tuple(ignored))


def _status(part: Rule | Filter, detection: Detection, readings: RecordReadings) -> Status:
    """What the rule or filter with this detection says of a test's record."""
    if isinstance(part, Rule) and part.inapplicable(readings.record):
        return Status.NOT_APPLICABLE
    try:
        return says(detection, lambda clause: clause.truth(readings)).status
    except Exception:  # noqa: BLE001 - as in a run: a crash is unknown
        return Status.UNKNOWN


def _advice(mutant: Mutant, differs: Difference | None) -> str:
    """What test would notice the change."""
    if mutant.kind == "comparison":
        return f"add a record that stands exactly at the limit of {mutant.part}."
    if differs is None:
        return f"add a record for which {mutant.part} decides."
    if differs.more and mutant.wanted:
        return f"add a near miss in which all else holds and {mutant.part} does not (`expect: no_match`)."
    if differs.more:
        return f"add a near miss in which all else holds, and {mutant.part} as well (`expect: no_match`)."
    if differs.less:
        return f"add a record that matches thanks to {mutant.part} alone (`expect: match`)."
    return f"add a record in which what {mutant.part} reads is missing or cannot be read."
