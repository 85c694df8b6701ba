"""Agent Threat Rules become rules of ours: whole files (MIT, see ``atr/LICENSE``), and each reason of the closed list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import policy
from monitor.policy.importers import Result, import_atr, packs
from monitor.policy.importers.atr_fields import FIELDS
from monitor.policy.importers.reasons import MEANINGS, Reason
from monitor.records import Call, Message, Observation, Outcome, Record, Status

if TYPE_CHECKING:
    from monitor.policy.importers import FileReport, Imported
    from tests.policy.conftest import Write

FILES = Path(__file__).parent / "atr"
BASE: dict[str, Any] = {
    "title": "Example",
    "id": "ATR-2026-99999",
    "status": "stable",
    "description": "Looks for an example.",
    "author": "Somebody",
    "date": "2026/03/08",
    "severity": "medium",
    "tags": {"category": "prompt-injection"},
    "agent_source": {"type": "llm_io"},
    "detection": {
        "conditions": [{"field": "user_input", "operator": "regex", "value": "(?i)one\\s+two"}],
        "condition": "any",
        "false_positives": ["Counting."],
    },
    "test_cases": {
        "true_positives": [{"input": "One\u00a0TWO", "expected": "triggered"}],
        "true_negatives": [{"input": "onetwo", "expected": "not_triggered"}],
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    """The base rule with other parts: a key such as ``detection__condition`` goes into a map; None takes a part out."""
    rule: dict[str, Any] = json.loads(json.dumps(BASE))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = rule
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return rule


def conditions(*found: Any, condition: str = "any", **changes: Any) -> dict[str, Any]:
    """The base rule with these conditions; a text is a pattern over ``user_input``."""
    made = [
        {"field": "user_input", "operator": "regex", "value": one} if isinstance(one, str) else one for one in found
    ]
    return changed(detection__conditions=made, detection__condition=condition, **changes)


def with_tests(*cases: Any, **changes: Any) -> dict[str, Any]:
    return changed(test_cases={"true_positives": list(cases)}, **changes)


def take(write: Write, rule: Any, name: str = "rule.yaml") -> tuple[Imported, FileReport]:
    """Import one rule. JSON is YAML."""
    made = import_atr([write(rule if isinstance(rule, str) else json.dumps(rule), name)])
    return made, made.files[0]


def load(write: Write, made: Imported) -> policy.PolicySet:
    return policy.load([write(text, f"{name}.pack.yaml") for name, text in made.packs.items()])


def reasons(report: FileReport) -> set[Reason]:
    return {remark.reason for remark in report.remarks} | {
        test.left_out.reason for test in report.tests if test.left_out
    }


def one(name: str, **more: Any) -> dict[str, Any]:
    return {"field": name, "operator": "regex", "value": "one"} | more


HUGE = [f"{number:04} {'x' * 4_900}" for number in range(190)]
LONG = f"one two {'x' * 300_000}"
EACH: dict[Reason, Any] = {
    Reason.UNREADABLE: "title: [",
    Reason.NOT_A_RULE: {"title": "only"},
    Reason.DEPRECATED: changed(status="deprecated"),
    Reason.METHOD: changed(detection__method="trace"),
    Reason.EXPRESSION: conditions("a", condition="a or b"),
    Reason.NOTHING_LEFT: conditions(r"(a)\1"),
    Reason.NOT_LOADABLE: conditions(one("content", operator="contains", value=HUGE)),
    Reason.PHRASE_TOO_LONG: conditions("a", one("content", operator="contains", value="x" * 5_001)),
    Reason.TOO_COSTLY: conditions("a", r'"url"(?![\s\S]{0,400}"(?:auth|headers?|token)")[\s\S]{0,900}z'),
    Reason.TEST_NOT_LOADABLE: with_tests(*[{"input": f"{LONG} {n}", "expected": "triggered"} for n in range(3)]),
    Reason.CONDITION_SHAPE: conditions("a", {"field": "content", "operator": "regex"}),
    Reason.FIELD: conditions("a", one("trace.forbid_violation")),
    Reason.OPERATOR: conditions("a", one("content", operator="ml_classifier")),
    Reason.THRESHOLD: conditions("a", {"metric": "call_frequency", "operator": "gt", "threshold": 3}),
    Reason.SEQUENCE: conditions("a", {"ordered": True, "within": "5m", "steps": []}),
    Reason.REGEX_INVALID: conditions("a", "(b"),
    Reason.REGEX_LOOKAROUND: conditions("a", "(?:(?=b)c)*d"),
    Reason.REGEX_BACKREFERENCE: conditions("a", r"(b)\1"),
    Reason.REGEX_PROPERTY: conditions("a", r"\p{Emoji}"),
    Reason.REGEX_HALVES: conditions("a", r"[\uD83D]"),
    Reason.REGEX_TOO_LARGE: conditions("a", "((b{90}){90}){90}"),
    Reason.TEST_SHAPE: with_tests("one two"),
    Reason.TEST_EXPECTATION: with_tests({"input": "one two", "expected": "perhaps"}),
    Reason.TEST_RULE_MISSING: changed(detection__method="behavioral"),
    Reason.TEST_CONDITION_MISSING: conditions("never", r"(o)ne\b.\1*"),
    Reason.TEST_NORMALISATION: with_tests({"input": "ｏｎｅ two", "expected": "triggered"}),
    Reason.TEST_CODE_BLOCK: changed(
        tags__suppress_in_code_blocks=True,
        test_cases__true_negatives=[{"input": "`one two`", "expected": "not_triggered"}],
    ),
    Reason.TEST_DISAGREES: with_tests({"input": "three", "expected": "triggered"}),
    Reason.FLAGS_IGNORED: conditions("(?s)one.two"),
    Reason.CHARACTERS_NOT_HALVES: conditions("[😀😎]"),
    Reason.GATE_DROPPED: conditions(one("content", language="ja")),
    Reason.SEMANTIC_FALLBACK: changed(detection__method="semantic", detection__semantic={"fallback_method": "pattern"}),
    Reason.METADATA: changed(severity="odd", date="some day"),
}


@pytest.mark.parametrize("reason", EACH, ids=str)
def test_each_reason_is_given_for_what_it_says(write: Write, reason: Reason) -> None:
    made, report = take(write, EACH[reason])
    assert reason in reasons(report)
    about = MEANINGS[reason][0]
    expected = {"file": Result.REFUSED, "condition": Result.PARTLY, "note": Result.IMPORTED}
    if about in expected:
        assert report.result is expected[about]
    assert bool(made.packs) is (report.result is not Result.REFUSED)
    if made.packs:
        assert all(result.passed for result in load(write, made).run_tests())


def test_a_second_file_with_the_same_id_is_refused(write: Write) -> None:
    made = import_atr([write(json.dumps(BASE), "a.yaml"), write(json.dumps(BASE), "b.yaml")])
    assert [report.result for report in made.files] == [Result.IMPORTED, Result.REFUSED]
    assert [remark.reason for remark in made.files[1].remarks] == [Reason.DUPLICATE_ID]


def test_every_reason_has_a_test_and_a_meaning() -> None:
    assert {*EACH, Reason.DUPLICATE_ID} == set(Reason)
    assert set(MEANINGS) == set(Reason)


def test_whole_files_import_with_their_tests(write: Write) -> None:
    """All twelve, every condition; the tests left out are those that the files' own engine does not pass either."""
    made = import_atr([FILES])
    assert [report.result for report in made.files] == [Result.IMPORTED] * 12
    assert sum(report.conditions for report in made.files) == sum(report.conditions_imported for report in made.files)
    left_out = {
        (test.left_out.reason, report.foreign_id) for report in made.files for test in report.tests if test.left_out
    }
    disagrees = Reason.TEST_DISAGREES
    assert left_out == {(disagrees, f"ATR-2026-{number}") for number in ("00010", "00224", "00355", "00367")}
    results = load(write, made).run_tests()
    assert len(results) == sum(report.tests_imported for report in made.files)
    assert [result for result in results if not result.passed] == []


def test_the_pack_is_the_same_every_time_and_lint_finds_no_fault(write: Write) -> None:
    made = import_atr([FILES])
    assert made.packs == import_atr([FILES]).packs
    path = write(made.packs["atr"], "atr.yaml")
    assert [note for note in policy.lint([path]) if not isinstance(note, policy.LintNote)] == []
    assert "Copyright (c) 2026 ATR Contributors" in made.packs["atr"]


def test_what_a_rule_says_of_itself_is_carried_over(write: Write) -> None:
    (rule,) = load(write, take(write, changed(severity="critical", references={"cve": ["CVE-2026-1"]}))[0]).rules
    written = rule.written
    assert (written.title, written.name) == ("Example (ATR-2026-99999)", "atr_2026_99999_example")
    assert (written.status, written.level, written.author, written.date) == (
        "stable",
        "critical",
        "Somebody",
        "2026-03-08",
    )
    assert written.references == ["Agent Threat Rules: ATR-2026-99999", "cve: CVE-2026-1"]
    assert written.tags == ["atr.ATR-2026-99999", "atr.category.prompt-injection", "atr.source.llm_io"]
    assert written.falsepositives == ["Counting."]
    assert UUID(written.id).version == 5


def test_the_response_of_the_original_is_not_taken_over(write: Write) -> None:
    rule = changed(severity="low", response={"actions": ["block_input", "kill_agent"]})
    (ours,) = load(write, take(write, rule)[0]).rules
    assert (ours.written.action, ours.written.effective_action) == (None, "log")


def test_a_condition_that_must_hold_and_cannot_be_said_refuses_the_rule(write: Write) -> None:
    """Without it the rule would match more than it did."""
    assert take(write, conditions("a", r"(b)\1", condition="all"))[1].result is Result.REFUSED
    assert take(write, conditions("a", r"(b)\1", condition="any"))[1].result is Result.PARTLY


NAMED = {
    "first": {"field": "user_input", "patterns": ["one", "uno"], "match_type": "contains"},
    "second": {"field": "agent_output", "patterns": ["t[wv]o"], "match_type": "regex"},
    "gone": {"field": "user_input", "patterns": [r"(x)\1"]},
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("first", "c1"),
        ("first AND second", "c1 and c2"),
        ("first or second", "c1 or c2"),
        ("(first OR second) AND first", "(c1 or c2) and c1"),
        ("first AND NOT second", "c1 and not c2"),
        ("NOT first AND second", "not (c1 and c2)"),
        ("first OR gone", "c1"),
        ("first OR (second AND gone)", "c1"),
        ("any", "1 of them"),
        ("gone", Reason.NOTHING_LEFT),
        ("first AND gone", Reason.NOTHING_LEFT),
        ("first AND NOT gone", Reason.EXPRESSION),
        ("first AND third", Reason.EXPRESSION),
        ("(" * 99 + "first" + ")" * 99, Reason.EXPRESSION),
    ],
)
def test_named_conditions(write: Write, condition: str, expected: str | Reason) -> None:
    rule = changed(detection__conditions=NAMED, detection__condition=condition, test_cases=None)
    made, report = take(write, rule)
    if isinstance(expected, Reason):
        assert expected in reasons(report)
        assert report.result is Result.REFUSED
    else:
        assert f"\n      condition: {expected}\n" in made.packs["atr"]
        load(write, made)


@pytest.mark.parametrize(
    ("operator", "value", "hits", "misses"),
    [
        ("contains", "a.B", ["xA.b"], ["aXb"]),
        ("starts_with", "a.B", ["A.bx"], ["xa.b"]),
        ("exact", "a.B", ["a.B"], ["A.b", "a.B "]),
        ("regex", "a.B", ["xAXb"], ["ab"]),
        ("regex", ["a", "b"], ["B"], ["c"]),
    ],
)
def test_operators(write: Write, operator: str, value: Any, hits: list[str], misses: list[str]) -> None:
    rule = conditions({"field": "user_input", "operator": operator, "value": value}, test_cases=None)
    rules = load(write, take(write, rule)[0])
    assert [status(rules, text) for text in (*hits, *misses)] == [Status.MATCH] * len(hits) + [Status.NO_MATCH] * len(
        misses
    )


def test_the_two_forms_of_exact_differ_in_case_as_the_peers_do(write: Write) -> None:
    made = {"field": "user_input", "patterns": ["a.B"], "match_type": "exact"}
    for cased, expected in ((False, Status.MATCH), (True, Status.NO_MATCH)):
        named = changed(
            detection__conditions={"x": made | {"case_sensitive": cased}}, detection__condition="x", test_cases=None
        )
        assert status(load(write, take(write, named)[0]), "A.b") is expected


def status(rules: policy.PolicySet, user: str) -> Status:
    call = Call(run_id="0" * 32, span_id="0" * 16, key="x", role="x", messages=(Message(role="user", content=user),))
    return rules.findings(Record(call=call, observation=Observation(outcome=Outcome.OK)))[0].status


@pytest.mark.parametrize(
    ("source", "field", "case", "record"),
    [
        ("llm_io", "content", {"input": "t"}, {"user": "t", "tools": ["tool"]}),
        ("mcp_exchange", "content", {"input": "t"}, {"tool.result": "t"}),
        ("tool_call", "content", {"input": "t"}, {"tool.arguments": "t"}),
        ("mcp_exchange", "user_input", {"tool_response": "t"}, {"user": "t"}),
        ("mcp_exchange", "tool_response", {"input": {"response": "t"}}, {"tool.result": "t"}),
        (
            "tool_call",
            "tool_args",
            {"tool_call": {"name": "n", "args": {"a": [1, "é"]}}},
            {"tool.arguments": '{"a":[1,"é"]}'},
        ),
        ("tool_call", "tool_name", {"input": {"tool_name": "t", "x": 1}}, {"tool.name": "t"}),
        ("llm_io", "agent_output", {"agent_output": "t"}, {"output": "t", "tools": ["tool"]}),
        ("mcp_exchange", "tool_description", {"input": "t"}, {"system": "t"}),
        ("multi_agent_comm", "agent_message", {"input": "t"}, {"user": "t"}),
        ("llm_io", "user_input", {"input": {"a": None}}, {"user": '{"a":null}'}),
    ],
)
def test_a_tests_text_stands_where_the_rule_looks(
    write: Write, source: str, field: str, case: dict[str, Any], record: dict[str, Any]
) -> None:
    rule = conditions(one(field, value="[\\s\\S]"), agent_source={"type": source})
    rule["test_cases"] = {"true_positives": [case]}
    (ours,) = load(write, take(write, rule)[0]).rules
    assert [(test.record, test.expect) for test in ours.written.tests] == [(record, "match")]


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_finds_its_text_and_says_no_match_of_another(write: Write, field: str) -> None:
    """Text given as ``input`` as well, by whatever source: no recall is lost on the way."""
    for source in ("llm_io", "mcp_exchange", "tool_call", "multi_agent_comm", "skill_lifecycle", "context_window"):
        rule = conditions(one(field), agent_source={"type": source})
        rule["test_cases"] = {
            "true_positives": [{"input": "so one"}, {field: "one", "description": "named"}],
            "true_negatives": [{"input": "two"}],
        }
        _, report = take(write, rule)
        left_out = [(test.name, test.left_out) for test in report.tests if test.left_out]
        assert left_out == ([] if field != "tool_input" else left_out)
        assert report.tests_imported >= 2


def test_evasions_are_tests_too_wherever_they_stand(write: Write) -> None:
    rule = changed(evasion_tests=[{"input": "1 2", "expected": "not_triggered", "notes": "digits"}])
    rule["test_cases"]["evasion_tests"] = [{"input": "one two", "expected": "triggered"}, {"input": "x"}]
    _, report = take(write, rule)
    assert [(test.name, test.left_out and test.left_out.reason) for test in report.tests[2:]] == [
        ("evasion 1", None),
        ("evasion 2", Reason.TEST_EXPECTATION),
        ("evasion 3: digits", None),
    ]


def test_a_pack_above_the_limit_is_split(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MAX_PACK", 12_000)
    paths = [write(json.dumps(changed(id=f"ATR-{n}", title=f"T {n}")), f"{n}.yaml") for n in range(6)]
    made = import_atr(paths, "big")
    assert list(made.packs) == ["big", "big_2"]
    assert len(load(write, made).rules) == 6


def test_a_rule_whose_name_is_taken_is_reported_and_the_others_are_written(write: Write) -> None:
    """What is refused only beside the others is found by loading what is about to be written."""
    rules = [changed(id=found) for found in ("ATR-2026-1", "ATR 2026 1", "ATR-2026-2")]
    made = import_atr([write(json.dumps(rule), f"{n}.yaml") for n, rule in enumerate(rules)])
    assert [report.result for report in made.files] == [Result.IMPORTED, Result.REFUSED, Result.IMPORTED]
    assert [remark.reason for remark in made.files[1].remarks] == [Reason.NOT_LOADABLE]
    assert "the name `atr_2026_1_example` is taken already" in made.files[1].remarks[0].detail
    assert {test.left_out and test.left_out.reason for test in made.files[1].tests} == {Reason.TEST_RULE_MISSING}
    assert len(load(write, made).rules) == 2


@settings(deadline=None, max_examples=25)
@given(
    ids=st.lists(
        st.sampled_from(["ATR-1", "atr 1", "ATR-2", "9", "é", "ATR-" + "1" * 90, "ATR-" + "1" * 91]), max_size=5
    ),
    patterns=st.lists(
        st.sampled_from(
            ["one", "(?:a{90}){90}", "(?:.{40}){25}x", "x" * 6_000, "\u0000", "[\u4e00-\uffff]{99}", "o(?!n)"]
        ),
        min_size=1,
        max_size=3,
    ),
    operator=st.sampled_from(["regex", "contains", "exact", "starts_with"]),
)
def test_what_is_written_loads_together(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], patterns: list[str], operator: str
) -> None:
    """Whatever the loader bounds: the rest is reported for a reason, and every test that was taken over holds."""
    folder = tmp_path_factory.mktemp("any")
    for number, foreign in enumerate(ids):
        parts = [one("content", operator=operator, value=pattern) for pattern in patterns]
        (folder / f"{number}.yml").write_text(json.dumps(conditions(*parts, id=foreign)), encoding="utf-8")
    made = import_atr([folder])
    assert len(made.files) == len(ids)
    assert all(report.result is Result.IMPORTED or report.remarks for report in made.files)
    paths = [folder / f"{name}.yaml" for name in made.packs]
    for path, text in zip(paths, made.packs.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    loaded = policy.load(paths)
    assert len(loaded.rules) == sum(report.result is not Result.REFUSED for report in made.files)
    assert [result for result in loaded.run_tests() if not result.passed] == []


def test_rewriting_stops_after_a_count_of_steps(write: Write) -> None:
    """The allowance is the rule's, and what is cheap is taken over whatever the others took."""
    costly = r'"url"(?![\s\S]{0,400}"(?:auth|headers?|token)")[\s\S]{0,900}z%d'
    _, report = take(write, conditions(*(costly % number for number in range(9)), "one(?! three)"))
    assert [remark.reason for remark in report.remarks] == [Reason.TOO_COSTLY] * 9
    assert report.conditions_imported == 1


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), st.text(max_size=6))
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
PARTS = [
    "detection",
    "detection__conditions",
    "detection__condition",
    "test_cases",
    "tags",
    "agent_source",
    "id",
    "title",
]
PARTS += [
    "status",
    "description",
    "author",
    "date",
    "severity",
    "test_cases__true_positives",
    "evasion_tests",
    "references",
]
PARTS += ["detection__false_positives", "confirm", "detection__method", "detection__semantic", "modified", "maturity"]


@settings(deadline=None, max_examples=60)
@given(part=st.sampled_from(PARTS), value=JSON, wrap=st.sampled_from(["", "list", "map", "field"]))
def test_no_file_breaks_the_importer(
    tmp_path_factory: pytest.TempPathFactory, part: str, value: Any, wrap: str
) -> None:
    """Whatever stands in whatever part: a line of the report, and what is written loads."""
    found = {"list": [value], "map": {"x": value}, "field": [{"field": "content", "operator": "regex", "value": value}]}
    rule = changed(**{part: found.get(wrap, value)}) if found.get(wrap, value) is not None else changed()
    folder = tmp_path_factory.mktemp("any")
    path = folder / "rule.yaml"
    path.write_text(json.dumps(rule), encoding="utf-8")
    made = import_atr([path])
    assert len(made.files) == 1
    for name, text in made.packs.items():
        (folder / f"{name}.pack").write_text(text, encoding="utf-8")
        results = policy.load([folder / f"{name}.pack"]).run_tests()
        assert [result for result in results if not result.passed] == []


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_importer(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "rule.yaml"
    path.write_bytes(data)
    assert import_atr([path]).files[0].result is Result.REFUSED


def test_texts_of_every_kind_come_through(write: Write) -> None:
    """The texts of the tests in the pack are those of the file, invisible and hostile characters included."""
    hard = "one two \x00\x07\x1b[2J \u202e\u200b\ufeff\u2028 '\"\\ {a: b} #x 😀\n\n- é\t"
    _, report = take(write, with_tests({"input": hard, "expected": "triggered"}))
    made, _ = take(write, with_tests({"input": hard, "expected": "triggered"}))
    (rule,) = load(write, made).rules
    assert report.tests_imported == 1
    assert rule.written.tests[0].record == {"user": hard}
    assert "\u202e" not in made.packs["atr"]
