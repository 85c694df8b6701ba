"""Rules at work: evidence, causes, crashes, and the whole engine against an obvious one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import policy
from monitor.policy import condition as conditions
from monitor.policy import examples
from monitor.policy.clauses import TextClause
from monitor.policy.logic import Truth
from monitor.policy.rules import PolicySet
from monitor.records import Action, Observation, Outcome, Record, Status
from tests.policy.packs import HEADER, pack
from tests.policy.test_condition import trees
from tests.policy.test_logic import AND, OR, VALUES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.policy.conftest import LoadDetection, Write


def status_of(rules: PolicySet, **short: Any) -> str:
    (found,) = rules.findings(examples.build({key.replace("__", "."): value for key, value in short.items()}))
    return found.status.value


@pytest.mark.parametrize(
    ("line", "output", "matches"),
    [
        ("output: Größe", "GRÖSSE", False),
        ("output: Größe", "größe", True),
        ("output: a", "a ", False),
        ("output: ''", "", True),
        ("output: ''", " ", False),
        ("output|contains: a.c", "xABCx", False),
        ("output|contains: a.c", "xA.Cx", True),
        ("output|contains: [no, b*]", "a B* c", True),
        ("output|contains|all: [one, two]", "two, ONE", True),
        ("output|contains|all: [one, two]", "one", False),
        ("output|startswith: ab", "ABc", True),
        ("output|startswith: ab", "\nab", False),
        ("output|endswith: yz", "xYZ", True),
        ("output|endswith: yz", "yz\n", False),
        ("output|re: a.c", "A.C", False),
        ("output|re|i: a.c", "xABCx", True),
        ("output|re: a.c", "a\nc", False),
        ("output|re|s: a.c", "a\nc", True),
        ("output|re|m: ^b$", "a\nb\nc", True),
        ("output|re: ^b$", "a\nb\nc", False),
        ("output|re|all: ['[0-9]', '[a-z]']", "a1", True),
        ("output|exists: true", "x", True),
        ("output|exists: false", "", True),
        ('output|contains: "\\0"', "a\0b", True),
        ("output|contains: ␛", "a␛b", True),
        ("'|contains': xy", "aXYb", True),
        ("'|all': [x, y]", "y x", True),
        ("'|re|i': x.", "XY", True),
    ],
)
def test_text_matchers(line: str, output: str, matches: bool, load_detection: LoadDetection) -> None:
    rules = load_detection(f"sel:\n  {line}\ncondition: sel")
    assert status_of(rules, output=output) == ("match" if matches else "no_match")


@pytest.mark.parametrize(
    ("line", "short", "expected"),
    [
        ("depth: 2", {"depth": 2}, "match"),
        ("depth: [1, 3]", {"depth": 2}, "no_match"),
        ("depth|lt: 2", {"depth": 2}, "no_match"),
        ("depth|lte: 2", {"depth": 2}, "match"),
        ("seconds|gt: 0.5", {"seconds": 0.6}, "match"),
        ("seconds|gte: 0.5", {"seconds": 0.5}, "match"),
        ("usage.cost|gt: 0", {"usage.cost": None}, "unknown"),
        ("usage.cost|exists: false", {"usage.cost": None}, "match"),
        ("usage.input_tokens|gt: 5", {"usage.reported": False, "usage.input_tokens": 9}, "unknown"),
        ("budget_left.calls|lt: 3", {}, "not_applicable"),
        ("budget_left.calls|lt: 3", {"budget_left.calls": 2}, "match"),
        ("requires_reasoning: true", {"requires_reasoning": True}, "match"),
        ("requires_reasoning: true", {}, "no_match"),
        ("role: SOLVER", {"role": "solver"}, "match"),
        ("role|contains|all: [sol, ver]", {"role": "solver"}, "match"),
        ("role|startswith: x", {"role": "solver"}, "no_match"),
        ("role|re: '^s.*r$'", {"role": "solver"}, "match"),
        ("role|exists: true", {"role": "solver"}, "match"),
        ("outcome: [failed, Cancelled]", {"outcome": "cancelled"}, "match"),
        ("outcome|endswith: ed", {"outcome": "failed"}, "match"),
        ("outcome|re|all: ['^b', 'd$']", {"outcome": "budget_exceeded"}, "match"),
        ("outcome|re|all: ['^b', 'd$']", {"outcome": "failed"}, "no_match"),
        ("reasoning.state: absent", {}, "match"),
        ("reasoning.state: absent", {"kind": "tool"}, "not_applicable"),
    ],
)
def test_facts(line: str, short: dict[str, Any], expected: str, load_detection: LoadDetection) -> None:
    (found,) = load_detection(f"sel:\n  {line}\ncondition: sel").findings(examples.build(short))
    assert found.status.value == expected
    assert bool(found.cause) == (expected in {"unknown", "not_applicable"})


def test_lines_of_a_map_are_and_maps_of_a_list_are_or(load_detection: LoadDetection) -> None:
    rules = load_detection("sel:\n- {output: a, depth: 1}\n- {output: b, depth: 2}\ncondition: sel")
    assert status_of(rules, output="a", depth=1) == "match"
    assert status_of(rules, output="a", depth=2) == "no_match"
    assert status_of(rules, output="b", depth=2) == "match"


def test_evidence_is_what_matched_and_is_asserted(load_detection: LoadDetection) -> None:
    rules = load_detection(
        "wanted: {reasoning|contains: [größe, zwei]}\n"
        "other:\n- {output|contains: ja}\n- {output|contains: nein}\n"
        "except: {output|contains: aber}\n"
        "condition: wanted and other and not except"
    )
    (found,) = rules.findings(examples.build({"reasoning": "ä Zwei GRÖßE", "output": "nein"}))
    assert [(span.surface, span.start, span.end, span.clause) for span in found.evidence] == [
        ("reasoning", 2, 6, "wanted: reasoning|contains"),
        ("reasoning", 7, 12, "wanted: reasoning|contains"),
        ("output", 0, 4, "other: output|contains"),
    ]


def test_evidence_is_bounded(load_detection: LoadDetection) -> None:
    rules = load_detection("sel: {output|contains: [a, b]}\ncondition: sel")
    (found,) = rules.findings(examples.build({"output": "ab" * 1_000}))
    assert len(found.evidence) == 20


def test_a_part_that_can_be_read_may_match(load_detection: LoadDetection) -> None:
    """Redacted reasoning is unknown, unless what is left of it matches already."""
    rules = load_detection("sel: {reasoning|contains: hide}\ncondition: sel")
    assert status_of(rules, reasoning="I hide", reasoning__state="redacted") == "match"
    assert status_of(rules, reasoning="I add", reasoning__state="redacted") == "unknown"
    assert status_of(rules, reasoning__state="encrypted") == "unknown"


def test_an_unknown_says_why_and_quotes_nothing(load_detection: LoadDetection) -> None:
    rules = load_detection("sel: {reasoning|contains: hide}\ncost: {usage.cost|gt: 1}\ncondition: sel or cost")
    (found,) = rules.findings(examples.build({"reasoning.state": "encrypted", "usage.cost": None}))
    assert found.cause == "the price of this model is not known; the reasoning is encrypted"


def test_findings_carry_the_rule(load_detection: LoadDetection) -> None:
    rules = load_detection("sel: {output: x}\ncondition: sel", "high")
    (found,) = rules.findings(examples.build({"output": "x"}))
    (ref,) = rules.refs
    assert (found.rule_id, found.rule_hash, found.pack, found.name) == (
        ref.rule_id,
        ref.rule_hash,
        "example",
        "example",
    )
    assert (found.title, found.level.value, found.action, found.on_unknown) == (
        "Example",
        "high",
        Action.WITHHOLD,
        Action.WITHHOLD,
    )


class BrokenClause(TextClause):
    """A clause with a bug."""

    def truth(self, readings: object) -> Truth:
        raise ZeroDivisionError("secret text")


def test_a_rule_that_crashes_is_unknown_alone(write: Write) -> None:
    text = pack("sel: {output|contains: x}\ncondition: sel", "high")
    second = text.removeprefix(HEADER).replace("Example", "Second").replace("example", "second")
    rules = policy.load([write(text + second.replace("6b11", "6b12"))]).rules
    (clause,) = rules[0].detection.selections["sel"].clauses
    assert isinstance(clause, TextClause)
    broken = BrokenClause(clause.field, clause.label, clause.patterns)
    selection = dataclasses.replace(rules[0].detection.selections["sel"], alternatives=((broken,),))
    detection = dataclasses.replace(rules[0].detection, selections={"sel": selection})
    findings = PolicySet([dataclasses.replace(rules[0], detection=detection), rules[1]]).findings(
        examples.build({"output": "x"})
    )
    assert [(found.name, found.status) for found in findings] == [("example", Status.UNKNOWN), ("second", Status.MATCH)]
    assert (findings[0].cause, findings[0].on_unknown) == ("ZeroDivisionError", Action.WITHHOLD)


def test_a_text_that_cannot_be_searched_is_unknown(load_detection: LoadDetection) -> None:
    """No stored text has a lone surrogate; a record made around the types fails closed all the same."""
    rules = load_detection("sel: {output|contains: x}\ncondition: sel")
    record = examples.build({"output": "y"})
    hostile = Record.model_construct(
        call=record.call, observation=Observation.model_construct(**{**dict(record.observation), "output": "\ud800"})
    )
    (found,) = rules.findings(hostile)
    assert (found.status, found.cause) == (Status.UNKNOWN, "UnicodeEncodeError")


def test_results_of_tests_inside_rules(write: Write) -> None:
    tests = "- {name: right, record: {output: x}, expect: match}\n- {record: {output: y}, expect: unknown}"
    path = write(pack("sel: {output: x}\ncondition: sel", tests=tests))
    right, wrong = policy.load([path]).run_tests()
    assert (right.test, right.passed, right.line) == ("right", True, 12)
    assert (wrong.test, wrong.passed, wrong.line) == ("test 2", False, 13)
    assert (wrong.expected, wrong.actual, wrong.path) == (Status.UNKNOWN, Status.NO_MATCH, str(path))


WORDS = ("hide", "test", "größe")
FIELDS_OF = {"a": "reasoning", "b": "output", "sel_1": "tool.arguments", "sel_2": "written", "_hidden": "error"}
short_texts = st.lists(st.sampled_from([*WORDS, "HIDE", "GRÖßE", "x", " "]), max_size=4).map(" ".join)
short_records = st.fixed_dictionaries(
    {"output": short_texts},
    optional={
        "reasoning": short_texts,
        "reasoning.state": st.sampled_from(["plain", "encrypted", "redacted", "absent"]),
        "requires_reasoning": st.booleans(),
        "tool.arguments": short_texts,
        "error": short_texts,
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packs")


@given(trees, st.fixed_dictionaries(dict.fromkeys(FIELDS_OF, st.sampled_from(WORDS))), short_records)
@settings(deadline=None, max_examples=60)
def test_the_engine_says_what_the_obvious_one_says(
    folder: Path, tree: conditions.Condition, words: dict[str, str], short: dict[str, Any]
) -> None:
    lines = [f"{name}: {{'{field}|contains': {words[name]}}}" for name, field in FIELDS_OF.items()]
    path = folder / "pack.yaml"
    path.write_text(pack("\n".join([*lines, f"condition: {conditions.render(tree)}"])), encoding="utf-8")
    (found,) = policy.load([path]).findings(examples.build(short))
    assert found.status is obvious(tree, words, short).status


FACTS: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "a": ("trust: untrusted", lambda short: short.get("trust", "untrusted") == "untrusted"),
    "b": ("output|contains: hide", lambda short: "hide" in short["output"].lower()),
    "sel_1": ("budget_left.calls|lt: 3", lambda short: short["budget_left.calls"] < 3),
    "sel_2": ("output|contains: größe", lambda short: "größe" in short["output"].lower()),
    "_hidden": ("outcome: failed", lambda short: short.get("outcome") == "failed"),
}


@given(
    trees,
    st.fixed_dictionaries(
        {"output": short_texts},
        optional={
            "trust": st.sampled_from(["trusted", "untrusted"]),
            "budget_left.calls": st.integers(1, 5),
            "outcome": st.sampled_from(["ok", "failed"]),
        },
    ),
)
@settings(deadline=None, max_examples=60)
def test_rules_about_texts_and_facts_say_what_the_obvious_engine_says(
    folder: Path, tree: conditions.Condition, short: dict[str, Any]
) -> None:
    """The short way past rules whose texts are nowhere never changes what they say."""

    def holds(name: str) -> Truth:
        if name == "sel_1" and "budget_left.calls" not in short:
            return Truth.ABSENT
        return Truth.MATCH if FACTS[name][1](short) else Truth.NO_MATCH

    path = folder / "facts.yaml"
    lines = [f"{name}: {{{line}}}" for name, (line, _) in FACTS.items()]
    path.write_text(pack("\n".join([*lines, f"condition: {conditions.render(tree)}"])), encoding="utf-8")
    (found,) = policy.load([path]).findings(examples.build(short))
    assert found.status is by_tables(tree, holds).status


def obvious(tree: conditions.Condition, words: dict[str, str], short: dict[str, Any]) -> Truth:
    """The language as the guide tells it, without any engine."""
    return by_tables(tree, lambda name: obvious_clause(FIELDS_OF[name], words[name], short))


def by_tables(tree: conditions.Condition, truth_of: Callable[[str], Truth]) -> Truth:
    """A condition by the guide's tables, given what each selection says."""
    if isinstance(tree, conditions.Ref):
        return truth_of(tree.name)
    if isinstance(tree, conditions.Not):
        value = by_tables(tree.part, truth_of)
        swapped = {"match": "no_match", "no_match": "match", "not_applicable": "not (not_applicable)"}
        swapped |= {"not (not_applicable)": "not_applicable", "unknown": "unknown"}
        return Truth(swapped[value.value])
    table = AND if isinstance(tree, conditions.And) else OR
    first, *rest = (by_tables(part, truth_of) for part in tree.parts)
    for value in rest:
        first = table[first][VALUES.index(value)]
    return first


def obvious_clause(field: str, word: str, short: dict[str, Any]) -> Truth:
    state = short.get("reasoning.state", "plain" if short.get("reasoning") else "absent")
    reasoning, arguments = short.get("reasoning", ""), short.get("tool.arguments", "")
    texts = {
        "reasoning": [reasoning],
        "output": [short["output"]],
        "tool.arguments": [arguments],
        "written": [reasoning, short["output"], arguments],
        "error": [short.get("error", "")],
    }[field]
    if field == "tool.arguments" and "tool.arguments" not in short:
        return Truth.ABSENT
    if field == "reasoning" and state == "absent" and not reasoning and not short.get("requires_reasoning"):
        return Truth.ABSENT
    if any(word in text.lower() for text in texts):
        return Truth.MATCH
    return Truth.UNKNOWN if field in {"reasoning", "written"} and state in {"encrypted", "redacted"} else Truth.NO_MATCH


@given(short_records)
@settings(deadline=None, max_examples=30)
def test_evaluating_is_pure(short: dict[str, Any]) -> None:
    rules = core()
    record = examples.build(short)
    assert rules.findings(record) == rules.findings(record) == core().findings(record)


def core() -> PolicySet:
    from pathlib import Path

    if not _CORE:
        _CORE.append(policy.load([Path(__file__).parents[2] / "policies" / "core.yaml"]))
    return _CORE[0]


_CORE: list[PolicySet] = []


def test_a_hostile_record_has_a_finding_for_each_rule() -> None:
    """Lone surrogates, NUL, right-to-left and combining text, and ten megabytes of it."""
    text = "\ud800 \0 \u202eabc e\u0301 ␛ AKIAQ3EGTN7XPLANTED1 "
    record = Record(
        call=examples.build({}).call,
        observation=Observation(outcome=Outcome.OK, output=text * 200_000, usage=examples.build({}).observation.usage),
    )
    found = {finding.name: finding for finding in core().findings(record)}
    assert len(found) == len(core().rules)
    assert found["secret_in_text"].status is Status.MATCH
    span = found["secret_in_text"].evidence[1]
    assert record.observation.output[span.start : span.end] == "AKIAQ3EGTN7XPLANTED1"


@pytest.mark.parametrize(
    ("line", "output", "expected"),
    [
        ("output|contains: hide", "x hide and more", "match"),
        ("output|contains: hide", "more of it, and hide", "unknown"),
        ("output|contains: hide", "nothing", "no_match"),
        ("output|endswith: '0123'", "0123456789ABC", "unknown"),
        ("output|re: '0123$'", "0123456789ABC", "unknown"),
        ("output|re: '9\\b'", "0123456789ABC", "unknown"),
        ("output|re: '9\\B'", "0123456789ABC", "match"),
        ("output|startswith: '0123'", "0123456789ABC", "match"),
        ("output|neq: x", "0123456789ABC", "unknown"),
        ("output|exists: true", "0123456789ABC", "match"),
    ],
)
def test_what_was_not_read_is_unknown(line: str, output: str, expected: str, load_detection: LoadDetection) -> None:
    """A text longer than the cap: what is found in its beginning counts, what is not is no sign of safety."""
    rules = PolicySet(load_detection(f"sel:\n  {line}\ncondition: sel").rules, cap=10)
    (found,) = rules.findings(examples.build({"output": output}))
    assert found.status.value == expected
    if expected == "unknown":
        assert found.cause == f"only the first 10 of {len(output)} codepoints were read"
