r"""The conditions of an Agent Threat Rule as selections, and how they are joined.

The meaning is that of the peer's engine: patterns ignore case whatever they say, flags at their beginning are
dropped, and a pattern with ``\u{`` or ``\p{`` has the flag ``u``. A condition that cannot be said counts as one that
never holds where that can only make the rule match less; where it would make it match more, the rule is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import re2

from monitor.canonical import escape_text
from monitor.policy.importers import atr_expression
from monitor.policy.importers.atr_expression import ExpressionError
from monitor.policy.importers.atr_fields import FIELDS
from monitor.policy.importers.patterns import translate
from monitor.policy.importers.reasons import Reason, UnreadableError
from monitor.policy.importers.report import Remark
from monitor.policy.importers.steps import RULE, Steps
from monitor.policy.lines import MAX_PHRASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.strict_yaml import Node

Line: TypeAlias = tuple[str, tuple[str, ...]]
"""What follows the field, such as ``re|i``, and the values, any of which may match."""

_FLAGS = "imsx"
_EXPRESSIONS = {"any": "any", "or": "any", "": "any", "all": "all", "and": "all"}


@dataclass(frozen=True, slots=True)
class Selection:
    """One condition: any of ``lines`` over any of ``fields``. ``comment`` is what the file says of it."""

    name: str
    foreign_field: str
    lines: tuple[Line, ...]
    comment: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Our fields."""
        return FIELDS[self.foreign_field].ours


@dataclass(slots=True)
class Detection:
    """What came of ``detection``. ``condition`` is empty where nothing is left."""

    selections: list[Selection] = field(default_factory=list)
    condition: str = ""
    total: int = 0
    remarks: list[Remark] = field(default_factory=list)


def read_detection(detection: Node) -> Detection:
    """Selections and condition from a rule's ``detection``; what is missing is in its remarks."""
    found = Detection()
    steps = Steps(RULE)
    names: list[tuple[str, Node | None]] = []
    for number, (name, node) in enumerate(_conditions(detection), start=1):
        found.total += 1
        own = f"c{number}"
        where = f"condition {number}" if name is None else f"condition `{name}`"
        try:
            selection, notes = _selection(own, node, steps)
        except UnreadableError as exc:
            found.remarks.append(Remark(exc.reason, where, exc.detail, node.mark.line))
            names.append((name or own, None))
            continue
        found.selections.append(selection)
        found.remarks += [Remark(note, where, "", node.mark.line) for note in dict.fromkeys(notes)]
        names.append((name or own, node))
    _join(found, detection, names)
    return found


def _conditions(detection: Node) -> Iterator[tuple[str | None, Node]]:
    """Each condition with its name, where it has one: a list or a map of them."""
    conditions = detection.get("conditions")
    if conditions is None:
        return
    if isinstance(conditions.value, dict):
        yield from conditions.value.items()
    for node in conditions.items():
        yield None, node


def _join(found: Detection, detection: Node, names: list[tuple[str, Node | None]]) -> None:
    written = detection.get("condition")
    text = "" if written is None or written.value is None else str(written.plain()).strip()
    line = (written or detection).mark.line
    own = {name: f"c{number}" for number, (name, _) in enumerate(names, start=1)}
    missing = {name for name, node in names if node is None}
    simple = _EXPRESSIONS.get(text.lower()) if text not in own else None
    try:
        if simple is None:
            condition = atr_expression.translate(text, own, missing)
        elif simple == "all" and missing:
            condition = ""
        else:
            known = [own[name] for name, _ in names if name not in missing]
            condition = (" or " if simple == "any" else " and ").join(known) if len(known) < 2 else ""
            condition = condition or (("1 of them" if simple == "any" else "all of them") if known else "")
    except ExpressionError as exc:
        found.remarks.append(Remark(Reason.EXPRESSION, "condition", str(exc), line))
        return
    if condition:
        used = set(atr_expression.names_in(condition)) or {selection.name for selection in found.selections}
        found.selections = [selection for selection in found.selections if selection.name in used]
        found.condition = condition
    else:
        found.remarks.append(Remark(Reason.NOTHING_LEFT, "condition", f"{len(missing)} of {found.total} missing", line))


def _selection(name: str, node: Node, steps: Steps) -> tuple[Selection, list[Reason]]:
    if not isinstance(node.value, dict):
        raise UnreadableError(Reason.CONDITION_SHAPE, "a condition is a map")
    if node.get("steps") is not None:
        raise UnreadableError(Reason.SEQUENCE, "`steps`")
    if node.get("metric") is not None:
        raise UnreadableError(Reason.THRESHOLD, f"`{_text(node, 'metric')}`")
    foreign = _text(node, "field")
    if not foreign:
        raise UnreadableError(Reason.CONDITION_SHAPE, "it has no `field`")
    if foreign not in FIELDS:
        raise UnreadableError(Reason.FIELD, f"`{foreign[:80]}`")
    notes: list[Reason] = []
    if node.get("patterns") is not None:
        operator = _text(node, "match_type") or "regex"
        values = _values(node, "patterns")
        cased = (case := node.get("case_sensitive")) is not None and case.value is True
    else:
        operator, values, cased = _text(node, "operator"), _values(node, "value"), False
        if not operator:
            raise UnreadableError(Reason.CONDITION_SHAPE, "it has no `operator`")
    if node.get("language") is not None:
        notes.append(Reason.GATE_DROPPED)
    lines = tuple(_line(operator, values, notes, steps, cased=cased, named=node.get("patterns") is not None))
    return Selection(name, foreign, lines, _text(node, "description")), notes


def _text(node: Node, key: str) -> str:
    part = node.get(key)
    return part.value if part is not None and isinstance(part.value, str) else ""


def _values(node: Node, key: str) -> list[str]:
    part = node.get(key)
    nodes = [] if part is None else part.items() if isinstance(part.value, list) else [part]
    values = [item.value for item in nodes if isinstance(item.value, str) and item.value]
    if not values or len(values) < len(nodes):
        raise UnreadableError(Reason.CONDITION_SHAPE, f"`{key}` is not a text, or a list of texts")
    return values


def _line(
    operator: str, values: list[str], notes: list[Reason], steps: Steps, *, cased: bool, named: bool
) -> Iterator[Line]:
    if operator != "regex" and (longest := max(map(len, values))) > MAX_PHRASE:
        raise UnreadableError(Reason.PHRASE_TOO_LONG, f"{longest:,} characters")
    ours = {"contains": "contains", "starts_with": "startswith"}
    if operator == "regex":
        yield "re" if cased else "re|i", tuple(_pattern(value, notes, steps, cased=cased) for value in values)
    elif operator in ours and not cased:
        yield ours[operator], tuple(values)
    elif operator in {*ours, "exact"}:
        shape = {"contains": "{}", "starts_with": r"\A{}", "exact": r"\A{}\z"}[operator]
        exactly = cased or not named  # the peer's two forms differ: in a list of conditions, `exact` heeds case
        texts = (shape.format(re2.escape(escape_text(value))) for value in values)
        yield "re" if exactly else "re|i", tuple(texts)
    else:
        raise UnreadableError(Reason.OPERATOR, f"`{operator[:80]}`")


def _pattern(value: str, notes: list[Reason], steps: Steps, *, cased: bool) -> str:
    pattern, flags = _without_flags(value)
    if flags - {"i"}:
        notes.append(Reason.FLAGS_IGNORED)
    share = steps.part()
    try:
        made = translate(pattern, unicode="\\u{" in pattern or "\\p{" in pattern, ignore_case=not cased, steps=share)
    finally:
        steps.settle(share)
    notes += made.notes
    return made.text


def _without_flags(value: str) -> tuple[str, set[str]]:
    """The pattern without the flags that it begins with, as in ``(?is)``."""
    end = value.find(")")
    if value.startswith("(?") and end > 2 and all(flag in _FLAGS for flag in value[2:end]):
        return value[end + 1 :], set(value[2:end])
    return value, set()
