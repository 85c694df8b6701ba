"""Where a run gets its parts from: roles, recipes and tools by name or path, model clients by name, rules by pack."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from monitor import catalog
from monitor.models import resolve
from monitor.models.alias import read_aliases
from monitor.orchestrate.roles import load_role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from monitor.models.base import ModelClient
    from monitor.orchestrate.confinement import Toolbox
    from monitor.orchestrate.roles import Role
    from monitor.orchestrate.tools import Tool, ToolChoice
    from monitor.probes import Prober
    from monitor.settings import Settings


def make_client(settings: Settings, name: str) -> ModelClient:
    """The client of a model's name. Raises ConfigError for one that cannot be resolved."""
    return resolve.resolve(name, aliases=read_aliases(settings.models), embedded=settings.embedded)


class Workplace:
    """The parts of one run. Clients are made once for each name and closed together; a role is read once, so that it is the
    same role from the beginning of the run to its end.
    """

    def __init__(
        self, settings: Settings, model: str | ModelClient, recipe_folder: Path, toolbox: Toolbox, prober: Prober
    ) -> None:
        self.settings = settings
        self._toolbox = toolbox
        self._prober = prober
        self._near = recipe_folder
        self._model = model
        self._clients: dict[str, ModelClient] = {}
        self._roles: dict[tuple[Path, str], Role] = {}

    def role(self, name: str) -> Role:
        """The role of that name or path, with its probes attached, by their names.

        Raises CatalogError, RoleError, ProbeError.
        """
        place = (self._near, name)
        if place not in self._roles:
            path = catalog.find("role", name, near=self._near)
            role = load_role(path)
            if role.probes:
                role = role.model_copy(update={"probes": self._prober.attach(role.probes, near=path.parent)})
            self._roles[place] = role
        return self._roles[place]

    def tools(self, choices: Sequence[ToolChoice], role: Role) -> tuple[Tool, ...]:
        """The tools that are handed to a role, confined where it is untrusted. Raises CatalogError, RecipeError."""
        return self._toolbox.tools(choices, role, self._near)

    def client(self, model: str | ModelClient | None) -> ModelClient:
        """The client of a model's name, or the run's. Raises ConfigError for a name that cannot be resolved."""
        chosen = self._model if model is None else model
        if not isinstance(chosen, str):
            return chosen
        if chosen not in self._clients:
            self._clients[chosen] = make_client(self.settings, chosen)
        return self._clients[chosen]

    def recipe(self, name: str) -> tuple[str, Callable[..., Awaitable[Any]], Workplace]:
        """The name and function of a recipe, and this workplace as seen from its folder.

        Raises CatalogError, RecipeError.
        """
        found = catalog.load_recipe(name)
        beside = copy(self)  # the clients and the roles are shared
        beside._near = found.path.parent
        return found.name, found.function, beside

    async def aclose(self) -> None:
        """Close the clients that were made here; one that the caller handed in stays the caller's."""
        for client in self._clients.values():
            await client.aclose()
