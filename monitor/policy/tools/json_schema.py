"""JSON Schema for editors: what may stand in a policy file, with a word on each key.

Made from the types of ``schema``, the grammar of ``detection`` and the short form of records. What the schema refuses does
not load; a file that it takes may still have faults that only ``monitor policy lint`` finds (a regular expression, an id
that is taken).
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import models_json_schema

from monitor.policy import examples
from monitor.policy.judges.question import NAME
from monitor.policy.run_schema import NEGATIVE, POSITIVE
from monitor.policy.schema import OVERRIDABLE, POLICY_FILES, RUN_KINDS
from monitor.policy.tools.detection_schema import Schema, detection_schemas

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE_NAME = "schema.json"
"""The name under which the schema lies beside the packs."""

EDITOR_LINE = f"# yaml-language-server: $schema={FILE_NAME}"
"""The first line of a policy file, by which editors find the schema."""

_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_DAY = r"^\d{4}-?(?:\d{2}-?\d{2}|W\d{2}(?:-?\d)?)$"

ABOUT = {
    "pack": "The pack's name: lower-case letters, digits and `_`. Unique over all packs of a run.",
    "version": "Three numbers, such as 1.0.0. Raise it when you change a rule.",
    "engine": "The version of the language that the file needs.",
    "description": "What it looks for, and why, in a sentence or two.",
    "author": "Who wrote it.",
    "license": "The license of the pack.",
    "date": "The day on which it was written: 2026-11-22.",
    "modified": "The day of the last change: 2026-11-22.",
    "references": "Where to read more: links, papers, incidents.",
    "includes": "Packs that are loaded with this one: names, or paths relative to this file.",
    "rules": "The rules; of a filter, the names or ids of the rules that it is about.",
    "title": "One line that a reader of findings understands.",
    "id": "A UUID of its own that never changes: `monitor policy new` makes one.",
    "name": "A short name: lower-case letters, digits and `_`. Unique over all packs of a run.",
    "status": "`test` runs in shadow: recorded, never acting.",
    "related": "Other rules that this one has to do with.",
    "level": "How grave a match is; `action` and `on_unknown` follow from it where they are left out.",
    "tags": "Words to find the rule by.",
    "logsource": "Which records the rule is about; of all others it says not_applicable.",
    "detection": "What to look for.",
    "falsepositives": "What harmless text it would hit. Say it honestly.",
    "action": "What a match does. By level: low and below log, medium flag, high and above withhold.",
    "on_unknown": "What happens where the rule could not be evaluated. By level: high and above withhold, else log.",
    "tests": "Records, and what must be said of each: some that match, and near misses that do not.",
    "record": "A subcall in short form. What is left out is as in an ordinary subcall that went well.",
    "expect": "What must be said of the record.",
    "type": "What the other rule is to this one.",
    "category": "What the record is of.",
    "product": "The adapter through which the record came in.",
    "service": "Whether a model or a tool answered.",
    "definition": "For people: what must be recorded for the rule to work.",
    "filter_set": "The name of this set of filters.",
    "filters": "Matches that are known to be harmless.",
    "reason": "Why.",
    "expires": "The last day on which the filter suppresses anything.",
    "override_set": "The name of this set of overrides.",
    "overrides": "What this site changes of rules without editing their packs.",
    "rule": "The rule's name or id.",
    "role": "Who wrote the message.",
    "content": "The message's text.",
    "tool_calls": "The calls of tools in it.",
    "arguments": "The arguments: JSON text, or a map that stands for its JSON text.",
    "refused": "Why the call was refused, if it was.",
    "run_rules": "Rules over several subcalls of a run.",
    "correlation": "What several subcalls show together.",
    "without": "Of `absence`: rules of which one should have matched before.",
    "group_by": "Fields: subcalls with the same values of them are looked at together.",
    "subcalls": "A window: so many subcalls, counted as they start.",
    "timespan": "A window: so much time from start to start, such as 90s, 10m, 2h or 1d.",
    "field": "The field whose values are counted or summed.",
    "condition": "How much is too much.",
    "gte": "At least so much.",
    "gt": "More than so much.",
    "run": "Subcalls in short form, one after the other; those in a list of their own are answered at the same time.",
    "tree": "How subcalls stand to each other in the tree of the run.",
    "taint": "Texts of one subcall that reach another one.",
    "this": "The subcall itself: a rule over one subcall, `any`, or `unchecked`.",
    "parent": "What the subcall stands right below.",
    "ancestor": "What it stands below, at any distance.",
    "sibling": "What stands below the same.",
    "child": "What stands right below it.",
    "without_parent": "A parent that was not judged before the subcall began.",
    "without_ancestor": "An ancestor that was not judged before the subcall began.",
    "without_sibling": "A sibling that was not judged before the subcall began.",
    "same": "Fields that hold the same in both.",
    "what": "Of `unsaid-in`: the field whose values the relative should have said; without it, what the rule found.",
    "unsaid_in": "Fields of the relative in which it should have been said, and was not.",
    "share": "A branch that has spent too much of what the run has spent so far.",
    "least": "Of a share, how much a branch must have spent at least; of taint, how many codepoints in a row are followed.",
    "source": "The subcall whose texts are marked: a rule over one subcall, or `any`.",
    "sink": "The subcall that they must not reach: a rule over one subcall, or `any`.",
    "from": "Fields whose texts are marked, or `found`: what the rule found.",
    "into": "Fields in which marked texts are looked for.",
    "at": "The `id` of the subcall of which it must be said; without it, of any.",
}
"""A word on every key of a policy file."""


def policy_schema() -> Schema:
    """The schema of policy files of every kind."""
    models = list(POLICY_FILES.values())
    _, made = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    definitions: dict[str, Schema] = {name: _described(part) for name, part in made["$defs"].items()}
    record, more = _record()
    definitions |= {name: _described(part) for name, part in more.items()} | detection_schemas() | {"Record": record}
    _tighten(definitions)
    definitions["RunStep"] = _step(record)  # whose `id` is no UUID
    pack, filters, overrides = (_ref(model.__name__) for model in models)
    return {
        "$schema": DIALECT,
        "title": "Policy file",
        "description": "A pack of rules, a set of filters, or a set of overrides.",
        "type": "object",
        "if": {"required": ["filter_set"]},
        "then": filters,
        "else": {"if": {"required": ["override_set"]}, "then": overrides, "else": pack},
        "$defs": dict(sorted(definitions.items())),
    }


def policy_schema_text() -> str:
    """The schema as it is written to a file."""
    return json.dumps(policy_schema(), indent=1, ensure_ascii=False) + "\n"


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _described(part: Schema) -> Schema:
    """A model's schema with a word on each key, and without the titles that pydantic makes of names."""
    properties = {
        key: {name: value for name, value in one.items() if name != "title"}
        | ({"description": ABOUT[word]} if (word := key.replace("-", "_")) in ABOUT else {})
        for key, one in part.get("properties", {}).items()
    }
    rest = {key: value for key, value in part.items() if key not in {"title", "properties"}}
    return {**rest, "properties": properties} if properties else rest


def _tighten(definitions: dict[str, Schema]) -> None:
    """What the types check by code of their own."""
    for part in definitions.values():
        for key, one in part.get("properties", {}).items():
            if key == "id" and one.get("type") == "string":
                one["pattern"] = _UUID
            elif key in {"date", "modified", "expires"}:
                one["pattern"] = _DAY
            elif key == "detection":
                one.clear()
                one |= {**_ref("Detection"), "description": ABOUT[key]}
            elif key == "record":
                one.clear()
                one |= {**_ref("Record"), "description": ABOUT[key]}
            elif key == "run":
                step = _ref("RunStep")
                one["items"] = {"anyOf": [step, {"type": "array", "items": step}]}
    definitions["PackFile"]["anyOf"] = [{"required": [key]} for key in ("rules", "run_rules", "includes")]
    definitions["RunRuleFile"]["oneOf"] = [{"required": [key]} for key in RUN_KINDS]
    relations = [key.replace("_", "-") for key in (*POSITIVE, *NEGATIVE)]
    definitions["TreeFile"]["oneOf"] = [{"required": [key]} for key in (*relations, "share")]
    definitions["OverrideFile"]["anyOf"] = [{"required": [key]} for key in OVERRIDABLE]


def _step(record: Schema) -> Schema:
    """The schema of one subcall in a test of a rule over a run."""
    own: dict[str, Schema] = {
        "id": {"type": "string", "description": "A name for this test."},
        "parent": {"type": "string", "description": "The `id` of the subcall below which it was asked."},
        "checked": {"type": "boolean", "description": "`false` for one that no check looks at."},
        "started": {"type": "number", "description": "Seconds after the run began; without it, as the one before."},
    }
    return {**record, "description": "A subcall in short form.", "properties": {**record["properties"], **own}}


def _record() -> tuple[Schema, dict[str, Schema]]:
    """(the schema of a record in short form, the definitions that it needs)."""
    more: dict[str, Schema] = {}
    properties: dict[str, Schema] = {}
    groups: dict[str, dict[str, Schema]] = {}
    for name, schema in examples.key_schemas().items():
        more |= schema.pop("$defs", {})
        properties[name] = schema
        group, dot, key = name.partition(".")
        if dot:
            groups.setdefault(group, {})[key] = schema
    groups["reasoning"]["text"] = {"type": "string"}
    for group, inner in groups.items():
        nested: Schema = {"type": "object", "properties": inner, "additionalProperties": False}
        properties[group] = {"anyOf": [properties[group], nested]} if group in properties else nested
    score: Schema = {"type": ["number", "null"]}
    share: Schema = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"}]}
    probe = {"type": "object", "properties": {"score": score, "fpr": share}, "additionalProperties": False}
    answer: Schema = {"enum": ["yes", "no", "unclear", None]}
    record: dict[str, Any] = {
        "description": "A subcall in short form.",
        "type": "object",
        "properties": properties,
        "patternProperties": {
            r"^probe\.[^.].*\.score$": score,
            r"^probe\.[^.].*\.fpr$": share,
            rf"^judge\.{NAME}$": answer,
            "^judge$": {"type": "object", "patternProperties": {f"^{NAME}$": answer}, "additionalProperties": False},
            "^probe$": {
                "type": "object",
                "patternProperties": {r"\.score$": score, r"\.fpr$": share},
                "additionalProperties": probe,
            },
        },
        "additionalProperties": False,
    }
    return record, more
