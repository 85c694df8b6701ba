"""Conditions: precedence, quantifiers, and faults with their place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.policy import condition as conditions
from monitor.policy.logic import Truth

NAMES = ("a", "b", "sel_1", "sel_2", "_hidden")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "a"),
        ("not a and b", "(not a and b)"),
        ("a or b and sel_1", "(a or (b and sel_1))"),
        ("(a or b) and sel_1", "((a or b) and sel_1)"),
        ("not (a or b)", "not (a or b)"),
        ("not 1 of sel_* or a", "(not (sel_1 or sel_2) or a)"),
        ("all of sel_*", "(sel_1 and sel_2)"),
        ("any of *_2", "sel_2"),
        ("all of them", "(a and b and sel_1 and sel_2)"),
        ("1 of _*", "_hidden"),
        ("  a\n  and b", "(a and b)"),
        ("not not a", "not not a"),
    ],
)
def test_reads_with_sigmas_precedence(text: str, expected: str) -> None:
    assert conditions.render(conditions.parse(text, NAMES)) == expected


@pytest.mark.parametrize(
    ("text", "offset", "fix"),
    [
        ("a and", 5, "A selection's name is missing here."),
        ("a b", 2, "Join two parts with `and` or `or`, and close what you opened."),
        ("a and hiden", 6, "Did you mean `_hidden`?"),
        ("a AND b", 2, "Join two parts with `and` or `or`, and close what you opened."),
        ("NOT a", 0, "Write `not`."),
        ("(a or b", 0, "Add `)`."),
        ("a | count() > 3", 2, "Use selection names, and, or, not, `1 of`, `all of` and parentheses."),
        ("2 of sel_*", 0, "Write `1 of …` or `all of …`; other numbers are not supported."),
        ("1 of sel_1", 5, "Write `them`, or a name with a star such as `sel*`; one selection needs no `of`."),
        ("1 of", 4, "Add `them` or a name such as `sel*`."),
        ("sel_*", 0, "Write `1 of sel_*` or `all of sel_*`."),
        ("a or and b", 5, "A selection's name belongs here."),
        ("", 0, "A selection's name is missing here."),
        ("not " * 60 + "a", 0, "Simplify the condition."),
        ("a and " * 300 + "a", 0, "Split the rule."),
    ],
)
def test_faults_say_where_and_what_to_do(text: str, offset: int, fix: str) -> None:
    with pytest.raises(conditions.ConditionError) as caught:
        conditions.parse(text, NAMES)
    assert (caught.value.offset, caught.value.fix) == (offset, fix)


def test_evidence_is_what_is_asserted() -> None:
    """A selection behind a ``not`` is no evidence; behind two it is."""
    parsed = conditions.parse("a and not (b or not sel_1)", NAMES)
    assert conditions.asserted(parsed) == ("a", "sel_1")
    assert conditions.references(parsed) == {"a", "b", "sel_1"}


trees = st.recursive(
    st.sampled_from(NAMES).map(conditions.Ref),
    lambda part: st.one_of(
        part.map(conditions.Not),
        st.lists(part, min_size=2, max_size=3).map(lambda parts: conditions.And(tuple(parts))),
        st.lists(part, min_size=2, max_size=3).map(lambda parts: conditions.Or(tuple(parts))),
    ),
    max_leaves=8,
)


@given(trees, st.fixed_dictionaries({name: st.sampled_from(list(Truth)) for name in NAMES}))
def test_rendering_and_parsing_keep_the_meaning(tree: conditions.Condition, truths: dict[str, Truth]) -> None:
    parsed = conditions.parse(conditions.render(tree), NAMES)
    assert conditions.evaluate(parsed, truths.__getitem__) is conditions.evaluate(tree, truths.__getitem__)


@given(st.text(alphabet="ab ()*_1ofandthemrs|.", max_size=40))
def test_any_text_parses_or_is_a_fault_with_a_fix(text: str) -> None:
    fault = None
    try:
        conditions.parse(text, NAMES)
    except conditions.ConditionError as exc:
        fault = exc
    assert fault is None or (0 <= fault.offset <= len(text) and fault.problem and fault.fix)
