"""The shipped tool ``calculate``: exact, bounded, and nothing that it reads is ever run."""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import catalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

calculate = catalog.load_tool("calculate").function


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("2 + 2", "4"),
        ("0.1 + 0.2", "0.3"),
        ("(17.5 - 3) * 2**10", "14848"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("2**-3", "0.125"),
        ("2**1000 % 10**9", "668069376"),
        ("1e3 + 1.5e-3", "1000.0015"),
        ("1_000 * 3", "3000"),
        ("sqrt(9/4)", "1.5"),
        ("sqrt(2)", "≈ 1.4142135623731"),
        ("1/3", "≈ 0.333333333333333"),
        ("1/3 * 10**500", "≈ 3.33333333333333 * 10**499"),
        ("round(100/7, 2)", "14.29"),
        ("max(1, 2.5, -3)", "2.5"),
        ("(-1)**10**30", "1"),
        ("0**0", "1"),
        ("pi", "≈ 3.14159265358979"),
        ("cos(0)", "≈ 1"),
    ],
)
def test_it_is_right(expression: str, expected: str) -> None:
    assert calculate(expression) == expected


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("9**9**9", "the power is too large"),
        ("9**9**9**9**9", "the power is too large"),
        ("0.1**99999", "the power is too large"),
        ("(10**1000)*(10**1000)", "a number has more than about 1228 digits"),
        ("1e9999999999", "too large or too small"),
        ("1/0", "division by zero"),
        ("0**-1", "division by zero"),
        ("1 % 0", "division by zero"),
        ("exp(10**6)", "too large for this function"),
        ("sqrt(-1)", "no real number"),
        ("(-8)**(1/3)", "no real number"),
        ("ln(0)", "no real number"),
        ("3^2", r"write a power as \*\*"),
        ("1,000", "write numbers without commas"),
        ("round(1, 0.5)", "whole number of digits"),
        ("max()", "max does not take 0 numbers"),
        ("f(1)", "there is no function f"),
        ("__import__('os').system('true')", "is no arithmetic"),
        ("().__class__", "is no arithmetic"),
        ("[x for x in (1,)]", "is no arithmetic"),
        ("lambda: 1", "is no arithmetic"),
        ("'a' * 3", "is no arithmetic"),
        ("True + 1", "is no arithmetic"),
        ("1j", "is no arithmetic"),
        ("x := 3", "no arithmetic expression"),
        ("1 +", "no arithmetic expression"),
        ("", "no arithmetic expression"),
        ("1\0", "no arithmetic expression"),
        ("(" * 249 + "1" + ")" * 249, "no arithmetic expression"),
        ("-" * 300 + "1", "nested more than 50 deep"),
        ("1+" * 300 + "1", "at most 500 are read"),
    ],
)
def test_what_it_cannot_do_it_says(expression: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        calculate(expression)


@given(st.text(max_size=60) | st.text("0123456789.+-*/%()e,_ ", max_size=60))
def test_any_text_is_answered_or_refused_in_words(text: str) -> None:
    try:
        said = calculate(text)
    except ValueError as exc:
        said = str(exc)
    assert said


LONG = st.integers(-(10**40), 10**40)
WAYS = st.sampled_from(
    [
        ("+", operator.add),
        ("-", operator.sub),
        ("*", operator.mul),
        ("//", operator.floordiv),
        ("%", operator.mod),
    ]
)


@given(left=LONG, right=LONG, way=WAYS)
def test_integers_are_exact(left: int, right: int, way: tuple[str, Callable[[int, int], int]]) -> None:
    sign, function = way
    try:
        expected = str(function(left, right))
    except ZeroDivisionError:
        return
    assert calculate(f"({left}) {sign} ({right})") == expected


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=6), st.integers(1, 10**6))
def test_decimal_fractions_are_exact(number: Decimal, times: int) -> None:
    assert Fraction(calculate(f"({number:f}) * {times}")) == Fraction(number) * times


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**9))
def test_what_is_rounded_says_so_and_is_close(left: int, right: int) -> None:
    said = calculate(f"{left} / {right}")
    if said.startswith("≈ "):
        assert math.isclose(float(said[2:]), left / right, rel_tol=1e-12)
    else:
        assert Fraction(said) == Fraction(left, right)
