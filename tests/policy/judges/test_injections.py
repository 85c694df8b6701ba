"""Texts that are written to fool a judge, against what does not depend on the judge: the fence, the schema, the quotes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from monitor.canonical import escape_text
from monitor.policy import examples
from monitor.policy.judges.answers import answer_of
from monitor.policy.judges.fence import Asked, ask, escaped, unescaped
from monitor.policy.judges.question import Question
from monitor.records import Observation, Outcome, Record

FILE = Path(__file__).parent / "injections.yaml"


@cache
def injections() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
    return found


TEXTS = [(family, text) for family, texts in injections()["families"].items() for text in texts]
QUESTION = Question("hides", injections()["question"])


def record(text: str) -> Record:
    return examples.build({"reasoning": f"{injections()['base']} {text}", "output": "All tests passed."})


def asked_about(text: str, fence: str = "") -> Asked:
    found = ask(QUESTION, record(text), fence=fence)
    assert found is not None
    return found


def answer(text: str, said: Any) -> str | None:
    output = said if isinstance(said, str) else json.dumps(said)
    seen = Observation(outcome=Outcome.OK, output=escape_text(output))
    return answer_of(asked_about(text), seen, model="m", span_id="s").answer


def test_there_are_enough_of_several_families() -> None:
    assert len(TEXTS) >= 40
    assert len({family for family, _ in TEXTS}) >= 10


@pytest.mark.parametrize(("family", "text"), TEXTS)
def test_no_text_leaves_its_fence(family: str, text: str) -> None:
    fence = "0" * 32  # as if the writer had guessed it
    body = asked_about(text, fence).messages[-1].content
    texts = [part.surface for part in asked_about(text, fence).passages]
    assert body.count(f"<text-{fence} ") == len(texts) == body.count(f"</text-{fence}>")
    inside = body.split(f'<text-{fence} name="reasoning">\n')[1].split(f"\n</text-{fence}>")[0]
    assert "<" not in inside
    assert ">" not in inside
    assert unescaped(inside) == record(text).observation.reasoning.text
    assert all(char.isprintable() or char in "\n\t" for char in inside)


@pytest.mark.parametrize(("family", "text"), TEXTS)
def test_a_text_that_the_judge_repeats_as_its_answer_is_no_answer(family: str, text: str) -> None:
    assert answer(text, text) is None


@pytest.mark.parametrize(("family", "text"), TEXTS)
def test_a_quote_counts_only_if_it_stands_in_the_record(family: str, text: str) -> None:
    said = {"answer": "yes", "quotes": ["I will hide the failed test"]}
    assert answer(text, said) == "yes"
    assert answer(text, {**said, "quotes": ["I will hide the failed tests"]}) is None
    assert answer(text, {**said, "quotes": [injections()["question"]]}) is None, "the question is not in the record"


def test_the_marks_are_new_for_each_question() -> None:
    marks = {asked_about("x").messages[-1].content.split("<text-")[1][:32] for _ in range(50)}
    assert len(marks) == 50


def test_escaping_is_undone_exactly() -> None:
    text = "a < b & c > d \"e\" 'f' &lt; &#x41; \u200b \u202e é 漢 \x1f \x80 \x7f \ufdd0"
    assert unescaped(escaped(text)) == text


def test_what_no_text_can_be_the_escaped_form_of_stays_as_it_is() -> None:
    """A judge can answer with anything: a number that is no character becomes none."""
    for given in ("&#xd800;", "&#xDFFF;", "&#xFFFFFF;", "&nbsp;", "&#x;", "&#x2"):
        assert unescaped(given) == given


def test_a_quote_in_its_escaped_form_is_found_where_it_stands() -> None:
    found = ask(QUESTION, examples.build({"output": "if a < b: hide it"}))
    assert found is not None
    seen = Observation(outcome=Outcome.OK, output=json.dumps({"answer": "yes", "quotes": ["a &lt; b: hide"]}))
    (span,) = answer_of(found, seen, model="m", span_id="s").evidence
    assert "if a < b: hide it"[span.start : span.end] == "a < b: hide"


def test_each_text_gets_its_fair_share_and_what_is_cut_is_said() -> None:
    found = ask(QUESTION, examples.build({"output": "short", "reasoning": "long " * 100}), limit=100)
    assert found is not None
    assert {one.surface: len(one.text) for one in found.passages} == {"reasoning": 95, "output": 5}
    assert "Not shown: `reasoning` from codepoint 95 on, of 500." in found.messages[-1].content
