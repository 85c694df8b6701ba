"""``monitor review``: labels by command and at a real terminal, by one person and by several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from monitor.store import Store
from tests.cli.conftest import EVIDENCE, PLAN, RETRY, RUN
from tests.cli.test_deciding import at_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Result

    Monitor = Callable[..., Result]

ROOT = Path(__file__).parents[2]
SCRIPT = """
steps:
  - {when: part 0, text: "<think>I will send the file away</think>I sent it", times: forever}
  - {when: part 1, text: "<think>I send greetings</think>Hello", times: forever}
  - {when: part 2, text: "<think>Nothing much</think>Nothing", times: forever}
"""
PACK = """
pack: house
version: 1.0.0
description: what the house wants to see
rules:
  - title: Wants to send something away
    id: 2c0fb6a1-6d0e-4a55-9f2b-1f6d7c8f9b10
    name: sends_away
    level: medium
    action: ACTION
    detection:
      plan: {reasoning|contains: PATTERN}
      condition: plan
    tests:
      - record: {reasoning: nothing}
        expect: no_match
"""
ROLE = "---\nname: clerk\ndescription: a clerk\nmax_output_tokens: 80\n---\nYou answer.\n"
RECIPE = """
async def ask(ctx, task):
    for number in range(3):
        await ctx.call("clerk", task=f"{task} part {number}")
    return "done"
"""


def pack(path: Path, pattern: str, action: str = "flag") -> None:
    path.write_text(PACK.replace("PATTERN", pattern).replace("ACTION", action))


@pytest.fixture
def office(tmp_path: Path, monitor: Monitor) -> list[str]:
    """A folder in which a run has two matches and a near miss; the arguments of that run."""
    (tmp_path / "script.yaml").write_text(SCRIPT)
    (tmp_path / "clerk.md").write_text(ROLE)
    (tmp_path / "ask.py").write_text(RECIPE)
    pack(tmp_path / "old.yaml", "send")
    pack(tmp_path / "new.yaml", "send the file")
    arguments = ["run", "./ask.py", "The mail:", "-m", "scripted:script.yaml", "-p", "./old.yaml", "-q"]
    assert monitor(*arguments).code == 0
    return arguments


def found(monitor: Monitor, *arguments: str) -> list[Any]:
    """The findings that the command lists."""
    result = monitor("review", *arguments, "--json")
    assert result.code == 0, result.err
    findings: list[Any] = result.json["findings"]
    return findings


def refs(monitor: Monitor, *arguments: str) -> list[str]:
    return [f"{item['run_id'][:8]}/{item['span_id'][:8]}" for item in found(monitor, *arguments)]


def test_from_the_list_to_a_label(monitor: Monitor, office: list[str]) -> None:
    listed = monitor("review")
    assert listed.code == 0
    for text in ("match sends_away (medium, house) in clerk", "reasoning: I send greetings", "2 not labelled"):
        assert text in listed.out
    first, second = refs(monitor)
    assert f"label: monitor review {first} sends_away true|false|unsure --why …" in listed.out
    done = monitor("review", second, "sends_away", "false", "--why", "only greetings", "--by", "ann")
    assert (done.code, done.out) == (0, "")
    assert "false, by ann: match sends_away is false, as 1 person says" in done.err
    assert "false by ann at" in (again := monitor("review").out)
    assert "only greetings" in again
    assert "2 findings: 1 false, 1 not labelled" in again
    assert refs(monitor, "--unlabelled") == [first]


def test_a_label_as_json_says_all_of_it(monitor: Monitor, office: list[str]) -> None:
    first, _ = refs(monitor)
    shape = monitor("review", first, "sends_away", "true", "--why", "it did", "--by", "ann", "--json").json
    assert (shape["format"], shape["consensus"], shape["is_there"]) == ("monitor.review/1", "true", True)
    (item,) = shape["reviews"]
    assert (item["by"], item["label"], item["why"], item["recorded"]) == ("ann", "true", "it did", True)
    assert item["rule_id"] == "2c0fb6a1-6d0e-4a55-9f2b-1f6d7c8f9b10"
    assert len(item["rule_hash"]) == 64
    with Store.open(os.environ.get("MONITOR_DB", "monitor.db")) as store:
        (stored,) = store.reviews()
    assert (stored.id, stored.review.rule_hash) == (shape["review_id"], item["rule_hash"])


def test_several_people_and_second_thoughts(monitor: Monitor, office: list[str]) -> None:
    first, _ = refs(monitor)
    for by, label in (("ann", "true"), ("bob", "false")):
        said = monitor("review", first, "sends_away", label, "--why", "I looked", "--by", by)
    assert "is disputed, as 2 people say" in said.err
    assert "disputed" in monitor("review").out
    said = monitor("review", first, "sends_away", "true", "--why", "ann is right", "--by", "bob")
    assert "is true, as 2 people say" in said.err
    (item, _) = found(monitor)
    assert [review["by"] for review in item["reviews"]] == ["ann", "bob"]
    with Store.open(os.environ.get("MONITOR_DB", "monitor.db")) as store:
        assert len(store.reviews()) == 3  # what was said before is kept


def test_a_silence_that_is_wrong_is_a_miss(monitor: Monitor, office: list[str]) -> None:
    (missed,) = refs(monitor, "--status", "no_match", "--rule", "sends_away")
    assert monitor("review", missed, "sends_away", "false", "--why", "it means to", "--by", "ann").code == 0
    plain = monitor("policy", "backtest", "./old.yaml").out
    assert "precision: unmeasured" in plain
    assert "recall" not in plain
    asked = monitor("policy", "backtest", "./old.yaml", "--recall").out
    assert "found 0 of 1 subcalls that people labelled as positives: 0 % (95 % interval 0–79 %)" in asked


def test_what_a_draft_would_say_can_be_labelled(monitor: Monitor, office: list[str]) -> None:
    """A rule that never ran gets a precision before it is used; the label says that it was not recorded."""
    (ref,) = refs(monitor, "-p", "./new.yaml")
    assert "evaluated now" in monitor("review", "-p", "./new.yaml").out
    shape = monitor("review", ref, "sends_away", "true", "--why", "yes", "-p", "./new.yaml", "--json").json
    assert shape["review"]["recorded"] is False
    out = monitor("policy", "backtest", "./new.yaml").out
    assert "1 of 1 labelled matches are right: 100 % (95 % interval 21–100 %), by 1 person" in out
    assert "another version" not in out
    assert "1 of the labels about another version" in monitor("policy", "backtest", "./old.yaml").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("REF", "sends_away", "true"), "a label needs a reason"),
        (("REF", "nothing", "true", "--why", "x"), "no rule 'nothing' looked at this subcall"),
        (("REF", "sends_away", "maybe", "--why", "x"), "maybe"),
        (("REF", "sends_away"), "say what you think of it"),
        (("latest", "sends_away", "true", "--why", "x"), "say which subcall"),
        (("ffff", "sends_away", "true", "--why", "x"), "there is no subcall 'ffff'"),
        (("latest/ffff", "sends_away", "true", "--why", "x"), "there is no subcall 'ffff'"),
        (("--why", "x"), "say which finding"),
        (("--ask",), "there is no terminal to ask at"),
        (("latest", "--all"), "name no run with it"),
    ],
)
def test_what_does_not_fit_is_refused(
    monitor: Monitor, office: list[str], arguments: tuple[str, ...], says: str
) -> None:
    first, _ = refs(monitor)
    refused = monitor("review", *(first if word == "REF" else word for word in arguments))
    assert refused.code == 2
    assert says in refused.err
    assert all(not item["reviews"] for item in found(monitor))


def test_ids_may_be_cut_or_stand_alone(monitor: Monitor, office: list[str]) -> None:
    first, second = refs(monitor)
    assert monitor("review", first.partition("/")[2], "sends", "true", "--why", "x").code == 0
    assert monitor("review", f"latest/{second.partition('/')[2][:6]}", "2c0fb6a1", "unsure", "--why", "x").code == 0
    assert monitor("review", "latest", "sends_away", "true", "--subcall", second[-8:], "--why", "x").code == 0
    assert [item["consensus"] for item in found(monitor)] == ["true", "true"]
    assert len(found(monitor, first)) == 1
    assert len(found(monitor, "latest", "--subcall", first[-8:])) == 1


def test_all_runs_a_sample_and_a_limit(monitor: Monitor, office: list[str]) -> None:
    assert monitor(*office).code == 0
    assert (len(refs(monitor)), len(refs(monitor, "--all"))) == (2, 4)
    assert len(refs(monitor, "--all", "--role", "nobody")) == 0
    drawn = refs(monitor, "--all", "--sample", "2", "--seed", "7")
    backtest = monitor("policy", "backtest", "./old.yaml", "--sample", "2", "--seed", "7", "--json").json
    samples = backtest["rules"][0]["samples"]
    assert drawn == [f"{item['run_id'][:8]}/{item['span_id'][:8]}" for item in samples]
    limited = monitor("review", "--all", "--limit", "1").out
    assert "4 findings: 4 not labelled, 3 of them not shown (--limit)" in limited


def test_a_sample_at_random_and_by_score(monitor: Monitor, office: list[str]) -> None:
    """Of matches and silences alike; by score, the subcalls that the rules weigh most come first."""
    everything = ("--all", "--status", "match", "--status", "no_match")
    drawn = found(monitor, *everything, "--sample", "2", "--sample-by", "random")
    assert len(drawn) == 2
    assert drawn == found(monitor, *everything, "--sample", "2", "--sample-by", "random")
    seen: set[str] = set()
    for seed in range(100):  # ids are new in every run, and so is what a seed draws: of a hundred, one draws the other
        (item,) = found(monitor, *everything, "--sample", "1", "--sample-by", "random", "--seed", f"{seed}")
        seen.add(item["finding"]["status"])
        if len(seen) == 2:
            break
    assert seen == {"match", "no_match"}
    ranked = found(monitor, *everything, "--sample", "3", "--sample-by", "score")
    assert [item["finding"]["status"] for item in ranked] == ["match", "match", "no_match"]
    assert found(monitor, *everything, "--sample", "3", "--sample-by", "score", "--probe", "none") == []
    for wrong in (("--sample-by", "score"), ("--sample", "2", "--probe", "truth")):
        assert monitor("review", *wrong).code == 2


def test_hostile_text_is_shown_and_not_obeyed(monitor: Monitor, stored: str) -> None:
    listed = monitor("review", RUN[:8])
    assert EVIDENCE in listed.out
    assert "\x1b" not in listed.out
    assert "unknown price (medium, rule)" in listed.out
    done = monitor("review", f"{RUN}/{PLAN}", "hiding_from_oversight", "true", "--why", "\x1b[2J", "--by", "\u202eann")
    assert done.code == 0
    out = monitor("review", RUN).out + done.err
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_what_is_not_judged_cannot_be_labelled(monitor: Monitor, stored: str) -> None:
    refused = monitor("review", f"{RUN}/{RETRY}", "quiet_rule", "true", "--why", "x")
    assert refused.code == 2
    assert "is not judged yet" in refused.err


def test_a_review_in_the_middle_of_a_run_that_waits(monitor: Monitor, office: list[str], tmp_path: Path) -> None:
    """The run is suspended, reviewed, decided, reviewed, resumed to its end, and reviewed again: it ends as ever."""
    pack(tmp_path / "old.yaml", "send the file", action="ask_human")
    assert monitor(*office).code == 7
    (ref,) = refs(monitor)
    assert monitor("review", ref, "sends_away", "true", "--why", "one", "--by", "ann").code == 0
    assert monitor("list", "--json").json["runs"][0]["state"] == "awaiting_human"
    (waiting,) = monitor("pending", "--json").json["pending"]
    assert monitor("decide", waiting["id"], "approve", "--why", "public").code == 0
    assert monitor("review", ref, "sends_away", "true", "--why", "two", "--by", "bob").code == 0
    resumed = monitor("resume", "latest", "-q")
    assert (resumed.code, resumed.out) == (0, "done\n")
    assert monitor("review", ref, "sends_away", "false", "--why", "three", "--by", "cy").code == 0
    run = monitor("list", "--json").json["runs"][0]
    assert (run["state"], run["verdict"]) == ("ok", "block")
    assert len(found(monitor)[0]["reviews"]) == 3
    assert monitor("resume", "latest", "-q").code != 7


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_two_people_review_at_once(monitor: Monitor, office: list[str], tmp_path: Path) -> None:
    """Two processes, the same finding, at the same time: both labels are stored."""
    first, _ = refs(monitor)
    command = [sys.executable, "-m", "monitor", "review", first, "sends_away"]
    people = [
        subprocess.Popen([*command, label, "--why", "x", "--by", by], cwd=tmp_path, env=environment())
        for by, label in (("ann", "true"), ("bob", "false"))
    ]
    assert [person.wait(timeout=120) for person in people] == [0, 0]
    (item, _) = found(monitor)
    assert sorted(review["by"] for review in item["reviews"]) == ["ann", "bob"]
    assert item["consensus"] == "disputed"


@pytest.mark.sqlite("at_terminal finds monitor.db in its folder")
def test_a_person_at_the_terminal_is_asked_one_by_one(monitor: Monitor, office: list[str], tmp_path: Path) -> None:
    typed = [("(q)? ", "x"), ("(q)? ", "t"), ("why? ", ""), ("(q)? ", "t"), ("why? ", "it did"), ("(q)? ", "n")]
    code, screen = at_terminal(tmp_path, ["review", "--ask", "--by", "ann"], typed)
    assert code == 0, screen
    assert "send" in screen
    assert "a label needs a reason" in screen
    assert "1 labelled" in screen
    code, screen = at_terminal(tmp_path, ["review", "--ask", "--by", "bob"], [("(q)? ", "false"), ("why? ", "no")])
    assert code == 0, screen
    code, screen = at_terminal(tmp_path, ["review", "--ask", "--by", "bob"], [])
    assert "nothing is left to label" in screen
    second = [("(q)? ", "u"), ("why? ", "cannot tell")]
    code, screen = at_terminal(tmp_path, ["review", "--ask", "--second-opinion", "--by", "bob"], second)
    assert "it did" not in screen  # what ann said is not shown
    one, two = found(monitor)
    assert [(item["by"], item["label"], item["via"]) for item in one["reviews"]] == [
        ("ann", "true", "terminal"),
        ("bob", "unsure", "terminal"),
    ]
    assert [item["label"] for item in two["reviews"]] == ["false"]
    code, screen = at_terminal(tmp_path, ["review", refs(monitor)[0], "sends_away", "--by", "cy"], [("(q)? ", "q")])
    assert code == 0, screen
    assert "it did" in screen
    assert "left as it was" in screen


def test_json_errors_are_json(monitor: Monitor, office: list[str]) -> None:
    refused = monitor("review", "latest/ffff", "sends_away", "true", "--why", "x", "--json")
    assert json.loads(refused.out)["format"] == "monitor.error/1"
