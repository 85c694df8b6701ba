"""The ``detection`` of a rule: named selections of clauses, and the condition that joins them.

A selection is a map (all of its lines must hold), a list of maps (any of them), or a list of phrases that are searched in
every text. The line ``reasoning|contains|all: [a, b]`` is one clause: a field, modifiers, and a value or a list, of which
one is enough unless ``all`` asks for every one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import re2

from monitor.canonical import escape_text
from monitor.errors import Fault
from monitor.policy import condition as conditions
from monitor.policy.clauses import COMPARISONS, Clause, ExistsClause, TextClause, ValueClause, WordClause
from monitor.policy.fields import FIELDS, KEYWORDS, FieldType
from monitor.policy.matching import PatternError, compile_pattern
from monitor.policy.names import describe, nearest, suggestion
from monitor.policy.regex_help import explain

if TYPE_CHECKING:
    from monitor.policy.fields import Field
    from monitor.strict_yaml import Mark, Node

_SHAPES = {"": r"\A{}\z", "contains": "{}", "startswith": r"\A{}", "endswith": r"{}\z"}
_REGEX_FLAGS = ("i", "m", "s")
MODIFIERS = ("contains", "startswith", "endswith", "re", *_REGEX_FLAGS, "all", "exists", "lt", "lte", "gt", "gte")
LATER_MODIFIERS = ("cased", "neq", "fieldref")
_ALLOWED = {
    FieldType.TEXT: {"contains", "startswith", "endswith", "re", *_REGEX_FLAGS, "all", "exists"},
    FieldType.WORD: {"contains", "startswith", "endswith", "re", *_REGEX_FLAGS, "all", "exists"},
    FieldType.NUMBER: {"lt", "lte", "gt", "gte", "exists"},
    FieldType.BOOLEAN: {"exists"},
}
_MAX_VALUES = 2_000


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
                shift = exc.offset if part.inline else 0
                mark = type(part.mark)(part.mark.line, part.mark.column + shift)
                self._fault(mark, exc.problem, exc.fix)
        return None

    def _alternatives(self, name: str, node: Node) -> tuple[tuple[Clause, ...], ...]:
        if isinstance(node.value, dict) and node.value:
            return (self._map(name, node),)
        items = node.items()
        if items and all(isinstance(item.value, dict) and item.value for item in items):
            return tuple(self._map(name, item) for item in items)
        if items and not any(isinstance(item.value, (dict, list)) for item in items):
            clause = self._clause(f"{name}: keywords", KEYWORDS, ["contains"], node, node.mark)
            return ((clause,),) if clause else ()
        problem = (
            f"the selection `{name}` must be a map of `field|modifier: value`, a list of such maps, or of phrases."
        )
        self._fault(node.mark, problem, "It may not be empty, nor mix maps and phrases.")
        return ()

    def _map(self, name: str, node: Node) -> tuple[Clause, ...]:
        assert isinstance(node.value, dict)
        clauses = [self._line(name, key, value, node.keys[key]) for key, value in node.value.items()]
        return tuple(clause for clause in clauses if clause)

    def _line(self, selection: str, key: str, node: Node, mark: Mark) -> Clause | None:
        name, *modifiers = key.split("|")
        field = FIELDS.get(name) if name else KEYWORDS
        if field is None:
            self._fault(mark, f"there is no field `{name}`.", suggestion(name, FIELDS))
            return None
        if not name and not {"contains", "re", "startswith", "endswith"} & set(modifiers):
            modifiers = ["contains", *modifiers]
        if not self._modifiers_fit(field, modifiers, mark):
            return None
        return self._clause(f"{selection}: {key}", field, modifiers, node, mark)

    def _modifiers_fit(self, field: Field, modifiers: list[str], mark: Mark) -> bool:
        before = len(self._faults)
        for modifier in modifiers:
            if modifier in LATER_MODIFIERS:
                self._fault(mark, f"the modifier `{modifier}` comes later.", "Say it with `re`, or with `not`.")
            elif modifier not in MODIFIERS:
                close = nearest(modifier, MODIFIERS)
                fix = f"Did you mean `{close}`?" if close else f"Known: {', '.join(MODIFIERS)}."
                self._fault(mark, f"there is no modifier `{modifier}`.", fix)
            elif modifier not in _ALLOWED[field.type]:
                fix = f"It takes: {', '.join(m for m in MODIFIERS if m in _ALLOWED[field.type])}."
                self._fault(mark, f"`{field.name}` is a {field.type.value} and does not take `{modifier}`.", fix)
        kinds = [m for m in modifiers if m not in {*_REGEX_FLAGS, "all"}]
        if len(set(modifiers)) < len(modifiers) or len(kinds) > 1:
            self._fault(mark, f"`{'|'.join(modifiers)}` do not go together.", "Use one kind of comparison in a line.")
        elif set(_REGEX_FLAGS) & set(modifiers) and "re" not in modifiers:
            self._fault(
                mark, "`i`, `m` and `s` go with `re`.", "Other comparisons ignore upper and lower case already."
            )
        elif "exists" in modifiers and "all" in modifiers:
            self._fault(mark, "`exists` takes no `all`.", "Leave `all` out.")
        return len(self._faults) == before

    def _clause(self, label: str, field: Field, modifiers: list[str], node: Node, mark: Mark) -> Clause | None:
        values = node.items() if isinstance(node.value, list) else [node]
        if not values or len(values) > _MAX_VALUES:
            self._fault(node.mark, f"expected 1 to {_MAX_VALUES:,} values, found {len(values)}.", "Add a value.")
            return None
        if "exists" in modifiers:
            if not isinstance(node.value, bool):
                self._fault(node.mark, "`exists` is followed by true or false.", "Write `true` or `false`.")
                return None
            return ExistsClause(field, label, node.value)
        if "all" in modifiers and len(values) == 1:
            self._fault(mark, "`all` needs a list of several values.", "Leave `all` out.")
            return None
        if field.type in {FieldType.NUMBER, FieldType.BOOLEAN}:
            return self._value_clause(label, field, modifiers, values)
        patterns = tuple(pattern for value in values if (pattern := self._pattern(field, modifiers, value)) is not None)
        if len(patterns) < len(values):
            return None
        if field.type is FieldType.WORD:
            clause = WordClause(field, label, tuple(map(compile_pattern, patterns)), "all" in modifiers)
            return self._known_words(clause, node) if field.words else clause
        return TextClause(field, label, frozenset(patterns), "all" in modifiers)

    def _known_words(self, clause: WordClause, node: Node) -> Clause | None:
        """The same clause over a field with few values: which of them it matches is known now."""
        words = tuple(word for word in clause.field.words if clause.matches(word))
        if not words:
            known = ", ".join(f"`{word}`" for word in clause.field.words)
            self._fault(node.mark, f"`{clause.field.name}` is never like that.", f"It is one of {known}.")
            return None
        return ValueClause(clause.field, clause.label, "eq", words)

    def _value_clause(self, label: str, field: Field, modifiers: list[str], values: list[Node]) -> Clause | None:
        known: list[float | bool] = []
        for node in values:
            if isinstance(node.value, (bool, int, float)) and _fits(field, node.value):
                known.append(node.value)
            else:
                problem = f"`{field.name}` is compared with a {field.type.value}, found {describe(node.value)}."
                self._fault(node.mark, problem, "Write it without quotes.")
        comparison = next((modifier for modifier in modifiers if modifier in COMPARISONS), "eq")
        return ValueClause(field, label, comparison, tuple(known)) if len(known) == len(values) else None

    def _pattern(self, field: Field, modifiers: list[str], node: Node) -> str | None:
        """The RE2 pattern for one value, or None where there is a fault."""
        value = node.value
        if not isinstance(value, str):
            fix = "Put it in quotes."
            if value is None:
                fix = f"Write `{field.name}|exists: false`."
            elif isinstance(value, dict):
                fix = "A colon and a space make it a map: put it in single quotes."
            self._fault(node.mark, f"expected text, found {describe(value)}.", fix)
            return None
        if "re" in modifiers:
            return self._regex(modifiers, node, value)
        shape = next((modifier for modifier in modifiers if modifier in _SHAPES), "")
        if field.words and not shape and value.lower() not in field.words:
            self._fault(node.mark, f"`{field.name}` is never `{value}`.", suggestion(value, field.words))
            return None
        if not value and shape:
            self._fault(node.mark, f"every text {shape} nothing.", f"For an empty text write `{field.name}: ''`.")
            return None
        return "(?i)" + _SHAPES[shape].format(_literal(value))

    def _regex(self, modifiers: list[str], node: Node, value: str) -> str | None:
        flags = "".join(flag for flag in _REGEX_FLAGS if flag in modifiers)
        pattern = f"(?{flags}:{value})" if flags else value
        try:
            compile_pattern(value)
            compile_pattern(pattern)
        except PatternError as exc:
            problem, fix = explain(value, str(exc))
            self._fault(node.mark, problem, fix)
            return None
        except UnicodeEncodeError:
            self._fault(node.mark, "the pattern has half a character in it.", "Write the character as `\\x{…}`.")
            return None
        return pattern


def _fits(field: Field, value: float | bool) -> bool:
    return isinstance(value, bool) == (field.type is FieldType.BOOLEAN)


def _literal(value: str) -> str:
    """The text as RE2 must look for it: escaped as stored texts are."""
    return str(re2.escape(escape_text(value)))


def _canonical(node: Node) -> Any:
    """What a selection says, whether its author wrote one value or a list of one."""
    if isinstance(node.value, dict):
        return {key: _canonical(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [item.plain() if not isinstance(item.value, dict) else _canonical(item) for item in node.value]
    return [node.value]
