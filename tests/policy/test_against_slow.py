"""The engine against the slow, obvious one: the same answer and the same evidence, for any rule on any record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor import policy
from monitor.policy import FIELDS, FieldType, examples, truth_table
from monitor.policy.logic import Truth, conjoin, disjoin, negate
from tests.policy import slow

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = ("sel_1", "sel_2", "other", "_aside")
_WORDS = ("ab", "AB", "b", "a", "é b", "x.y", "b\nc", "ls")
_REGEXES = ("a.b", "^a", "b$", "a+|b", "[ab]c", r"\bab\b", "(?:a|é) ?b", "A", r"b\z", r"\Aa")
texts = st.lists(
    st.sampled_from(["ab", "AB", "aB", "b", "a", " ", "é", "x.y", "\n", "c", "xxy", "ls"]), max_size=7
).map("".join)
_MODES = {
    "": _WORDS,
    "neq": _WORDS,
    "cased": _WORDS,
    "neq|cased": _WORDS,
    "re": _REGEXES,
    "re|i": _REGEXES,
    "re|i|m|s": _REGEXES,
    "re|all": _REGEXES,
    **{f"{shape}{more}": _WORDS for shape in ("contains", "startswith", "endswith") for more in ("", "|cased", "|all")},
}
_TEXT_REFERENCES = [
    f"{shape}fieldref{cased}" for shape in ("", "contains|", "startswith|", "neq|") for cased in ("", "|cased")
]
_NUMBERS = (
    "depth",
    "seconds",
    "usage.output_tokens",
    "usage.cost",
    "budget_left.calls",
    "probe.p.score",
    "probe.p.fpr",
)
_ORDERS = ("", "neq", "lt", "lte", "gt", "gte")


def _line(field: str, modifiers: str, value: Any) -> tuple[str, Any]:
    return (f"{field}|{modifiers}" if modifiers else field), value


def _values(mode: str) -> st.SearchStrategy[Any]:
    one = st.sampled_from(_MODES[mode])
    needed = 2 if mode.endswith("all") else 1
    several = st.lists(one, min_size=needed, max_size=3, unique=True)
    return several if needed == 2 else several | one


def _of_text(fields: tuple[str, ...]) -> st.SearchStrategy[tuple[str, Any]]:
    named = st.sampled_from(fields)
    compared = st.sampled_from(sorted(_MODES)).flatmap(
        lambda mode: st.builds(_line, named, st.just(mode), _values(mode))
    )
    exists = st.builds(_line, named, st.just("exists"), st.booleans())
    return compared | exists


_lines = st.one_of(
    _of_text((*slow.TEXTS, "tool.arguments.command")),
    _of_text(("role", "model", "model_reported")),
    st.builds(
        _line, st.sampled_from(slow.TEXTS), st.sampled_from(_TEXT_REFERENCES), st.sampled_from([*slow.TEXTS, "model"])
    ),
    st.builds(_line, st.sampled_from(_NUMBERS), st.sampled_from(_ORDERS), st.sampled_from([0.5, 1, 2, 0])),
    st.builds(
        _line,
        st.sampled_from(_NUMBERS),
        st.sampled_from(["fieldref", "gt|fieldref", "neq|fieldref"]),
        st.sampled_from(_NUMBERS),
    ),
    st.builds(_line, st.just("tool.arguments.n"), st.sampled_from(_ORDERS), st.sampled_from([0.5, 1, 2])),
    st.builds(
        _line,
        st.sampled_from(["requires_reasoning", "usage.reported", "tool.arguments.ok"]),
        st.sampled_from(["", "neq"]),
        st.booleans(),
    ),
    st.builds(_line, st.just("outcome"), st.sampled_from(["", "neq"]), st.sampled_from(["ok", "failed"])),
    st.builds(_line, st.just("trust"), st.just(""), st.sampled_from(["trusted", "untrusted"])),
    st.builds(_line, st.just("kind"), st.just(""), st.sampled_from(["model", "tool"])),
    st.builds(
        _line,
        st.just("reasoning.state"),
        st.sampled_from(["", "neq"]),
        st.sampled_from(["plain", "encrypted", "absent"]),
    ),
)
_maps = st.lists(_lines, min_size=1, max_size=3).map(dict)
_selections = st.one_of(
    _maps,
    st.lists(_maps, min_size=1, max_size=2),
    st.lists(st.sampled_from(_WORDS), min_size=1, max_size=3, unique=True),
)
_refs = st.sampled_from([*_NAMES, "1 of sel_*", "all of sel_*", "1 of them", "all of them"])
_conditions = st.recursive(
    _refs,
    lambda inner: st.one_of(
        inner.map(lambda part: f"not ({part})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + ") and (".join(parts) + ")"),
        st.lists(inner, min_size=2, max_size=3).map(" or ".join),
        st.lists(_refs, min_size=2, max_size=3).map(" and not ".join),
    ),
    max_leaves=5,
)
detections = st.builds(
    lambda selections, condition: {**selections, "condition": condition},
    st.fixed_dictionaries(dict.fromkeys(_NAMES, _selections)),
    _conditions,
)
_arguments = st.one_of(
    texts,
    st.builds(
        lambda given: json.dumps(given, ensure_ascii=False),
        st.fixed_dictionaries(
            {},
            optional={
                "command": st.sampled_from(["ls", "ab", "LS", "b", ""]),
                "n": st.sampled_from([0.5, 1, 2]),
                "ok": st.booleans(),
            },
        ),
    ),
)
_calls = st.fixed_dictionaries(
    {"name": st.sampled_from(["ab", "search", "b"]), "arguments": _arguments}, optional={"refused": st.just("ab")}
)
_messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": texts},
    optional={"tool_calls": st.lists(st.fixed_dictionaries({"name": texts, "arguments": texts}), max_size=2)},
)
records = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("task", "output", "raw", "reasoning", "error", "model", "model_reported"), texts),
        "messages": st.lists(_messages, max_size=4),
        "tool_calls": st.lists(_calls, max_size=3),
        "tools": st.lists(st.sampled_from(["ab", "search"]), max_size=2),
        "reasoning.state": st.sampled_from(["plain", "summary", "redacted", "encrypted", "absent"]),
        "kind": st.sampled_from(["model", "model", "tool"]),
        "role": st.sampled_from(["ab", "b"]),
        "trust": st.sampled_from(["trusted", "untrusted"]),
        "outcome": st.sampled_from(["ok", "failed"]),
        "requires_reasoning": st.booleans(),
        "usage.reported": st.booleans(),
        "usage.output_tokens": st.integers(0, 2),
        "usage.cost": st.sampled_from([None, 0.5, 2.0]),
        "budget_left.calls": st.integers(0, 2),
        "depth": st.integers(1, 2),
        "seconds": st.sampled_from([0.5, 1.0]),
        "probe.p.score": st.sampled_from([None, 0.5, 1.0]),
        "probe.p.fpr": st.sampled_from([None, 0.5, 1.0]),
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packs")


@given(st.lists(detections, min_size=1, max_size=3), st.lists(records, min_size=1, max_size=4))
@settings(deadline=None)
def test_the_engine_says_what_the_slow_one_says(
    folder: Path, given: list[dict[str, Any]], shorts: list[dict[str, Any]]
) -> None:
    """Whatever other rules there are, and whatever the engine was asked before (each record comes twice)."""
    rules = [
        {
            "title": f"Rule {number}",
            "id": f"3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b1{number}",
            "name": f"rule_{number}",
            "level": "medium",
            "detection": detection,
        }
        for number, detection in enumerate(given)
    ]
    text = json.dumps({"pack": "example", "version": "1.0.0", "rules": rules})
    path = folder / "pack.yaml"
    path.write_text(text, encoding="utf-8")
    loaded = policy.load([path])
    slowly = slow.detections(text)
    for short in shorts * 2:
        record = examples.build(short)
        for detection, found in zip(slowly, loaded.findings(record), strict=True):
            evidence = [(span.surface, span.start, span.end, span.clause) for span in found.evidence]
            assert (found.status.value, evidence) == slow.says(detection, record)


def test_the_slow_one_knows_every_text_field() -> None:
    assert {field.name for field in FIELDS.values() if field.type is FieldType.TEXT} == set(slow.TEXTS)


@pytest.mark.parametrize("one", list(Truth))
@pytest.mark.parametrize("other", list(Truth))
def test_the_operators_are_the_tables_of_the_reference(one: Truth, other: Truth) -> None:
    assert truth_table() in slow.PAGE.read_text(encoding="utf-8")
    assert slow.tables()["not"][one.value] == negate(one).value
    assert slow.tables()["and"][one.value, other.value] == conjoin((one, other)).value
    assert slow.tables()["or"][one.value, other.value] == disjoin((one, other)).value
