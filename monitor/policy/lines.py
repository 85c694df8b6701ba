"""One line of a selection, ``field|modifier: value``, into a clause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import re2

from monitor.canonical import escape_text
from monitor.policy.clauses import (
    COMPARISONS,
    Clause,
    ExistsClause,
    ReferenceClause,
    TextClause,
    ValueClause,
    WordClause,
)
from monitor.policy.fields import FIELDS, KEYWORDS, field_named
from monitor.policy.judges.lines import judge_line
from monitor.policy.matching import PatternError, compile_pattern
from monitor.policy.names import describe, nearest, suggestion
from monitor.policy.readings import FieldType
from monitor.policy.regex_help import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.policy.readings import Field
    from monitor.strict_yaml import Mark, Node

SHAPES = {"": r"\A{}\z", "contains": "{}", "startswith": r"\A{}", "endswith": r"{}\z"}
REGEX_FLAGS = ("i", "m", "s")
ORDERS = ("lt", "lte", "gt", "gte")
MODIFIERS = (
    *("contains", "startswith", "endswith", "re", *REGEX_FLAGS),
    *("cased", "all", "exists", *ORDERS, "neq", "fieldref"),
)
_OF_TEXT = frozenset(MODIFIERS) - set(ORDERS)
ALLOWED = {
    FieldType.TEXT: _OF_TEXT,
    FieldType.WORD: _OF_TEXT,
    FieldType.NUMBER: frozenset({*ORDERS, "neq", "exists", "fieldref"}),
    FieldType.BOOLEAN: frozenset({"neq", "exists", "fieldref"}),
}
"""The modifiers that fields of each type take."""

_KINDS = frozenset({"contains", "startswith", "endswith", "re", "exists", *ORDERS})
_APART = {
    ("exists", "all"): ("`exists` takes no `all`.", "Leave `all` out."),
    ("exists", "cased"): ("`exists` takes no `cased`.", "Leave `cased` out."),
    ("exists", "neq"): ("`exists` takes no `neq`.", "Write `exists: false` for `exists|neq: true`."),
    ("exists", "fieldref"): ("`exists` takes no `fieldref`.", "Write two lines, one for each field."),
    ("re", "cased"): ("a regular expression is exact as to case already.", "Leave `cased` out."),
    ("re", "fieldref"): ("a regular expression cannot be another field.", "Use `contains` with `fieldref`."),
    ("all", "fieldref"): ("`fieldref` names one other field.", "Write a line for each of them."),
    ("all", "neq"): ("`neq` means none of the values already.", "Leave `all` out."),
    **{
        (kind, "neq"): (f"`{kind}|neq` do not go together.", f"Say it with a selection of `{kind}`, and `not`.")
        for kind in ("contains", "startswith", "endswith", "re", *ORDERS)
    },
}
_MAX_VALUES = 2_000
MAX_PHRASE = 5_000


MAX_NUMBER = 1e300
"""The largest number that is compared with: what is beyond cannot be told from infinity."""


class LineCompiler:
    """Makes clauses; ``fault`` is told what is wrong: (place, problem, fix)."""

    def __init__(self, fault: Callable[[Mark, str, str], None]) -> None:
        self._fault = fault

    def line(self, selection: str, key: str, node: Node, mark: Mark) -> Clause | None:
        """The clause of one line, or None where there is a fault."""
        name, *modifiers = key.split("|")
        if name.startswith("judge."):
            return judge_line(f"{selection}: {key}", key, node, mark, self._fault)
        field = field_named(name, _type_meant(modifiers, node)) if name else KEYWORDS
        if field is None:
            self._fault(mark, f"there is no field `{name}`.", _known_fields(name))
            return None
        if not name and not _KINDS & set(modifiers):
            modifiers = ["contains", *modifiers]
        if not self._modifiers_fit(field, modifiers, mark):
            return None
        return self.clause(f"{selection}: {key}", field, modifiers, node, mark)

    def keywords(self, selection: str, node: Node) -> Clause | None:
        """The clause of a list of phrases that are looked for in every text."""
        return self.clause(f"{selection}: keywords", KEYWORDS, ["contains"], node, node.mark)

    def _modifiers_fit(self, field: Field, modifiers: list[str], mark: Mark) -> bool:
        faults = [fault for modifier in modifiers if (fault := _misfit(field, modifier))]
        given = set(modifiers)
        kinds = [m for m in modifiers if m in _KINDS]
        if faults:
            pass
        elif len(given) < len(modifiers) or len(kinds) > 1:
            faults = [(f"`{'|'.join(modifiers)}` do not go together.", "Use one kind of comparison in a line.")]
        elif {"i", "m", "s"} & given and "re" not in given:
            faults = [("`i`, `m` and `s` go with `re`.", "Other comparisons ignore upper and lower case already.")]
        else:
            faults = [fault for pair, fault in _APART.items() if given.issuperset(pair)][:1]
        for problem, fix in faults:
            self._fault(mark, problem, fix)
        return not faults

    def clause(self, label: str, field: Field, modifiers: list[str], node: Node, mark: Mark) -> Clause | None:
        """The clause of a field, modifiers that fit it, and a value or a list of them; None where there is a fault."""
        values = node.items() if isinstance(node.value, list) else [node]
        if not values or len(values) > _MAX_VALUES:
            self._fault(node.mark, f"expected 1 to {_MAX_VALUES:,} values, found {len(values)}.", "Add a value.")
            return None
        if "exists" in modifiers:
            return self._exists(label, field, node)
        if "fieldref" in modifiers:
            return self._reference(label, field, modifiers, node)
        if "all" in modifiers and len(values) == 1:
            self._fault(mark, "`all` needs a list of several values.", "Leave `all` out.")
            return None
        if field.type in {FieldType.NUMBER, FieldType.BOOLEAN}:
            return self._value_clause(label, field, modifiers, values)
        patterns = tuple(pattern for value in values if (pattern := self._pattern(field, modifiers, value)) is not None)
        if len(patterns) < len(values):
            return None
        every, negated = "all" in modifiers, "neq" in modifiers
        if field.type is FieldType.WORD:
            clause = WordClause(field, label, tuple(map(compile_pattern, patterns)), every, negated)
            return self._known_words(clause, node) if field.words else clause
        return TextClause(field, label, frozenset(patterns), every, negated)

    def _exists(self, label: str, field: Field, node: Node) -> Clause | None:
        if isinstance(node.value, bool):
            return ExistsClause(field, label, node.value)
        self._fault(node.mark, "`exists` is followed by true or false.", "Write `true` or `false`.")
        return None

    def _reference(self, label: str, field: Field, modifiers: list[str], node: Node) -> Clause | None:
        if not isinstance(node.value, str):
            self._fault(node.mark, f"expected the name of a field, found {describe(node.value)}.", "Name one field.")
            return None
        other = field_named(node.value, field.type)
        if other is None:
            self._fault(node.mark, f"there is no field `{node.value}`.", _known_fields(node.value))
            return None
        if _family(field) is not _family(other):
            problem = f"`{field.name}` is a {field.type.value}, and `{other.name}` a {other.type.value}."
            self._fault(node.mark, problem, "Compare fields of one type.")
            return None
        comparison = next((modifier for modifier in modifiers if modifier in _KINDS), "eq")
        return ReferenceClause(field, label, comparison, other, "cased" in modifiers, "neq" in modifiers)

    def _known_words(self, clause: WordClause, node: Node) -> Clause | None:
        """The same clause over a field with few values: which of them it matches is known now."""
        words = tuple(word for word in clause.field.words if clause.matches(word))
        if not words:
            known = ", ".join(f"`{word}`" for word in clause.field.words)
            self._fault(node.mark, f"`{clause.field.name}` is never like that.", f"It is one of {known}.")
            return None
        return ValueClause(clause.field, clause.label, "eq", words, clause.negated)

    def _value_clause(self, label: str, field: Field, modifiers: list[str], values: Sequence[Node]) -> Clause | None:
        known: list[float | bool] = []
        for node in values:
            if isinstance(node.value, (bool, int, float)) and _fits(field, node.value):
                if abs(node.value) > MAX_NUMBER:
                    self._fault(node.mark, f"no number of a record is beyond {MAX_NUMBER:g}.", "Leave the line out.")
                else:
                    known.append(node.value)
            else:
                problem = f"`{field.name}` is compared with a {field.type.value}, found {describe(node.value)}."
                self._fault(node.mark, problem, "Write it without quotes.")
        comparison = next((modifier for modifier in modifiers if modifier in COMPARISONS), "eq")
        if len(known) < len(values):
            return None
        return ValueClause(field, label, comparison, tuple(known), "neq" in modifiers)

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
        shape = next((modifier for modifier in modifiers if modifier in SHAPES), "")
        if field.words and not shape and value.lower() not in field.words:
            self._fault(node.mark, f"`{field.name}` is never `{value}`.", suggestion(value, field.words))
            return None
        if not value and shape:
            self._fault(node.mark, f"every text {shape} nothing.", f"For an empty text write `{field.name}: ''`.")
            return None
        if len(value) > MAX_PHRASE:
            problem = f"the text has {len(value):,} characters; at most {MAX_PHRASE:,} can be looked for."
            self._fault(node.mark, problem, "Look for a part of it that is found nowhere else.")
            return None
        return ("" if "cased" in modifiers else "(?i)") + SHAPES[shape].format(_literal(value))

    def _regex(self, modifiers: list[str], node: Node, value: str) -> str | None:
        flags = "".join(flag for flag in REGEX_FLAGS if flag in modifiers)
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


def _misfit(field: Field, modifier: str) -> tuple[str, str] | None:
    """What is wrong with one modifier on this field, and the fix."""
    if modifier not in MODIFIERS:
        close = nearest(modifier, MODIFIERS)
        fix = f"Did you mean `{close}`?" if close else f"Known: {', '.join(MODIFIERS)}."
        return f"there is no modifier `{modifier}`.", fix
    if modifier not in ALLOWED[field.type]:
        fix = f"It takes: {', '.join(m for m in MODIFIERS if m in ALLOWED[field.type])}."
        return f"`{field.name}` is a {field.type.value} and does not take `{modifier}`.", fix
    return None


def _known_fields(name: str) -> str:
    """What to do about a name that no field has."""
    if name.startswith("tool.arguments."):
        return "An argument is named by its path: `tool.arguments.file.path`."
    if name.startswith("probe."):
        return "A probe has a name of lower-case letters, digits, `_` and `-`: `probe.NAME.score` or `probe.NAME.fpr`."
    return suggestion(name, FIELDS)


def _type_meant(modifiers: Sequence[str], node: Node) -> FieldType:
    """What an argument of a tool, which may be anything, is to be compared as."""
    values = [item.value for item in node.items()] if isinstance(node.value, list) else [node.value]
    if set(ORDERS) & set(modifiers):
        return FieldType.NUMBER
    if "exists" in modifiers or not values or not all(isinstance(value, (bool, int, float)) for value in values):
        return FieldType.TEXT
    return FieldType.BOOLEAN if all(isinstance(value, bool) for value in values) else FieldType.NUMBER


def _family(field: Field) -> FieldType:
    """Texts and words compare with each other; other types only with their own."""
    return FieldType.TEXT if field.type is FieldType.WORD else field.type


def _fits(field: Field, value: float | bool) -> bool:
    return isinstance(value, bool) == (field.type is FieldType.BOOLEAN)


def _literal(value: str) -> str:
    """The text as RE2 must look for it: escaped as stored texts are."""
    return str(re2.escape(escape_text(value)))
