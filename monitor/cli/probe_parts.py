"""What the commands of ``monitor probe`` share: which probe is meant, the model it reads, progress in stages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from monitor.cli.console import note, stderr
from monitor.errors import ConfigError, ProbeError

if TYPE_CHECKING:
    from monitor.probes.local_model import LocalModel
    from monitor.probes.sidecar import ModelPin

__all__ = [
    "Context",
    "Device",
    "Model",
    "Probe",
    "Surface",
    "find_probe",
    "load_model",
    "require_torch",
    "stages",
    "surface_named",
]

SURFACES = ("prompt", "reasoning", "output", "tool", "text")

Probe = Annotated[
    str, typer.Argument(metavar="PROBE", help="A shipped probe's name, or the folder of one of your own.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="PATH", help="The model that the probe is for: embedded, a folder or a GGUF file."),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="cpu, cuda, or auto.")]
Surface = Annotated[
    str | None,
    typer.Option("--surface", metavar="SURFACE", help="What the text is: prompt, reasoning, output, tool or text."),
]
Context = Annotated[
    str, typer.Option("--context", metavar="TEXT", help="What the text answers, for a probe that reads chats.")
]


def require_torch() -> None:
    """Raise MissingExtraError where torch, or what goes with it, is not installed; nothing is imported to find out."""
    from monitor.probes import installed

    installed.require()


def find_probe(name_or_path: str) -> Path:
    """The folder of a probe. Raises CatalogError."""
    from monitor import catalog

    return catalog.find("probe", name_or_path).parent


def surface_named(given: str) -> str:
    """Return ``given``. Raises ConfigError for a word that is no surface."""
    if given not in SURFACES:
        raise ConfigError(f"--surface {given}: no such surface; known: {', '.join(SURFACES)}")
    return given


def load_model(
    given: str | None, pinned: "ModelPin | None" = None, *, dtype: str = "float32", device: str = "auto", quiet: bool
) -> "LocalModel":
    """The model that was named, else the one that a probe is for.

    Raises:
        ProbeError: it cannot be loaded, or the probe is for a model that has to be named.
    """
    from monitor.probes.local_model import EMBEDDED, LocalModel

    if given is None and pinned is not None and pinned.name != EMBEDDED:
        raise ProbeError(f"the probe is for the model {pinned.name!r}: say where it is with --model PATH")
    dtype = pinned.dtype if pinned else dtype
    if dtype not in {"float32", "bfloat16", "float16"}:
        raise ProbeError(f"the probe is for a model in {dtype}, which cannot be loaded")
    return LocalModel.load(
        given or EMBEDDED,
        dtype=dtype,  # type: ignore[arg-type]  # compared just now
        device=device,  # type: ignore[arg-type]  # checked by load, which says what is expected
        on_step=None if quiet else note,
    )


@contextmanager
def stages(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Progress of work in stages: a bar for each on a terminal, a line for each elsewhere, nothing if ``quiet``.

    Yields a function that is told the stage, how much of it is done, and of how much.
    """
    console = stderr()
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True)
    tasks: dict[str, int] = {}

    def told(stage: str, done: int, total: int) -> None:
        if quiet:
            return
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total)
            if not console.is_terminal:
                note(f"{stage} …")
        bar.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]  # rich's TaskID is an int

    if quiet or not console.is_terminal:
        yield told
        return
    with bar:
        yield told
