"""Agents' traces and graded solutions, read into samples: SWE-agent, AgentRx (Magentic-One), Inspect logs, GSM8K.

A part that is not there is missing, not empty; a file that is there and cannot be read is an error.
"""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

from monitor.audit.evaluation.samples import Kind, Label, Part, Sample, agent_record, command, world_record
from monitor.audit.evaluation.split import SETS, Half
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from monitor.records import Record

WORLD = frozenset({"human", "WebSurfer", "FileSurfer", "ComputerTerminal"})
"""AgentRx roles that report from the web, from files or from a terminal, or are the user."""


class Read(NamedTuple):
    """One message as it was read; ``group`` is its trace."""

    group: str
    kind: Kind
    label: Label
    record: Record


def read_set(name: str, data: Path, halves: Mapping[str, Half], wanted: frozenset[Half]) -> Part:
    """The samples of one set of traces, of the files whose half is wanted. No other file is opened.

    Raises:
        ConfigError: a file cannot be read as what its name says.
    """
    read_file = _READERS[name]
    files = sorted(data.glob(SETS[name]))
    if not files:
        return Part(name, missing=f"there is no `{SETS[name]}`")
    labels = _labels(data) if name == "agentrx" else {}
    samples: list[Sample] = []
    for file in files:
        half = halves.get(file.name, Half.UNLISTED)
        if half in wanted:
            samples += [
                Sample(name, read.group, half, read.kind, read.label, read.record)
                for read in _reading(file, read_file, labels)
            ]
    return Part(name, tuple(samples), "" if samples else "it has no file of the half that was asked for")


def read_solutions(data: Path) -> Part:
    """The model-written solutions of ``tasks/gsm8k_*.jsonl``; one task is one group. They are not split.

    Raises:
        ConfigError: a file cannot be read.
    """
    pattern = "tasks/gsm8k_*.jsonl"
    files = sorted(data.glob(pattern))
    if not files:
        return Part("grade-school", missing=f"there is no `{pattern}`")
    samples = [
        Sample("grade-school", read.group, Half.UNLISTED, read.kind, read.label, read.record)
        for file in files
        for read in _reading(file, _solutions, {})
    ]
    return Part("grade-school", tuple(samples))


def _reading(
    file: Path,
    read: Callable[[Path, Mapping[str, frozenset[int]]], Iterator[Read]],
    labels: Mapping[str, frozenset[int]],
) -> list[Read]:
    try:
        return list(read(file, labels))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as exc:
        problem = f"{type(exc).__name__}: {exc}"
        raise ConfigError(f"{file}: expected a trace as its set has them, found something else ({problem})") from exc


def _swe_agent(file: Path, _: Mapping[str, frozenset[int]]) -> Iterator[Read]:
    trace = json.loads(file.read_text(encoding="utf-8"))
    steps = trace.get("trajectory") or []
    for message in trace["history"]:
        if message["role"] == "user" and not steps:
            yield Read(file.name, Kind.WORLD, Label.BENIGN, world_record(_text(message["content"]), tool=False))
        elif message["role"] == "tool" and not steps:
            yield Read(file.name, Kind.WORLD, Label.BENIGN, world_record(_text(message["content"])))
        elif message["role"] == "assistant" and not steps:
            record = agent_record(_text(message["content"]), calls=_calls(message))
            yield Read(file.name, Kind.AGENT, Label.BENIGN, record)
    for step in steps:
        yield Read(file.name, Kind.AGENT, Label.BENIGN, agent_record(step["response"], calls=[command(step["action"])]))
        yield Read(file.name, Kind.WORLD, Label.BENIGN, world_record(step["observation"]))


def _agentrx(file: Path, labels: Mapping[str, frozenset[int]]) -> Iterator[Read]:
    failing = labels.get(file.stem)
    messages = json.loads(file.read_text(encoding="utf-8"))
    if failing and max(failing) > len(messages):
        raise ValueError(f"step {max(failing)} is labelled, and there are {len(messages)}")
    for step, message in enumerate(messages, start=1):
        label = _label(step, failing)
        if message["role"] in WORLD:
            record = world_record(message["content"], tool=message["role"] != "human")
            yield Read(file.name, Kind.WORLD, label, record)
        else:
            yield Read(file.name, Kind.AGENT, label, agent_record(message["content"]))


def _label(step: int, failing: frozenset[int] | None) -> Label:
    """``failing`` is None for a trace that nobody labelled."""
    if failing is None:
        return Label.BENIGN
    return Label.FAILING if step in failing else Label.UNLABELLED


def _labels(data: Path) -> dict[str, frozenset[int]]:
    """Trace → the steps that were labelled as failures, counted from 1."""
    file = data / "traces" / "agentrx" / "ground_truth.jsonl"
    if not file.exists():
        return {}
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {row["trajectory_id"]: frozenset(int(step["step_number"]) for step in row["failures"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{file}: expected a JSON object with `failures` in each line, found ({exc})") from exc


def _inspect(file: Path, _: Mapping[str, frozenset[int]]) -> Iterator[Read]:
    """An ``.eval`` log is a zip file with one JSON file for each sample; each sample is a trace of its own."""
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith("samples/") and name.endswith(".json"):
                sample = json.loads(archive.read(name))
                yield from _inspect_messages(f"{file.name}/{name.removeprefix('samples/')}", sample["messages"])


def _inspect_messages(group: str, messages: Iterable[dict[str, Any]]) -> Iterator[Read]:
    for message in messages:
        text = _text(message["content"])
        if message["role"] == "assistant":
            yield Read(group, Kind.AGENT, Label.BENIGN, agent_record(text, calls=_calls(message)))
        elif message["role"] in {"user", "tool"}:
            yield Read(group, Kind.WORLD, Label.BENIGN, world_record(text, tool=message["role"] == "tool"))


def _solutions(file: Path, _: Mapping[str, frozenset[int]]) -> Iterator[Read]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        for answer in json.loads(line).values():
            if isinstance(answer, dict):
                yield Read(f"task {number}", Kind.AGENT, Label.BENIGN, agent_record(answer["solution"]))


def _text(content: Any) -> str:
    """A message's text: a string, or a list of parts of which those with text or reasoning count."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text") or part.get("reasoning") or "") for part in content)


def _calls(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The tool calls of a message, in OpenAI's form or Inspect's."""
    calls = []
    for asked in message.get("tool_calls") or ():
        function = asked["function"] if isinstance(asked["function"], dict) else asked
        name = function.get("name") or asked["function"]
        arguments = function["arguments"]
        calls.append(
            (str(name), arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False))
        )
    return calls


_READERS: dict[str, Callable[[Path, Mapping[str, frozenset[int]]], Iterator[Read]]] = {
    "swe-agent": _swe_agent,
    "agentrx": _agentrx,
    "inspect": _inspect,
}
