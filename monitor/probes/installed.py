"""Whether what probes need is installed: looked up, not imported, for importing it takes seconds."""

from __future__ import annotations

from importlib.util import find_spec

from monitor.errors import MissingExtraError

NEEDED = ("torch", "transformers", "sklearn", "safetensors")


def require() -> None:
    """Raise MissingExtraError where torch, or what goes with it, is not installed."""
    if missing := [name for name in NEEDED if not _is_there(name)]:
        what = f"{', '.join(missing)}, which activation probes need (in a checkout: make probes),"
        raise MissingExtraError(what, "probes")


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # somebody put None in the place of the module
        return False
