"""Agent Threat Rules (https://github.com/Agent-Threat-Rule/agent-threat-rules, MIT) as a pack of ours.

A rule keeps its patterns, its conditions and its tests; what cannot be said here is reported from the closed list in
``reasons``, and nothing is left out without a word. What a rule *does* is not taken over: its action follows from its
level. Every test that is taken over was run: our rule says what the file expects.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from monitor import strict_yaml
from monitor.errors import PolicyError
from monitor.policy.importers import atr_metadata as metadata
from monitor.policy.importers.atr_conditions import read_detection
from monitor.policy.importers.atr_tests import Case, is_normalised, read_tests
from monitor.policy.importers.reasons import Reason
from monitor.policy.importers.report import FileReport, Imported, Remark, Result, TestReport
from monitor.policy.importers.writing import Comments, Words, to_yaml
from monitor.policy.loader import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.errors import Fault
    from monitor.policy.importers.atr_conditions import Detection, Selection
    from monitor.strict_yaml import Node

PROJECT = "https://github.com/Agent-Threat-Rule/agent-threat-rules"
MARK = "Imported from Agent Threat Rules"
"""The first words of every pack that is made here."""

_HEADER = f"""{MARK} ({PROJECT}) by `monitor policy import atr`.
Change the originals and import again, or give the pack another name: an import writes over this file.

The rules and their tests are the work of the ATR contributors; each rule names the one it was made from.

{{licence}}"""
_LICENCE = """MIT License

Copyright (c) 2026 ATR Contributors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE."""
_MAX_PACK = 900_000  # characters escaped: well below what the loader reads
_METHODS = {"", "pattern"}


def import_files(paths: Sequence[Path], name: str = "atr") -> Imported:
    """Read rule files and make packs called ``name``, ``name_2`` and so on.

    A folder stands for all ``*.yaml`` and ``*.yml`` below it. Nothing in a file is an error: it is a line of the report.
    """
    reports: list[FileReport] = []
    rules: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for path in _files(paths):
        report = FileReport(str(path))
        rule = _import_file(path, report, seen)
        reports.append(report)
        if rule is not None:
            rules.append(rule)
    return Imported(tuple(reports), dict(_packs(rules, name)))


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(inner for inner in path.rglob("*") if inner.suffix in {".yaml", ".yml"})
        else:
            yield path


def _import_file(path: Path, report: FileReport, seen: dict[str, str]) -> dict[str, Any] | None:
    faults: list[Fault] = []
    root = strict_yaml.read(path, faults)
    if root is None or faults:
        report.remarks += [Remark(Reason.UNREADABLE, "file", fault.problem, fault.line) for fault in faults]
        return None
    rule = _rule(root, report, seen)
    if report.result is Result.REFUSED:
        _leave_out_tests(root, report)
        return None
    return rule


def _leave_out_tests(root: Node, report: FileReport) -> None:
    report.tests = [
        TestReport(case.name, case.expect, case.line, Remark(Reason.TEST_RULE_MISSING, case.name, "", case.line))
        for case in (read_tests(root, "", frozenset()) if isinstance(root.value, dict) else ())
    ]


def _rule(root: Node, report: FileReport, seen: dict[str, str]) -> dict[str, Any] | None:
    report.foreign_id, report.title = metadata.line(root, "id"), metadata.line(root, "title")
    detection = root.get("detection")
    if not report.foreign_id or not report.title or detection is None or not isinstance(detection.value, dict):
        report.remarks.append(Remark(Reason.NOT_A_RULE, "file", "`id`, `title` and `detection` are needed"))
        return None
    if first := seen.get(report.foreign_id):
        report.remarks.append(Remark(Reason.DUPLICATE_ID, "file", f"as in {first}"))
        return None
    seen[report.foreign_id] = report.path
    if metadata.line(root, "status") == "deprecated":
        report.remarks.append(Remark(Reason.DEPRECATED, "file", metadata.line(root, "deprecated_reason")[:200]))
        return None
    _check_method(detection, report)
    made = read_detection(detection)
    report.conditions = made.total
    report.remarks += made.remarks
    if report.result is Result.REFUSED:
        return None
    _check_gates(root, report)
    return _verified(_written(root, made, report), root, made, report)


def _check_method(detection: Node, report: FileReport) -> None:
    method = metadata.line(detection, "method")
    judge = detection.get("semantic")
    if method == "semantic" and judge is not None and metadata.line(judge, "fallback_method") == "pattern":
        report.remarks.append(Remark(Reason.SEMANTIC_FALLBACK, "detection", "", judge.mark.line))
    elif method not in _METHODS:
        report.remarks.append(Remark(Reason.METHOD, "detection", f"`{method[:80]}`", detection.mark.line))


def _check_gates(root: Node, report: FileReport) -> None:
    if metadata.line(root, "confirm"):
        report.remarks.append(Remark(Reason.GATE_DROPPED, "confirm", "a second stage confirms its matches"))
    if _suppressed(root):
        report.remarks.append(Remark(Reason.GATE_DROPPED, "tags", "`suppress_in_code_blocks`"))


def _suppressed(root: Node) -> bool:
    tags = root.get("tags")
    return bool(tags and (flag := tags.get("suppress_in_code_blocks")) and flag.value is True)


def _written(root: Node, made: Detection, report: FileReport) -> dict[str, Any]:
    """The rule as our language has it, without tests."""
    report.rule = metadata.name(report.foreign_id, report.title)
    rule: dict[str, Any] = {
        "title": f"{report.title[: 250 - len(report.foreign_id[:80])]} ({report.foreign_id[:80]})",
        "id": Words(uuid5(NAMESPACE_URL, f"{PROJECT}#{report.foreign_id}")),
        "name": Words(report.rule),
        "status": Words(metadata.status(root, report)),
        "description": metadata.prose(root) or report.title,
        "references": [f"Agent Threat Rules: {report.foreign_id}"[:256], *metadata.references(root, report)],
        "author": metadata.author(root),
        **metadata.dates(root, report),
        "level": Words(metadata.level(root, report)),
        "tags": metadata.tags(root, report),
        "detection": _detection(made),
        "falsepositives": metadata.false_positives(root),
    }
    return {key: value for key, value in rule.items() if value not in ("", [])}


def _detection(made: Detection) -> dict[str, Any]:
    selections = {selection.name: _selection(selection) for selection in made.selections}
    comments = {selection.name: selection.comment for selection in made.selections if selection.comment.strip()}
    return Comments({**selections, "condition": Words(made.condition)}, comments)


def _selection(selection: Selection) -> Any:
    lines = [
        {f"{field}|{modifiers}": values[0] if len(values) == 1 else list(values)}
        for field in selection.fields
        for modifiers, values in selection.lines
    ]
    return lines[0] if len(lines) == 1 else lines


def _verified(rule: dict[str, Any], root: Node, made: Detection, report: FileReport) -> dict[str, Any] | None:
    """The rule with those of its tests that hold. What the others lack is reported."""
    source = metadata.line(root.get("agent_source") or root, "type")
    cases = read_tests(root, source, {selection.foreign_field for selection in made.selections})
    sound = [case for case in cases if case.fault is None]
    trial = {**rule, "tests": [_test(case) for case in sound]} if sound else rule
    try:
        results = _run(trial)
    except PolicyError as exc:
        report.remarks.append(Remark(Reason.NOT_LOADABLE, "file", str(exc).splitlines()[0][:300]))
        return None
    said = {id(case): (result.passed, result.actual.value) for case, result in zip(sound, results, strict=True)}
    kept = []
    for case in cases:
        passed, actual = said.get(id(case), (False, ""))
        if passed:
            kept.append(_test(case))
        fault = None if passed else case.fault or _why(case, actual, root, report)
        left_out = Remark(fault[0], case.name, fault[1], case.line) if fault else None
        report.tests.append(TestReport(case.name, case.expect, case.line, left_out))
    return {**rule, "tests": kept} if kept else rule


def _test(case: Case) -> dict[str, Any]:
    return {"name": case.name[:256], "record": case.record, "expect": Words(case.expect)}


def _run(rule: dict[str, Any]) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trial.yaml")
        path.write_text(_pack([rule], "trial"), encoding="utf-8")
        return load([path]).run_tests()


def _why(case: Case, actual: str, root: Node, report: FileReport) -> tuple[Reason, str]:
    """Why the rule does not say what a test expects, as far as it can be told."""
    found = f"expected {case.expect}, found {actual}"
    if case.expect == "match" and report.result is Result.PARTLY:
        return Reason.TEST_CONDITION_MISSING, found
    if case.expect == "match" and not all(map(is_normalised, case.texts)):
        return Reason.TEST_NORMALISATION, found
    if case.expect == "no_match" and _suppressed(root) and any("`" in text for text in case.texts):
        return Reason.TEST_CODE_BLOCK, found
    return Reason.TEST_DISAGREES, found


def _packs(rules: Iterable[dict[str, Any]], name: str) -> Iterator[tuple[str, str]]:
    """The packs, each small enough for the loader."""
    groups: list[list[dict[str, Any]]] = []
    size = _MAX_PACK
    for rule in rules:
        length = len(_pack([rule], name).encode())
        if size + length > _MAX_PACK:
            groups.append([])
            size = 0
        groups[-1].append(rule)
        size += length
    for number, group in enumerate(groups, start=1):
        own = name if number == 1 else f"{name[:58]}_{number}"
        yield own, _pack(group, own)


def _pack(rules: list[dict[str, Any]], name: str) -> str:
    pack = {
        "pack": Words(name),
        "version": Words("1.0.0"),
        "description": f"{MARK}. What these rules do follows from their level, not from the originals' `response`.",
        "author": "ATR Contributors",
        "license": "MIT",
        "references": [PROJECT],
        "rules": rules,
    }
    return to_yaml(pack, _HEADER.format(licence=_LICENCE))
