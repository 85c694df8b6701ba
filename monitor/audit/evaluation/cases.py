"""Labelled subcalls from files: what a monitor is to tell apart, and to which group each belongs.

One JSON object a line:

    {"id": "a/1", "group": "a", "label": true, "record": {"reasoning": "…", "output": "…"}, "judge_score": 0.8}

``record`` is the short form that tests inside rules are written in (``monitor.policy.examples``), so that every surface can
be given; ``text`` may stand for it and is both reasoning and output. ``label`` is true for what is to be found. Cases of a
``group`` (one run, one task) are alike: they are drawn and held out together. ``judge_score`` may be left out or null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from monitor.audit.evaluation.samples import Label, agent_record
from monitor.audit.evaluation.split import Half
from monitor.audit.evaluation.traces import read_set
from monitor.canonical import escape_text
from monitor.errors import ConfigError, FileFaults, TooManyFaultsError
from monitor.policy import examples
from monitor.probes.data import read_steps
from monitor.probes.table import Row, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from monitor.records import Record

JUDGE = "judge"
STEPS, AGENTRX = "steps", "agentrx"
_KEYS = ("id", "group", "label", "record", "text", "judge_score")


@dataclass(frozen=True, slots=True)
class Case:
    """One subcall with its label. ``key`` is unique; ``given`` are scores that came with it, by what gave them."""

    key: str
    group: str
    bad: bool
    record: Record
    given: Mapping[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What a probe of texts reads: the reasoning, else the output, else the last that the subcall was told."""
        return text_of(self.record)


def text_of(record: Record) -> str:
    """The reasoning, else the output, else the last message; empty where there is none of them."""
    seen, messages = record.observation, record.call.messages
    told = messages[-1].content if messages else ""
    return next((text for text in (seen.reasoning.text, seen.output, told) if text.strip()), "")


@dataclass(frozen=True, slots=True)
class Cases:
    """Cases of one source. ``bad`` says in words what the label is of, ``notes`` what limits every figure from them.

    ``given`` are the names of the scores that came with the cases.
    """

    name: str
    bad: str
    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()

    @property
    def given(self) -> tuple[str, ...]:
        """The names of scores that at least one case came with, in the order they are met."""
        return tuple(dict.fromkeys(name for case in self.cases for name in case.given))

    def without(self, groups: frozenset[str], note: str) -> Cases:
        """The cases of other groups; with ``note`` where any was left out."""
        kept = tuple(case for case in self.cases if case.group not in groups)
        return self if len(kept) == len(self.cases) else replace(self, cases=kept, notes=(*self.notes, note))


def read_cases(path: Path) -> Cases:
    """Read labelled cases from a JSONL file.

    Raises:
        ConfigError: the file cannot be read, has no case, or has faults, of which all are told.
    """
    faults, cases = FileFaults(), dict[str, Case]()
    try:
        for row in read_table(path, faults, needed=("id", "group", "label")):
            _add(row, cases, faults)
    except TooManyFaultsError:
        faults.give_up()
    if faults:
        raise ConfigError("\n".join(map(str, faults)))
    if not cases:
        raise ConfigError(f"{path}: expected a labelled case on each line, found none")
    return Cases(path.stem, "labelled true in the file", tuple(cases.values()))


def _add(row: Row, cases: dict[str, Case], faults: FileFaults) -> None:
    before, names = len(faults), {}
    for unknown in sorted(set(row.values) - set(_KEYS)):
        faults.append(row.fault(f"`{unknown}` is not known.", f"Known: {', '.join(_KEYS)}."))
    for name in ("id", "group"):
        value = row.get(name)
        if not isinstance(value, str) or not value.strip():
            faults.append(row.fault(f"`{name}` is no text.", "Write a name in quotes."))
        names[name] = escape_text(str(value).strip())
    if not isinstance(row.get("label"), bool):
        faults.append(row.fault("`label` is neither true nor false.", "Write true for what is to be found."))
    if names["id"] in cases:
        faults.append(row.fault(f"the id {names['id']!r} stands twice.", "Give each case an id of its own."))
    record = _record(row, faults)
    judged = row.get("judge_score")
    if judged is not None and (
        isinstance(judged, bool) or not isinstance(judged, (int, float)) or not math.isfinite(judged)
    ):
        faults.append(row.fault("`judge_score` is no number.", "Write a number, higher for worse, or null."))
    if record is not None and len(faults) == before:
        given = {} if judged is None else {JUDGE: float(judged)}
        cases[names["id"]] = Case(names["id"], names["group"], row.get("label") is True, record, given)


def _record(row: Row, faults: FileFaults) -> Record | None:
    text, short = row.get("text"), row.get("record")
    if isinstance(text, str) and short is None:
        return agent_record(text)
    if text is not None or not isinstance(short, dict):
        faults.append(row.fault("expected one of `text` and `record`.", '`record` is a map, such as {"reasoning": …}.'))
        return None
    wrong = list(examples.faults(short))
    for _, problem, fix in wrong:
        faults.append(row.fault(problem, fix))
    return None if wrong else examples.build(short)


def read_steps_cases(data: Path) -> list[Cases]:
    """The chains in ``steps/*.jsonl`` (BIG-Bench Mistake), each file by itself: a step is a case, its task the group.

    A step is bad where it is the first mistake of its chain; what comes after it is left out, for nobody labelled it.

    Raises:
        ConfigError: there is no such file.
        ProbeDataError: a file cannot be read.
    """
    files = sorted((data / "steps").glob("*.jsonl"))
    if not files:
        raise ConfigError(f"{data}: expected chains of steps in `steps/*.jsonl`, found none")
    found = []
    for file in files:
        cases, seen = [], dict[str, int]()
        for row in read_steps(file).rows:
            number = seen[row.group] = seen.get(row.group, -1) + 1
            cases.append(Case(f"{row.group} #{number}", row.group, row.label, agent_record(row.text)))
        found.append(Cases(f"{STEPS}/{file.stem}", "the first mistake of its chain", tuple(cases)))
    return found


def read_agentrx_cases(data: Path) -> Cases:
    """The labelled traces of ``traces/agentrx``: a message is a case, its trace the group.

    A message is bad where people labelled its step as a failure. The others of the same traces count as not bad, though
    nobody said so of each. Traces without any label are left out.

    Raises:
        ConfigError: there are no labelled traces, or one cannot be read.
    """
    part = read_set("agentrx", data, {}, frozenset(Half))
    if part.missing:
        raise ConfigError(f"{data}: {part.missing}")
    cases, seen = [], dict[str, int]()
    for sample in part.samples:
        if sample.label in {Label.FAILING, Label.UNLABELLED}:
            number = seen[sample.group] = seen.get(sample.group, 0) + 1
            key = f"{sample.group.removesuffix('.json')}/{number}"
            cases.append(Case(key, sample.group, sample.label is Label.FAILING, sample.record))
    if not cases:
        raise ConfigError(f"{data}: none of the AgentRx traces is labelled; it needs traces/agentrx/ground_truth.jsonl")
    note = "the steps that nobody labelled as a failure count as not bad: nobody said so of each of them"
    return Cases(AGENTRX, "a step labelled as a failure", tuple(cases), (note,))


def as_json(case: Case) -> dict[str, Any]:
    """What names a case."""
    return {"id": case.key, "group": case.group, "bad": case.bad}
