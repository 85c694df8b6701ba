"""The fast canonical form against the reference implementation."""

from __future__ import annotations

import math

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.canonical import MAX_SAFE_INTEGER, escape_json
from monitor.store import jcs

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.floats(-1e-3, 1e-3)
    | st.text(st.characters(codec=None, exclude_categories=()))
    | st.sampled_from(
        [0.1, 1.0, 1e-4, 9.999e-5, 1e-5, 1e-6, 9.999999999999999e-7, 1e-7, 1e15 + 0.5, 1e16, 1e21, 1e22, 5e-324, -0.0]
    )
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(values)
@example({"\U0001f600": 1, "\ufb33": 2, "$": {"b": [], "a": {}}})
def test_equals_rfc8785(value: object) -> None:
    """Whatever JSON value went through escape_json: byte for byte what rfc8785 makes of it."""
    escaped = escape_json(value)
    assert jcs.dumps(escaped).encode() == rfc8785.dumps(escaped)


@pytest.mark.parametrize("value", [math.nan, math.inf, MAX_SAFE_INTEGER + 1, {"a": {1}}, [b""]])
def test_refuses_what_rfc8785_refuses(value: object) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        jcs.dumps(value)
