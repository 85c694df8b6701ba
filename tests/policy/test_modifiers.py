"""``cased``, ``neq`` and ``fieldref``; an argument by its path; what a probe says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.canonical import escape_text
from monitor.errors import PolicyError
from monitor.policy import examples
from monitor.policy.json_places import MAX_DEPTH, MAX_SCALARS, scalars

if TYPE_CHECKING:
    from tests.policy.conftest import LoadDetection


@pytest.mark.parametrize(
    ("line", "short", "expected"),
    [
        ("output|cased: OK", {"output": "OK"}, "match"),
        ("output|cased: OK", {"output": "ok"}, "no_match"),
        ("output|contains|cased: [Rm, DD]", {"output": "x rm Dd"}, "no_match"),
        ("output|startswith|cased: A", {"output": "Ab"}, "match"),
        ("output|endswith|cased|all: [b, Ab]", {"output": "Ab"}, "match"),
        ("role|cased: Solver", {"role": "solver"}, "no_match"),
        ("output|neq: yes", {"output": "no"}, "match"),
        ("output|neq: yes", {"output": "YES"}, "no_match"),
        ("output|neq|cased: yes", {"output": "YES"}, "match"),
        ("output|neq: [yes, no]", {"output": "no"}, "no_match"),
        ("output|neq: [yes, no]", {"output": "maybe"}, "match"),
        ("depth|neq: 1", {"depth": 2}, "match"),
        ("depth|neq: [1, 2]", {"depth": 2}, "no_match"),
        ("requires_reasoning|neq: true", {}, "match"),
        ("outcome|neq: ok", {"outcome": "failed"}, "match"),
        ("outcome|neq: ok", {}, "no_match"),
        ("reasoning|neq: x", {"reasoning.state": "encrypted"}, "unknown"),
        ("reasoning|neq: x", {"reasoning": "x", "reasoning.state": "redacted"}, "no_match"),
        ("reasoning|neq: x", {}, "not_applicable"),
        ("tool.name|neq: bash", {"tool_calls": [{"name": "ls"}, {"name": "bash"}]}, "no_match"),
        ("tool.name|neq: bash", {"tool_calls": [{"name": "ls"}, {"name": "cat"}]}, "match"),
        ("output|fieldref: task", {"task": "Say A", "output": "say a"}, "match"),
        ("output|fieldref|cased: task", {"task": "Say A", "output": "say a"}, "no_match"),
        ("output|contains|fieldref: task", {"task": "die große", "output": "x DIE GROẞE y"}, "match"),
        ("output|contains|fieldref: task", {"task": "die große", "output": "x DIE GROSSE y"}, "no_match"),
        ("output|contains: die große", {"output": "x DIE GROẞE y"}, "match"),
        ("output|contains: die große", {"output": "x DIE GROSSE y"}, "no_match"),
        ("output|contains|fieldref: task", {"task": "", "output": "x"}, "no_match"),
        ("output|startswith|fieldref: system", {"system": "You are", "output": "You are kind"}, "match"),
        ("output|endswith|fieldref: system", {"system": "kind", "output": "You are kind."}, "no_match"),
        ("output|neq|fieldref: task", {"task": "a", "output": "b"}, "match"),
        ("output|fieldref: reasoning", {"output": "b", "reasoning.state": "encrypted"}, "unknown"),
        ("output|fieldref: tool.result", {"output": "b"}, "not_applicable"),
        ("model_reported|neq|fieldref: model", {"model": "a-1", "model_reported": "b-2"}, "match"),
        ("role|fieldref: output", {"role": "clerk", "output": "Clerk"}, "match"),
        ("usage.output_tokens|gt|fieldref: budget_left.output_tokens", {"usage.output_tokens": 5}, "not_applicable"),
        (
            "usage.output_tokens|gt|fieldref: budget_left.output_tokens",
            {"usage.output_tokens": 5, "budget_left.output_tokens": 4},
            "match",
        ),
        ("depth|fieldref: attempt", {"depth": 3, "attempt": 3}, "match"),
        ("depth|neq|fieldref: attempt", {"depth": 3, "attempt": 3}, "no_match"),
        ("requires_reasoning|fieldref: usage.reported", {}, "no_match"),
        ("error.kind: time_out", {"outcome": "failed", "error.kind": "time_out"}, "match"),
    ],
)
def test_modifiers(line: str, short: dict[str, Any], expected: str, load_detection: LoadDetection) -> None:
    (found,) = load_detection(f"sel:\n  {line}\ncondition: sel").findings(examples.build(short))
    assert found.status.value == expected
    assert bool(found.cause) == (expected in {"unknown", "not_applicable"})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("output|neq|contains: a", "`contains|neq` do not go together."),
        ("output|neq|all: [a, b]", "`neq` means none of the values already."),
        ("depth|gt|neq: 1", "`gt|neq` do not go together."),
        ("depth|cased: 1", "`depth` is a number and does not take `cased`."),
        ("output|fieldref: 1", "expected the name of a field, found the number 1."),
        ("output|fieldref: outputs", "there is no field `outputs`."),
        ("output|fieldref: depth", "`output` is a text, and `depth` a number."),
        ("output|re|fieldref: task", "a regular expression cannot be another field."),
        ("output|exists|fieldref: task", "`exists` takes no `fieldref`."),
        ("output|fieldref|all: task", "`fieldref` names one other field."),
        ("tool.arguments.: x", "there is no field `tool.arguments.`."),
        ("tool.arguments.a..b: x", "there is no field `tool.arguments.a..b`."),
        ("probe.x: 1", "there is no field `probe.x`."),
        ("probe.X.score: 1", "there is no field `probe.X.score`."),
        ("probe.x.fpr: '1'", "`probe.x.fpr` is compared with a number, found text."),
    ],
)
def test_what_does_not_go_together(line: str, problem: str, load_detection: LoadDetection) -> None:
    with pytest.raises(PolicyError) as caught:
        load_detection(f"sel:\n  {line}\ncondition: sel")
    assert [fault.problem for fault in caught.value.faults] == [problem]


def test_no_more_references_are_compared_than_said(load_detection: LoadDetection) -> None:
    """Beyond them the answer is unknown, unless what was compared is enough."""
    rules = load_detection("sel: {output|fieldref: user}\ncondition: sel")
    messages = [{"role": "user", "content": f"message {number}"} for number in range(60)]
    (late,) = rules.findings(examples.build({"messages": messages, "output": "message 55"}))
    assert (late.status.value, late.cause) == (
        "unknown",
        "`user` has more than 50 texts; the rest was not compared",
    )
    (early,) = rules.findings(examples.build({"messages": messages, "output": "message 5"}))
    assert early.status.value == "match"


ARGUMENTS: dict[str, Any] = {
    "command": "rm -rf / # \n\té",
    "count": 3,
    "force": True,
    "to": {"host": "example.org", "ports": [22, 80]},
    "files": [{"path": "a.txt"}, {"path": "/etc/passwd"}],
    "none": None,
}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tool.arguments.command|contains: rm -rf", "match"),
        ("tool.arguments.command|contains: passwd", "no_match"),
        ("tool.arguments.Command|contains: rm", "no_match"),
        ("tool.arguments.files.path: /etc/passwd", "match"),
        ("tool.arguments.files|endswith: .txt", "match"),
        ("tool.arguments.to|contains: example", "match"),
        ("tool.arguments.to.host: EXAMPLE.org", "match"),
        ("tool.arguments.to.ports: 22", "match"),
        ("tool.arguments.to.ports|gt: 79", "match"),
        ("tool.arguments.to.ports|gt: 80", "no_match"),
        ("tool.arguments.count: 3", "match"),
        ("tool.arguments.count: '3'", "match"),
        ("tool.arguments.count|lt: 3", "no_match"),
        ("tool.arguments.force: true", "match"),
        ("tool.arguments.force: false", "no_match"),
        ("tool.arguments.force|neq: true", "no_match"),
        ("tool.arguments.none: 'null'", "match"),
        ("tool.arguments.command|exists: true", "match"),
        ("tool.arguments.missing|exists: true", "no_match"),
        ("tool.arguments.missing|neq: x", "match"),
        ("tool.arguments.to.host|contains|fieldref: user", "match"),
    ],
)
def test_an_argument_by_its_path(line: str, expected: str, load_detection: LoadDetection) -> None:
    rules = load_detection(f"sel:\n  {line}\ncondition: sel")
    short = {"tool.name": "shell", "tool.arguments": ARGUMENTS, "user": "example.org"}
    (found,) = rules.findings(examples.build(short))
    assert found.status.value == expected
    as_a_tool = examples.build({**short, "kind": "tool"})
    assert expected == rules.findings(as_a_tool)[0].status.value or "fieldref" in line


def test_what_is_no_json_is_unknown(load_detection: LoadDetection) -> None:
    """But for what was found in another call, which is enough."""
    rules = load_detection("sel: {tool.arguments.command|contains: rm}\ncondition: sel")
    broken = {"name": "shell", "arguments": '{"command": "rm'}
    (found,) = rules.findings(examples.build({"tool_calls": [broken]}))
    assert (found.status.value, found.cause) == ("unknown", "the arguments of a tool call are no JSON that can be read")
    (found,) = rules.findings(examples.build({"tool_calls": [broken, {"name": "x", "arguments": {"command": "rm"}}]}))
    assert found.status.value == "match"
    (found,) = rules.findings(examples.build({"output": "no tools"}))
    assert (found.status.value, found.cause) == ("not_applicable", "the subcall has no tools")


def test_evidence_in_an_argument_is_a_span_of_the_stored_text(load_detection: LoadDetection) -> None:
    """Escapes of JSON before and inside of it included."""
    rules = load_detection('sel: {tool.arguments.b.c|contains: "x\\ty"}\ncondition: sel')
    stored = '{"a": "\\u00e9\\n", "b": {"c": "\\ud83d\\ude00x\\ty z"}}'
    (found,) = rules.findings(examples.build({"tool.name": "t", "tool.arguments": stored}))
    (span,) = found.evidence
    assert (span.surface, stored[span.start : span.end]) == ("tool_calls[0].arguments", "x\\ty")


def test_a_key_that_stands_twice_is_read_twice(load_detection: LoadDetection) -> None:
    """What a tool's parser would drop, or the other one, is seen either way."""
    rules = load_detection("sel: {tool.arguments.c: bad}\ncondition: sel")
    for stored in ('{"c": "bad", "c": "good"}', '{"c": "good", "c": "bad"}'):
        (found,) = rules.findings(examples.build({"tool.name": "t", "tool.arguments": stored}))
        assert found.status.value == "match"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, escape_text(key)))]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item, path)]
    return [(path, value)]


@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_scalars_are_those_that_json_loads_finds(value: Any, is_ascii: bool, indent: int | None) -> None:
    """With the same values, and each text at the place that is said."""
    text = escape_text(json.dumps(value, ensure_ascii=is_ascii, indent=indent))
    found = scalars(text)
    assert found is not None
    assert len(found) == len(_leaves(value))
    for scalar, (path, leaf) in zip(found, _leaves(value), strict=True):
        assert len(scalar.places) == len(scalar.text) + 1
        if isinstance(leaf, str):
            assert scalar.is_string
            assert json.loads(f'"{text[scalar.places[0] : scalar.places[-1]]}"', strict=False) is not None
            if is_ascii:
                assert (scalar.path, scalar.text) == (path, escape_text(leaf))
        else:
            assert json.loads(scalar.text) == leaf
            assert scalar.value == (None if leaf is None else leaf if isinstance(leaf, bool) else float(leaf))


@given(st.text(alphabet='{}[]",:\\0123456789.eE+-nulltrefasNIyi \n"', max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    """It reads what ``json.loads`` reads, and says of all else that it cannot be read."""
    found = scalars(text)
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return
    assert found is not None


def test_what_is_nested_too_deeply_or_too_much_is_not_read() -> None:
    assert scalars("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH) is not None
    assert scalars("[" * (MAX_DEPTH + 1) + "1" + "]" * (MAX_DEPTH + 1)) is None
    assert scalars("[" * 100_000 + "]" * 100_000) is None
    assert scalars(f"[{','.join('1' * MAX_SCALARS)}]") is not None
    assert scalars(f"[{','.join('1' * (MAX_SCALARS + 1))}]") is None


def test_arguments_are_read_once_for_all_paths(load_detection: LoadDetection, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many fields have a path into them, and however many calls there are."""
    read: list[str] = []

    def counted(text: str) -> Any:
        read.append(text)
        return scalars(text)

    monkeypatch.setattr("monitor.policy.arguments.scalars", counted)
    arguments = {f"a{number}": number for number in range(30)}
    rules = load_detection(
        "sel: {" + ", ".join(f"tool.arguments.{name}: {arguments[name]}" for name in arguments) + "}\ncondition: sel"
    )
    record = examples.build({"tool_calls": [{"name": "t", "arguments": {**arguments, "n": n}} for n in range(50)]})
    assert rules.findings(record)[0].status.value == "match"
    assert len(read) == len(set(read)) == 50


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        ({"probe.deception.fpr": 0.01}, "match"),
        ({"probe": {"deception": {"fpr": 0.2}}}, "no_match"),
        ({"probe.deception.fpr": None}, "unknown"),
        ({"probe.deception.score": 9}, "unknown"),
        ({"probe.other.fpr": 0.01}, "not_applicable"),
        ({}, "not_applicable"),
    ],
)
def test_what_a_probe_says(short: dict[str, Any], expected: str, load_detection: LoadDetection) -> None:
    (found,) = load_detection("sel: {probe.deception.fpr|lte: 0.05}\ncondition: sel").findings(examples.build(short))
    assert found.status.value == expected


CLEAN_BUT_HOT = """\
suspicious: {reasoning|contains: [delete, wipe]}
action: {tool.arguments.command|contains: rm -rf}
hot: {probe.deception.fpr|lte: 0.01}
condition: not suspicious and (action or hot)
"""


@pytest.mark.parametrize(
    ("short", "expected"),
    [
        ({"reasoning": "I tidy up.", "tool.name": "sh", "tool.arguments": {"command": "rm -rf /"}}, "match"),
        ({"reasoning": "I wipe it.", "tool.name": "sh", "tool.arguments": {"command": "rm -rf /"}}, "no_match"),
        ({"reasoning": "I tidy up.", "probe.deception.fpr": 0.001}, "match"),
        ({"reasoning": "I tidy up.", "probe.deception.fpr": 0.5}, "no_match"),
        ({"reasoning": "I tidy up.", "probe.deception.fpr": None}, "unknown"),
        ({"reasoning": "I tidy up."}, "not_applicable"),
        ({"reasoning.state": "encrypted", "probe.deception.fpr": 0.001}, "unknown"),
    ],
)
def test_reasoning_clean_but_action_or_probe_hot(
    short: dict[str, Any], expected: str, load_detection: LoadDetection
) -> None:
    (found,) = load_detection(CLEAN_BUT_HOT).findings(examples.build(short))
    assert found.status.value == expected


def test_evidence_of_a_reference_is_what_was_found(load_detection: LoadDetection) -> None:
    rules = load_detection("sel: {output|contains|fieldref: task}\ncondition: sel")
    record = examples.build({"task": "die große", "output": "so: DIE GROẞE und die große 😀"})
    (found,) = rules.findings(record)
    assert [record.observation.output[span.start : span.end] for span in found.evidence] == ["DIE GROẞE", "die große"]
