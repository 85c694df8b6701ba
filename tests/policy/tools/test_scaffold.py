"""A first rule from answers: it loads, its tests pass, lint has nothing to say, and wrong answers are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import policy, strict_yaml
from monitor.errors import ConfigError
from monitor.policy.tools.json_schema import EDITOR_LINE
from monitor.policy.tools.scaffold import WHERE, Answers, name_of, scaffold

if TYPE_CHECKING:
    from tests.policy.conftest import Write

ANSWERS = Answers(
    worry="Promises a refund: that nobody made",
    field="output",
    phrases=("refund has been issued", "it's on its way"),
    level="medium",
    match="Your refund has been issued",
    near_miss="Do you want a refund?",
)


def test_the_rule_loads_its_tests_pass_and_lint_is_silent(write: Write) -> None:
    text = scaffold(ANSWERS, today="2026-11-22")
    path = write(text)
    assert [item.problem for item in policy.lint([path])] == []
    (rule,) = policy.load([path]).rules
    assert [result.passed for result in policy.load([path]).run_tests()] == [True, True]
    assert (rule.written.title, rule.name, rule.written.status) == (
        ANSWERS.worry,
        "promises_a_refund_that_nobody_made",
        "test",
    )
    assert (rule.written.date, rule.pack) == ("2026-11-22", "mine")
    assert text.startswith(EDITOR_LINE)


def test_each_rule_has_an_id_of_its_own(write: Write) -> None:
    ids = {policy.load([write(scaffold(ANSWERS))]).rules[0].id for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize("field", WHERE)
def test_every_field_that_is_offered_works(field: str, write: Write) -> None:
    path = write(scaffold(replace(ANSWERS, field=field)))
    assert [item.problem for item in policy.lint([path])] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"match": "hay"}, "none of the phrases is in the record that must match"),
        ({"near_miss": "it's on its way?"}, "one of the phrases is in the near miss as well"),
        ({"field": "outptu"}, "cannot look at `outptu`. Did you mean `output`?"),
        ({"phrases": ()}, "needs at least one phrase"),
        ({"phrases": ("",)}, "every text contains nothing"),
        ({"level": "worst"}, "`level` cannot be `worst`"),
        ({"name": "My rule"}, "`name` must be lower-case letters"),
        ({"worry": ""}, "`title` is empty"),
    ],
)
def test_answers_that_make_no_rule_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scaffold(replace(ANSWERS, **changes))  # type: ignore[arg-type]  # what a person may type
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("worry", "name"),
    [("Promises!", "promises"), ("7 lies", "rule_7_lies"), ("é", "rule"), ("a" * 90, "a" * 64)],
)
def test_names_are_made_of_titles(worry: str, name: str) -> None:
    assert name_of(worry) == name


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_any_text_stands_in_the_file_as_it_was_given(phrase: str, around: str) -> None:
    answers = replace(ANSWERS, phrases=(phrase,), match=f"{around}{phrase}", near_miss="", why=f"w{around}")
    try:
        text = scaffold(answers)
    except ConfigError as exc:
        assert "empty" in str(exc) or "surrogate" in str(exc), "nothing else is wrong with it"  # noqa: PT017
        return
    root = strict_yaml.parse(text, "pack", [])
    assert root is not None
    rule = root.plain()["rules"][0]
    assert rule["detection"]["phrases"]["output|contains"] == [phrase]
    assert rule["tests"][0]["record"] == {"output": f"{around}{phrase}"}
    assert rule["description"] == f"w{around}"
