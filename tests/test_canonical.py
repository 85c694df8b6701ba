"""The canonical form: escaping is lossless and canonical bytes are one per value."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.canonical import (
    canonical_bytes,
    canonical_hash,
    escape_json,
    escape_text,
    parse_json,
    unescape_json,
    unescape_text,
)

any_text = st.text(st.characters(codec=None, categories=None) | st.sampled_from("\0␛\ud800\udfff\u202e\u0301$"))
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    """Equal, with NaN equal to itself; RFC 8785 writes 1.0 as 1, so a whole float comes back as an integer."""
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or (
            left == right and math.copysign(1, left) == math.copysign(1, right)
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@given(any_text)
def test_text_survives_escaping(text: str) -> None:
    escaped = escape_text(text)
    assert unescape_text(escaped) == text
    assert "\0" not in escaped
    escaped.encode("utf-8")


@given(any_json)
def test_json_survives_escaping_and_is_canonical(value: Any) -> None:
    escaped = escape_json(value)
    canonical = canonical_bytes(escaped)
    assert same(unescape_json(json.loads(canonical)), value)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain", "plain"),
        ("a\0b", "a␛0000b"),
        ("\ud800", "␛d800"),
        ("␛", "␛241b"),
        (
            "\u202e e\u0301 \u05e2\u05d1\u05e8\u05d9\u05ea \U0001f469\u200d\U0001f467",
            "\u202e e\u0301 \u05e2\u05d1\u05e8\u05d9\u05ea \U0001f469\u200d\U0001f467",
        ),
    ],
)
def test_only_hostile_characters_change(text: str, escaped: str) -> None:
    assert escape_text(text) == escaped


def test_a_lone_escape_is_refused() -> None:
    with pytest.raises(ValueError, match="four hex digits"):
        unescape_text("␛12")


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        (2**63, {"$int": "9223372036854775808"}),
        (float("nan"), {"$float": "nan"}),
        (-0.0, {"$float": "-0.0"}),
        ({"$int": 1}, {"$$int": 1}),
        ((1, 2), [1, 2]),
    ],
)
def test_hostile_values_have_one_form(value: Any, escaped: Any) -> None:
    assert escape_json(value) == escaped


def test_key_order_does_not_change_the_hash() -> None:
    assert canonical_hash({"a": 1, "b": 2}) == canonical_hash({"b": 2, "a": 1})


def test_absurd_nesting_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="deeply"):
        parse_json("[" * 100_000)
