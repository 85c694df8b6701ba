"""Packs as they are written: every reader finds the texts that were put in, and sees all of each."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from monitor import strict_yaml
from monitor.policy.importers.writing import Comments, Words, to_yaml

HARD = [
    "",
    " ",
    "true",
    "null",
    "~",
    "1e5",
    "0o17",
    "-",
    "- a",
    "a: b",
    "#x",
    "'",
    '"',
    "\\",
    "\\u0041",
    "%",
    "&a",
    "*a",
]
HARD += [
    "\x00",
    "\x07",
    "\x85",
    "\ufeff",
    "\u202e",
    "\u2028",
    "😀",
    "中",
    "a\nb\n",
    "\n",
    " a ",
    "\t",
    "\U000e0041",
    "\ud800",
]
texts = st.one_of(st.text(), st.sampled_from(HARD), st.lists(st.sampled_from(HARD), max_size=4).map("".join))
values = st.recursive(
    texts,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b|re|i", "tool.name"]), inner, min_size=1),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(values)
def test_both_readers_find_what_was_written(value: Any) -> None:
    """Lone halves of characters aside, which no YAML reader but ours takes."""
    text = to_yaml({"x": value}, "header")
    assert text.isprintable() or {char for char in text if not char.isprintable()} == {"\n"}
    faults: list[Any] = []
    node = strict_yaml.parse(text, "x", faults)
    assert faults == []
    assert node is not None
    assert node.plain() == {"x": value}
    if not any(0xD800 <= ord(char) <= 0xDFFF for char in repr_of(value)):
        assert YAML(typ="safe", pure=True).load(io.StringIO(text)) == {"x": value}


def repr_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "".join(map(repr_of, value.values() if isinstance(value, dict) else value))


def test_comments_are_one_line_and_hide_nothing() -> None:
    text = to_yaml(Comments({"a": Words("b")}, {"a": "one\ntwo \u202e three\x1b"}), "head\nlines")
    assert text == "# head\n# lines\n      # one two   three\na: b\n"
