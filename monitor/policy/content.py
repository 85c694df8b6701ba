"""What one policy file says by itself: its tree, what it validates to, its compiled detections.

That depends on nothing but the file's text and name, so a text without faults is read once in a process: a program that
makes run after run compiles its packs once. The file itself is read every time, so a change of it is never missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pydantic import ValidationError

from monitor import strict_yaml
from monitor.errors import Fault
from monitor.policy import examples
from monitor.policy.detection import compile_detection
from monitor.policy.judges.needed import questions_of
from monitor.policy.over_run.compiling import faults_in
from monitor.policy.plain_english import in_plain_english
from monitor.policy.schema import POLICY_FILES, FilterSetFile, OverrideSetFile, PackFile

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.policy.detection import Detection

PolicyFile: TypeAlias = PackFile | FilterSetFile | OverrideSetFile
_REMEMBERED = 64  # files


class Content(NamedTuple):
    """One file. ``metadata`` is None where it does not validate, and ``detections`` has those that compile."""

    root: strict_yaml.Node
    model: type[PolicyFile]
    metadata: PolicyFile | None
    detections: tuple[Detection, ...]


_known: dict[tuple[str, str], Content] = {}


def content_of(path: Path, faults: list[Fault]) -> Content | None:
    """Read one file; what is wrong is appended to ``faults``. None where there is nothing to speak of.

    Raises TooManyFaultsError where ``faults`` does.
    """
    before = len(faults)
    text = strict_yaml.text_of(path, faults)
    if text is None:
        return None
    key = (str(path), text)
    known = _known.get(key)
    if known is None:
        known = _read(text, str(path), faults)
        if known is not None and known.metadata is not None and len(faults) == before:
            if len(_known) >= _REMEMBERED:
                _known.clear()
            _known[key] = known
    return known


def parts_of(root: strict_yaml.Node, model: type[PolicyFile]) -> list[strict_yaml.Node]:
    """The rules or filters of a file, which have detections."""
    node = root.get({PackFile: "rules", FilterSetFile: "filters"}.get(model, ""))
    return node.items() if node else []


def run_parts_of(root: strict_yaml.Node) -> list[strict_yaml.Node]:
    """The rules over a run of a pack."""
    node = root.get("run_rules")
    return node.items() if node else []


def _read(text: str, path: str, faults: list[Fault]) -> Content | None:
    root = strict_yaml.parse(text, path, faults)
    if root is None:
        return None
    model = _kind(root, path, faults)
    metadata = _validated(root, path, model, faults) if model else None
    if model is None or not isinstance(root.value, dict):
        return None
    is_filter = model is FilterSetFile
    detections = [_detection(node, path, faults, is_filter=is_filter) for node in parts_of(root, model)]
    for node in run_parts_of(root):
        faults += faults_in(node, path)
    return Content(root, model, metadata, tuple(detection for detection in detections if detection))


def _kind(root: strict_yaml.Node, path: str, faults: list[Fault]) -> type[PolicyFile] | None:
    if not isinstance(root.value, dict):
        problem = "a policy file is a map."
        faults.append(Fault(path, 1, 1, problem, "A pack has `pack:`, `version:` and `rules:`."))
        return None
    given = [kind for kind in POLICY_FILES if kind in root.value]
    if len(given) > 1:
        mark = root.place([given[1]])
        problem = f"`{given[0]}` and `{given[1]}` do not go together in one file."
        faults.append(Fault(path, mark.line, mark.column, problem, "Make two files of it."))
        return None
    return POLICY_FILES[given[0] if given else "pack"]


def _validated(root: strict_yaml.Node, path: str, model: type[PolicyFile], faults: list[Fault]) -> PolicyFile | None:
    try:
        return model.model_validate(root.plain())
    except ValidationError as exc:
        for error in exc.errors(include_url=False):
            mark = root.place([step for step in error["loc"] if isinstance(step, (str, int))])
            problem, fix = in_plain_english(error, model)
            faults.append(Fault(path, mark.line, mark.column, problem, fix))
        return None


def _detection(node: strict_yaml.Node, path: str, faults: list[Fault], *, is_filter: bool) -> Detection | None:
    """The detection of one rule or filter; its examples are looked at on the way."""
    tests = node.get("tests")
    for test in tests.items() if tests else []:
        record = test.get("record")
        if record and isinstance(record.value, dict):
            for step, problem, fix in examples.faults(record.plain()):
                mark = record.place(step)
                faults.append(Fault(path, mark.line, mark.column, problem, fix))
    part = node.get("detection")
    if not part or not isinstance(part.value, dict):
        return None
    detection = compile_detection(part, path, faults)
    if detection and is_filter and questions_of(detection):
        problem = "a filter cannot ask a judge: whoever fools the judge would switch the rule off."
        faults.append(Fault(path, part.mark.line, part.mark.column, problem, "Say what is harmless."))
    return detection
