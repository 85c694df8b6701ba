"""Policy files into one set of rules: overrides applied, filters attached, nothing that stands for two things."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from monitor.errors import Fault, FileFaults, PolicyError, TooManyFaultsError
from monitor.policy.files import LoadedPack, PolicyFiles, read_files
from monitor.policy.names import suggestion
from monitor.policy.over_run.compiling import compiled, stranger_faults
from monitor.policy.rules import PolicySet, Rule, rule_hash
from monitor.policy.schema import RuleFile, RunRuleFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from monitor import strict_yaml
    from monitor.policy.files import LoadedFilters, LoadedOverrides
    from monitor.policy.schema import OverrideFile

Written = TypeVar("Written", RuleFile, RunRuleFile)


def load(paths: Sequence[Path], *, today: str | None = None) -> PolicySet:
    """Load packs, filters and overrides; a folder stands for the ``*.yaml`` files in it, in the order of their names.

    No paths give a set without rules, which measures nothing. ``today`` (ISO 8601, default: the day in UTC) decides which
    filters have expired.

    Raises:
        PolicyError: with every fault of every file, in the order of the files.
    """
    faults: list[Fault] = []
    loaded = read_policy(paths, faults, today=today)
    if faults:
        raise PolicyError(faults)
    return assemble(loaded)


def read_policy(paths: Sequence[Path], faults: list[Fault], *, today: str | None = None) -> PolicyFiles:
    """Read all files; what is wrong is appended to ``faults``, and what is right is returned."""
    loaded = read_files(paths, faults, today=today or datetime.now(UTC).date().isoformat())
    between = FileFaults()
    try:
        _refuse_duplicates(loaded, between)
        _refuse_strangers(loaded, between)
    except TooManyFaultsError:
        between.give_up()
    faults += between
    return loaded


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Every file that ``load`` reads for these paths: what they include as well. Raises PolicyError as ``load``."""
    faults: list[Fault] = []
    loaded = read_policy(paths, faults)
    if faults:
        raise PolicyError(faults)
    parts: list[LoadedPack | LoadedFilters | LoadedOverrides] = [*loaded.packs]
    parts += [*loaded.filter_sets, *loaded.override_sets]
    return [Path(part.path) for part in parts]


def read_packs(paths: Sequence[Path], faults: list[Fault]) -> list[LoadedPack]:
    """The packs alone; as ``read_policy``."""
    return read_policy(paths, faults).packs


def assemble(loaded: PolicyFiles) -> PolicySet:
    """The rules of files without faults, at work: as their packs have them, and as a site's overrides change them."""
    changes = {
        override.rule: (override, f"{source.metadata.override_set} {source.metadata.version}")
        for source in loaded.override_sets
        for override in source.overrides
    }
    rules = [rule for pack in loaded.packs for rule in pack.rules]
    changed = [_overridden(rule, changes.get(rule.name) or changes.get(rule.id)) for rule in rules]
    by_name = {rule.name: rule for rule in changed}
    over_runs = {
        rule.id: (_changed(rule, change[0]), change[1])
        for pack in loaded.packs
        for rule in pack.metadata.run_rules
        if (change := changes.get(rule.name) or changes.get(rule.id))
    }
    run_rules = [rule for pack in loaded.packs for rule in compiled(pack, over_runs, by_name)]
    return PolicySet(changed, [one for source in loaded.filter_sets for one in source.filters], run_rules)


def _overridden(rule: Rule, change: tuple[OverrideFile, str] | None) -> Rule:
    """The rule as an override changes it. Its hash is that of what it does now."""
    if change is None:
        return rule
    override, source = change
    written = _changed(rule.written, override)
    return replace(rule, written=written, rule_hash=rule_hash(written, rule.detection), overridden_by=source)


def _changed(written: Written, override: OverrideFile) -> Written:
    return type(written).model_validate(written.model_dump(exclude_unset=True) | override.changes)


def _refuse_duplicates(loaded: PolicyFiles, faults: list[Fault]) -> None:
    """Findings name rules by id, name and pack, and suppressions by filter: each may stand for one thing only."""
    seen: dict[tuple[str, str], str] = {}
    for pack in loaded.packs:
        _refuse_duplicate(seen, ("pack", pack.metadata.pack), pack.path, pack.root.place(["pack"]), faults)
        for kind, rules in (("rules", pack.metadata.rules), ("run_rules", pack.metadata.run_rules)):
            for index, rule in enumerate(rules):
                for key in ("id", "name", "title"):
                    mark = pack.root.place([kind, index, key])
                    _refuse_duplicate(seen, (key, getattr(rule, key)), pack.path, mark, faults)
    for source in loaded.filter_sets:
        mark = source.root.place(["filter_set"])
        _refuse_duplicate(seen, ("filter_set", source.metadata.filter_set), source.path, mark, faults)
        for index, one in enumerate(source.metadata.filters):
            for key in ("id", "name"):
                mark = source.root.place(["filters", index, key])
                _refuse_duplicate(seen, (key, getattr(one, key)), source.path, mark, faults)
    _refuse_second_overrides(loaded, faults)


def _refuse_second_overrides(loaded: PolicyFiles, faults: list[Fault]) -> None:
    names = _names(loaded)
    seen: dict[tuple[str, str], str] = {}
    for source in loaded.override_sets:
        mark = source.root.place(["override_set"])
        _refuse_duplicate(seen, ("override_set", source.metadata.override_set), source.path, mark, faults)
        for index, override in enumerate(source.overrides):
            mark = source.root.place(["overrides", index, "rule"])
            rule = names.get(override.rule, override.rule)
            _refuse_duplicate(seen, ("override of", rule), source.path, mark, faults)


def _refuse_duplicate(
    seen: dict[tuple[str, str], str], what: tuple[str, str], path: str, mark: strict_yaml.Mark, faults: list[Fault]
) -> None:
    if first := seen.get(what):
        problem = f"the {what[0]} `{what[1]}` is taken already, at {first}."
        fix = f"Give one of the two another {what[0]}."
        if what[0] == "override of":
            problem, fix = f"`{what[1]}` is overridden already, at {first}.", "Make one of the two."
        faults.append(Fault(path, mark.line, mark.column, problem, fix))
    seen.setdefault(what, f"{path}:{mark.line}")


def _refuse_strangers(loaded: PolicyFiles, faults: list[Fault]) -> None:
    """A filter or an override of a rule that is not there does nothing, and somebody relies on it."""
    names = _names(loaded)
    for source in loaded.filter_sets:
        for index, one in enumerate(source.metadata.filters):
            places = [source.root.place(["filters", index, "rules", number]) for number in range(len(one.rules))]
            faults += _strangers(source.path, zip(one.rules, places, strict=True), names, "filter")
    for overrides in loaded.override_sets:
        faults += _strangers(overrides.path, _overridden_places(overrides), names, "override")
    by_name = {rule.name: rule for pack in loaded.packs for rule in pack.metadata.rules}
    over_runs = {rule.name: rule for pack in loaded.packs for rule in pack.metadata.run_rules}
    for pack in loaded.packs:
        faults += stranger_faults(pack, by_name | dict.fromkeys(loaded.unread_rules.values()), over_runs)
    for mention in loaded.unread:
        faults += _strangers(mention.path, [(mention.rule, mention.mark)], names, mention.what)


def _overridden_places(source: LoadedOverrides) -> Iterable[tuple[str, strict_yaml.Mark]]:
    for index, override in enumerate(source.overrides):
        yield override.rule, source.root.place(["overrides", index, "rule"])


def _strangers(
    path: str, named: Iterable[tuple[str, strict_yaml.Mark]], names: dict[str, str], what: str
) -> Iterable[Fault]:
    for rule, mark in named:
        if rule not in names:
            problem = f"there is no rule `{rule}` in the packs that are loaded, so this {what} would do nothing."
            fix = f"Load its pack as well. {suggestion(rule, set(names.values()))}".rstrip()
            yield Fault(path, mark.line, mark.column, problem, fix)


def _names(loaded: PolicyFiles) -> dict[str, str]:
    """Every id and name of a rule, to its name; those of packs with faults among them."""
    rules = [rule for pack in loaded.packs for rule in [*pack.metadata.rules, *pack.metadata.run_rules]]
    return loaded.unread_rules | {rule.id: rule.name for rule in rules} | {rule.name: rule.name for rule in rules}
