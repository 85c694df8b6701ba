"""``monitor recipes``, ``monitor roles``, ``monitor tools`` and ``monitor version``: what is there."""

import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import monitor
from monitor.cli.console import emit_json, stdout
from monitor.cli.options import Json
from monitor.cli.safe import one_line
from monitor.errors import ConfigError, RecipeError, RoleError

__all__ = ["recipes", "register", "roles", "tools", "version"]

Paths = Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Files of your own, besides the shipped ones.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(recipes)
    app.command()(roles)
    app.command()(tools)
    app.command()(version)


def recipes(files: Paths = None, *, json_output: Json = False) -> None:
    """List the recipes that `monitor run` takes by name."""
    from monitor import catalog

    listed: list[dict[str, Any]] = []
    for ref in [*catalog.names("recipe"), *(files or ())]:
        try:
            recipe = catalog.load_recipe(ref)
            listed.append({"name": recipe.name, "about": recipe.doc, "path": recipe.path, "sha256": recipe.sha256})
        except RecipeError as exc:
            listed.append({"name": ref, "about": f"broken: {exc}", "path": exc.path, "sha256": None})
    if json_output:
        emit_json("monitor.recipes/1", {"recipes": listed})
    else:
        _print_table(("recipe", "about"), [(item["name"], item["about"].partition("\n\n")[0]) for item in listed])


def roles(files: Paths = None, *, json_output: Json = False) -> None:
    """List the roles that answer subcalls."""
    from monitor import catalog
    from monitor.orchestrate.roles import load_role

    listed: list[dict[str, Any]] = []
    for name in [*catalog.names("role"), *(files or ())]:
        path = catalog.find("role", name)
        entry: dict[str, Any]
        try:
            role = load_role(path)
            entry = {"name": role.name, "about": role.description, "trust": role.trust, "sha256": role.sha256}
        except RoleError as exc:
            entry = {"name": name, "about": f"broken: {exc}", "trust": None, "sha256": None}
        listed.append({**entry, "path": path})
    if json_output:
        emit_json("monitor.roles/1", {"roles": listed})
    else:
        _print_table(
            ("role", "trust", "about"), [(item["name"], item["trust"] or "", item["about"]) for item in listed]
        )


def tools(files: Paths = None, *, json_output: Json = False) -> None:
    """List the tools that a recipe can hand to a role by name."""
    from monitor import catalog
    from monitor.orchestrate.tools import signature_of

    listed: list[dict[str, Any]] = []
    for name in [*catalog.names("tool"), *(files or ())]:
        path = catalog.find("tool", name)
        entry: dict[str, Any]
        try:
            found = catalog.load_tool(name)
            signature = signature_of(found.function)
            spec = signature.spec
            entry = {
                "name": spec.name,
                "about": spec.description,
                "parameters": spec.parameters,
                "sha256": found.sha256,
            }
            entry["options"] = [
                {"name": option, "required": option in signature.required, "path": option in signature.paths}
                for option in signature.options
            ]
        except ConfigError as exc:
            entry = {"name": path.stem, "about": f"broken: {exc}", "parameters": None, "sha256": None, "options": []}
        listed.append({**entry, "path": path})
    if json_output:
        emit_json("monitor.tools/1", {"tools": listed})
    else:
        rows: list[tuple[str, ...]] = [
            (item["name"], ", ".join(option["name"] for option in item["options"]), item["about"].partition("\n\n")[0])
            for item in listed
        ]
        _print_table(("tool", "options", "about"), rows)


def version(*, json_output: Json = False) -> None:
    """Print the versions of the monitor and of Python."""
    facts = {
        "version": monitor.__version__,
        "python": platform.python_version(),
        "location": Path(monitor.__file__).parent,
    }
    if json_output:
        emit_json("monitor.version/1", facts)
    else:
        sys.stdout.write("monitor {version} (Python {python}, {location})\n".format(**facts))


def _print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(*columns, box=None, header_style="dim")
    for row in rows:
        table.add_row(*(Text(one_line(cell, 90)) for cell in row))
    stdout().print(table)
