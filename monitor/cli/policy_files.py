"""Policy files as the commands of ``monitor policy`` are given them: by name or path, and by default all shipped ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.policy import PolicySet, Rule
    from monitor.policy.files import PolicyFiles
    from monitor.policy.over_run import RunRule

__all__ = ["Packs", "Policies", "find_rule", "loaded", "paths"]

Packs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PACK", help="Packs, filters and overrides by name or path, or folders; default: all shipped ones."
    ),
]
Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", "-p", metavar="PACK", help="A pack, filters or overrides; default: all shipped packs."),
]


def paths(packs: list[str] | None) -> list[Path]:
    """Return the files that ``packs`` stand for. Raises CatalogError."""
    from monitor import catalog

    return [catalog.find("policy", name) for name in packs or catalog.names("policy")]


def loaded(packs: list[str] | None) -> "tuple[PolicyFiles, PolicySet]":
    """Return the files as they were read, and their rules at work. Raises CatalogError and PolicyError."""
    from monitor.errors import Fault, PolicyError
    from monitor.policy.loader import assemble, read_policy

    faults: list[Fault] = []
    files = read_policy(paths(packs), faults)
    if faults:
        raise PolicyError(faults)
    return files, assemble(files)


def find_rule(rules: "PolicySet", ref: str) -> "Rule | RunRule":
    """Return the rule whose name or id is, or alone begins with, ``ref``. Raises ConfigError."""
    from monitor.policy.names import suggestion

    named = [rule for rule in rules.every if ref in {rule.name, rule.id}]
    named = named or [rule for rule in rules.every if rule.name.startswith(ref) or rule.id.startswith(ref)]
    if len(named) == 1:
        return named[0]
    if named:
        raise ConfigError(f"several rules begin with `{ref}`: {', '.join(rule.name for rule in named)}")
    fix = suggestion(ref, [rule.name for rule in rules.every])
    raise ConfigError(f"there is no rule `{ref}` in these packs. {fix} `--policy` names other packs.")
