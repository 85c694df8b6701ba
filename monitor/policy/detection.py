"""The ``detection`` of a rule: named selections of clauses, and the condition that joins them.

A selection is a map (all of its lines must hold), a list of maps (any of them), or a list of phrases that are searched in
every text. The line ``reasoning|contains|all: [a, b]`` is one clause: a field, modifiers, and a value or a list, of which
one is enough unless ``all`` asks for every one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor.errors import Fault
from monitor.policy import condition as conditions
from monitor.policy.clauses import ValueClause
from monitor.policy.judges.question import MAX_QUESTIONS
from monitor.policy.lines import LineCompiler

if TYPE_CHECKING:
    from monitor.policy.clauses import Clause
    from monitor.strict_yaml import Mark, Node


@dataclass(frozen=True, slots=True)
class Selection:
    """Any of ``alternatives``, each of which needs all of its clauses."""

    name: str
    alternatives: tuple[tuple[Clause, ...], ...]

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """All clauses, whichever alternative they are in."""
        return tuple(clause for alternative in self.alternatives for clause in alternative)


@dataclass(frozen=True, slots=True)
class Detection:
    """Compiled selections and condition. ``content`` is what they say in one canonical form, for the rule's hash."""

    selections: dict[str, Selection]
    condition: conditions.Condition
    content: dict[str, Any]


def compile_detection(node: Node, path: str, faults: list[Fault]) -> Detection | None:
    """Compile a rule's ``detection``; what is wrong is appended to ``faults``. None if anything was."""
    return _Compiler(path, faults).detection(node)


class _Compiler:
    """Goes through one detection, collecting every fault."""

    def __init__(self, path: str, faults: list[Fault]) -> None:
        self._path = path
        self._faults = faults
        self._lines = LineCompiler(self._fault)

    def _fault(self, mark: Mark, problem: str, fix: str = "") -> None:
        self._faults.append(Fault(self._path, mark.line, mark.column, problem, fix))

    def detection(self, node: Node) -> Detection | None:
        before = len(self._faults)
        if not isinstance(node.value, dict):
            self._fault(node.mark, "`detection` must be a map of selections and a `condition`.", "See the guide.")
            return None
        selections: dict[str, Selection] = {}
        for name, part in node.value.items():
            if name != "condition":
                self._check_name(name, node.keys[name])
                selections[name] = Selection(name, self._alternatives(name, part))
        condition = self._condition(node, tuple(selections))
        questions = {
            clause.question: node.keys[selection.name]
            for selection in selections.values()
            for clause in selection.clauses
            if isinstance(clause, ValueClause) and clause.question
        }
        if len(questions) > MAX_QUESTIONS:
            problem = f"it asks a judge {len(questions)} questions; one rule may ask {MAX_QUESTIONS}."
            self._fault([*questions.values()][MAX_QUESTIONS], problem, "Make several rules of it.")
        if len(self._faults) > before or condition is None:
            return None
        content = {name: _canonical(part) for name, part in node.value.items() if name != "condition"}
        return Detection(selections, condition, {**content, "condition": conditions.render(condition)})

    def _check_name(self, name: str, mark: Mark) -> None:
        if name in conditions.KEYWORDS:
            self._fault(mark, f"`{name}` is a word of conditions.", "Give the selection another name.")
        elif not name or not name.isascii() or not name.replace("_", "").replace("-", "").isalnum():
            self._fault(mark, f"`{name}` is no name for a selection.", "Use letters, digits, `_` and `-`.")

    def _condition(self, node: Node, selections: tuple[str, ...]) -> conditions.Condition | None:
        part = node.get("condition")
        if part is None:
            fix = "Add, for example, `condition: 1 of them`."
            self._fault(node.mark, "`condition` is missing.", fix)
        elif not selections:
            self._fault(node.mark, "there is no selection.", "Add one, such as `selection: {reasoning|contains: …}`.")
        elif not isinstance(part.value, str):
            self._fault(part.mark, "`condition` must be one line of text.", "Join several conditions with `or`.")
        else:
            try:
                return conditions.parse(part.value, selections)
            except conditions.ConditionError as exc:
                for error in (exc, *exc.others):
                    shift = error.offset if part.inline else 0
                    mark = type(part.mark)(part.mark.line, part.mark.column + shift)
                    self._fault(mark, error.problem, error.fix)
        return None

    def _alternatives(self, name: str, node: Node) -> tuple[tuple[Clause, ...], ...]:
        if isinstance(node.value, dict) and node.value:
            return (self._map(name, node),)
        items = node.items()
        if items and all(isinstance(item.value, dict) and item.value for item in items):
            return tuple(self._map(name, item) for item in items)
        if items and not any(isinstance(item.value, (dict, list)) for item in items):
            clause = self._lines.keywords(name, node)
            return ((clause,),) if clause else ()
        problem = (
            f"the selection `{name}` must be a map of `field|modifier: value`, a list of such maps, or of phrases."
        )
        self._fault(node.mark, problem, "It may not be empty, nor mix maps and phrases.")
        return ()

    def _map(self, name: str, node: Node) -> tuple[Clause, ...]:
        assert isinstance(node.value, dict)
        clauses = [self._lines.line(name, key, value, node.keys[key]) for key, value in node.value.items()]
        return tuple(clause for clause in clauses if clause)


def _canonical(node: Node) -> Any:
    """What a selection says, whether its author wrote one value or a list of one."""
    if isinstance(node.value, dict):
        return {key: _canonical(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [item.plain() if not isinstance(item.value, dict) else _canonical(item) for item in node.value]
    return [node.value]
