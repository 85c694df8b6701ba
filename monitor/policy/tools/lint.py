"""What is wrong in policy files, what is allowed and probably not meant, and what the rules cost at worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.policy.loader import assemble, read_policy
from monitor.policy.tools.cost import Unbounded, cost_of, outside, patterns_of
from monitor.policy.tools.lint_detection import about_detection, about_patterns
from monitor.policy.tools.lint_questions import about_questions
from monitor.policy.tools.lint_runs import LintNote, about_run_rules
from monitor.policy.tools.places import nodes_of
from monitor.policy.tools.satisfiability import shape
from monitor.policy.windows import rule_window, run_rule_window
from monitor.records import Level

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence
    from pathlib import Path

    from monitor.errors import Fault
    from monitor.policy.files import LoadedPack, PolicyFiles
    from monitor.policy.filters import Filter
    from monitor.policy.over_run import RunRule
    from monitor.policy.rules import Rule
    from monitor.policy.tools.cost import Cost
    from monitor.policy.tools.lint_detection import About
    from monitor.policy.windows import RuleWindow
    from monitor.strict_yaml import Node


@dataclass(frozen=True, slots=True)
class RuleCost:
    """What a rule's patterns cost at worst."""

    rule: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class PackCost:
    """What a pack's patterns cost at worst, each pattern counted once; ``rules`` has the costliest first.

    ``outside`` is what that does not count.
    """

    pack: str
    path: str
    cost: Cost
    rules: tuple[RuleCost, ...]
    outside: Unbounded


@dataclass(frozen=True, slots=True)
class LintReport:
    """All that lint has to say. ``windows`` is what streams that are released before their end meet of each rule."""

    faults: tuple[Fault, ...]
    notes: tuple[LintNote, ...]
    costs: tuple[PackCost, ...]
    windows: tuple[RuleWindow, ...]


def lint(paths: Sequence[Path], *, today: str | None = None) -> list[Fault | LintNote]:
    """Every fault (such files do not load), then notes on the files that are otherwise right."""
    report = lint_report(paths, today=today)
    return [*report.faults, *report.notes]


def lint_report(paths: Sequence[Path], *, today: str | None = None) -> LintReport:
    """Faults, notes, and a bound of the cost of every pack that loads. ``today`` decides which filters have expired."""
    faults: list[Fault] = []
    loaded = read_policy(paths, faults, today=today)
    nodes = nodes_of(loaded)
    notes = [note for pack in loaded.packs for note in _about_pack(pack, nodes)]
    notes += [note for source in loaded.filter_sets for one in source.filters for note in _about_filter(one, nodes)]
    notes += _about_twins(loaded, nodes)
    active = [one for source in loaded.filter_sets for one in source.filters if not one.is_expired]
    run_rules: tuple[RunRule, ...] = ()
    if not faults:
        rules = assemble(loaded)
        run_rules = rules.run_rules
        notes += about_run_rules(rules, nodes)
    windows = [
        rule_window(rule, tuple(one.name for one in active if one.is_about(rule.id, rule.name)))
        for pack in loaded.packs
        for rule in pack.rules
    ]
    windows += [run_rule_window(rule) for rule in run_rules]
    return LintReport(tuple(faults), tuple(notes), tuple(map(_cost, loaded.packs)), tuple(windows))


def _about_pack(pack: LoadedPack, nodes: dict[str, Node]) -> Iterator[LintNote]:
    written = pack.metadata
    if written.date and written.modified and written.modified < written.date:
        mark = pack.root.place(["modified"])
        yield LintNote(pack.path, mark.line, mark.column, written.pack, *_wrong_order(written.date, written.modified))
    for rule in pack.rules:
        for mark, problem, fix in _in_order(_about_rule(rule, nodes[rule.id])):
            yield LintNote(pack.path, mark.line, mark.column, rule.name, problem, fix)


def _about_rule(rule: Rule, node: Node) -> Iterator[About]:
    written = rule.written
    expected = {test.expect for test in written.tests}
    if not {"match", "no_match"} <= expected:
        fix = "Add at least one record that must match and one near miss that must not."
        yield node.place(["tests"]), "its tests do not show both a match and a no_match.", fix
    yield from _about_tests(node, [test.record for test in written.tests])
    if not written.description:
        yield node.mark, "it has no description.", "Say in a sentence what it looks for, and why."
    if not written.falsepositives and Level(written.level) not in {Level.INFORMATIONAL, Level.LOW}:
        yield node.mark, "it names no false positives.", "Say honestly what harmless text it would hit."
    if written.date and written.modified and written.modified < written.date:
        yield node.place(["modified"]), *_wrong_order(written.date, written.modified)
    if written.status == "deprecated" and not written.related:
        fix = "Name the rule that takes its place under `related`, or leave the rule out."
        yield node.place(["status"]), "it is deprecated, and names no other rule.", fix
    detection = node.get("detection")
    assert detection is not None, "every rule has one"
    yield from about_detection(rule.detection, detection)
    yield from about_patterns(rule.detection, detection)
    yield from about_questions(rule.detection, detection)


def _about_tests(node: Node, records: Sequence[object]) -> Iterator[About]:
    tests = node.get("tests")
    seen: list[object] = []
    for test, record in zip(tests.items() if tests else [], records, strict=True):
        if record in seen:
            yield test.mark, f"this is the record of test {seen.index(record) + 1} again.", "Vary it, or leave it out."
        seen.append(record)


def _about_filter(one: Filter, nodes: dict[str, Node]) -> Iterator[LintNote]:
    node = nodes[one.written.id]
    detection = node.get("detection")
    assert detection is not None, "every filter has one"
    about = [*about_detection(one.detection, detection), *about_patterns(one.detection, detection)]
    if one.is_expired:
        problem = f"it expired on {one.written.expires}, and suppresses nothing since."
        about.insert(
            0, (node.place(["expires"]), problem, "Look whether it is still needed; date it anew, or drop it.")
        )
    if not {"match", "no_match"} <= {test.expect for test in one.written.tests}:
        fix = "Add a record that it must suppress (`expect: match`) and one that it must not."
        about.append((node.place(["tests"]), "its tests do not show both a match and a no_match.", fix))
    for mark, problem, fix in _in_order(about):
        yield LintNote(one.path, mark.line, mark.column, one.name, problem, fix)


def _about_twins(loaded: PolicyFiles, nodes: dict[str, Node]) -> Iterator[LintNote]:
    """Rules that look for the same: one finding, two names."""
    seen: dict[Hashable, Rule] = {}
    for pack in loaded.packs:
        for rule in pack.rules:
            source = rule.written.logsource
            first = seen.setdefault((shape(rule.detection), source and (source.product, source.service)), rule)
            if first is not rule:
                mark = nodes[rule.id].place(["detection"])
                problem = f"it looks for the same as `{first.name}` ({first.path}:{first.line})."
                yield LintNote(rule.path, mark.line, mark.column, rule.name, problem, "Keep one of the two.")


def _in_order(about: Iterable[About]) -> list[About]:
    return sorted(about, key=lambda one: (one[0].line, one[0].column))


def _wrong_order(date: str, modified: str) -> tuple[str, str]:
    return f"it was modified on {modified}, before its date, {date}.", "Correct one of the two."


def _cost(pack: LoadedPack) -> PackCost:
    rules = [RuleCost(rule.name, cost_of(patterns_of([rule.detection]))) for rule in pack.rules]
    rules.sort(key=lambda one: (-one.cost.bound_per_byte, one.rule))
    whole = cost_of(patterns_of(rule.detection for rule in pack.rules))
    rest = outside(rule.detection for rule in pack.rules)
    return PackCost(pack.metadata.pack, pack.path, whole, tuple(rules), rest)
