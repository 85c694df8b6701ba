"""Agent Threat Rules (https://github.com/Agent-Threat-Rule/agent-threat-rules, MIT) as a pack of ours.

A rule keeps its patterns, its conditions and its tests; what cannot be said here is reported from the closed list in
``reasons``, and nothing is left out without a word. What a rule *does* is not taken over: its action follows from its
level. Every test that is taken over was run: our rule says what the file expects.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from monitor import strict_yaml
from monitor.policy.importers import atr_metadata as metadata
from monitor.policy.importers.atr_conditions import read_detection
from monitor.policy.importers.atr_tests import read_tests
from monitor.policy.importers.atr_trial import verified
from monitor.policy.importers.packs import PROJECT, loadable_packs
from monitor.policy.importers.reasons import Reason
from monitor.policy.importers.report import FileReport, Imported, Remark, Result, TestReport
from monitor.policy.importers.writing import Comments, Words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.errors import Fault
    from monitor.policy.importers.atr_conditions import Detection, Selection
    from monitor.strict_yaml import Node

_METHODS = {"", "pattern"}


def import_files(paths: Sequence[Path], name: str = "atr") -> Imported:
    """Read rule files and make packs called ``name``, ``name_2`` and so on.

    A folder stands for all ``*.yaml`` and ``*.yml`` below it. Nothing in a file is an error: it is a line of the report.
    The packs load, all together: what our loader refuses is reported and left out.
    """
    reports: list[FileReport] = []
    made: list[tuple[FileReport, dict[str, Any]]] = []
    seen: dict[str, str] = {}
    for path in _files(paths):
        report = FileReport(str(path))
        rule = _import_file(path, report, seen)
        reports.append(report)
        if rule is not None:
            made.append((report, rule))
    packs, refused = loadable_packs([rule for _, rule in made], name)
    for number, problem in refused.items():
        _refuse(made[number][0], problem)
    return Imported(tuple(reports), packs)


def _refuse(report: FileReport, problem: str) -> None:
    """Beside the others the rule does not load, whatever it did by itself."""
    report.remarks.append(Remark(Reason.NOT_LOADABLE, "file", problem[:300]))
    report.tests = [
        replace(test, left_out=test.left_out or Remark(Reason.TEST_RULE_MISSING, test.name, "", test.line))
        for test in report.tests
    ]


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
    return verified(_written(root, made, report), root, made, report)


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
    if metadata.suppressed(root):
        report.remarks.append(Remark(Reason.GATE_DROPPED, "tags", "`suppress_in_code_blocks`"))


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
