"""A rule with those of its tests that hold: each was run before it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.errors import Fault, PolicyError
from monitor.policy.importers import atr_metadata as metadata
from monitor.policy.importers import packs
from monitor.policy.importers.atr_tests import Case, is_normalised, read_tests
from monitor.policy.importers.reasons import Reason
from monitor.policy.importers.report import FileReport, Remark, Result, TestReport
from monitor.policy.importers.writing import Words, to_yaml

if TYPE_CHECKING:
    from monitor.policy.importers.atr_conditions import Detection
    from monitor.strict_yaml import Node


def verified(rule: dict[str, Any], root: Node, made: Detection, report: FileReport) -> dict[str, Any] | None:
    """The rule with those of its tests that hold, or None where our loader refuses it. What is missing is reported."""
    source = metadata.line(root.get("agent_source") or root, "type")
    cases = read_tests(root, source, {selection.foreign_field for selection in made.selections})
    _leave_out_largest(rule, [case for case in cases if case.fault is None])
    try:
        answers = _all_answers(rule, [case for case in cases if case.fault is None])
    except PolicyError as exc:
        report.remarks.append(Remark(Reason.NOT_LOADABLE, "file", _said(exc)))
        return None
    kept = []
    for case in cases:
        passed, actual = answers.get(id(case), (False, ""))
        if passed:
            kept.append(_test(case))
        fault = None if passed else case.fault or _why(case, actual, root, report)
        left_out = Remark(fault[0], case.name, fault[1], case.line) if fault else None
        report.tests.append(TestReport(case.name, case.expect, case.line, left_out))
    return {**rule, "tests": kept} if kept else rule


def _said(exc: PolicyError) -> str:
    return str(exc).splitlines()[0].rpartition(".yaml:")[2][:300]


def _all_answers(rule: dict[str, Any], cases: list[Case]) -> dict[int, tuple[bool, str]]:
    """What the rule says of each case that can be loaded; the others get their fault. Raises PolicyError for the rule."""
    try:
        return _answers(rule, cases)
    except PolicyError as exc:
        _answers(rule, [])
        if len(cases) == 1:
            cases[0].fault = Reason.TEST_NOT_LOADABLE, _said(exc)
            return {}
    half = len(cases) // 2
    return _all_answers(rule, cases[:half]) | _all_answers(rule, cases[half:])


def _leave_out_largest(rule: dict[str, Any], cases: list[Case]) -> None:
    """As many tests as a pack has room for, from the first one on; the others get their fault."""
    room = packs.MAX_PACK - len(packs.pack_text([rule], "trial").encode())
    for case in cases:
        length = len(to_yaml({"tests": [_test(case)]}, "").encode()) + 200
        if length > room:
            case.fault = Reason.TEST_NOT_LOADABLE, "there is no room for it"
        else:
            room -= length


def _answers(rule: dict[str, Any], cases: list[Case]) -> dict[int, tuple[bool, str]]:
    """Whether each test passes, and what the rule says. Raises PolicyError where the loader refuses anything of it."""
    tests = [_test(case) for case in cases]
    text = packs.pack_text([{**rule, "tests": tests} if tests else rule], "trial")
    if len(text.encode()) > packs.MAX_PACK:
        raise PolicyError([Fault("trial.yaml", 1, 1, f"it would have more than {packs.MAX_PACK:,} bytes.")])
    results = packs.loaded({"trial": text}).run_tests()
    return {id(case): (result.passed, result.actual.value) for case, result in zip(cases, results, strict=True)}


def _test(case: Case) -> dict[str, Any]:
    return {"name": case.name[:256], "record": case.record, "expect": Words(case.expect)}


def _why(case: Case, actual: str, root: Node, report: FileReport) -> tuple[Reason, str]:
    """Why the rule does not say what a test expects, as far as it can be told."""
    found = f"expected {case.expect}, found {actual}"
    if case.expect == "match" and report.result is Result.PARTLY:
        return Reason.TEST_CONDITION_MISSING, found
    if case.expect == "match" and not all(map(is_normalised, case.texts)):
        return Reason.TEST_NORMALISATION, found
    if case.expect == "no_match" and metadata.suppressed(root) and any("`" in text for text in case.texts):
        return Reason.TEST_CODE_BLOCK, found
    return Reason.TEST_DISAGREES, found
