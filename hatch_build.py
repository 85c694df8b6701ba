"""Put the shipped recipes, roles, tools, policies and probes into the wheel.

They live at the top of the repository, where people look for them, and ``agents`` must not be a Python package (it is the
import name of OpenAI's Agents SDK). The wheel carries them as data of ``monitor``; an editable install must not, for it
would keep frozen copies that hide later edits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLED = ("agents/recipes", "agents/roles", "agents/tools", "policies", "probes")
SUFFIXES = {".py", ".md", ".yaml", ".json", ".jsonl", ".csv", ".safetensors"}


class BundleHook(BuildHookInterface):  # type: ignore[type-arg]  # the generic parameter is hatchling's own configuration
    """Adds ``monitor/_bundled/`` to standard wheels."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the folders to include; ``version`` is ``standard`` or ``editable``.

        Raises:
            FileNotFoundError: a wheel without its recipes or policies must not be built.
        """
        if version != "standard":
            return
        for name in BUNDLED:
            folder = Path(self.root, name)
            files = [path for path in sorted(folder.rglob("*")) if path.suffix in SUFFIXES or path.name == "LICENSE"]
            if not files:
                raise FileNotFoundError(f"{folder}: expected the files that the wheel carries, found none")
            for path in files:
                target = f"monitor/_bundled/{path.relative_to(self.root).as_posix()}"
                build_data["force_include"][str(path)] = target
