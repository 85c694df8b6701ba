"""Options that several commands share, and how ``KEY=VALUE`` is read."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.errors import ConfigError
from monitor.records import Limits
from monitor.settings import Settings, nearest

__all__ = [
    "Budget",
    "Config",
    "Db",
    "ForceProbes",
    "Json",
    "Probes",
    "load_settings",
    "parse_budget",
    "parse_options",
]

Db = Annotated[
    str | None, typer.Option("--db", metavar="URL", help="Database: a path, sqlite:///PATH or postgresql+psycopg://…")
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file instead of the nearest monitor.toml.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Probes = Annotated[
    list[str] | None,
    typer.Option("--probe", metavar="NAME", help="An activation probe by name or path; may be given again."),
]
ForceProbes = Annotated[
    bool, typer.Option("--force-probes", help="Attach probes whose evaluation raised an alarm; it is recorded.")
]
Budget = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="LIMIT=N",
        help=f"A limit of the whole run; may be given again. Limits: {', '.join(Limits.model_fields)}.",
    ),
]


def load_settings(**flags: Any) -> Settings:
    """Read the settings of this command, see ``Settings``. Raises ConfigError.

    ``MONITOR_CACHE`` is the one setting that the models read for themselves, so a ``cache`` from ``monitor.toml`` is handed
    on in the environment, to child processes too.
    """
    settings = Settings(**flags)
    if settings.cache:
        os.environ["MONITOR_CACHE"] = str(settings.cache)
    return settings


def _split(pairs: Sequence[str], flag: str) -> list[tuple[str, str]]:
    split = []
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name.strip():
            raise ConfigError(f"{flag} {pair!r}: expected NAME=VALUE")
        split.append((name.strip(), value.strip()))
    return split


def parse_budget(pairs: Sequence[str] | None) -> dict[str, Any] | None:
    """Read ``calls=10 cost=0.5``; ``none`` lifts a limit. Values are checked where they are used. Raises ConfigError."""
    limits: dict[str, Any] = {}
    for name, value in _split(pairs or (), "--budget"):
        if name not in Limits.model_fields:
            known = ", ".join(Limits.model_fields)
            raise ConfigError(f"--budget {name}: no such limit{nearest(name, Limits.model_fields)}; known: {known}")
        limits[name] = value
    return limits or None


def parse_options(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Read a recipe's options: each value as JSON where it is JSON (``3``, ``true``, ``[1]``), else as text."""
    options: dict[str, Any] = {}
    for name, value in _split(pairs or (), "--set"):
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options
