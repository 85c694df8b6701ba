"""What the commands of ``monitor audit`` that have to do with keys share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.audit.integrity.notes import Verifier
    from monitor.settings import Settings

__all__ = ["Vkey", "read_note", "verifier_of"]

Vkey = Annotated[
    str | None,
    typer.Option("--vkey", metavar="KEY", help="The public key (a line of text), or a file that holds it."),
]


def read_note(path: Path) -> str:
    """A signed note in a file. Raises ConfigError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: expected a checkpoint (a signed note), and it cannot be read: {exc}") from exc


def verifier_of(vkey: str | None, settings: "Settings") -> "Verifier | None":
    """The key that was given; else the public half of the one in the settings, if that can be read here."""
    from monitor.audit.integrity.notes import read_verifier

    if vkey:
        return read_verifier(vkey, Path(vkey))
    path = settings.checkpoint_key
    return read_verifier(str(path), path) if path and os.access(path, os.R_OK) else None
