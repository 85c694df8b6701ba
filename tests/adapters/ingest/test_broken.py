"""Broken, foreign, hostile and huge input: named, passed over, or read; never lost in silence, never whole in memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.adapters.ingest import sources, zipped
from monitor.adapters.ingest.sources import read_file
from monitor.adapters.ingest.traces import Problem, Step, Trace
from monitor.errors import ConfigError
from tests.adapters.ingest.conftest import CHAT, DATA, DRONE, INSPECT, MAGENTIC, STEPS, TRAJECTORY

if TYPE_CHECKING:
    from tests.adapters.ingest.conftest import Ingesting

GOOD = {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]}


def lines(path: Path, *records: Any) -> Path:
    """A file with a record in each line; text as it is."""
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in records) + "\n", "utf-8")
    return path


def problems(path: Path) -> list[Problem]:
    return [found for found in read_file(path) if isinstance(found, Problem)]


def traces(path: Path) -> list[Trace]:
    return [found for found in read_file(path) if isinstance(found, Trace)]


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("{", "expected JSON (Expecting property name"),
        ("[1]", "expected an object with `messages`"),
        ({"messages": {}}, "messages: expected a list of messages, found an object"),
        ({"messages": [1]}, "messages[0]: expected a message, found a number"),
        ({"messages": [{"role": "x"}]}, "messages[0].role: expected one of system, developer"),
        ({"messages": [{"content": "x"}]}, "messages[0].role: expected one of system, developer"),
        (
            {"messages": [{"role": "user", "content": 3}]},
            "messages[0].content: expected text or a list of parts, found",
        ),
        ({"messages": [{"role": "user", "content": [3]}]}, "messages[0].content[0]: expected a part, found a number"),
        ({"messages": [{"role": "user", "content": "x"}]}, "messages: no message of an assistant"),
        (
            {"messages": [{"role": "assistant", "tool_calls": "x"}]},
            "messages[0].tool_calls: expected a list, found a text",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
            "messages[0].tool_calls[0]: expected the name of a function",
        ),
        ("[" * 100_000, "expected JSON (nested too deeply to read)"),
    ],
)
def test_a_broken_line_is_named_and_the_rest_goes_on(take: Ingesting, tmp_path: Path, record: Any, why: str) -> None:
    path = lines(tmp_path / "x", GOOD, record, {**GOOD, "model": "m"})
    report = take(path)
    assert (report.total("traces_taken"), report.refused, report.skipped) == (2, 1, 0)
    (problem,) = report.problems
    assert (problem.file, problem.where) == (str(path), "line 2")
    assert problem.why.startswith(why)


def test_a_first_line_that_is_broken_does_not_hide_the_others(tmp_path: Path) -> None:
    path = lines(tmp_path / "x", '{"messages": [', GOOD)
    assert [problem.where for problem in problems(path)] == ["line 1"]
    assert len(traces(path)) == 1


def test_a_line_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"messages": "\xff"}\n')
    (problem,) = problems(path)
    assert problem.why == "expected UTF-8, found byte 0xff at 14"


@pytest.mark.parametrize("path", [TRAJECTORY, STEPS, MAGENTIC, INSPECT], ids=lambda path: path.parent.name)
def test_a_file_that_is_cut_off_is_refused(take: Ingesting, tmp_path: Path, path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x").write_bytes(path.read_bytes()[:-200])
    report = take(folder)
    assert (report.refused, report.skipped, len(take.runs)) == (1, 0, 0)
    assert report.problems[0].why.startswith("expected ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MIT License\n",
        b"SQLite format 3\0",
        b'{"a": 1}',
        b"[1, 2]",
        b'{"a": 1}\n{"a": 2}\n',
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_trace_is_passed_over_in_a_folder_and_refused_where_it_was_named(
    take: Ingesting, tmp_path: Path, content: bytes
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x").write_bytes(content)
    assert (take(folder).skipped, take(folder / "x").refused) == (1, 1)


def test_another_zip_file_is_no_log(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("a.txt", "a")
    assert [problem.why for problem in problems(tmp_path / "x")] == ["no trace of a known format"]


def test_a_broken_sample_is_named_and_the_rest_goes_on(take: Ingesting, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with zipfile.ZipFile(INSPECT) as whole, zipfile.ZipFile(path, "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
        archive.writestr("samples/2_epoch_1.json", '{"uuid": "x", "events": 3}')
        archive.writestr("samples/3_epoch_1.json", "{")
    report = take(path)
    assert (report.total("traces_taken"), report.refused) == (1, 2)
    assert [(one.where, one.why.partition(" (")[0]) for one in report.problems] == [
        ("samples/2_epoch_1.json", "events: expected a list, found a number"),
        ("samples/3_epoch_1.json", "expected JSON"),
    ]


def test_a_file_that_is_not_there_is_an_error(take: Ingesting, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        take(tmp_path / "x")


def test_hostile_text_is_stored(take: Ingesting, tmp_path: Path) -> None:
    """What canonical JSON and PostgreSQL refuse: a lone surrogate, NUL, the escape itself, integers beyond 2^53, NaN."""
    message = (
        '{"role": "assistant", "content": "a\\ud800b\\u0000c\\u241b", "n": 123456789012345678901234567890, "x": NaN}'
    )
    take(lines(tmp_path / "x", f'{{"messages": [{message}], "model": "\\udfff"}}'))
    (subcall,) = take.subcalls()
    assert subcall.observation is not None
    assert subcall.observation.output == "a␛d800b␛0000c␛241b"
    assert subcall.call.model == "␛dfff"


# -------------------------------------------------------------------------------------------------------------- memory


def test_a_long_file_of_lines_is_never_in_memory(tmp_path: Path) -> None:
    """200 MB in lines of 1 MB: the reader holds a few lines' worth, whatever the length of the file."""
    path, size = tmp_path / "x", 200
    with path.open("w", encoding="utf-8") as file:
        for number in range(size):
            said = [{"role": "user", "content": str(number)}, {"role": "assistant", "content": "x" * 1_000_000}]
            file.write(json.dumps({"messages": said}) + "\n")
    count = 0
    behind: list[int] = []
    tracemalloc.start()
    try:
        for found in read_file(path, told=behind.append):
            assert isinstance(found, Trace)
            count += sum(1 for _ in found.steps())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == size
    assert behind[-1] == path.stat().st_size > 200_000_000
    assert peak < 20_000_000


def test_a_long_file_goes_through_the_door_in_bounded_memory(take: Ingesting, tmp_path: Path) -> None:
    """As above through checks and store, with less of it: no more is held than one trace and what the store keeps."""
    path = tmp_path / "x"
    with path.open("w", encoding="utf-8") as file:
        for number in range(40):
            said = [{"role": "user", "content": str(number)}, {"role": "assistant", "content": f"{number} " * 300_000}]
            file.write(json.dumps({"messages": said}) + "\n")
    tracemalloc.start()
    try:
        report = take(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.total("traces_taken") == 40
    assert path.stat().st_size > 33_000_000 > 2 * peak


def test_a_record_beyond_the_limit_is_named_and_read_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_RECORD", 1000)
    long = {"messages": [{"role": "assistant", "content": "x" * 5000}]}
    path = lines(tmp_path / "x", GOOD, long, {**GOOD, "model": "m"})
    assert [(one.where, one.why) for one in problems(path)] == [
        ("line 2", "longer than 64 MiB, which is the most that is read of one trace")
    ]
    assert len(traces(path)) == 2


def test_a_zip_file_that_unpacks_to_more_than_the_limit_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipped.read_entry, "__kwdefaults__", {"limit": 100_000})
    with zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("samples/1.json", b" " * 10_000_000)
    assert problems(tmp_path / "x")[0].why.startswith("longer than")


# ---------------------------------------------------------------------------------------------------------- any input


def read_all(path: Path) -> None:
    """Read a file to its end; whatever it holds, there are only traces, whose steps come, and problems, which say why."""
    for found in read_file(path):
        if isinstance(found, Problem):
            assert found.why
            continue
        steps = list(found.steps())
        assert all(isinstance(step, Step) for step in steps)
        assert [step.call.span_id for step in steps] == [step.call.span_id for step in found.steps()]
        ids = [step.call.span_id for step in steps]
        assert len(set(ids)) == len(ids)
        assert found.may_grow or {step.call.parent_id for step in steps} <= {*ids, found.tree.root}


SOURCES = [path.read_bytes() for path in (CHAT, DRONE, TRAJECTORY, MAGENTIC, INSPECT)]
LIGHT = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@LIGHT
@given(st.sampled_from(SOURCES), st.data())
def test_any_damage_to_a_file_is_told(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=6))
        if not damaged:
            break
    (tmp_path / "x").write_bytes(bytes(damaged))
    read_all(tmp_path / "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a JSON value."""
    if isinstance(value, dict):
        return [at, *(path for key, item in value.items() for path in places(item, (*at, key)))]
    if isinstance(value, list):
        return [at, *(path for index, item in enumerate(value) for path in places(item, (*at, index)))]
    return [at]


def documents() -> list[Any]:
    with zipfile.ZipFile(INSPECT) as archive:
        sample = json.loads(archive.read("samples/1_epoch_1.json"))
    files = (TRAJECTORY, STEPS, MAGENTIC, DRONE)
    spans = json.loads((DATA / "otlp/openai-v2-2.4b0.jsonl").read_text("utf-8"))
    return [*(json.loads(path.read_text("utf-8")) for path in files), {"sample": sample}, spans]


DOCUMENTS = documents()


def write(path: Path, document: Any) -> None:
    """Write a document as its format is written: a sample of Inspect into a zip file."""
    if isinstance(document, dict) and "sample" in document:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("samples/1.json", json.dumps(document["sample"]))
        path.write_bytes(packed.getvalue())
    else:
        path.write_text(json.dumps(document), "utf-8")


@LIGHT
@given(st.sampled_from(range(len(DOCUMENTS))), st.data())
def test_any_value_in_any_place_is_read_or_told(tmp_path: Path, which: int, data: st.DataObject) -> None:
    """Not only text that is no JSON: JSON of other types than the format has, in each of its places."""
    document = json.loads(json.dumps(DOCUMENTS[which]))
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from([place for place in places(document) if place]))
        inner = document
        for key in path:
            inner = inner[key]
        inner[last] = data.draw(JSON)
    write(tmp_path / "x", document)
    read_all(tmp_path / "x")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(range(len(DOCUMENTS))), st.data())
def test_whatever_is_read_can_be_stored(take: Ingesting, tmp_path: Path, which: int, data: st.DataObject) -> None:
    """NaN as a temperature, 2^80 as a seed, lone surrogates as ids: none of them stops the ingest."""
    document = json.loads(json.dumps(DOCUMENTS[which]))
    hostile = st.sampled_from([float("nan"), float("inf"), 2**80, -(2**80), -0.0, "\ud800\0", "", "x" * 300, -1, 1e300])
    ends = [place for place in places(document) if place]
    for _ in range(data.draw(st.integers(1, 12))):
        *path, last = data.draw(st.sampled_from(ends))
        inner = document
        for key in path:
            inner = inner[key] if isinstance(inner, list) or (isinstance(inner, dict) and key in inner) else None
        if isinstance(inner, dict) or (isinstance(inner, list) and isinstance(last, int)):
            inner[last] = data.draw(hostile)
    write(tmp_path / "x", document)
    report = take(tmp_path / "x")
    again = take(tmp_path / "x")
    assert again.total("subcalls_taken") == 0
    assert again.total("subcalls_present") == report.total("subcalls_taken") + report.total("subcalls_present")


def test_a_folder_that_is_not_gone_into_is_said(take: Ingesting, tmp_path: Path) -> None:
    (folder := tmp_path / "folder").mkdir()
    (other := tmp_path / "other").mkdir()
    lines(other / "x", GOOD)
    (folder / "link").symlink_to(other)
    (problem,) = take(folder).problems
    assert (problem.file, problem.is_refused) == (str(folder / "link"), True)
    assert problem.why == "a link to a folder, which is not followed: name it to have it read"
    assert take(folder / "link").total("traces_taken") == 1


def test_a_folder_that_cannot_be_read_is_said(take: Ingesting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "d" * 200
    monkeypatch.chdir(tmp_path)
    for _ in range(25):  # a path that is longer than the system takes
        Path(deep).mkdir()
        os.chdir(deep)
    (problem,) = (problem for problem in take(tmp_path).problems if problem.is_refused)
    assert problem.why.startswith("cannot be read (")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            gzip.compress(json.dumps(GOOD).encode(), mtime=0)[:-8],
            "compressed with gzip, which is not unpacked here: unpack it first",
        ),
        (json.dumps(GOOD).encode("utf-16"), "expected UTF-8, found UTF-16"),
    ],
)
def test_what_may_have_traces_and_is_not_read_is_refused_by_name(
    take: Ingesting, tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "x").write_bytes(content)
    report = take(tmp_path)
    assert [(problem.why, problem.is_refused) for problem in report.problems if problem.file.endswith("x")] == [
        (why, True)
    ]
