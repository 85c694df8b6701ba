"""Which texts of a subcall each rule reads, from the packs at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor import catalog, policy
from monitor.audit.integrity.coverage import SURFACES
from monitor.errors import ConfigError
from monitor.policy.clauses import ReferenceClause, TextClause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.policy import Rule

_READS: dict[str, tuple[str, ...]] = {
    "task": ("task",),
    "prompt": ("messages",),
    "reasoning": ("reasoning",),
    "output": ("output",),
    "written": ("reasoning", "output", "tool_calls"),
    "raw": ("raw",),
    "error": ("error",),
    "tool.arguments": ("tool_calls",),
    "keywords": SURFACES,
}
"""Fields that read a surface whole. ``system``, ``user``, ``data`` and ``tool.result`` read some of the messages only."""


def surfaces_of(packs: Iterable[str]) -> tuple[dict[str, frozenset[str]], list[str]]:
    """The surfaces that each rule reads, by the rule's hash; and the packs that could not be loaded, with the reason."""
    reads: dict[str, frozenset[str]] = {}
    problems: list[str] = []
    for pack in dict.fromkeys(packs):
        try:
            rules = policy.load([catalog.find("policy", pack)])
        except ConfigError as problem:
            problems.append(f"{pack}: {str(problem).splitlines()[0]}")
            continue
        by_name = {rule.name: _surfaces(rule) for rule in rules.rules}
        reads.update((rule.rule_hash, by_name[rule.name]) for rule in rules.rules)
        reads.update(
            (rule.rule_hash, frozenset().union(*(by_name[part] for part in rule.parts))) for rule in rules.run_rules
        )
    return reads, problems


def _surfaces(rule: Rule) -> frozenset[str]:
    """What the rule searches whole. A clause that asks whether something exists, or for one value in it, does not."""
    clauses = [clause for selection in rule.detection.selections.values() for clause in selection.clauses]
    fields = {clause.field.name for clause in clauses if isinstance(clause, (TextClause, ReferenceClause))}
    return frozenset(surface for name in fields for surface in _READS.get(name, ()))
