"""Where the command line writes: answers to standard output, progress and errors to standard error.

Nothing is ever printed as Rich markup: texts are ``rich.text.Text``, and texts from outside go through ``safe``.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from typing import IO, Any

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from monitor.cli.safe import visible

__all__ = ["emit_json", "error_line", "note", "plain", "stderr", "stdout"]

PIPE_WIDTH = 120  # columns where there is no terminal to ask, for files and pipes


def _console(file: IO[str]) -> Console:
    width = None if file.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH
    return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def stdout() -> Console:
    """A console on standard output as it is now."""
    return _console(sys.stdout)


def stderr() -> Console:
    """A console on standard error as it is now."""
    return _console(sys.stderr)


def note(text: str) -> None:
    """Print a line of progress."""
    stderr().print(Text(visible(text)), soft_wrap=True)


def error_line(text: str, label: str = "error") -> None:
    """Print what went wrong."""
    stderr().print(Text.assemble((f"{label}: ", "bold red"), visible(text)), soft_wrap=True)


def plain(value: Any) -> Any:
    """Return ``value`` as JSON's types. NaN and infinities, which JSON cannot write, become their names as text."""
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="python"))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def emit_json(shape: str, value: Mapping[str, Any]) -> None:
    """Print one JSON object, its shape named in ``format``. Only ASCII, so that it is safe on a terminal too."""
    sys.stdout.write(json.dumps({"format": shape, **plain(value)}, indent=2) + "\n")
