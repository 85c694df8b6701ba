"""Reading an answer from the person at the terminal."""

import sys

from rich.console import Console
from rich.text import Text

__all__ = ["read_line"]


def read_line(console: Console, prompt: str) -> str:
    """One line from the terminal, stripped; empty at its end."""
    console.print(Text(prompt, style="bold"), end="", soft_wrap=True)
    console.file.flush()
    return sys.stdin.readline().strip()
