"""Policy files as they are read: strict, with every fault of every file at once, and what they include beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from monitor import catalog, strict_yaml
from monitor.canonical import canonical_hash
from monitor.errors import CatalogError, Fault, FileFaults, TooManyFaultsError
from monitor.policy.content import content_of, parts_of, run_parts_of
from monitor.policy.filters import Filter
from monitor.policy.names import suggestion
from monitor.policy.rules import Rule, rule_hash
from monitor.policy.schema import FilterSetFile, OverrideSetFile, PackFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.policy.detection import Detection
    from monitor.policy.schema import FilterFile, OverrideFile


@dataclass(frozen=True, slots=True)
class LoadedPack:
    """One file of rules: its tree (for lint), its metadata and its compiled rules."""

    path: str
    root: strict_yaml.Node
    metadata: PackFile
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class LoadedFilters:
    """One file of filters."""

    path: str
    root: strict_yaml.Node
    metadata: FilterSetFile
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class LoadedOverrides:
    """One file of overrides."""

    path: str
    root: strict_yaml.Node
    metadata: OverrideSetFile

    @property
    def overrides(self) -> list[OverrideFile]:
        """As they are written."""
        return self.metadata.overrides


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """All files of a policy set, each once, in the order in which they were named or included.

    Of files with faults, ``unread`` are the rules that their filters and overrides name, and ``unread_rules`` are the ids
    and names of their own rules.
    """

    packs: list[LoadedPack] = field(default_factory=list)
    filter_sets: list[LoadedFilters] = field(default_factory=list)
    override_sets: list[LoadedOverrides] = field(default_factory=list)
    unread: list[Mention] = field(default_factory=list)
    unread_rules: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mention:
    """A rule that a filter or an override names in a file that has faults, and so is not among the others."""

    path: str
    what: str
    rule: str
    mark: strict_yaml.Mark


def read_files(paths: Sequence[Path], faults: list[Fault], *, today: str) -> PolicyFiles:
    """Read files and what they include; what is wrong is appended to ``faults``, and what is right is returned.

    A folder stands for the ``*.yaml`` and ``*.yml`` files in it, in the order of their names. ``today`` (ISO 8601) decides
    which filters have expired.
    """
    reader = _Reader(faults, today)
    for path in _files(paths, faults):
        reader.read(path)
    return reader.files


def _files(paths: Sequence[Path], faults: list[Fault]) -> list[Path]:
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
        if not found:
            faults.append(
                Fault(
                    str(path), 1, 1, "the folder has no `*.yaml` or `*.yml` file.", "Name a pack, or a folder of packs."
                )
            )
        files += found
    return list(dict.fromkeys(files))


class _Reader:
    """Reads each file once, whichever way it is come by."""

    def __init__(self, faults: list[Fault], today: str) -> None:
        self.files = PolicyFiles()
        self._all_faults = faults
        self._faults = FileFaults()
        self._today = today
        self._seen: set[Path] = set()

    def read(self, path: Path) -> None:
        whole = path.resolve()
        if whole in self._seen:
            return
        self._seen.add(whole)
        outer, self._faults = self._faults, FileFaults()
        try:
            self._read(path)
        except TooManyFaultsError:
            self._faults.give_up()
        self._all_faults += self._faults
        self._faults = outer

    def _read(self, path: Path) -> None:
        content = content_of(path, self._faults)
        if content is None:
            return
        root, model, metadata, detections = content
        if self._faults or metadata is None:
            keys = ("id", "name", "title") if model is PackFile else ("id", "name")
            self._faults += _taken_twice([*parts_of(root, model), *run_parts_of(root)], keys, str(path))
            self.files.unread.extend(_mentions(root, model, str(path)))
            self.files.unread_rules.update(_named(root) if model is PackFile else {})
            self._faults.sort(key=lambda fault: (fault.line, fault.column))
            return
        self._keep(path, root, metadata, detections)

    def _keep(
        self,
        path: Path,
        root: strict_yaml.Node,
        metadata: PackFile | FilterSetFile | OverrideSetFile,
        detections: Sequence[Detection],
    ) -> None:
        nodes = parts_of(root, type(metadata))
        if isinstance(metadata, PackFile):
            self._include(path, root, metadata)
            rules = tuple(
                Rule(
                    written=written,
                    pack=metadata.pack,
                    pack_version=metadata.version,
                    path=str(path),
                    line=node.mark.line,
                    detection=detection,
                    rule_hash=rule_hash(written, detection),
                    test_lines=_test_lines(node),
                )
                for written, node, detection in zip(metadata.rules, nodes, detections, strict=True)
            )
            self.files.packs.append(LoadedPack(str(path), root, metadata, rules))
        elif isinstance(metadata, FilterSetFile):
            filters = tuple(
                Filter(
                    written=written,
                    filter_set=metadata.filter_set,
                    version=metadata.version,
                    path=str(path),
                    line=node.mark.line,
                    detection=detection,
                    filter_hash=_filter_hash(written, detection),
                    is_expired=written.expires < self._today,
                    test_lines=_test_lines(node),
                )
                for written, node, detection in zip(metadata.filters, nodes, detections, strict=True)
            )
            self.files.filter_sets.append(LoadedFilters(str(path), root, metadata, filters))
        else:
            self.files.override_sets.append(LoadedOverrides(str(path), root, metadata))

    def _include(self, path: Path, root: strict_yaml.Node, metadata: PackFile) -> None:
        """Read what the pack includes: a path is relative to the pack, a name stands for a file beside it or a shipped
        pack.
        """
        for index, name in enumerate(metadata.includes):
            beside = path.parent / f"{name}.yaml"
            is_name = "/" not in name and not name.endswith((".yaml", ".yml"))
            try:
                self.read(beside if is_name and beside.is_file() else catalog.find("policy", name, near=path.parent))
            except CatalogError:
                mark = root.place(["includes", index])
                problem = f"there is no pack `{name}` beside this file, and none is shipped under that name."
                fix = suggestion(name, catalog.names("policy"))
                self._faults.append(Fault(str(path), mark.line, mark.column, problem, fix))


def _taken_twice(parts: Iterable[strict_yaml.Node], keys: Sequence[str], path: str) -> Iterator[Fault]:
    """Values of ``keys`` that two parts of one file share: told beside its other faults, for a file with faults is not
    among those that the loader compares.
    """
    seen: dict[tuple[str, str], strict_yaml.Node] = {}
    for part in parts:
        for key in keys:
            node = part.get(key)
            if node is None or not isinstance(node.value, str):
                continue
            first = seen.setdefault((key, node.value), node)
            if first is not node:
                problem = f"the {key} `{node.value}` is taken already, at {path}:{first.mark.line}."
                yield Fault(path, node.mark.line, node.mark.column, problem, f"Give one of the two another {key}.")


def _named(root: strict_yaml.Node) -> dict[str, str]:
    """The ids and names of the rules of a pack with faults, to their names, as far as they can be read."""
    found: dict[str, str] = {}
    for part in [*parts_of(root, PackFile), *run_parts_of(root)]:
        values = [node.value for key in ("id", "name") if (node := part.get(key)) and isinstance(node.value, str)]
        if values:
            found |= dict.fromkeys(values, values[-1])
    return found


def _mentions(
    root: strict_yaml.Node, model: type[PackFile | FilterSetFile | OverrideSetFile], path: str
) -> Iterator[Mention]:
    """The rules that the filters or overrides of a file with faults name, as far as they can be read."""
    whole, key, what = {
        FilterSetFile: ("filters", "rules", "filter"),
        OverrideSetFile: ("overrides", "rule", "override"),
    }.get(model, ("", "", ""))
    parts = root.get(whole) if whole else None
    for part in parts.items() if parts else ():
        named = part.get(key)
        for node in named.items() if named and isinstance(named.value, list) else [named]:
            if node is not None and isinstance(node.value, str):
                yield Mention(path, what, node.value, node.mark)


def _test_lines(node: strict_yaml.Node) -> tuple[int, ...]:
    tests = node.get("tests")
    return tuple(test.mark.line for test in tests.items()) if tests else ()


def _filter_hash(written: FilterFile, detection: Detection) -> str:
    """Covers what the filter suppresses and until when."""
    content = {"id": written.id, "rules": written.rules, "expires": written.expires, "detection": detection.content}
    return canonical_hash(content)
