"""Policy files into rules: strict, and with every fault of every file at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from monitor import strict_yaml
from monitor.canonical import canonical_hash
from monitor.errors import Fault, PolicyError
from monitor.policy import examples
from monitor.policy.detection import compile_detection
from monitor.policy.names import suggestion
from monitor.policy.rules import PolicySet, Rule
from monitor.policy.schema import LATER_KEYS, PackFile, RuleFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

    from monitor.policy.detection import Detection

LANGUAGE = 1
"""Part of every rule's hash: a later version that gives the same words another meaning has another number."""


@dataclass(frozen=True, slots=True)
class LoadedPack:
    """One file: its tree (for lint), its metadata and its compiled rules."""

    path: str
    root: strict_yaml.Node
    metadata: PackFile
    rules: tuple[Rule, ...]


def load(paths: Sequence[Path]) -> PolicySet:
    """Load packs; a folder stands for the ``*.yaml`` files in it, in the order of their names.

    No paths give a set without rules, which measures nothing.

    Raises:
        PolicyError: with every fault of every file, in the order of the files.
    """
    faults: list[Fault] = []
    packs = read_packs(paths, faults)
    if faults:
        raise PolicyError(faults)
    return PolicySet([rule for pack in packs for rule in pack.rules])


def read_packs(paths: Sequence[Path], faults: list[Fault]) -> list[LoadedPack]:
    """Read all packs; what is wrong is appended to ``faults``, and what is right is returned."""
    packs = [pack for path in _files(paths, faults) if (pack := _read_pack(path, faults))]
    _refuse_duplicates(packs, faults)
    return packs


def _files(paths: Sequence[Path], faults: list[Fault]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not found:
            faults.append(
                Fault(str(path), 1, 1, "the folder has no `*.yaml` file.", "Name a pack, or a folder of packs.")
            )
        files += found
    return list(dict.fromkeys(files))


def _read_pack(path: Path, faults: list[Fault]) -> LoadedPack | None:
    before = len(faults)
    root = strict_yaml.read(path, faults)
    if root is None:
        return None
    if not isinstance(root.value, dict):
        problem = "a policy file is a map."
        faults.append(Fault(str(path), 1, 1, problem, "A pack has `pack:`, `version:` and `rules:`."))
        return None
    metadata = _validate(root, path, faults)
    rules = root.get("rules")
    nodes = rules.items() if rules else []
    detections = [_detection(node, path, faults) for node in nodes]
    for node in nodes:
        _check_examples(node, path, faults)
    if len(faults) > before or metadata is None:
        faults[before:] = sorted(faults[before:], key=lambda fault: (fault.line, fault.column))
        return None
    compiled = tuple(
        _rule(path, metadata, rule, node, detection)
        for rule, node, detection in zip(metadata.rules, nodes, detections, strict=True)
        if detection
    )
    return LoadedPack(str(path), root, metadata, compiled)


def _detection(rule: strict_yaml.Node, path: Path, faults: list[Fault]) -> Detection | None:
    node = rule.get("detection")
    return compile_detection(node, str(path), faults) if node and isinstance(node.value, dict) else None


def _check_examples(rule: strict_yaml.Node, path: Path, faults: list[Fault]) -> None:
    tests = rule.get("tests")
    for test in tests.items() if tests else []:
        record = test.get("record")
        if record and isinstance(record.value, dict):
            for step, problem, fix in examples.faults(record.plain()):
                mark = record.place(step)
                faults.append(Fault(str(path), mark.line, mark.column, problem, fix))


def _rule(path: Path, pack: PackFile, written: RuleFile, node: strict_yaml.Node, detection: Detection) -> Rule:
    content = {
        "language": LANGUAGE,
        "id": written.id,
        "level": written.level,
        "action": written.effective_action.value,
        "on_unknown": written.effective_on_unknown.value,
        "detection": detection.content,
    }
    tests = node.get("tests")
    return Rule(
        written=written,
        pack=pack.pack,
        pack_version=pack.version,
        path=str(path),
        line=node.mark.line,
        detection=detection,
        rule_hash=canonical_hash(content),
        test_lines=tuple(test.mark.line for test in tests.items()) if tests else (),
    )


def _refuse_duplicates(packs: Sequence[LoadedPack], faults: list[Fault]) -> None:
    """Findings name rules by id, name and pack: each may stand for one thing only."""
    seen: dict[tuple[str, str], str] = {}
    for pack in packs:
        _refuse_duplicate(seen, ("pack", pack.metadata.pack), pack.path, pack.root.place(["pack"]), faults)
        for index, rule in enumerate(pack.metadata.rules):
            for key in ("id", "name", "title"):
                mark = pack.root.place(["rules", index, key])
                _refuse_duplicate(seen, (key, getattr(rule, key)), pack.path, mark, faults)


def _refuse_duplicate(
    seen: dict[tuple[str, str], str], what: tuple[str, str], path: str, mark: strict_yaml.Mark, faults: list[Fault]
) -> None:
    if first := seen.get(what):
        problem = f"the {what[0]} `{what[1]}` is taken already, at {first}."
        faults.append(Fault(path, mark.line, mark.column, problem, f"Give one of the two another {what[0]}."))
    seen.setdefault(what, f"{path}:{mark.line}")


def _validate(root: strict_yaml.Node, path: Path, faults: list[Fault]) -> PackFile | None:
    try:
        return PackFile.model_validate(root.plain())
    except ValidationError as exc:
        for error in exc.errors(include_url=False):
            mark = root.place([step for step in error["loc"] if isinstance(step, (str, int))])
            problem, fix = _in_plain_english(error)
            faults.append(Fault(str(path), mark.line, mark.column, problem, fix))
        return None


def _in_plain_english(error: ErrorDetails) -> tuple[str, str]:
    """(what is wrong, what to do) for one of pydantic's errors."""
    key = str(error["loc"][-1]) if error["loc"] else "the file"
    kind, context, found = error["type"], error.get("ctx", {}), error["input"]
    if kind == "missing":
        return f"`{key}` is missing.", "Add it."
    if kind == "extra_forbidden":
        if key in LATER_KEYS:
            return f"`{key}` comes later.", "Leave it out for now."
        return f"there is no key `{key}` here.", suggestion(key, _known_keys(error["loc"]))
    if kind == "literal_error":
        choices = [word.strip(" '") for word in context["expected"].replace(" or ", ", ").split(",")]
        return f"`{key}` cannot be {_quoted(found)}.", suggestion(str(found), choices)
    if kind == "string_type":
        return f"`{key}` must be text, found {_quoted(found)}.", "Put it in quotes."
    if kind in {"list_type", "dict_type", "model_type"}:
        shape = "a list (lines that begin with `- `)" if kind == "list_type" else "a map (lines of `key: value`)"
        return f"`{key}` must be {shape}.", "Check the indentation."
    if kind == "value_error":
        return f"`{key}`: {context['error']}.", ""
    if kind == "string_pattern_mismatch":
        shape = "three numbers such as 1.0.0" if key == "version" else "lower-case letters, digits and `_`"
        return f"`{key}` must be {shape}, found {_quoted(found)}.", ""
    if kind == "string_too_short":
        return f"`{key}` is empty.", "Write something, or leave the key out."
    if kind == "too_short":
        return f"`{key}` is an empty list.", "A pack has at least one rule."
    return f"`{key}`: {error['msg']}.", ""


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    """The keys of the map in which ``loc``'s last step stands."""
    model: Any = PackFile if len(loc) == 1 else RuleFile
    if "tests" in loc:
        return ["name", "record", "expect"]
    return list(model.model_fields)


def _quoted(found: object) -> str:
    return f"`{str(found)[:60]}`"
