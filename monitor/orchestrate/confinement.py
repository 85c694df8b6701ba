"""Which tools are confined, and how: those of untrusted roles, by the setting ``tool_isolation``.

    landlock   a process of its own, which the kernel confines (see ``isolation``); the default
    process    a process of its own with an empty environment and limits, which may open whatever its user may
    none       in this process

Where ``landlock`` is wanted and cannot be had the tool is not run: the call fails and says so.
"""

from __future__ import annotations

import inspect
import logging
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from monitor import catalog
from monitor.errors import CatalogError, RecipeError
from monitor.orchestrate.isolation import folders
from monitor.orchestrate.isolation.parent import run_in_child
from monitor.orchestrate.tools import BoundTool, Tool, ToolError, as_text, is_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from monitor.orchestrate.isolation.landlock import Right
    from monitor.orchestrate.roles import Role
    from monitor.orchestrate.tools import ToolChoice
    from monitor.settings import ToolIsolation

logger = logging.getLogger(__name__)

STRENGTH: tuple[ToolIsolation, ...] = ("none", "process", "landlock")
"""From the weakest to the strongest."""


def stronger(one: ToolIsolation, other: ToolIsolation) -> ToolIsolation:
    """The stronger of two: a resume may not run tools with less around them than its run's record says."""
    return max(one, other, key=STRENGTH.index)


@dataclass(frozen=True, slots=True)
class Home:
    """Where the child finds a function: a file's very text, and the function's name in it."""

    file: Path
    source: str
    function: str


@dataclass(frozen=True, slots=True)
class Confinement:
    """What confines one tool. ``hidden`` are files and folders that it may not read, wherever its own folders are."""

    isolation: ToolIsolation
    home: Home
    hidden: frozenset[Path]

    async def run(self, tool: Tool, arguments: Mapping[str, Any]) -> str:
        """Run the tool in a child of its own; its result as text. Raises ToolError."""
        paths = [name for name in tool.signature.paths if tool.options.get(name) is not None]
        try:
            grants = self._grants([tool.options[name] for name in paths])
        except (OSError, folders.TooManyGrantsError) as exc:
            raise ToolError(f"{tool.spec.name} was not run: {exc}") from exc
        told = await run_in_child(
            {
                "isolation": self.isolation,
                "file": str(self.home.file),
                "source": self.home.source,
                "function": self.home.function,
                "arguments": dict(arguments),
                "options": {**tool.options, **{name: str(tool.options[name]) for name in paths}},
                "paths": paths,
                "grants": grants,
                "imports": folders.imports(),
                "parent": 0,
            }
        )
        if told.kind == "unconfined":
            raise ToolError(
                f"{tool.spec.name} was not run, for it cannot be confined: {told.content}. A new run with "
                'tool_isolation = "process" in monitor.toml, or MONITOR_TOOL_ISOLATION=process, runs tools of untrusted '
                "roles without that protection"
            )
        if told.kind == "error":
            raise ToolError(str(told.content))
        try:
            return as_text(told.content)
        except (TypeError, ValueError, RecursionError) as exc:
            raise ToolError(f"its answer cannot be stored: {exc}") from exc

    def _grants(self, paths: Iterable[Path]) -> list[tuple[str, Right]]:
        return folders.grants_of(paths, self.hidden) if self.isolation == "landlock" else []


@dataclass
class Toolbox:
    """The tools of one run: by name from beside the recipe or from the shipped ones, or functions; confined for those roles
    that are not trusted.
    """

    isolation: ToolIsolation
    hidden: frozenset[Path]
    _warned: bool = False

    def tools(self, choices: Iterable[ToolChoice], role: Role, near: Path) -> tuple[Tool, ...]:
        """The tools that a recipe hands to a role. ``near`` is the recipe's folder.

        Raises:
            CatalogError: no such tool.
            RecipeError: a tool cannot be used so; says why.
        """
        made = tuple(self._made(choice, role, near) for choice in choices)
        names = [tool.spec.name for tool in made]
        if unlisted := sorted(set(names) - set(role.tools)):
            raise RecipeError(
                f"role {role.name} was handed {', '.join(unlisted)}, not in its tools: add it to {role.path}"
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise RecipeError(f"role {role.name} was handed two tools named {', '.join(twice)}: rename one")
        return made

    def _made(self, choice: ToolChoice, role: Role, near: Path) -> Tool:
        bound = choice if isinstance(choice, BoundTool) else BoundTool(choice, {})
        function = catalog.load_tool(bound.tool, near=near).function if isinstance(bound.tool, str) else bound.tool
        tool = Tool.of(function, bound.options)
        if role.trust == "trusted" or self.isolation == "none":
            self._warn(role)
            return tool
        home = home_of(function, role)
        for name in tool.signature.paths:
            path = tool.options.get(name)
            if path is not None and folders.is_hidden(path, self.hidden):
                raise RecipeError(
                    f"tool {tool.spec.name}, option {name}: {path} is the monitor's own; no tool may read it"
                )
        _refuse_what_cannot_be_handed_over(tool, role)
        self._warn(role)
        return Tool(tool.spec, function, tool.signature, tool.options, Confinement(self.isolation, home, self.hidden))

    def _warn(self, role: Role) -> None:
        """Say once that an untrusted role's tools run with less around them than they could."""
        if role.trust == "untrusted" and self.isolation != "landlock" and not self._warned:
            self._warned = True
            logger.warning(
                "tool_isolation is %r: tools of untrusted roles can open what this user can open, the store among it",
                self.isolation,
            )


async def problem_of(isolation: ToolIsolation) -> str:
    """Try to confine a tool that does nothing: what stands in the way, or nothing."""
    told = await run_in_child(
        {
            "isolation": isolation,
            "file": "nothing.py",
            "source": "def nothing() -> None: ...",
            "function": "nothing",
            "arguments": {},
            "options": {},
            "paths": [],
            "grants": folders.grants_of([], frozenset()) if isolation == "landlock" else [],
            "imports": [],
            "parent": 0,
        }
    )
    return "" if told.kind == "value" else str(told.content)


def home_of(function: Callable[..., Any], role: Role) -> Home:
    """Where a child process finds ``function``. Raises RecipeError for one that it could not find."""
    name = getattr(function, "__name__", type(function).__name__)
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if not inspect.isfunction(function) or module is None or getattr(module, name, None) is not function:
        raise RecipeError(
            f"{name} runs in a process of its own, for role {role.name} is untrusted, and only functions of a module are "
            f"found there: define {name} at the top of a file, not in another function, or declare `trust: trusted` in "
            f"{role.path}"
        )
    try:
        path, source = catalog.source_of(module)
    except CatalogError as exc:
        raise RecipeError(f"{name} runs in a process of its own, for role {role.name} is untrusted: {exc}") from exc
    return Home(path, source, name)


def _refuse_what_cannot_be_handed_over(tool: Tool, role: Role) -> None:
    strange = [name for name, hint in tool.signature.parameters.items() if not is_plain(hint)]
    strange += [
        name
        for name, value in tool.options.items()
        if name not in tool.signature.paths
        and not is_plain(tool.signature.options[name].annotation)
        and value is not None
    ]
    if strange:
        raise RecipeError(
            f"{tool.spec.name} runs in a process of its own, for role {role.name} is untrusted, and takes JSON there: "
            f"type {', '.join(strange)} as str, int, float, bool, list, dict or Literal, or declare `trust: trusted` in "
            f"{role.path}"
        )
