"""What is allowed in a policy file and still probably not meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.policy import condition as conditions
from monitor.policy.clauses import TextClause
from monitor.policy.loader import read_packs
from monitor.policy.matching import compile_pattern, needs_no_literal
from monitor.records import Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from monitor.errors import Fault
    from monitor.policy.files import LoadedPack
    from monitor.policy.rules import Rule
    from monitor.strict_yaml import Mark, Node


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


def lint(paths: Sequence[Path]) -> list[Fault | LintNote]:
    """Every fault (such files do not load), then notes on the files that are otherwise right."""
    faults: list[Fault] = []
    packs = read_packs(paths, faults)
    return [*faults, *(note for pack in packs for note in _notes(pack))]


def _notes(pack: LoadedPack) -> Iterator[LintNote]:
    rules = pack.root.get("rules")
    for rule, node in zip(pack.rules, rules.items() if rules else [], strict=True):
        for mark, problem, fix in _about(rule, node):
            yield LintNote(pack.path, mark.line, mark.column, rule.name, problem, fix)


def _about(rule: Rule, node: Node) -> Iterator[tuple[Mark, str, str]]:
    expected = {test.expect for test in rule.written.tests}
    if not {"match", "no_match"} <= expected:
        fix = "Add at least one record that must match and one near miss that must not."
        yield node.place(["tests"]), "its tests do not show both a match and a no_match.", fix
    if not rule.written.description:
        yield node.mark, "it has no description.", "Say in a sentence what it looks for, and why."
    if not rule.written.falsepositives and Level(rule.written.level) not in {Level.INFORMATIONAL, Level.LOW}:
        yield node.mark, "it names no false positives.", "Say honestly what harmless text it would hit."
    used = conditions.references(rule.detection.condition)
    for name, selection in rule.detection.selections.items():
        mark = node.place(["detection", name])
        if name not in used:
            yield mark, f"the condition does not use `{name}`.", "Use it, or leave it out."
        for clause in selection.clauses:
            if isinstance(clause, TextClause):
                yield from _about_patterns(clause, mark)


def _about_patterns(clause: TextClause, mark: Mark) -> Iterator[tuple[Mark, str, str]]:
    is_regex = "|re" in clause.label
    for pattern in clause.patterns:
        if is_regex and all(compile_pattern(pattern).search(text) for text in ("", "\ufffd")):
            yield mark, f"a pattern of `{clause.label}` matches every text.", "Is that meant?"
        elif needs_no_literal(pattern) and r"\A" not in pattern:
            fix = "It is run on every text; a word that must occur makes it fast."
            yield mark, f"a pattern of `{clause.label}` requires no literal text.", fix
        elif not is_regex and "\\*" in pattern:
            yield mark, f"`*` in `{clause.label}` means the character itself.", "For anything in between use `re`."
