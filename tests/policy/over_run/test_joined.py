"""Rules over the tree and over taint: evidence with both ends, bounds, and what an adversary gains by a million."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from monitor import policy
from monitor.errors import PolicyError
from monitor.policy import examples
from monitor.policy.over_run import nodes, relatives, shares, shelf, taint, unsaid
from monitor.policy.over_run.joined import text_at
from monitor.records import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from monitor.policy import PolicySet
    from monitor.policy.over_run import RunWatch
    from monitor.policy.over_run.joining import JoinedRule
    from monitor.records import Record

SECRET = "The vault opens with 4711-rumpelstilzchen-0815, at noon."
BASE = """
pack: t
version: 1.0.0
engine: 3
rules:
  - {title: a, id: 45a9e88a-2172-46e5-9d6a-76815d990801, name: untrusted, level: low,
     detection: {a: {trust: untrusted, kind: model}, condition: a}}
  - {title: b, id: 45a9e88a-2172-46e5-9d6a-76815d990802, name: trusted, level: low,
     detection: {a: {trust: trusted}, condition: a}}
  - {title: c, id: 45a9e88a-2172-46e5-9d6a-76815d990803, name: tool, level: low,
     detection: {a: {kind: tool}, condition: a}}
  - {title: d, id: 45a9e88a-2172-46e5-9d6a-76815d990804, name: opens, level: low,
     detection: {a: {output|contains: rumpelstilzchen}, condition: a}}
  - {title: e, id: 45a9e88a-2172-46e5-9d6a-76815d990805, name: thinks, level: low,
     detection: {a: {reasoning|contains: plan}, condition: a}}
  - {title: g, id: 45a9e88a-2172-46e5-9d6a-76815d990807, name: deletes, level: low,
     detection: {a: {tool.arguments.path|re: '.+'}, condition: a}}
run_rules:
  - title: f
    id: 45a9e88a-2172-46e5-9d6a-76815d990806
    name: joined
    level: high
"""


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def loaded(text: str) -> PolicySet:
        path = tmp_path / "pack.yaml"
        path.write_text(BASE + f"    {text}\n")
        return policy.load([path])

    return loaded


def record(number: int, parent: int | None = None, **short: Any) -> Record:
    made = examples.build({name.replace("__", "."): value for name, value in short.items()})
    above = "the run" if parent is None else f"{parent:016}"
    return made.model_copy(
        update={"call": made.call.model_copy(update={"span_id": f"{number:016}", "parent_id": above})}
    )


def watched(rules: PolicySet, *records: Record) -> Iterator[Finding]:
    watch = rules.watch()
    for one in records:
        watch.begin(one.call)
        (said,) = watch.see(one, rules.findings(one))
        yield said


def evidence(said: Finding, *records: Record) -> tuple[list[str], list[str]]:
    """The texts of both ends."""
    by_span = {one.call.span_id: one for one in records}
    here = [text_at(records[-1], span.surface)[span.start : span.end] for span in said.evidence]
    there = [text_at(by_span[span.span_id], span.surface)[span.start : span.end] for span in said.elsewhere]
    return here, there


@pytest.mark.parametrize(
    ("passed", "found"),
    [
        (SECRET, SECRET),
        (f"He says: {SECRET.upper()}!", SECRET.upper()),
        (SECRET.replace(" ", "\n  "), SECRET.replace(" ", "\n  ")),
        ("".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in SECRET), None),
        (SECRET.replace("o", "o\u200b"), None),
        (f"x={base64.b64encode(SECRET.encode()).decode()};", base64.b64encode(SECRET.encode()).decode()[:-2]),
        (f"x={base64.urlsafe_b64encode(('~~' + SECRET).encode()).decode()};", None),
        (base64.encodebytes(SECRET.encode() * 2).decode(), None),
        (f"0x{SECRET.encode().hex()}.", SECRET.encode().hex()),
        (json.dumps({"a": f'"{SECRET}"\n'}), SECRET),
    ],
)
def test_a_text_is_found_in_every_form_and_with_both_ends(load: Any, passed: str, found: str | None) -> None:
    rules = load("taint: {source: untrusted, sink: trusted, into: [prompt]}")
    records = record(1, output=f"Listen. {SECRET}"), record(2, trust="trusted", role="boss", user=passed)
    *_, said = watched(rules, *records)
    assert said.status is Status.MATCH
    here, there = evidence(said, *records)
    assert there[0].strip() == SECRET or SECRET in there[0]
    assert found is None or here[0].strip() == found or found in here[0]
    assert len(here[0]) <= len(passed)


@pytest.mark.parametrize(
    "passed",
    [
        base64.b64encode(base64.b64encode(SECRET.encode())).decode(),  # twice
        SECRET[:10] + "..." + SECRET[20:40] + "..." + SECRET[45:],  # in pieces
        "At noon, 4711-rumpelstilzchen-0815 opens it.",  # in other words
        SECRET[::-1],
    ],
)
def test_what_it_misses(load: Any, passed: str) -> None:
    rules = load("taint: {source: untrusted, sink: trusted, into: [prompt], least: 32}")
    *_, said = watched(rules, record(1, output=SECRET), record(2, trust="trusted", role="boss", user=passed))
    assert said.status is Status.NO_MATCH


@pytest.mark.parametrize("what", ["what: tool.arguments.path, ", ""])
@pytest.mark.parametrize("path", ["/srv/caf\u00e9/b", 'C:\\new\\"odd"'])
@pytest.mark.parametrize("plan", ["Delete {}, then stop.", '{{"steps": ["delete", {}]}}'])
def test_what_was_said_in_json_was_said(load: Any, plan: str, path: str, what: str) -> None:
    """Escapes of JSON on either side, and none, are one text."""
    told = plan.format(json.dumps(path) if "{{" in plan else path)
    rules = load(f"tree: {{this: deletes, parent: untrusted, {what}unsaid-in: [output]}}")
    arguments = json.dumps({"path": path})
    above = record(1, output=told)
    *_, said = watched(rules, above, record(2, 1, trust="trusted", tool__name="delete", tool__arguments=arguments))
    assert said.status is Status.NO_MATCH
    *_, said = watched(rules, record(1, output="x"), record(2, 1, trust="trusted", tool__arguments=arguments))
    assert said.status is Status.MATCH


def test_a_role_that_goes_on_with_its_own_history_is_no_flow(load: Any) -> None:
    rules = load("taint: {source: tool, sink: any, into: [prompt]}")
    asks = record(1, role="agent", tool__name="read")
    answers = record(2, 1, kind="tool", role="read", tool__result=SECRET)
    history = [{"role": "tool", "content": SECRET}]
    goes_on = record(3, role="agent", messages=history)
    other = record(4, role="writer", user=SECRET)
    said = list(watched(rules, asks, answers, goes_on, other))
    assert [one.status.value for one in said] == ["no_match", "no_match", "no_match", "match"]
    # Who called the tool is not known: then it cannot be told from its own history.
    *_, unplaced = watched(rules, answers, goes_on)
    assert (unplaced.status, unplaced.cause) == (Status.UNKNOWN, "which role called the tool is not known")


def test_what_a_subcall_was_handed_and_what_it_writes_are_two_ends_too(load: Any) -> None:
    rules = load("taint: {source: any, from: [tool.result], sink: any, into: [tool.arguments]}")
    one = record(1, messages=[{"role": "tool", "content": SECRET}], tool__name="send", tool__arguments={"to": SECRET})
    (said,) = watched(rules, one)
    assert said.status is Status.MATCH
    assert [(span.surface, span.span_id) for span in said.elsewhere] == [("messages[0].content", one.call.span_id)]
    assert [span.surface for span in said.evidence] == ["tool_calls[0].arguments"]


def test_what_the_source_only_repeats_did_not_come_from_it(load: Any) -> None:
    rules = load("taint: {source: untrusted, sink: trusted, into: [prompt]}")
    asked = f"What does this mean: {SECRET}"
    repeats = record(1, user=asked, task=asked, output=f"You asked: {SECRET}")
    *_, said = watched(rules, repeats, record(2, trust="trusted", role="boss", user=SECRET))
    assert said.status is Status.NO_MATCH


def test_only_what_the_rule_found_is_marked(load: Any) -> None:
    rules = load("taint: {source: opens, from: [found], sink: any, into: [prompt], least: 12}")
    first = record(1, output=f"{SECRET} And now something else entirely.")
    *_, other = watched(rules, first, record(2, role="boss", user="And now something else entirely."))
    *_, same = watched(rules, first, record(2, role="boss", user="Rumpelstilzchen!"))
    assert (other.status, same.status) == (Status.NO_MATCH, Status.MATCH)


def test_a_source_that_cannot_be_read_leaves_later_sinks_unknown(load: Any) -> None:
    rules = load("taint: {source: any, from: [reasoning], sink: trusted, into: [prompt]}")
    hidden = record(1, reasoning__state="encrypted", output="x")
    *_, said = watched(rules, hidden, record(2, trust="trusted", role="boss", user="Anything."))
    assert said.status is Status.UNKNOWN


def test_a_retry_is_no_child_and_no_sibling_of_what_it_repeats(load: Any) -> None:
    first = record(1, task="What is 2?")
    again = record(2, 1, task="What is 2?")
    again = again.model_copy(update={"call": again.call.model_copy(update={"retry_of": first.call.span_id})})
    for relation in ("ancestor", "sibling"):
        rules = load(f"tree: {{this: any, {relation}: any, same: [task]}}")
        assert [one.status for one in watched(rules, first, again)] == [Status.NO_MATCH] * 2


def test_parents_that_go_round_in_a_ring_are_walked_once(load: Any) -> None:
    rules = load("tree: {this: any, ancestor: trusted}")
    said = list(watched(rules, record(1, 2), record(2, 1), record(3, 3)))
    assert {one.status for one in said} <= {Status.NO_MATCH, Status.UNKNOWN}


def test_deeper_than_is_looked_the_answer_is_unknown(load: Any) -> None:
    rules = load("tree: {this: any, ancestor: trusted}")
    chain = [record(number, number - 1 if number else None) for number in range(nodes.MAX_DEPTH + 2)]
    said = [one.status for one in watched(rules, *chain)]
    assert set(said[: nodes.MAX_DEPTH]) == {Status.NO_MATCH}
    assert said[-1] is Status.UNKNOWN


TREES = [
    "tree: {this: untrusted, ancestor: trusted, same: [task]}",
    "tree: {this: untrusted, sibling: trusted, same: [task]}",
    "tree: {this: untrusted, without-ancestor: trusted}",
    "tree: {this: untrusted, parent: any, what: role, unsaid-in: [output]}",
    "tree: {this: any, share: {field: usage.output_tokens, gte: 0.99, least: 1000000000}}",
    "taint: {source: untrusted, sink: trusted, into: [task], least: 8}",
]


def _watch(rules: PolicySet, monkeypatch: pytest.MonkeyPatch, most: int) -> tuple[RunWatch, JoinedRule]:
    """A watch that remembers no more than ``most`` of anything."""
    for module in (nodes, relatives, shares, unsaid, taint):
        real = shelf.Shelf
        monkeypatch.setattr(module, "Shelf", lambda *_, real=real: real(most, 100 * most))
    watch = rules.watch()
    return watch, watch._joined[0]


@pytest.mark.parametrize("text", TREES)
def test_whoever_opens_a_million_of_them_gets_no_more_memory_and_no_silence(
    load: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With bounds of 100 in the place of 10,000, and twenty times as many of everything."""
    rules = load(text)
    watch, joined = _watch(rules, monkeypatch, 100)
    first = record(0, task="the first question of all", output=SECRET, usage__output_tokens=5)
    watch.begin(first.call)
    watch.see(first, rules.findings(first))
    made = record(1, task="a task", output="an output", usage__output_tokens=5)
    seen = []
    for number in range(1, 2_000):
        call = made.call.model_copy(
            update={
                "span_id": f"{number:016}",
                "parent_id": f"{number - 1:016}" if number % 7 == 0 else f"ghost {number}",
                "task": f"question {number:08}",
            }
        )
        observation = made.observation.model_copy(update={"output": f"answer {number:08}"})
        one = made.model_copy(update={"call": call, "observation": observation})
        watch.begin(call)
        seen.append(watch.see(one, rules.findings(one))[0].status)
        assert len(joined._memory) <= 100 * 40  # type: ignore[arg-type]
        assert len(watch._tree) <= 100
    last = record(20_000, 0, trust="trusted", role="boss", task=SECRET, usage__output_tokens=5)
    below = record(20_001, 0, task="the first question of all", usage__output_tokens=5)
    said = []
    for one in (last, below):
        watch.begin(one.call)
        said.append(watch.see(one, rules.findings(one))[0])
    assert Status.UNKNOWN in {one.status for one in said}  # the first is forgotten, and that is said
    assert any("dropped" in one.cause for one in said)


@pytest.mark.parametrize("text", [*TREES, "tree: {this: any, parent: any}"])
def test_after_a_subcall_that_cannot_be_read_nothing_is_silently_none(load: Any, text: str) -> None:
    rules = load(text)
    watch = rules.watch()
    watch.lose()
    for one in (record(1, trust="trusted", role="boss"), record(2, role="x")):
        (said,) = watch.see(one, rules.findings(one))
        assert (said.status, said.cause) == (Status.UNKNOWN, "a subcall of the run could not be read")


def test_a_rule_that_breaks_is_unknown_from_then_on(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = load("tree: {this: any, parent: any}")
    watch = rules.watch()
    memory: Any = watch._joined[0]._memory
    monkeypatch.setattr(memory, "see", lambda _: 1 / 0)
    one, two = record(1), record(2)
    said = [watch.see(one, ())[0], watch.see(two, ())[0]]
    assert [(finding.status, finding.cause) for finding in said] == [(Status.UNKNOWN, "ZeroDivisionError")] * 2


def test_unchecked_subcalls_are_told_of_where_they_end_or_where_their_parent_does(load: Any) -> None:
    rules = load("tree: {this: trusted, child: unchecked}")
    boss, hidden = record(1, trust="trusted"), record(2, 1, output="x")
    watch = rules.watch()
    watch.see(boss, rules.findings(boss))
    watch.begin(hidden.call)
    (said,) = watch.skip(hidden.call, hidden.observation)
    assert (said.status, [span.span_id for span in said.elsewhere]) == (Status.MATCH, [boss.call.span_id])
    watch = rules.watch()
    watch.begin(boss.call)
    watch.begin(hidden.call)
    watch.skip(hidden.call, hidden.observation)
    (said,) = watch.see(boss, rules.findings(boss))
    assert (said.status, [span.span_id for span in said.elsewhere]) == (Status.MATCH, [hidden.call.span_id])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tree: {this: any}", "give one of `parent`"),
        ("tree: {this: any, parent: any, child: any}", "give one of `parent`"),
        ("tree: {this: any, parent: nobody}", "there is no rule `nobody`"),
        ("tree: {this: any, parent: joined}", "is a rule over a run itself"),
        ("tree: {this: any, parent: any, unsaid-in: [output]}", "give `what`"),
        ("tree: {this: opens, ancestor: any, unsaid-in: [output]}", "`unsaid-in` goes with"),
        ("tree: {this: opens, parent: any, unsaid-in: [trust]}", "`trust` holds no text"),
        ("tree: {this: any, ancestor: any, same: [tsk]}", "there is no field `tsk`"),
        ("tree: {this: any, without-parent: unchecked}", "nothing is read"),
        ("tree: {this: any, share: {field: role, gte: 0.5, least: 1}}", "`role` is no number"),
        ("tree: {this: any, share: {field: usage.cost, gte: 2, least: 1}}", "`gte`"),
        ("taint: {source: any, sink: any, into: [prompt], least: 4}", "`least`"),
        ("correlation: {type: temporal, rules: [opens, thinks], timespan: 0s}", "for what it counts, such as `10m`"),
        ("taint: {source: any, from: [found], sink: any, into: [prompt]}", "`found` stands alone"),
        ("taint: {source: any, sink: any, into: [trust]}", "`trust` holds no text"),
        ("taint: {source: any, sink: any, into: [prompt]}\n    tree: {this: any, parent: any}", "Give one of"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(load: Any, text: str, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load(text)
    assert problem in str(caught.value)
    assert "pack.yaml:19:" in str(caught.value) or "pack.yaml:2" in str(caught.value)


def test_a_pack_with_a_rule_of_the_name_of_a_word_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pack.yaml"
    path.write_text(BASE.replace("name: opens", "name: any") + "    tree: {this: any, parent: any}\n")
    with pytest.raises(PolicyError, match="is a word here"):
        policy.load([path])
