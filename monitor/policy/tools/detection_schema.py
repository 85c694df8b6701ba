"""The grammar of ``detection`` as JSON Schema: selections, and which modifiers a field takes with which values.

Nothing of the grammar is written here a second time: which modifiers go together is asked of the compiler itself.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import re2

from monitor.policy.condition import KEYWORDS as CONDITION_WORDS
from monitor.policy.fields import FIELDS
from monitor.policy.judges.question import MAX_QUESTION, NAME, READABLE
from monitor.policy.lines import ALLOWED, MODIFIERS, ORDERS, LineCompiler
from monitor.policy.readings import FieldType
from monitor.strict_yaml import Mark, Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Schema: TypeAlias = dict[str, Any]

_SAMPLE = {
    FieldType.TEXT: "output",
    FieldType.WORD: "role",
    FieldType.NUMBER: "depth",
    FieldType.BOOLEAN: "usage.reported",
}
_MOST_TOGETHER = 5
"""No line takes more modifiers at once: ``re|i|m|s|all``."""

_ARGUMENT = r"tool\.arguments\.[^.|]+(?:\.[^.|]+)*"
_PROBE = r"probe\.[a-z0-9_-]{1,64}\.(?:score|fpr)"
_ASKED = {"type": "string", "minLength": 1, "maxLength": MAX_QUESTION, "pattern": "\\S"}
_READABLE = {"enum": list(READABLE)}
_OFFERED = {
    FieldType.TEXT: ("contains", "startswith", "endswith", "re", "re|i", "contains|all", "exists", "contains|fieldref"),
    FieldType.WORD: ("contains", "re", "neq", "exists"),
    FieldType.NUMBER: (*ORDERS, "neq", "exists"),
    FieldType.BOOLEAN: ("exists",),
}
"""What an editor offers to complete a field with; other combinations are allowed all the same."""


def detection_schemas() -> dict[str, Schema]:
    """The definitions: ``Detection``, and what it refers to."""
    line_values = {f"{kind.name.capitalize()}Values": _values(kind) for kind in _SAMPLE}
    lists = {f"Several{kind.name.capitalize()}s": _several(kind) for kind in (FieldType.TEXT,)}
    return {
        "Detection": {
            "description": "Named selections, and the condition that joins them.",
            "type": "object",
            "properties": {
                "condition": {
                    "description": "Joins selections: and, or, not, parentheses, `1 of name*`, `all of them`.",
                    "type": "string",
                    "minLength": 1,
                }
            },
            "required": ["condition"],
            "minProperties": 2,
            "propertyNames": {
                "pattern": "^[A-Za-z0-9_-]*[A-Za-z0-9][A-Za-z0-9_-]*$",
                "not": {"enum": sorted(CONDITION_WORDS)},
            },
            "additionalProperties": {"$ref": "#/$defs/Selection"},
        },
        "Selection": {
            "description": "A map, of which every line must hold; a list of maps, of which one must hold; or a list of "
            "phrases, which are looked for in every text.",
            "anyOf": [
                {"$ref": "#/$defs/Lines"},
                {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Lines"}},
                {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
            ],
        },
        "Lines": {
            "description": "Lines of `field|modifier: value`, all of which must hold.",
            "type": "object",
            "minProperties": 1,
            "properties": _offered(),
            "patternProperties": {**dict(_patterns()), rf"^judge\.{NAME}$": _ref("Question")},
            "additionalProperties": False,
        },
        "Question": {
            "description": "What a judge is asked about the subcall; it holds where the judge says yes.",
            "anyOf": [
                _ASKED,
                {
                    "type": "object",
                    "properties": {
                        "question": _ASKED,
                        "reads": {"anyOf": [_READABLE, {"type": "array", "minItems": 1, "items": _READABLE}]},
                    },
                    "required": ["question"],
                    "additionalProperties": False,
                },
            ],
        },
        **line_values,
        **lists,
        "FieldName": {
            "description": "Another field of the same subcall.",
            "anyOf": [{"enum": list(FIELDS)}, {"pattern": f"^(?:{_ARGUMENT}|{_PROBE})$"}],
        },
    }


def _values(kind: FieldType) -> Schema:
    one = _one(kind)
    return {"anyOf": [one, {"type": "array", "minItems": 1, "maxItems": 2000, "items": one}]}


def _several(kind: FieldType) -> Schema:
    return {"type": "array", "minItems": 2, "maxItems": 2000, "items": _one(kind)}


def _one(kind: FieldType) -> Schema:
    if kind in {FieldType.TEXT, FieldType.WORD}:
        return {"type": "string"}
    return {"type": "number" if kind is FieldType.NUMBER else "boolean"}


def _offered() -> dict[str, Schema]:
    """Each field, alone and with the usual modifiers, with what it means."""
    offered: dict[str, Schema] = {}
    for field in FIELDS.values():
        about = {"description": f"{field.meaning} ({field.type.value})"}
        alone = {"anyOf": [*_among(field.words)]} if field.words else _ref(_value_name(field.type))
        offered[field.name] = {**alone, **about}
        for modifiers in _OFFERED[field.type]:
            offered[f"{field.name}|{modifiers}"] = {**_value_of(field.type, modifiers.split("|")), **about}
    return offered


def _among(words: tuple[str, ...]) -> Iterator[Schema]:
    """One of few words, or several; upper and lower case alike."""
    letters = "|".join("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in word) for word in words)
    one: Schema = {"anyOf": [{"enum": list(words)}, {"type": "string", "pattern": f"^(?:{letters})$"}]}
    yield from one["anyOf"]
    yield {"type": "array", "minItems": 1, "items": one}


def _value_of(kind: FieldType, modifiers: Iterable[str]) -> Schema:
    if "exists" in modifiers:
        return {"type": "boolean"}
    if "fieldref" in modifiers:
        return _ref("FieldName")
    return _ref("SeveralTexts") if "all" in modifiers else _ref(_value_name(kind))


def _value_name(kind: FieldType) -> str:
    return f"{kind.name.capitalize()}Values"


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _patterns() -> Iterator[tuple[str, Schema]]:
    """Every key that is allowed in lines, whatever the order of its modifiers, and its values."""
    for kind in FieldType:
        names = [re2.escape(field.name) for field in FIELDS.values() if field.type is kind]
        if kind is FieldType.NUMBER:
            names.append(_PROBE)
        yield from _keys_of(f"(?:{'|'.join(names)})", kind)
    anything = {"anyOf": [_ref(_value_name(kind)) for kind in (FieldType.TEXT, FieldType.NUMBER, FieldType.BOOLEAN)]}
    for key, value in _keys_of(_ARGUMENT, FieldType.TEXT):
        yield key, anything if value == _ref(_value_name(FieldType.TEXT)) else value
    yield from _keys_of(_ARGUMENT, FieldType.NUMBER, needed=f"(?=[^|]*.*\\|(?:{'|'.join(ORDERS)})(?:\\||$))")
    for key, value in _keys_of("", FieldType.TEXT):  # `|re: …` is looked for in every text
        yield key, value


def _keys_of(name: str, kind: FieldType, needed: str = "") -> Iterator[tuple[str, Schema]]:
    together = _grammar(kind) + needed
    some = f"(?:\\|(?:{'|'.join(m for m in MODIFIERS if m in ALLOWED[kind])}))*"
    has = {special: f"(?=[^|]*.*\\|{special}(?:\\||$))" for special in ("exists", "fieldref", "all")}
    lacks = {special: f"(?![^|]*.*\\|{special}(?:\\||$))" for special in has}
    yield f"^{together}{has['exists']}{name}{some}$", {"type": "boolean"}
    yield f"^{together}{has['fieldref']}{name}{some}$", _ref("FieldName")
    if "all" in ALLOWED[kind]:
        yield f"^{together}{has['all']}{name}{some}$", _ref("SeveralTexts")
    yield f"^{together}{''.join(lacks.values())}{name}{some}$", _ref(_value_name(kind))


@cache
def _grammar(kind: FieldType) -> str:
    """What may not stand together in a key, as negative lookaheads: a modifier twice, two that exclude each other, one
    without the one that it needs.
    """
    fitting = _fitting(kind)
    parts = []
    for one in sorted(ALLOWED[kind], key=MODIFIERS.index):
        beside = set().union(*(group for group in fitting if one in group))
        apart = sorted((set(ALLOWED[kind]) - beside) | {one}, key=MODIFIERS.index)
        parts.append(rf"(?!.*\|{one}\|(?:.*\|)?(?:{'|'.join(apart)})(?:\||$))")
        needed = set.intersection(*(set(group) for group in fitting if one in group)) - {one}
        parts += [rf"(?!(?=.*\|{one}(?:\||$))(?!.*\|{other}(?:\||$)))" for other in sorted(needed)]
    return "".join(parts)


@cache
def _fitting(kind: FieldType) -> frozenset[frozenset[str]]:
    """Every set of modifiers that the compiler takes for fields of this type."""
    return frozenset(
        frozenset(group)
        for size in range(_MOST_TOGETHER + 1)
        for group in combinations(sorted(ALLOWED[kind]), size)
        if _fits(kind, group)
    )


def _fits(kind: FieldType, modifiers: tuple[str, ...]) -> bool:
    mark, faults = Mark(1, 1), []
    sample: Any = {FieldType.NUMBER: 1, FieldType.BOOLEAN: True}.get(kind, "a")
    node = Node(sample, mark)
    if "exists" in modifiers:
        node = Node(value=True, mark=mark)
    elif "fieldref" in modifiers:
        node = Node(_SAMPLE[kind], mark)
    elif "all" in modifiers:
        node = Node([Node("a", mark), Node("b", mark)], mark)
    compiler = LineCompiler(lambda *fault: faults.append(fault))
    compiler.line("sample", "|".join((_SAMPLE[kind], *modifiers)), node, mark)
    return not faults
