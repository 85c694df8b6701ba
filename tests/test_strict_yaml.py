"""Strict YAML: what is refused, where, and what is left as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import strict_yaml

if TYPE_CHECKING:
    from monitor.errors import Fault


def parse(text: str) -> tuple[strict_yaml.Node | None, list[Fault]]:
    faults: list[Fault] = []
    return strict_yaml.parse(text, "pack.yaml", faults), faults


@pytest.mark.parametrize(
    ("scalar", "expected"),
    [
        ("off", "off"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("2026-11-22", "2026-11-22"),
        ("0o17", "0o17"),
        ("017", "017"),
        ("1_000", "1_000"),
        ("0x1f", "0x1f"),
        ("1.0.0", "1.0.0"),
        (".5", ".5"),
        ("'12'", "12"),
        ("true", True),
        ("12", 12),
        ("-3", -3),
        ("0.25", 0.25),
        ("1e3", 1000.0),
        ("null", None),
        ("~", None),
        ("1-2", "1-2"),
        (".nan", ".nan"),
    ],
)
def test_only_jsons_scalars_are_more_than_text(scalar: str, expected: object) -> None:
    root, faults = parse(f"key: {scalar}")
    assert faults == []
    assert root is not None
    assert root.plain() == {"key": expected}


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        ("a: 1\nb: 2\na: 3", 3, 1, "`a` stands here a second time (first in line 1)."),
        ("a: &x 1", 1, 4, "`&x` is an anchor."),
        ("a: &x 1\nb: *x", 2, 4, "`*x` repeats another part."),
        ("a: !!str 1", 1, 4, "`!!str` is a YAML tag."),
        ("a: !python/object:os.system x", 1, 4, "`!python/object:os.system` is a YAML tag."),
        ("a: 1\n---\nb: 2", 2, 1, "a second document begins here."),
        ("? [a, b]\n: 1", 1, 3, "a key must be one word or phrase."),
        ("a: " + "[" * 50 + "]" * 50, 1, 35, "more than 32 levels of nesting."),
        ("", 1, 1, "there is nothing here."),
        ("# only a comment\n", 1, 1, "there is nothing here."),
        ("a: \x07", 1, 1, "this is not YAML: unacceptable character"),
    ],
)
def test_refusals_say_where(text: str, line: int, column: int, problem: str) -> None:
    _, faults = parse(text)
    fault = faults[-1]
    assert (fault.line, fault.column) == (line, column)
    assert fault.problem.startswith(problem)
    assert fault.fix


def test_broken_yaml_is_located() -> None:
    _, faults = parse("a: 1\nb: [1, 2\nc: 3\n")
    assert [(fault.line, fault.path) for fault in faults] == [(3, "pack.yaml")]


def test_a_colon_in_plain_text_is_explained() -> None:
    _, faults = parse("a: one (?: two)\n")
    assert [fault.fix for fault in faults] == ["A text with a colon and a space in it must stand in single quotes."]


def test_all_refusals_of_a_file_are_reported() -> None:
    _, faults = parse("a: &x 1\nb: *x\na: 2\n")
    assert [fault.line for fault in faults] == [1, 2, 3]


def test_places_are_those_of_keys_and_items() -> None:
    root, _ = parse("a:\n  - b: 1\n  - c: 2\n")
    assert root is not None
    assert root.place(["a", 1, "c"]) == strict_yaml.Mark(3, 5)
    assert root.place(["a", 1, "gone"]) == strict_yaml.Mark(3, 5)
    assert root.place(["a", 7]) == strict_yaml.Mark(1, 1)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    big, latin = tmp_path / "big.yaml", tmp_path / "latin.yaml"
    big.write_text("a: " + "x" * strict_yaml.MAX_BYTES)
    latin.write_bytes(b"a: 1\nb: gr\xf6sse\n")
    for path, line, problem in (
        (big, 1, "the file has 1,000,003 bytes; at most 1,000,000 are read."),
        (latin, 2, "the file is not UTF-8 text."),
        (big.with_name("none.yaml"), 1, "the file cannot be read: No such file or directory."),
        (big.parent, 1, "the file cannot be read: Is a directory."),
    ):
        faults: list[Fault] = []
        assert strict_yaml.read(path, faults) is None
        assert [(fault.line, fault.problem) for fault in faults] == [(line, problem)]


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_json_is_read_as_json(value: Any) -> None:
    """JSON is YAML: whatever json writes is read back, or refused with a reason (a lone surrogate, for one)."""
    import json

    root, faults = parse(json.dumps({"value": value}, ensure_ascii=True))
    if faults:
        assert all(fault.problem for fault in faults)
    else:
        assert root is not None
        assert root.plain() == {"value": value}


@given(st.text(alphabet="ab:-?!&*[]{}|>'\"#%@` \n\t0", max_size=30))
def test_any_text_is_a_tree_or_a_fault(text: str) -> None:
    root, faults = parse(text)
    assert root is not None or faults


PACKS = sorted((Path(__file__).parents[1] / "policies").glob("*.yaml"))
ODD = st.text(alphabet=" \t\n\r\x85\u2028\ufeff\0é😀:#-?[]{},&*!|>'\"%@`\\/abu0189.~", max_size=40)


EXAMPLES = 300  # 20,000 of each were tried once


def by_the_slow_one(text: str) -> tuple[strict_yaml.Node | None, list[Fault]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_yaml, "events", strict_yaml.slow_events)
        return parse(text)


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_both_parsers_read_the_shipped_packs_alike(path: Path) -> None:
    """Values, places, and which scalars stand in the file as they are."""
    text = path.read_text(encoding="utf-8")
    assert parse(text) == by_the_slow_one(text)


@settings(deadline=None, max_examples=EXAMPLES)
@given(ODD)
def test_both_parsers_read_odd_texts_alike(text: str) -> None:
    """Whatever libyaml reads without complaint; where it complains, the slow one is asked."""
    assert parse(text) == by_the_slow_one(text)


@settings(deadline=None, max_examples=EXAMPLES)
@given(st.sampled_from(PACKS), st.integers(0, 10**6), st.integers(0, 12), ODD)
def test_both_parsers_read_damaged_packs_alike(path: Path, at: int, gone: int, odd: str) -> None:
    whole = path.read_text(encoding="utf-8")
    start = at % len(whole)
    text = whole[max(0, start - 400) : start] + odd + whole[start + gone : start + 400]
    assert parse(text) == by_the_slow_one(text)


@pytest.mark.parametrize("escape", ["\\/", "\\ud83d\\ude00", "\\N", "\\L"])
def test_escapes_that_the_versions_disagree_on(escape: str) -> None:
    assert parse(f'key: "a{escape}b"') == by_the_slow_one(f'key: "a{escape}b"')
