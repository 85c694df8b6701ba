"""The readers, on small extracts of the real sets."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from monitor.audit.evaluation.peer_rules import ANYWHERE
from monitor.audit.evaluation.reading import DEVELOPMENT, read_data
from monitor.audit.evaluation.samples import Kind, Label, Part, Sample, Surface, record_on
from monitor.audit.evaluation.split import Half, read_split
from monitor.errors import ConfigError

DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="module")
def parts() -> dict[str, Part]:
    return {part.source: part for part in read_data(DATA)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA, tmp_path / "data"))


def read(data: Path, source: str) -> Part:
    return next(part for part in read_data(data) if part.source == source)


def counted(part: Part) -> Counter[tuple[Kind, Label]]:
    return Counter((sample.kind, sample.label) for sample in part.samples)


def test_steps_and_messages_of_swe_agent(parts: dict[str, Part]) -> None:
    assert counted(parts["swe-agent"]) == {(Kind.AGENT, Label.BENIGN): 3, (Kind.WORLD, Label.BENIGN): 4}
    calls = [call for sample in parts["swe-agent"].samples for call in sample.record.observation.tool_calls]
    assert [(call.name, call.arguments) for call in calls] == [
        ("find_file", '{"file_name":"missing_colon.py"}'),
        ("shell", '{"command": "create reproduce.py"}'),
        ("shell", calls[2].arguments),
    ]


def test_what_an_agent_wrote_is_its_reasoning_and_its_output(parts: dict[str, Part]) -> None:
    seen = next(sample for sample in parts["agentrx"].samples if sample.kind is Kind.AGENT).record.observation
    assert seen.reasoning.text == seen.output != ""


def test_what_an_agent_was_told_is_what_the_subcall_was_handed(parts: dict[str, Part]) -> None:
    told = [sample.record for sample in parts["agentrx"].samples if sample.kind is Kind.WORLD]
    assert {record.observation.output for record in told} == {""}
    assert {record.call.messages[-1].role for record in told} == {"user", "tool"}


def test_labelled_steps_are_apart_from_the_others_of_their_trace(parts: dict[str, Part]) -> None:
    """The labels count steps from 1: the last of five is labelled."""
    labels = [sample.label for sample in parts["agentrx"].samples if sample.group.startswith("56137764")]
    assert labels == [Label.UNLABELLED] * 4 + [Label.FAILING]
    assert {sample.label for sample in parts["agentrx"].samples if not sample.group.startswith("56137764")} == {
        Label.BENIGN
    }


def test_a_label_beyond_the_trace_is_an_error(data: Path) -> None:
    labels = data / "traces" / "agentrx" / "ground_truth.jsonl"
    labels.write_text(labels.read_text(encoding="utf-8").replace('"step_number": 5', '"step_number": 6'), "utf-8")
    with pytest.raises(ConfigError, match="step 6 is labelled, and there are 5"):
        list(read_data(data))


def test_inspect_logs_are_read_from_their_zip_files(parts: dict[str, Part]) -> None:
    samples = parts["inspect"].samples
    assert [sample.kind for sample in samples] == [Kind.WORLD, Kind.AGENT] * 2
    assert {sample.group for sample in samples} == {
        "security-guide.eval/1_epoch_1.json",
        "security-guide.eval/2_epoch_1.json",
    }
    assert samples[1].record.observation.output.startswith("Use prepared statements")


def test_solutions_are_grouped_by_task(parts: dict[str, Part]) -> None:
    groups = Counter(sample.group for sample in parts["grade-school"].samples)
    assert groups == {"task 1": 4, "task 2": 4}


def test_examples_are_put_where_the_peer_says_that_they_arrive(parts: dict[str, Part]) -> None:
    by_file: dict[str, list[Sample]] = {}
    for sample in parts["rules-atr"].samples:
        by_file.setdefault(sample.group[:14], []).append(sample)
    response = by_file["ATR-2026-00010"][0].record
    assert response.call.messages[-1].role == "tool"
    assert "payload.sh" in response.call.messages[-1].content
    assert response.observation.output == ""
    content = by_file["ATR-2026-00163"][0].record
    assert [m.content for m in content.call.messages] == [content.observation.output] * 2
    assert Counter(sample.label for sample in by_file["ATR-2026-00163"]) == {Label.ATTACK: 4, Label.TWIN: 3}


@pytest.mark.parametrize("surface", Surface)
def test_a_text_is_on_the_surfaces_that_are_named_and_no_others(surface: Surface) -> None:
    record = record_on("planted", {surface})
    seen = record.observation
    texts = {
        Surface.USER: record.call.messages[0].content,
        Surface.RESULT: record.call.messages[-1].content if len(record.call.messages) > 1 else "",
        Surface.WRITTEN: seen.output,
        Surface.ARGUMENTS: seen.tool_calls[0].arguments if seen.tool_calls else "",
    }
    assert [name for name, text in texts.items() if text == "planted"] == [surface]


def test_an_unknown_field_may_be_anywhere(data: Path) -> None:
    file = data / "rules-atr" / "ATR-2026-00163-skill-hidden-override-instruction.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("field: content", "field: smoke_signal"), "utf-8")
    assert Surface.ARGUMENTS not in ANYWHERE
    first = next(sample for sample in read(data, "rules-atr").samples if sample.group == file.name)
    assert first.record == record_on(first.record.observation.output, ANYWHERE)


def test_the_development_half_opens_no_other_file(data: Path) -> None:
    held_out = next(name for name, half in read_split()["rules-atr"].items() if half is Half.HELD_OUT)
    (data / "rules-atr" / held_out).write_bytes(b"\xff: this cannot be read")
    sources = {part.source for part in read_data(data, DEVELOPMENT)}
    assert "rules-atr" in sources
    with pytest.raises(ConfigError, match=held_out):
        list(read_data(data))


def test_files_that_the_split_does_not_name_are_unlisted(data: Path) -> None:
    file = data / "rules-atr" / "ATR-2026-00163-skill-hidden-override-instruction.yaml"
    file.rename(file.with_name("ATR-2027-00001-new.yaml"))
    halves = {sample.group: sample.half for sample in read(data, "rules-atr").samples}
    assert halves["ATR-2027-00001-new.yaml"] is Half.UNLISTED


def test_a_part_that_is_missing_says_so(data: Path) -> None:
    shutil.rmtree(data / "traces" / "inspect")
    part = read(data, "inspect")
    assert (part.samples, part.missing) == ((), "there is no `traces/inspect/*.eval`")


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("traces/swe-agent/new.traj", "{}"),
        ("traces/agentrx/new.json", "[[]]"),
        ("traces/inspect/new.eval", "no zip"),
        ("tasks/gsm8k_new.jsonl", "{"),
        ("rules-atr/new.yaml", "test_cases: {true_positives: [{output: x}]}"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_and_not_missing(data: Path, place: str, text: str) -> None:
    (data / place).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="found something else"):
        list(read_data(data))


def test_a_folder_without_any_of_the_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none of the public sets"):
        list(read_data(tmp_path))
    with pytest.raises(ConfigError, match="found none"):
        list(read_data(tmp_path / "nowhere"))
