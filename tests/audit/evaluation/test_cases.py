"""Labelled files: what they mean, and every fault at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("numpy")

from monitor.audit.evaluation.cases import JUDGE, read_agentrx_cases, read_cases, read_steps_cases
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_case_has_every_surface_of_a_record(tmp_path: Path) -> None:
    short = {"reasoning": "I think", "output": "so", "tool_calls": [{"name": "sh", "arguments": {"command": "ls"}}]}
    rows = [
        {"id": "a/1", "group": "a", "label": True, "record": short, "judge_score": 0.5},
        {"id": "a/2", "group": "a", "label": False, "text": "both", "judge_score": None},
    ]
    first, second = read_cases(write(tmp_path / "mine.jsonl", *rows)).cases
    assert (first.key, first.group, first.bad, dict(first.given)) == ("a/1", "a", True, {JUDGE: 0.5})
    assert (first.text, first.record.observation.tool_calls[0].arguments) == ("I think", '{"command": "ls"}')
    assert (second.bad, second.text, second.record.observation.output, dict(second.given)) == (
        False,
        "both",
        "both",
        {},
    )


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.jsonl",
        {"id": "1", "group": "a", "label": "yes", "text": "x"},
        {"id": "2", "group": "", "label": True, "text": "x"},
        {"id": "3", "group": "a", "label": True},
        {"id": "4", "group": "a", "label": True, "record": {"resoning": "x"}},
        {"id": "5", "group": "a", "label": True, "text": "x", "judge_score": True, "score": 1},
        {"id": "6", "group": "a", "label": True, "text": "x"},
        {"id": "6", "group": "a", "label": True, "text": "x"},
    )
    with pytest.raises(ConfigError) as caught:
        read_cases(path)
    said = str(caught.value).splitlines()
    assert [line.partition(".jsonl:")[2].partition(":")[0] for line in said] == ["1", "2", "3", "4", "5", "5", "7"]
    assert "`label` is neither true nor false" in said[0]
    assert "a record has no `resoning`" in said[3]
    assert "stands twice" in said[6]


def test_a_file_without_a_case_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        read_cases(write(tmp_path / "mine.jsonl"))


def test_steps_are_cases_up_to_the_first_mistake(tmp_path: Path) -> None:
    (tmp_path / "steps").mkdir()
    write(
        tmp_path / "steps" / "sums.jsonl",
        {"input": "1+1+1=", "steps": ["1+1=2", "2+1=4", "so 4"], "mistake_index": 1},
        {"input": "2+2=", "steps": ["2+2=4"], "mistake_index": None},
    )
    (found,) = read_steps_cases(tmp_path)
    assert found.name == "steps/sums"
    assert [(case.key, case.bad, case.text) for case in found.cases] == [
        ("1+1+1= #0", False, "1+1=2"),
        ("1+1+1= #1", True, "2+1=4"),
        ("2+2= #0", False, "2+2=4"),
    ]


def test_labelled_traces_alone_are_cases(tmp_path: Path) -> None:
    folder = tmp_path / "traces" / "agentrx"
    folder.mkdir(parents=True)
    trace = [{"role": "human", "content": "do"}, {"role": "Orchestrator", "content": "wrong"}]
    for name in ("one", "two"):
        (folder / f"{name}.json").write_text(json.dumps(trace), encoding="utf-8")
    write(folder / "ground_truth.jsonl", {"trajectory_id": "one", "failures": [{"step_number": 2}]})
    found = read_agentrx_cases(tmp_path)
    assert [(case.key, case.group, case.bad, case.text) for case in found.cases] == [
        ("one/1", "one.json", False, "do"),
        ("one/2", "one.json", True, "wrong"),
    ]
    assert "nobody said so" in found.notes[0]
