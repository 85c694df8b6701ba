"""Which questions still matter: leaving one out that does not matter changes nothing, and one that matters is asked."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import policy
from monitor.policy import examples
from monitor.records import JudgeAnswer, Record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from monitor.policy import PolicySet

NAMES = ("first", "second")
ANSWERS = ("yes", "no", "unclear", None)
RECORDS = (
    {"output": "here", "reasoning": "here"},
    {"output": "here", "reasoning.state": "encrypted"},
    {"output": "gone", "reasoning": "gone"},
    {"output": "gone", "tool.name": "shell"},
)


def conditions() -> st.SearchStrategy[str]:
    names = st.sampled_from(["in_output", "in_reasoning", "in_tool", *NAMES])
    return st.recursive(
        names,
        lambda inner: st.one_of(
            inner.map(lambda one: f"not ({one})"),
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
                lambda part: f"({part[0]}) {part[1]} ({part[2]})"
            ),
        ),
        max_leaves=6,
    )


def rules(folder: Path, condition: str) -> PolicySet:
    path = folder / "p.yaml"
    path.write_text(
        f"""pack: p
version: 1.0.0
rules:
  - title: A rule
    id: 8d2c1f7e-3a54-4c0e-9a51-6d0f6b8e2c11
    name: a_rule
    level: medium
    detection:
      in_output: {{output|contains: here}}
      in_reasoning: {{reasoning|contains: here}}
      in_tool: {{tool.name: shell}}
      first: {{judge.first: Is it the first?}}
      second: {{judge.second: {{question: Is it the second?, reads: output}}}}
      condition: {condition}
""",
        encoding="utf-8",
    )
    return policy.load([path])


def with_answers(record: Record, answers: Sequence[JudgeAnswer]) -> Record:
    return Record(call=record.call, observation=record.observation, answers=tuple(answers))


def asked_until_settled(rules_: PolicySet, record: Record, said: dict[str, str | None]) -> Record:
    """The record after each needed question is answered as ``said``."""
    rounds = 0
    while needed := rules_.questions(record):
        rounds += 1
        assert rounds <= len(NAMES)
        new = [JudgeAnswer.model_validate({"judge": one.name, "answer": said[one.name]}) for one in needed]
        record = with_answers(record, [*record.answers, *new])
    return record


@given(condition=conditions(), short=st.sampled_from(RECORDS))
def test_asking_only_what_matters_gives_what_asking_everything_gives(
    tmp_path_factory: pytest.TempPathFactory, condition: str, short: dict[str, str]
) -> None:
    rules_ = rules(tmp_path_factory.mktemp("p"), condition)
    record = examples.build(short)
    for answers in product(ANSWERS, repeat=len(NAMES)):
        said = dict(zip(NAMES, answers, strict=True))
        everything = with_answers(
            record, [JudgeAnswer.model_validate({"judge": name, "answer": answer}) for name, answer in said.items()]
        )
        (lazy,) = rules_.findings(asked_until_settled(rules_, record, said))
        (full,) = rules_.findings(everything)
        assert lazy.status is full.status


@given(condition=conditions(), short=st.sampled_from(RECORDS))
def test_a_question_is_asked_only_if_some_answers_to_all_make_its_own_matter(
    tmp_path_factory: pytest.TempPathFactory, condition: str, short: dict[str, str]
) -> None:
    rules_ = rules(tmp_path_factory.mktemp("p"), condition)
    record = examples.build(short)
    options: list[str | None] = [*ANSWERS, "absent"]

    def status(answers: Sequence[str | None]) -> str:
        given_ = [
            JudgeAnswer.model_validate({"judge": name, "answer": answer})
            for name, answer in zip(NAMES, answers, strict=True)
            if answer != "absent"
        ]
        (found,) = rules_.findings(with_answers(record, given_))
        return found.status.value

    matters = {
        name
        for number, name in enumerate(NAMES)
        for answers in product(options, repeat=len(NAMES))
        for other in options
        if status(answers) != status([*answers[:number], other, *answers[number + 1 :]])
    }
    assert {one.name for one in rules_.questions(record)} <= matters


@pytest.mark.parametrize(
    ("condition", "asked"),
    [
        ("in_output and first", ["first"]),
        ("in_reasoning and first", []),
        ("in_output or first", []),
        ("in_reasoning or first", ["first"]),
        ("first and second", ["first"]),
        ("in_output and not first", ["first"]),
        ("in_tool and first", ["first"]),
    ],
)
def test_what_is_asked_first(tmp_path: Path, condition: str, asked: list[str]) -> None:
    record = examples.build({"output": "here", "reasoning": "gone"})
    assert [one.name for one in rules(tmp_path, condition).questions(record)] == asked


def test_a_no_to_the_first_makes_the_second_needless(tmp_path: Path) -> None:
    rules_ = rules(tmp_path, "first and second")
    record = examples.build({"output": "x"})
    asked = asked_until_settled(rules_, record, {"first": "no", "second": "yes"})
    assert [one.judge for one in asked.answers] == ["first"]
