"""Small changes to a rule, each of which a good set of tests should notice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from monitor.policy import condition as conditions
from monitor.policy.clauses import ReferenceClause, TextClause, ValueClause, WordClause
from monitor.policy.detection import Detection, Selection
from monitor.policy.tools.literals import shown
from monitor.policy.tools.places import PlacedClause, placed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.policy.clauses import Clause
    from monitor.policy.condition import Condition
    from monitor.strict_yaml import Mark, Node

_STEP = {"lt": "lte", "lte": "lt", "gt": "gte", "gte": "gt"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed detection. ``what`` says the change in words ("dropping …"), ``part`` what decides there.

    ``mark`` is where it is. ``wanted`` is whether the part speaks for a match; behind a ``not`` it speaks against one.
    """

    kind: str
    what: str
    part: str
    mark: Mark
    detection: Detection
    wanted: bool = True


def mutants(detection: Detection, node: Node, *, values: bool = False) -> Iterator[Mutant]:
    """Every mutant of a detection; ``node`` is its tree.

    Each clause and each selection dropped, each ``not`` taken away, each comparison of numbers moved by one step
    (``lt``, ``lte``), each ``all`` made any; with ``values`` also each value of a list dropped.
    """
    wanted = conditions.asserted(detection.condition)
    for one in placed(detection, node):
        if one.selection in conditions.references(detection.condition):
            of_line = [*_without_clause(detection, one), *_shifted(detection, one)]
            if values:
                of_line += _without_values(detection, one)
            yield from (replace(mutant, wanted=one.selection in wanted) for mutant in of_line)
    yield from _of_condition(detection, node)


def _without_clause(detection: Detection, one: PlacedClause) -> Iterator[Mutant]:
    """A clause that is all there is of its selection goes with the selection."""
    alternatives = list(detection.selections[one.selection].alternatives)
    rest = tuple(clause for index, clause in enumerate(alternatives[one.alternative]) if index != one.index)
    alternatives[one.alternative : one.alternative + 1] = [rest] if rest else []
    if alternatives:
        part = f"{one.selection}: {one.line}"
        yield Mutant("clause", f"dropping `{part}`", f"`{part}`", one.mark, _with(detection, one, tuple(alternatives)))


def _shifted(detection: Detection, one: PlacedClause) -> Iterator[Mutant]:
    clause, part = one.clause, f"`{one.selection}: {one.line}`"
    if isinstance(clause, (ValueClause, ReferenceClause)) and clause.comparison in _STEP:
        step = _STEP[clause.comparison]
        changed = _with_clause(detection, one, replace(clause, comparison=step))
        yield Mutant("comparison", f"turning `{clause.comparison}` of {part} into `{step}`", part, one.mark, changed)
    if isinstance(clause, (TextClause, WordClause)) and clause.every:
        changed = _with_clause(detection, one, replace(clause, every=False))
        yield Mutant("all", f"leaving `all` out of {part}", part, one.mark, changed)


def _without_values(detection: Detection, one: PlacedClause) -> Iterator[Mutant]:
    clause = one.clause
    changed: dict[Any, Clause] = {}
    if isinstance(clause, TextClause):
        changed = {p: replace(clause, patterns=clause.patterns - {p}) for p in sorted(clause.patterns)}
    elif isinstance(clause, WordClause):
        rests = {m.pattern: tuple(other for other in clause.matchers if other is not m) for m in clause.matchers}
        changed = {pattern: replace(clause, matchers=rest) for pattern, rest in rests.items()}
    elif isinstance(clause, ValueClause):
        changed = {v: replace(clause, values=tuple(x for x in clause.values if x != v)) for v in clause.values}
    for value, without in changed.items() if len(changed) > 1 else ():
        text = _cut(shown(value) if isinstance(value, str) else str(value))
        what = f"dropping `{text}` from `{one.selection}: {one.line}`"
        yield Mutant("value", what, f"`{text}`", one.place_of(value), _with_clause(detection, one, without))


def _of_condition(detection: Detection, node: Node) -> Iterator[Mutant]:
    mark = node.place(["condition"])
    for name in detection.selections:
        if name in conditions.references(detection.condition):
            rest = _without(detection.condition, name)
            if rest is not None:
                changed = replace(detection, condition=rest)
                wanted = name in conditions.asserted(detection.condition)
                yield Mutant("selection", f"dropping `{name}` from the condition", f"`{name}`", mark, changed, wanted)
    for affirmed, part in _without_not(detection.condition):
        what = f"taking the `not` away before `{_cut(conditions.render(part))}`"
        changed = replace(detection, condition=affirmed)
        yield Mutant("not", what, f"`{_cut(conditions.render(part))}`", mark, changed)


def _without(condition: Condition, name: str) -> Condition | None:
    """The condition without a selection, or None where nothing is left."""
    if isinstance(condition, conditions.Ref):
        return None if condition.name == name else condition
    if isinstance(condition, conditions.Not):
        inner = _without(condition.part, name)
        return None if inner is None else conditions.Not(inner)
    rest = tuple(part for whole in condition.parts if (part := _without(whole, name)) is not None)
    if len(rest) < 2:
        return rest[0] if rest else None
    return type(condition)(rest)


def _without_not(condition: Condition) -> Iterator[tuple[Condition, Condition]]:
    """(the condition without one of its ``not``, what stood behind it), for each."""
    if isinstance(condition, conditions.Ref):
        return
    if isinstance(condition, conditions.Not):
        yield condition.part, condition.part
        for inner, part in _without_not(condition.part):
            yield conditions.Not(inner), part
        return
    for index, whole in enumerate(condition.parts):
        for changed, part in _without_not(whole):
            yield type(condition)((*condition.parts[:index], changed, *condition.parts[index + 1 :])), part


def _with_clause(detection: Detection, one: PlacedClause, clause: Clause) -> Detection:
    alternatives = list(detection.selections[one.selection].alternatives)
    clauses = list(alternatives[one.alternative])
    clauses[one.index] = clause
    alternatives[one.alternative] = tuple(clauses)
    return _with(detection, one, tuple(alternatives))


def _with(detection: Detection, one: PlacedClause, alternatives: tuple[tuple[Clause, ...], ...]) -> Detection:
    selection = Selection(one.selection, alternatives)
    return replace(detection, selections={**detection.selections, one.selection: selection})


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
