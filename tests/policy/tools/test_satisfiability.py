"""Whether conditions can match: decided as a person would, and never against what a real record shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import strict_yaml
from monitor.policy import examples
from monitor.policy.detection import Detection, compile_detection
from monitor.policy.evaluation import says
from monitor.policy.logic import Truth
from monitor.policy.rules import PolicySet, Rule
from monitor.policy.schema import RuleFile
from monitor.policy.tools.satisfiability import Prospects, difference, prospects, shape
from monitor.records import Status

if TYPE_CHECKING:
    from monitor.errors import Fault

CAN, NEVER, ALWAYS = Prospects(True, False), Prospects(False, False), Prospects(True, True)


def compiled(text: str) -> Detection:
    faults: list[Fault] = []
    node = strict_yaml.parse(text, "detection", faults)
    assert node is not None
    detection = compile_detection(node, "detection", faults)
    assert faults == []
    assert detection is not None
    return detection


def of(one: str, other: str, condition: str) -> Detection:
    return compiled(f"a: {{{one}}}\nb: {{{other}}}\ncondition: {condition}")


@pytest.mark.parametrize(
    ("one", "other", "condition", "expected"),
    [
        ("output|contains: x", "output|contains: y", "a and not b", CAN),
        ("output|contains: x", "output|contains: x", "a and not b", NEVER),
        ("output|contains: x", "output|contains: x", "a or not b", ALWAYS),
        ("output|contains: X", "output|contains: foo x bar", "b and not a", NEVER),
        ("output|contains: x", "output|contains: foo x bar", "a and not b", CAN),
        ("output|contains|cased: X", "output|contains: x", "b and not a", CAN),
        ("output|contains|cased: X", "output|contains: x", "a and not b", NEVER),
        ("output|startswith: foo", "output|contains: fo", "a and not b", NEVER),
        ("output|startswith: foo", "output|endswith: foo", "a and not b", CAN),
        ("'output|contains|all': [x, y, z]", "output|contains: [x, w]", "a and not b", NEVER),
        ("output|exists: true", "output|exists: false", "a and b", NEVER),
        ("output|exists: true", "output|exists: false", "a or b", ALWAYS),
        ("output|exists: false", "output|contains: x", "a and b", NEVER),
        ("output|exists: false", "output|re: 'x*'", "a and b", CAN),
        ("depth|gt: 5", "depth|lt: 3", "a and b", NEVER),
        ("depth|gt: 3", "depth|lt: 5", "a and b", CAN),
        ("budget_left.input_tokens|lt: 1e17", "output|contains: x", "a and b", CAN),
        ("budget_left.input_tokens|lt: 1e17", "output|contains: x", "a or not a and b", CAN),
        ("budget_left.input_tokens|gte: 100000000000000000", "output|contains: x", "a", CAN),
        ("error.kind|re: '(?i)^(timeout)?$'", "error.kind: ''", "a and b", CAN),
        ("model|re: '(?i)gpt(?-i:X)'", "model: gptx", "a and b", CAN),
        ("depth|gt: 5", "depth|lt: 6", "a and b", NEVER),
        ("seconds|gt: 5", "seconds|lt: 6", "a and b", CAN),
        ("depth|gt: 5.5", "depth|lt: 6.2", "a and b", CAN),
        ("depth: 3", "depth|neq: 3", "a and b", NEVER),
        ("depth|lte: 3", "depth|gt: 3", "a or b", ALWAYS),
        ("trust: trusted", "trust: untrusted", "a and b", NEVER),
        ("trust: trusted", "trust: untrusted", "a or b", ALWAYS),
        ("outcome: ok", "outcome|neq: ok", "a and b", NEVER),
        ("role: plan", "role: [check, sum]", "a and b", NEVER),
        ("role: plan", "role|contains: la", "a and not b", NEVER),
        ("role: plan", "role|re: P", "a and b", CAN),
        ("role: plan", "role|exists: false", "a and b", NEVER),
        ("usage.reported: true", "usage.reported: false", "a and b", NEVER),
        ("output|contains|fieldref: task", "output|contains|fieldref: task", "a and not b", NEVER),
        ("output|fieldref: task", "output|neq|fieldref: task", "a and b", NEVER),
        ("output|fieldref: task", "output|fieldref: user", "a and not b", CAN),
        ("tool.arguments.n|gt: 5", "tool.arguments.n|lt: 3", "a and b", CAN),  # two calls may have two numbers
        ("tool.arguments.n|gt: 5", "tool.arguments.n|gt: 5", "a and not b", NEVER),
        ("probe.lies.score|gt: 5", "probe.lies.score|lt: 3", "a and b", NEVER),
    ],
)
def test_what_a_condition_can_say(one: str, other: str, condition: str, expected: Prospects) -> None:
    assert prospects(of(one, other, condition)) == expected


def test_a_selection_that_contradicts_itself_is_named() -> None:
    detection = compiled("a: {depth|gt: 5, depth|lt: 3}\nb: {output|contains: x}\ncondition: a or b")
    assert prospects(detection) == Prospects(True, False, ("a",))


MANY = "\n".join(f"s{number}: {{output|contains: word{number}x}}" for number in range(30))


def test_of_too_many_clauses_what_is_found_in_a_sample_is_certain() -> None:
    detection = compiled(f"{MANY}\ncondition: 1 of them")
    assert prospects(detection) == CAN
    found = difference(detection, compiled(f"{MANY}\ncondition: all of them"))
    assert found is not None
    assert (found.more, found.less) == (False, True)


def test_of_too_many_clauses_what_is_not_found_in_a_sample_is_not_decided() -> None:
    assert prospects(compiled(f"{MANY}\ncondition: all of them and not s1")) is None
    assert prospects(compiled(f"{MANY}\ncondition: 1 of them or not s1")) is None
    same = compiled(f"{MANY}\ncondition: 1 of them"), compiled(f"{MANY}\ncondition: 1 of s* or s1")
    assert difference(*same) is None


def test_rules_on_many_numbers_are_decided() -> None:
    fields = ("seconds", "attempt", "usage.cost", "usage.output_tokens", "usage.input_tokens", "depth", "usage.calls")
    lines = "\n".join(f"s{number}: {{{name}|gt: 5}}" for number, name in enumerate(fields))
    detection = compiled(f"{lines}\ncondition: 1 of them")
    assert prospects(detection) == CAN
    found = difference(detection, compiled(f"{lines}\ncondition: 1 of s* or s0"))
    assert found is not None
    assert found.is_none


@pytest.mark.parametrize(
    ("first", "second", "more", "less"),
    [
        ("a and b", "a", True, False),
        ("a or b", "a", False, True),
        ("a and not b", "not b and a", False, False),
        ("not (a or b)", "not a and not b", False, False),
        ("a", "b", True, True),
    ],
)
def test_how_two_conditions_differ(first: str, second: str, *, more: bool, less: bool) -> None:
    one, other = (of("output|contains: x", "task|contains: y", condition) for condition in (first, second))
    found = difference(one, other)
    assert found is not None
    assert (found.more, found.less, found.is_none) == (more, less, not (more or less))


def test_a_difference_in_what_is_unknown_is_one() -> None:
    found = difference(
        of("reasoning|contains: x", "depth: 1", "(a and not a) or b"), of("reasoning|contains: x", "depth: 1", "b")
    )
    assert found is not None
    assert (found.more, found.less, found.other, found.is_none) == (False, False, True, False)


def test_the_shape_is_blind_to_names_and_order_and_to_nothing_else() -> None:
    first = of("output|contains: [x, y]", "task: z", "a and not b")
    assert shape(first) == shape(compiled("q: {task: z}\np: {output|contains: [y, x]}\ncondition: not q and p"))
    assert shape(first) != shape(of("output|contains: [x, y]", "task: z", "a and b"))
    assert shape(first) != shape(of("'output|contains|all': [x, y]", "task: z", "a and not b"))


WORDS = st.sampled_from(["x", "y", "xy", "foo x", ""])
LINES = st.one_of(
    st.tuples(st.sampled_from(["output", "reasoning", "task"]), st.just(""), WORDS),
    st.tuples(
        st.sampled_from(["output", "reasoning", "written", "role"]),
        st.sampled_from(["|contains", "|startswith", "|endswith", "|contains|cased"]),
        WORDS.filter(bool),
    ),
    st.tuples(st.sampled_from(["output", "tool.result"]), st.just("|contains|all"), st.just(["x", "y"])),
    st.tuples(st.just("reasoning"), st.just("|re"), st.sampled_from(["x*", "[xy]", "\\Ax"])),
    st.tuples(st.sampled_from(["output", "role"]), st.just("|neq"), WORDS),
    st.tuples(st.sampled_from(["output", "reasoning", "role", "usage.cost"]), st.just("|exists"), st.booleans()),
    st.tuples(
        st.sampled_from(["depth", "usage.cost", "budget_left.calls"]),
        st.sampled_from(["", "|lt", "|lte", "|gt", "|gte", "|neq"]),
        st.integers(0, 3),
    ),
    st.tuples(st.just("tool.arguments.n"), st.sampled_from(["|lt", "|gte"]), st.integers(0, 3)),
    st.tuples(st.just("trust"), st.sampled_from(["", "|neq"]), st.sampled_from(["trusted", "untrusted"])),
    st.tuples(st.just("output"), st.sampled_from(["|fieldref", "|contains|fieldref"]), st.just("reasoning")),
)
SELECTIONS = st.lists(LINES, min_size=1, max_size=3).map(lambda lines: {f + m: value for f, m, value in lines})
CONDITIONS = st.sampled_from(["a and b", "a or b", "a and not b", "not a", "a or not b", "not (a and b)", "not a or b"])
TEXTS = st.sampled_from(["", "x", "X", "y", "xy", "foo x", "Foo X y"])
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "output": TEXTS,
        "task": TEXTS,
        "role": TEXTS,
        "reasoning": TEXTS,
        "reasoning.state": st.sampled_from(["plain", "encrypted", "absent"]),
        "requires_reasoning": st.booleans(),
        "depth": st.integers(0, 4),
        "usage.cost": st.one_of(st.none(), st.integers(0, 4).map(float)),
        "usage.reported": st.booleans(),
        "budget_left.calls": st.integers(0, 4),
        "trust": st.sampled_from(["trusted", "untrusted"]),
        "tool.result": TEXTS,
        "tool_calls": st.lists(
            st.one_of(st.integers(0, 4).map(lambda n: {"n": n}), st.just("no JSON"), st.just({})).map(
                lambda arguments: {"name": "t", "arguments": arguments}
            ),
            max_size=2,
        ),
    },
)


def detection_of(a: dict[str, Any], b: dict[str, Any], condition: str) -> Detection:
    import json

    return compiled(json.dumps({"a": a, "b": b, "condition": condition}))


def truth(detection: Detection, record: dict[str, Any]) -> Truth:
    written = RuleFile(
        title="x", id="3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11", name="x", level="low", detection={"a": "b"}
    )
    rules = PolicySet([Rule(written, "p", "1.0.0", "p", 1, detection, "")])
    readings = rules.readings(examples.build(record))
    return says(detection, lambda clause: clause.truth(readings))


@settings(deadline=None, max_examples=300)
@given(SELECTIONS, SELECTIONS, CONDITIONS, RECORDS)
def test_no_record_does_what_was_called_impossible(
    a: dict[str, Any], b: dict[str, Any], condition: str, record: dict[str, Any]
) -> None:
    """``can_match: False`` and ``never`` are promises about every record."""
    detection = detection_of(a, b, condition)
    found, said = prospects(detection), truth(detection, record)
    assert found is not None
    assert found.can_match or said is not Truth.MATCH
    if found.always:
        assert said in {Truth.MATCH, Truth.UNKNOWN, Truth.ABSENT, Truth.NOT_ABSENT}


@settings(deadline=None, max_examples=300)
@given(SELECTIONS, SELECTIONS, CONDITIONS, CONDITIONS, RECORDS)
def test_what_is_called_the_same_says_the_same(
    a: dict[str, Any], b: dict[str, Any], first: str, second: str, record: dict[str, Any]
) -> None:
    one, other = detection_of(a, b, first), detection_of(a, b, second)
    found = difference(one, other)
    assert found is not None
    before, after = truth(one, record).status, truth(other, record).status
    assert not found.is_none or before is after
    assert found.more or not (after is Status.MATCH and before is not Status.MATCH)
    assert found.less or not (before is Status.MATCH and after is not Status.MATCH)


@settings(deadline=None, max_examples=200)
@given(SELECTIONS, RECORDS)
def test_a_selection_that_never_matches_never_does(selection: dict[str, Any], record: dict[str, Any]) -> None:
    detection = detection_of(selection, selection, "a")
    found = prospects(detection)
    assert found is not None
    assert not found.never or truth(detection, record) is not Truth.MATCH
