"""The four-valued logic against a table written out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.policy.logic import Truth, conjoin, disjoin, negate
from monitor.records import Status

M, N, U, X, Y = Truth.MATCH, Truth.NO_MATCH, Truth.UNKNOWN, Truth.ABSENT, Truth.NOT_ABSENT
VALUES = (M, N, U, X, Y)
#           M  N  U  X  Y
AND = {
    M: (M, N, U, X, M),
    N: (N, N, N, N, N),
    U: (U, N, U, U, U),
    X: (X, N, U, X, X),
    Y: (M, N, U, X, Y),
}
OR = {
    M: (M, M, M, M, M),
    N: (M, N, U, N, Y),
    U: (M, U, U, U, U),
    X: (M, N, U, X, Y),
    Y: (M, Y, U, Y, Y),
}
values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=6)


@pytest.mark.parametrize("left", VALUES)
@pytest.mark.parametrize("right", VALUES)
def test_operators_are_the_table(left: Truth, right: Truth) -> None:
    assert conjoin((left, right)) is AND[left][VALUES.index(right)]
    assert disjoin((left, right)) is OR[left][VALUES.index(right)]


@given(values, st.randoms())
def test_order_and_grouping_change_nothing(parts: list[Truth], random: object) -> None:
    """A long ``and`` or ``or`` is the table applied pair by pair, in any order."""
    shuffled = sorted(parts, key=lambda _: random.random())  # type: ignore[attr-defined]  # random.Random, typed as object
    for operator, table in ((conjoin, AND), (disjoin, OR)):
        folded = shuffled[0]
        for part in shuffled[1:]:
            folded = table[folded][VALUES.index(part)]
        assert operator(parts) is folded


@given(values)
def test_de_morgan(parts: list[Truth]) -> None:
    assert negate(conjoin(parts)) is disjoin([negate(part) for part in parts])
    assert negate(disjoin(parts)) is conjoin([negate(part) for part in parts])


@pytest.mark.parametrize("value", VALUES)
def test_not_twice_is_nothing(value: Truth) -> None:
    assert negate(negate(value)) is value


def test_unknown_is_never_silenced() -> None:
    """Only a certain match in an ``or``, and a certain no_match in an ``and``, overrule an unknown."""
    assert negate(U) is U
    assert {other for other in VALUES if disjoin((U, other)) is not U} == {M}
    assert {other for other in VALUES if conjoin((U, other)) is not U} == {N}


def test_an_exception_that_cannot_exist_silences_nothing() -> None:
    assert conjoin((M, negate(X))) is M
    assert conjoin((M, X)).status is Status.NOT_APPLICABLE
    assert negate(X).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("operator", [conjoin, disjoin])
def test_nothing_has_no_truth(operator: object) -> None:
    with pytest.raises(StopIteration):
        operator(())  # type: ignore[operator]  # both take a collection
