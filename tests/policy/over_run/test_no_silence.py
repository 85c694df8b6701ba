"""What a rule over a run could not look at it says, also where somebody made it so."""

from __future__ import annotations

import base64
import json
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest

from monitor import policy
from monitor.errors import PolicyError
from monitor.policy.matching import MAX_SPANS
from monitor.policy.over_run.run_rules import RunRuleMemory
from monitor.records import Status
from tests.policy.over_run.test_joined import evidence, record, watched

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.policy import PolicySet
    from tests.policy.conftest import Write

BASE = """
pack: t
version: 1.0.0
engine: 3
rules:
  - {title: a, id: 45a9e88a-2172-46e5-9d6a-76815d990801, name: orders, level: low,
     detection: {a: {output|re: 'run \\w+'}, condition: a}}
  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: asks, level: low,
     detection: {a: {output|contains: May I}, condition: a}}
  - {title: c, id: 45a9e88a-2172-46e5-9d6a-76815d990803, name: deploys, level: low,
     detection: {a: {output|contains: deploy to all}, b: {role: deployer}, condition: a or b}}
run_rules:
  - title: f
    id: 45a9e88a-2172-46e5-9d6a-76815d990806
    name: joined
    level: high
"""
MATCH, UNKNOWN, NO_MATCH = Status.MATCH, Status.UNKNOWN, Status.NO_MATCH


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def loaded(text: str) -> PolicySet:
        path = tmp_path / "pack.yaml"
        path.write_text(BASE + f"    {text}\n")
        return policy.load([path])

    return loaded


@pytest.mark.parametrize(("before", "said"), [(MAX_SPANS - 2, MATCH), (MAX_SPANS, UNKNOWN), (3 * MAX_SPANS, UNKNOWN)])
def test_an_instruction_behind_more_than_the_evidence_has_is_not_taken_for_said(
    load: Any, before: int, said: Status
) -> None:
    rules = load("tree: {this: orders, parent: any, unsaid-in: [output]}")
    plan = record(1, output="The plan: run make")
    *_, last = watched(rules, plan, record(2, 1, output="run make, " * before + "run rootkit"))
    assert last.status is said


@pytest.mark.parametrize(("before", "said"), [(MAX_SPANS - 2, MATCH), (MAX_SPANS, UNKNOWN), (3 * MAX_SPANS, UNKNOWN)])
def test_what_a_rule_found_beyond_its_evidence_is_not_taken_for_unmarked(load: Any, before: int, said: Status) -> None:
    rules = load("taint: {source: orders, from: [found], sink: asks, into: [prompt], least: 8}")
    source = record(1, output="run makefiles, " * before + "run the_rootkit")
    *_, last = watched(rules, source, record(2, role="boss", user="run the_rootkit", output="May I?"))
    assert last.status is said


@pytest.mark.parametrize("window", ["", ", subcalls: 20"])
@pytest.mark.parametrize("number", ["1e999", "Infinity", '"1e999"', "9" * 400])
def test_an_infinite_number_is_summed_and_hides_nothing(load: Any, window: str, number: str) -> None:
    rules = load(
        f"correlation: {{type: value_sum, rules: [asks], field: tool.arguments.n, condition: {{gte: 5}}{window}}}"
    )
    sent = [
        record(place, output="May I?", tool__name="pay", tool__arguments=f'{{"n": {amount}}}')
        for place, amount in enumerate(["1e308", "1e308", '"word"', number, "1"])
    ]
    assert [one.status for one in watched(rules, *sent)] == [MATCH] * 5
    assert [one.status for one in watched(rules, sent[4], sent[3])] == [NO_MATCH, MATCH]


def test_an_infinite_number_makes_a_share_unknown_and_no_other_answer(load: Any) -> None:
    rules = load("tree: {this: asks, share: {field: tool.arguments.n, gte: 0.5, least: 5}}")
    endless = record(1, output="May I?", tool__name="pay", tool__arguments='{"n": 1e999}')
    rest = record(2, output="Done.", tool__name="pay", tool__arguments='{"n": 1}')
    said = list(watched(rules, endless, rest))
    assert [(one.status, one.cause.startswith("what some subcalls spent")) for one in said] == [
        (UNKNOWN, True),
        (Status.NO_MATCH, False),
    ]


def test_what_a_rule_missed_when_it_crashed_is_in_doubt_later(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = load("correlation: {type: temporal_ordered, rules: [orders, asks]}")
    watch = rules.watch()

    def seen(one: Any) -> Any:
        (said,) = watch.see(one, rules.findings(one))
        return said.status, said.cause

    with monkeypatch.context() as broken:
        broken.setattr("monitor.policy.over_run.run_rules.group_keys", lambda *_: 1 / 0)
        assert seen(record(1, output="run make")) == (UNKNOWN, "ZeroDivisionError")
    assert seen(record(2, output="May I?")) == (UNKNOWN, "the group of an earlier subcall could not be read")


@pytest.mark.parametrize("width", [16, 20, 64, 76])
@pytest.mark.parametrize("least", [8, 24, 64, 100])
def test_base64_in_lines_is_found_whole_whatever_its_least(load: Any, width: int, least: int) -> None:
    rules = load(f"taint: {{source: any, sink: asks, into: [prompt], least: {least}}}")
    marked = "".join(chr(97 + place * place % 26) + str(place % 10) for place in range(least // 2))
    for before in range(40, 64):
        code = base64.b64encode(("Z" * before + marked).encode()).decode()
        lines = "\r\n".join(code[start : start + width] for start in range(0, len(code), width))
        first, second = record(1, output=marked), record(2, role="boss", user=f"See:\n{lines}", output="May I?")
        *_, said = watched(rules, first, second)
        here, there = evidence(said, first, second)
        assert (said.status, there) == (MATCH, [marked])
        found = here[0].replace("\r\n", "")
        begins = code.index(found) // 4 * 4
        assert marked.encode() in base64.b64decode(code[begins : -(-(code.index(found) + len(found)) // 4) * 4])


MARKED = "The vault opens with 4711-rumpelstilzchen-0815, at noon."
VIETNAMESE = "Một đội quân được hộ tống bởi những người lính đến từ phía Bắc"


UNSEEN = [0x08, 0x7F, 0xAD, 0x034F, 0x115F, 0x180B, 0x200B, 0x2800, 0x3164, 0xFE0F, 0xFFA0, 0xE0100]


@pytest.mark.parametrize("point", UNSEEN)
def test_characters_that_nobody_sees_hide_no_marked_text(load: Any, point: int) -> None:
    rules = load("taint: {source: any, sink: asks, into: [prompt]}")
    passed = chr(point).join(MARKED)
    first, second = record(1, output=MARKED), record(2, role="boss", user=f"So: {passed}!", output="May I?")
    *_, said = watched(rules, first, second)
    assert said.status is MATCH
    assert evidence(said, first, second) == ([passed], [MARKED])


def test_marks_in_another_order_are_the_same_text(load: Any) -> None:
    rules = load("taint: {source: any, sink: asks, into: [prompt]}")
    apart = unicodedata.normalize("NFD", VIETNAMESE)
    turned = apart.replace("\u0323\u0302", "\u0302\u0323")
    assert turned != apart
    first, second = record(1, output=VIETNAMESE), record(2, role="boss", user=f"So: {turned}!", output="May I?")
    *_, said = watched(rules, first, second)
    assert said.status is MATCH
    assert evidence(said, first, second) == ([turned], [VIETNAMESE])


def test_only_what_could_have_come_before_puts_an_absence_in_doubt(load: Any) -> None:
    rules = load("correlation: {type: absence, rules: [orders], without: [asks], group-by: [tool.arguments.host]}")
    one = record(1, output="run make", tool__name="run", tool__arguments='{"host": "a"}')
    unread: dict[str, Any] = {"tool__name": "run", "tool__arguments": '{"host'}
    same, other = record(2, output="run make", **unread), record(3, output="May I?", **unread)
    assert [said.status for said in watched(rules, same, one)] == [UNKNOWN, MATCH]
    assert [said.status for said in watched(rules, other, one)] == [UNKNOWN, UNKNOWN]


def test_what_began_nobody_knows_when_is_in_doubt_for_every_window(load: Any) -> None:
    rules = load("correlation: {type: temporal_ordered, rules: [orders, asks], timespan: 10m}")
    first, second = record(1, output="run make"), record(2, output="May I?")
    first = first.model_copy(update={"call": first.call.model_copy(update={"at": ""})})
    second = second.model_copy(update={"call": second.call.model_copy(update={"at": "2026-01-01T00:00:00+00:00"})})
    assert [said.status for said in watched(rules, first, second)] == [UNKNOWN, UNKNOWN]


def test_a_rule_that_matches_by_a_fact_does_not_say_what_should_have_been_said(load: Any) -> None:
    rules = load("tree: {this: deploys, parent: any, unsaid-in: [output]}")
    plan = record(1, output="The plan: deploy to the test site")
    by_phrase, by_fact = record(2, 1, output="deploy to all"), record(3, 1, output="Done.", role="deployer")
    assert [said.status for said in watched(rules, plan, by_phrase, by_fact)] == [NO_MATCH, MATCH, UNKNOWN]


def test_who_gives_very_many_values_gets_no_more_memory_and_no_silence(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.policy.over_run.correlations.MAX_VALUES", 40)
    counted = "{type: value_count, rules: [asks], field: tool.arguments.n, condition: {gte: 50}, timespan: 10m}"
    rules = load(f"correlation: {counted}")
    watch = rules.watch()

    def asks(number: int, names: list[str]) -> Status:
        one = record(number, output="May I?", tool__name="open", tool__arguments={"n": names})
        one = one.model_copy(update={"call": one.call.model_copy(update={"at": "2026-01-01T00:00:00+00:00"})})
        status: Status = watch.see(one, rules.findings(one))[0].status
        return status

    few = [asks(number, [f"{number}-{name}" for name in range(10)]) for number in range(1, 5)]
    assert few == [NO_MATCH] * 4
    assert asks(5, [f"5-{name}" for name in range(10)]) is MATCH  # all of them were there until now
    assert asks(6, ["1-0"]) is UNKNOWN
    (remembers,) = watch._memories
    assert isinstance(remembers, RunRuleMemory)
    assert remembers._groups.at((), 0)._values_kept <= 40
    assert asks(7, [str(name) for name in range(60)]) is MATCH
    assert remembers._groups.at((), 0)._values_kept == 0
    assert asks(8, ["1-0"]) is UNKNOWN


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        ("[[]]", "there is no subcall in this list. Write those that are answered at the same time."),
        ("[{started: 1e300}]", "`started`: a run of 1e+300 seconds is none. Write the seconds since it began"),
        ("[{started: -1e12}]", "`started`: a run of -1e+12 seconds is none. Write the seconds since it began"),
    ],
)
def test_a_test_of_what_can_be_no_run_is_a_fault_with_its_line(load: Any, run: str, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load(f"tree: {{this: any, parent: any}}\n    tests:\n      - {{run: {run}, expect: no_match}}")
    where, _, said = str(caught.value).partition("pack.yaml:19:")[2].partition(": ")
    assert said.startswith(problem)
    assert int(where) > 15


@pytest.mark.parametrize("field", ["tool.arguments", "tool.arguments.key"])
def test_what_a_rule_found_in_json_is_marked_without_its_escapes(write: Write, field: str) -> None:
    detection = f"{{a: {{{field}|re: 'KEY=(?s:.)*'}}, condition: a}}"
    text = BASE.replace("{a: {output|contains: May I}, condition: a}", detection)
    taint = "taint: {source: asks, from: [found], sink: any, into: [prompt], least: 12}"
    rules = policy.load([write(f"{text}    {taint}\n")])
    secret = 'KEY="\u00e9\u00e9-4711"\n"0815"\t"x"'
    keeps = record(1, tool__name="keep", tool__arguments=json.dumps({"a": "\\", "key": f"the {secret}"}))
    told = record(2, role="boss", user=f"It is {secret}.")
    *_, said = watched(rules, keeps, told)
    assert said.status is MATCH
    here, there = evidence(said, keeps, told)
    assert here == [secret]
    assert json.loads(f'"{there[0]}"') == secret
