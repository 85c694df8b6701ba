"""Where in its file each clause of a compiled detection stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.canonical import escape_text
from monitor.policy.tools.literals import stands_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.policy.clauses import Clause
    from monitor.policy.detection import Detection
    from monitor.policy.files import PolicyFiles
    from monitor.strict_yaml import Mark, Node


@dataclass(frozen=True, slots=True)
class PlacedClause:
    """A clause and its line: ``selection``, which alternative of it, ``line`` as ``field|modifier``.

    ``mark`` is where the line begins, ``node`` has its values.
    """

    clause: Clause
    selection: str
    alternative: int
    index: int
    line: str
    mark: Mark
    node: Node

    def place_of(self, pattern: object) -> Mark:
        """Where in the file the value stands from which ``pattern`` was made; the line where that cannot be told."""
        for item in self.node.items() or [self.node]:
            written = escape_text(item.value) if isinstance(item.value, str) else item.value
            if written == pattern or (
                isinstance(pattern, str) and isinstance(written, str) and stands_for(pattern, written)
            ):
                return item.mark
        return self.mark


def placed(detection: Detection, node: Node) -> Iterator[PlacedClause]:
    """Every clause of a detection with its place; ``node`` is the ``detection`` of the rule in its file."""
    for name, selection in detection.selections.items():
        part = node.get(name)
        assert part is not None, "it was compiled from this tree"
        maps = [part] if isinstance(part.value, dict) else part.items()
        is_phrases = not isinstance(part.value, dict) and not isinstance(maps[0].value, dict)
        for number, clauses in enumerate(selection.alternatives):
            if is_phrases:
                yield PlacedClause(clauses[0], name, number, 0, "keywords", node.keys[name], part)
                continue
            lines = maps[number]
            assert isinstance(lines.value, dict), "an alternative is a map"
            for index, (clause, key) in enumerate(zip(clauses, lines.value, strict=True)):
                yield PlacedClause(clause, name, number, index, key, lines.keys[key], lines.value[key])


def nodes_of(loaded: PolicyFiles) -> dict[str, Node]:
    """The tree of every rule, rules over a run among them, and filter, by id."""
    found: dict[str, Node] = {}
    for pack in loaded.packs:
        rules = pack.root.get("rules")
        found |= {rule.id: node for rule, node in zip(pack.rules, rules.items() if rules else [], strict=True)}
        over_run, written = pack.root.get("run_rules"), pack.metadata.run_rules
        found |= {one.id: node for one, node in zip(written, over_run.items() if over_run else [], strict=True)}
    for source in loaded.filter_sets:
        filters = source.root.get("filters")
        found |= {
            one.written.id: node for one, node in zip(source.filters, filters.items() if filters else [], strict=True)
        }
    return found
