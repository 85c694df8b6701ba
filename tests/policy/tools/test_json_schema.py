"""The schema for editors: it takes what loads, refuses what does not where a schema can tell, and is the one shipped."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from monitor import strict_yaml
from monitor.policy import examples, run_schema, schema
from monitor.policy.lines import MODIFIERS, LineCompiler
from monitor.policy.loader import read_policy
from monitor.policy.tools.json_schema import ABOUT, EDITOR_LINE, policy_schema, policy_schema_text
from monitor.strict_yaml import Mark, Node
from tests.docs.pages import ROOT, blocks
from tests.policy.packs import pack

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.errors import Fault
    from tests.policy.conftest import Write

POLICIES = ROOT / "policies"
SHIPPED = sorted(POLICIES.glob("*.yaml"))
VALIDATOR: Any = Draft202012Validator(policy_schema())
PACKED = {"pack", "filter_set", "override_set"}


def faults_of(text: str) -> list[str]:
    faults: list[Fault] = []
    root = strict_yaml.parse(text, "pack", faults)
    assert root is not None
    assert faults == []
    return [error.message for error in VALIDATOR.iter_errors(root.plain())]


def test_it_is_a_schema_and_the_one_that_is_shipped() -> None:
    """Write it anew with ``monitor policy schema --out policies/schema.json``."""
    Draft202012Validator.check_schema(policy_schema())
    assert (POLICIES / "schema.json").read_text(encoding="utf-8") == policy_schema_text()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_file_fits_and_names_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"{EDITOR_LINE}\n")
    assert faults_of(text) == []


def policies_in_docs() -> list[tuple[str, str]]:
    """Every YAML block that is a policy file or a part of one, as (where it stands, a whole file)."""
    found = []
    for block in blocks("yaml"):
        if block.part == "detection":
            found.append((str(block), pack(block.text)))
        elif block.part == "tests":
            found.append((str(block), pack("sel: {output|contains: x}\ncondition: sel", tests=block.text)))
        elif PACKED & {line.partition(":")[0] for line in block.text.splitlines()}:
            found.append((str(block), block.text))
    return found


@pytest.mark.parametrize("text", [pytest.param(text, id=place) for place, text in policies_in_docs()])
def test_every_policy_in_the_documentation_fits(text: str) -> None:
    assert faults_of(text) == []


def test_there_are_policies_in_the_documentation() -> None:
    assert len(policies_in_docs()) > 5


DETECTION = "sel: {output|contains: needle}\ncondition: sel"
PACK = pack(DETECTION, tests="- record: {output: needle}\n  expect: match")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("level: medium", "levl: medium"),
        ("level: medium", "level: grave"),
        ("version: 1.0.0", "version: one"),
        ("id: 3f0a4a44", "id: 3f0a"),
        ("name: example", "name: An example"),
        ("level: medium", "level: medium\n    date: yesterday"),
        ("rules:", "rulez:"),
        ("output|contains", "outputs|contains"),
        ("output|contains", "output|contain"),
        ("output|contains", "output|lt"),
        ("output|contains", "output|contains|re"),
        ("output|contains", "output|contains|i"),
        ("output|contains", "output|exists"),
        ("output|contains: needle", "output|contains: 3"),
        ("output|contains: needle", "output|contains: []"),
        ("output|contains: needle", "'output|contains|all': [needle]"),
        ("output|contains: needle", "depth|contains: 3"),
        ("output|contains: needle", "depth|lt: '3'"),
        ("output|contains: needle", "usage.reported: 'true'"),
        ("output|contains: needle", "trust: trustworthy"),
        ("output|contains: needle", "output|contains|fieldref: outputs"),
        ("output|contains: needle", "probe.Lies.score|gt: 1"),
        ("{output|contains: needle}", "{}"),
        ("{output|contains: needle}", "[]"),
        ("{output|contains: needle}", "needle"),
        ("condition: sel", "other: {depth: 1}"),
        ("sel: {", "not: {"),
        ("expect: match", "expect: matches"),
        ("record: {output: needle}", "record: {outputs: needle}"),
        ("record: {output: needle}", "record: {depth: one}"),
        ("record: {output: needle}", "record: {usage: {dollars: 1}}"),
    ],
)
def test_what_is_wrong_is_marked_and_does_not_load(old: str, new: str, write: Write) -> None:
    assert faults_of(PACK) == []
    wrong = PACK.replace(old, new)
    assert wrong != PACK
    assert faults_of(wrong) != []
    faults: list[Fault] = []
    read_policy([write(wrong)], faults)
    assert faults != []


@pytest.mark.parametrize(
    "text",
    [
        "filter_set: known\nversion: 1.0.0\nfilters: []\n",
        "override_set: site\nversion: 1.0.0\noverrides: [{rule: x, reason: y}]\n",
        "override_set: site\nversion: 1.0.0\noverrides: [{rule: x, reason: y, level: worst}]\n",
        "pack: x\nversion: 1.0.0\n",
    ],
)
def test_wrong_files_of_other_kinds_are_marked(text: str) -> None:
    assert faults_of(text) != []


def test_files_of_other_kinds_fit() -> None:
    assert faults_of("override_set: site\nversion: 1.0.0\noverrides: [{rule: x, reason: y, level: low}]\n") == []
    assert faults_of("pack: x\nversion: 1.0.0\nincludes: [core]\n") == []
    filters = (
        "filter_set: known\nversion: 1.0.0\nfilters:\n  - {title: T, id: 5d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11, name: t, "
        "reason: r, author: a, date: '2026-11-01', expires: '2026-12-01', rules: [x], detection: {s: {task: x}, "
        "condition: s}}\n"
    )
    assert faults_of(filters) == []
    assert faults_of(filters.replace("expires", "until")) != []


FIELDS = {
    "output": "word",
    "role": "word",
    "depth": 1,
    "usage.reported": True,
    "tool.arguments.file.path": "word",
    "probe.lies.score": 1,
    "": "word",
}


def loads(key: str, value: Any) -> bool:
    mark, faults = Mark(1, 1), []
    items = [Node(item, mark) for item in value] if isinstance(value, list) else value
    compiler = LineCompiler(lambda *fault: faults.append(fault))
    compiler.line("sel", key, Node(items, mark), mark)
    return not faults


def value_for(name: str, modifiers: tuple[str, ...]) -> Any:
    if "exists" in modifiers:
        return True
    if "fieldref" in modifiers:
        return name or "output"
    value = 1 if {"lt", "lte", "gt", "gte"} & set(modifiers) else FIELDS[name]
    return [value, value] if "all" in modifiers else value


LINE: Any = Draft202012Validator({**policy_schema(), "if": {}, "then": {"$ref": "#/$defs/Lines"}})


def is_marked(key: str, value: Any) -> bool:
    return bool(list(LINE.iter_errors({key: value})))


@pytest.mark.parametrize("name", [name for name in FIELDS if name])
def test_keys_with_up_to_two_modifiers_are_taken_exactly_where_they_load(name: str) -> None:
    combinations = [(), *((one,) for one in MODIFIERS), *permutations(MODIFIERS, 2), *((m, m) for m in MODIFIERS)]
    for modifiers in combinations:
        key, value = "|".join((name, *modifiers)), value_for(name, modifiers)
        assert is_marked(key, value) is not loads(key, value), key


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(FIELDS)), st.lists(st.sampled_from(MODIFIERS), max_size=6))
def test_what_loads_is_never_marked(name: str, modifiers: list[str]) -> None:
    """For arguments of tools and for phrases the schema is laxer than the loader; it is never stricter."""
    key, value = "|".join((name, *modifiers)), value_for(name, tuple(modifiers))
    assert not (is_marked(key, value) and loads(key, value)), key


@pytest.mark.parametrize("word", ["trusted", "Trusted", ["TRUSTED", "untrusted"]])
def test_words_are_taken_in_upper_and_lower_case(word: Any) -> None:
    assert (loads("trust", word), is_marked("trust", word)) == (True, False)


@pytest.mark.parametrize(
    "record",
    [
        {"usage": {"cost": None, "calls": 2}, "reasoning": {"state": "encrypted", "text": "x"}},
        {"usage.cost": 0.5, "reasoning.state": "absent", "tool": {"name": "shell", "arguments": {"cmd": "ls"}}},
        {"probe.lies.score": 0.5, "probe": {"truth": {"score": 1, "fpr": None}, "lies.fpr": 0.1}},
        {"messages": [{"role": "user", "content": "x", "tool_calls": [{"name": "t", "arguments": {"a": 1}}]}]},
        {"error": "broke", "error.kind": "timeout", "tools": ["a"], "budget_left": {"seconds": 1.5}},
    ],
)
def test_every_form_of_a_record_is_taken(record: dict[str, Any]) -> None:
    assert list(examples.faults(record)) == []
    validator: Any = Draft202012Validator({**policy_schema(), "if": {}, "then": {"$ref": "#/$defs/Record"}})
    assert [error.message for error in validator.iter_errors(record)] == []


def test_there_is_a_word_on_every_key() -> None:
    written = [*vars(schema).values(), *vars(run_schema).values()]
    models = [one for one in written if isinstance(one, type) and issubclass(one, BaseModel)]
    keys = {key.removesuffix("_") for model in models for key in model.model_fields}
    assert keys == set(ABOUT)
