"""What is allowed in rules over a run and probably not meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.policy.over_run import RunWatch, run_examples
from monitor.policy.readings import FieldType
from monitor.policy.run_schema import FOUND, LEAST
from monitor.records import Action, Level, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.policy.over_run import RunRule
    from monitor.policy.rules import PolicySet
    from monitor.policy.tools.lint_detection import About
    from monitor.strict_yaml import Node


@dataclass(frozen=True, slots=True)
class LintNote:
    """Something to look at: the file loads as it is."""

    path: str
    line: int
    column: int
    rule: str
    problem: str
    fix: str = ""

    def __str__(self) -> str:
        tail = f" {self.fix}" if self.fix else ""
        return f"{self.path}:{self.line}:{self.column}: {self.rule}: {self.problem}{tail}"


_LOOKS_BACK = {"temporal_ordered", "absence"}


def about_run_rules(rules: PolicySet, nodes: dict[str, Node]) -> Iterator[LintNote]:
    """Notes on every rule over a run."""
    seen: dict[str, RunRule] = {}
    for rule in rules.run_rules:
        about = list(_about_words(rule, nodes[rule.id]))
        find = _about_correlation if rule.written.correlation else _about_joined
        about += find(rules, rule, nodes[rule.id])
        about += _about_tests(rules, rule, nodes[rule.id])
        content = repr(getattr(rule.written, rule.written.kind))
        first = seen.setdefault(content, rule)
        if first is not rule:
            problem = f"it looks for the same as `{first.name}` ({first.path}:{first.line})."
            about.append((nodes[rule.id].place([rule.written.kind]), problem, "Keep one of the two."))
        for mark, problem, fix in sorted(about, key=lambda one: (one[0].line, one[0].column)):
            yield LintNote(rule.path, mark.line, mark.column, rule.name, problem, fix)


def _about_words(rule: RunRule, node: Node) -> Iterator[About]:
    written = rule.written
    if not written.description:
        yield node.mark, "it has no description.", "Say in a sentence what it looks for, and why."
    if not written.falsepositives and Level(written.level) not in {Level.INFORMATIONAL, Level.LOW}:
        yield node.mark, "it names no false positives.", "Say honestly what harmless run it would hit."
    if written.date and written.modified and written.modified < written.date:
        problem = f"it was modified on {written.modified}, before its date, {written.date}."
        yield node.place(["modified"]), problem, "Correct one of the two."
    if written.status == "deprecated" and not written.related:
        fix = "Name the rule that takes its place under `related`, or leave the rule out."
        yield node.place(["status"]), "it is deprecated, and names no other rule.", fix


def _about_correlation(rules: PolicySet, rule: RunRule, node: Node) -> Iterator[About]:
    """What can never match, and what stops a run before it can."""
    correlation = rule.written.correlating
    by_name = {one.name: one for one in rules.rules}
    for key, names in (("rules", correlation.rules), ("without", correlation.without)):
        for number, name in enumerate(names):
            mark = node.place(["correlation", key, number])
            part = by_name[name].written
            if part.status == "unsupported":
                ends = "so that it can never match" if key == "rules" else "so that it never came before"
                yield mark, f"`{name}` is marked as unsupported and says nothing, {ends}.", "Name another rule."
            is_last = key == "rules" and number == len(names) - 1
            if part.effective_action is Action.HALT and part.status != "test" and not is_last:
                yield mark, f"`{name}` halts the run by itself: nothing comes after it.", "Let it flag or withhold."
    yield from _about_values(rule, node)
    within = correlation.subcalls
    if within is None:
        return
    mark = node.place(["correlation", "subcalls"])
    if correlation.type == "temporal_ordered" and within < len(correlation.rules):
        problem = (
            f"{len(correlation.rules)} subcalls one after the other are never within {within}: it can never match."
        )
        yield mark, problem, "Widen the window."
    limit = correlation.condition
    if correlation.type == "event_count" and limit is not None:
        least = limit.gte if limit.gte is not None else limit.gt
        if least is not None and (least > within or (limit.gt is not None and least >= within)):
            problem = f"there are never so many among {within} subcalls: it can never match."
            yield mark, problem, "Widen the window, or ask for fewer."


def _about_values(rule: RunRule, node: Node) -> Iterator[About]:
    """A field that never has so many different values."""
    correlation, field = rule.written.correlating, rule.value
    limit = correlation.condition
    if correlation.type != "value_count" or field is None or limit is None or field.type is FieldType.TEXT:
        return
    least = limit.gte if limit.gte is not None else limit.gt
    assert least is not None, "the schema asks for one of the two"
    most = 2 if field.type is FieldType.BOOLEAN else len(field.words) or None
    if field.name in correlation.group_by:
        most = 1
    if most is not None and (least > most or (limit.gt is not None and least >= most)):
        where = " in one group" if most == 1 else ""
        problem = (
            f"`{field.name}` never has more than {most} different value{'s' * (most > 1)}{where}: it can never match."
        )
        yield node.place(["correlation", "condition"]), problem, "Ask for fewer, or count the values of another field."


def _about_joined(rules: PolicySet, rule: RunRule, node: Node) -> Iterator[About]:
    """The same for rules over the tree and over taint."""
    unsupported = {one.name for one in rules.rules if one.written.status == "unsupported"}
    joined = getattr(rule.written, rule.written.kind)
    for key, value in joined.model_dump(by_alias=True, exclude_none=True).items():
        mark = node.place([rule.written.kind, key])
        if value in rule.parts and value in unsupported:
            ends = "nothing is left out for it" if key.startswith("without-") else "it can never match"
            yield mark, f"`{value}` is marked as unsupported and says nothing: {ends}.", "Name another rule."
    tree, taint = rule.written.tree, rule.written.taint
    if tree and tree.same and len(set(tree.same)) < len(tree.same):
        yield node.place(["tree", "same"]), "a field stands there twice.", "Name it once."
    if taint and FOUND not in taint.from_ and taint.least < LEAST:
        problem = f"texts have {taint.least} codepoints in a row in common by chance: white space is not counted."
        yield node.place(["taint", "least"]), problem, f"Ask for {LEAST} or more, or mark what a rule `{FOUND}`."


def _about_tests(rules: PolicySet, rule: RunRule, node: Node) -> Iterator[About]:
    tests = rule.written.tests
    mark = node.place(["tests"])
    if not {"match", "no_match"} <= {test.expect for test in tests}:
        fix = "Add at least one run that must match and one near miss that must not."
        yield mark, "its tests do not show both a match and a no_match.", fix
    nodes = node.get("tests")
    seen: list[object] = []
    for test, written in zip(nodes.items() if nodes else [], tests, strict=True):
        if written.run in seen:
            yield (
                test.mark,
                f"this is the run of test {seen.index(written.run) + 1} again.",
                "Vary it, or leave it out.",
            )
        seen.append(written.run)
    correlation = rule.written.correlation
    looks_back = correlation.type in _LOOKS_BACK if correlation else rule.written.taint is not None
    if looks_back and not _shows_order(rules, rule):
        fix = "Add one of its matching runs the other way round (`expect: no_match`)."
        if correlation and correlation.type == "absence":
            fix = "Add a run in which what is asked for comes too late (`expect: match`), and one in which it came before."
        yield mark, "its tests do not show that the order matters.", fix


def _shows_order(rules: PolicySet, rule: RunRule) -> bool:
    """Whether some test has another answer when its subcalls come the other way round."""
    for test in rule.written.tests:
        if "at" not in test.model_fields_set and Status(test.expect) in {Status.MATCH, Status.NO_MATCH}:
            turned = test.model_copy(update={"run": [_without_parent(step) for step in reversed(test.run)]})
            said = run_examples.said_of(rule, turned, rules.findings, lambda: RunWatch(rules, [rule]))
            is_turned = {said.status, Status(test.expect)} == {Status.MATCH, Status.NO_MATCH}
            correlation = rule.written.correlation
            is_absence = correlation is not None and correlation.type == "absence"
            if is_turned and (is_absence or test.expect == "no_match"):
                return True
    return False


def _without_parent(step: object) -> object:
    """A step that names no subcall before it, nor when it began: turned round, neither would be true."""
    if isinstance(step, list):
        return [_without_parent(one) for one in step]
    assert isinstance(step, dict)
    return {key: value for key, value in step.items() if key not in {"parent", "started"}}
