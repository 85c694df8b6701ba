"""Files that somebody made to break the loader: it loads them or says what is wrong, and never more than can be read.

Work is bounded by what it leaves behind, not by a clock: a file has at most ``MAX_FAULTS`` faults and one that says so,
each of a bounded length, and reading ends there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import policy, strict_yaml
from monitor.errors import MAX_FAULTS, Fault, FileFaults, PolicyError, TooManyFaultsError
from monitor.policy import FIELDS
from monitor.strict_yaml import MAX_BYTES
from tests.policy.packs import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.policy.conftest import Write

SHIPPED = sorted((Path(__file__).parents[2] / "policies").glob("*.yaml"))
SIMPLE = pack("a: {output|contains: word}\ncondition: a")
_quiet = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def faults_of(content: str | bytes, folder: Path) -> tuple[Fault, ...]:
    """What is wrong with a file of this content; nothing for one that loads. Fails on any other outcome."""
    path = folder / "hostile.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    faults: tuple[Fault, ...] = ()
    try:
        policy.load([path])
    except PolicyError as exc:
        faults = exc.faults
    assert len(faults) <= 2 * (MAX_FAULTS + 1)
    assert all(fault.line >= 1 and fault.column >= 1 and fault.problem for fault in faults)
    assert all(len(fault.problem) + len(fault.fix) < 5_000 for fault in faults)
    return faults


def _rules(count: int) -> str:
    return "pack: x\nversion: 1.0.0\nrules:\n" + "".join(SIMPLE.split("rules:\n")[1] for _ in range(count))


HOSTILE: dict[str, str | bytes] = {
    "10 MB": b"x" * 10_000_000,
    "just too long": b"#" * (MAX_BYTES + 1),
    "NUL": b"\0" * 100,
    "not UTF-8": b"pack: \xff\xfe",
    "UTF-16": "pack: x".encode("utf-16"),
    "half a character": b"pack: \xed\xa0\x80",
    "one long line": "a: " + "x" * 50_000,
    "long key": "x" * 50_000 + ": 1",
    "long key, many times": f"{'x' * 900}: 1\n" * 50,
    "long field": pack(f"a: {{{'x' * 50_000}: 1}}\ncondition: a"),
    "long modifier": pack(f"a: {{output|{'x' * 50_000}: 1}}\ncondition: a"),
    "long name in the condition": pack(f"a: {{output: x}}\ncondition: {'x' * 50_000}"),
    "keys": "\n".join(f"k{number}: {number}" for number in range(5_000)),
    "the same key": "k: 1\n" * 5_000,
    "anchors": "\n".join(f"k{number}: &a{number} 1" for number in range(5_000)),
    "a billion laughs": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "\n".join(f"a{n}: &a{n} [{', '.join(['*a' + str(n - 1 or '')] * 9)}]" for n in range(1, 12)),
    "tags": "- !!python/object/apply:os.system ['true']\n" * 200,
    "deep lists": "[" * 50_000,
    "deep maps": "{a: " * 50_000,
    "deep indentation": "\n".join(" " * depth + "a:" for depth in range(300)),
    "dashes": "- " * 50_000,
    "question marks": "? " * 50_000,
    "quotes": '"' * 50_000,
    "escapes": '"' + "\\x41" * 10_000 + '"',
    "documents": "--- a\n" * 5_000,
    "comments": "#\n" * 20_000,
    "tabs": "\t" * 50_000,
    "unknown fields": pack("a: {" + ", ".join(f"outpu{n}: x" for n in range(300)) + "}\ncondition: a"),
    "parentheses in the condition": pack("a: {output: x}\ncondition: " + "(" * 50_000),
    "negations": pack("a: {output: x}\ncondition: " + "not " * 50_000 + "a"),
    "empty rules": "pack: x\nversion: 1.0.0\nrules:\n" + "  - {}\n" * 2_000,
    "one rule many times": _rules(60),
    "wrong tests": pack(
        "a: {output: x}\ncondition: a", tests="\n".join(["- {record: {outpt: x}, expect: match}"] * 150)
    ),
    "includes that are not there": "pack: x\nversion: 1.0.0\nincludes: ["
    + ", ".join(f"n{n}" for n in range(300))
    + "]",
    "includes itself": "pack: x\nversion: 1.0.0\nincludes: [hostile, ./hostile.yaml]",
    "includes a folder": "pack: x\nversion: 1.0.0\nincludes: ['../', '/', '/dev/null.yaml']",
    "a long number": "pack: x\nversion: " + "9" * 50_000,
    "a large exponent": pack("a: {depth: 1e999999999}\ncondition: a"),
    "a long phrase": pack(f"a: {{output|contains: '{'x' * 100_000}'}}\ncondition: a"),
    "groups in groups": pack(f"a: {{output|re: '{'(' * 20_000}a{')' * 20_000}'}}\ncondition: a"),
    "an open group": pack(f"a: {{output|re: '{'(' * 20_000}'}}\ncondition: a"),
    "a large class, a thousand times": pack("a: {output|re: '\\pL{1000}'}\ncondition: a"),
    "nested repetition": pack("a: {output|re: '((((a{1,100}){1,100}){1,100}){1,100})'}\ncondition: a"),
}
LOADS = {"groups in groups", "a large exponent", "includes itself"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_faults(name: str, tmp_path: Path) -> None:
    assert bool(faults_of(HOSTILE[name], tmp_path)) == (name not in LOADS)


def test_a_long_phrase_within_the_bound_loads(tmp_path: Path) -> None:
    """Letters that fold to several others make the largest programs."""
    phrases = ", ".join(f"'{letter * 5_000}'" for letter in "kθxǰ😀")
    assert faults_of(pack(f"a: {{output|contains: [{phrases}]}}\ncondition: a"), tmp_path) == ()


def test_two_thousand_phrases_in_each_of_several_lists_load(tmp_path: Path) -> None:
    lists = "".join(
        f"s{group}: {{output|contains: [{', '.join(f'phrase {group} of {n}' for n in range(2_000))}]}}\n"
        for group in range(3)
    )
    assert faults_of(pack(f"{lists}condition: 1 of them"), tmp_path) == ()


def test_reading_ends_at_the_hundredth_fault(tmp_path: Path) -> None:
    faults = faults_of("k: 1\n" * 5_000, tmp_path)
    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1].problem == "there are more faults than these 100."
    assert faults[-1].line == MAX_FAULTS + 1


def test_the_faults_of_a_file_are_bounded() -> None:
    faults = FileFaults()
    faults += [Fault("f", line, 1, "x" * 10_000) for line in range(1, MAX_FAULTS + 1)]
    with pytest.raises(TooManyFaultsError):
        faults.append(Fault("f", 1, 1, "one more"))
    assert (len(faults), len(faults[0].problem)) == (MAX_FAULTS, 2_001)


@given(st.binary(max_size=300) | st.text(max_size=200))
@_quiet
def test_any_bytes(tmp_path: Path, content: str | bytes) -> None:
    faults_of(content, tmp_path)


_WORDS = st.sampled_from(
    [
        *("pack", "version", "rules", "title", "id", "name", "level", "detection", "condition", "tests", "record"),
        *("expect", "match", "filters", "filter_set", "overrides", "override_set", "output|contains", "all of them"),
        *(
            "includes",
            "engine",
            "logsource",
            "x",
            "1.0.0",
            "medium",
            "3f0a4a44-6f0e-4b57-9a4a-0a6c3d6f6b11",
            "on_unknown",
        ),
        *("output|re", "(", "tool.arguments.a", "probe.x.score", "not a", "action", "halt", "related", "status"),
    ]
)
_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _WORDS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(_WORDS | st.sampled_from(sorted(FIELDS)), inner, max_size=6)
    ),
    max_leaves=25,
)


@given(st.dictionaries(_WORDS, _trees, min_size=1, max_size=8))
@_quiet
def test_any_tree(tmp_path: Path, tree: dict[str, Any]) -> None:
    """JSON is YAML: trees of the language's own words, in places where they do not belong."""
    faults_of(json.dumps(tree), tmp_path)


@given(_trees)
@_quiet
def test_any_detection(tmp_path: Path, detection: Any) -> None:
    content = {
        "pack": "x",
        "version": "1.0.0",
        "rules": [{"title": "T", "name": "x", "level": "low", "detection": detection}],
    }
    faults_of(json.dumps(content), tmp_path)


def _parts_of_rules() -> list[str]:
    """Real rules, each a small pack of its own."""
    packs = []
    for path in SHIPPED:
        header, *rules = re.split(r"(?m)^(?=  - title: )", path.read_text(encoding="utf-8"))
        packs += [header + rule for rule in rules]
    return [text for text in packs if len(text) < 4_000]


@given(st.data())
@_quiet
def test_a_real_rule_with_something_changed(tmp_path: Path, data: st.DataObject) -> None:
    """Lines that are lost, doubled or moved, characters that are lost or added: what a hurried hand does."""
    lines = data.draw(st.sampled_from(_parts_of_rules())).splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["lose", "double", "swap", "cut", "add"]))
        if change == "lose" and len(lines) > 1:
            del lines[at]
        elif change == "double":
            lines.insert(at, lines[at])
        elif change == "swap":
            lines[at], lines[0] = lines[0], lines[at]
        else:
            column = data.draw(st.integers(0, len(lines[at])))
            added = data.draw(st.sampled_from([*"\t:-'\"{}[]#&*!|>%@`\\(, \n", "? ", ": ", "é", "\u2028", "  "]))
            lines[at] = (
                lines[at][:column] + (added if change == "add" else "") + lines[at][column + (change == "cut") :]
            )
    faults_of("".join(lines), tmp_path)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_a_nest_is_left_where_it_is_too_deep(opening: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By both parsers: what follows may be as long and as deep as it likes."""
    pulled: list[object] = []
    parsers = {name: getattr(strict_yaml, name) for name in ("_shallow", "slow_events")}

    def counted(events: Iterable[object]) -> Iterator[object]:
        for event in events:
            pulled.append(event)
            yield event

    monkeypatch.setattr(strict_yaml, "_shallow", lambda found: parsers["_shallow"](counted(found)))
    monkeypatch.setattr(strict_yaml, "slow_events", lambda text: counted(parsers["slow_events"](text)))
    faults: list[Fault] = []
    assert strict_yaml.parse(opening * 20_000, "deep", faults) is None
    assert [fault.problem for fault in faults] == [f"more than {strict_yaml.MAX_DEPTH} levels of nesting."]
    assert len(pulled) < 8 * strict_yaml.MAX_DEPTH


def test_many_files_are_read_each_to_its_own_bound(write: Write) -> None:
    paths = [write("k: 1\n" * 500, f"hostile{number}.yaml") for number in range(3)]
    with pytest.raises(PolicyError) as caught:
        policy.load([*paths, write(SIMPLE)])
    assert [fault.path for fault in caught.value.faults] == [str(path) for path in paths for _ in range(MAX_FAULTS + 1)]
