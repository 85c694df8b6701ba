"""Progress of what is usually quick: said on standard error from the second second on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from monitor.cli.console import note, stderr

__all__ = ["working"]

_QUIET_SECONDS = 1.0


@contextmanager
def working(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Say what goes on if it takes longer than a second: a bar on a terminal, a line elsewhere, nothing if ``quiet``.

    Yields a function that is told how much is done, and of how much.
    """
    console = stderr()
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True)
    task = bar.add_task(what, total=None)
    begun = threading.Event()

    def begin() -> None:
        begun.set()
        if console.is_terminal:
            bar.start()
        else:
            note(f"{what} …")

    def told(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    timer = threading.Timer(_QUIET_SECONDS, begin)
    timer.daemon = True
    if not quiet:
        timer.start()
    try:
        yield told
    finally:
        timer.cancel()
        if not quiet:
            timer.join()
        if begun.is_set() and console.is_terminal:
            bar.stop()
