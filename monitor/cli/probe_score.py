"""``monitor probe score``: one text, scored."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from monitor.cli.console import emit_json, stdout
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.probe_parts import (
    Context,
    Device,
    Model,
    Probe,
    Surface,
    find_probe,
    load_model,
    require_torch,
    surface_named,
)
from monitor.cli.probe_runs import score_run
from monitor.cli.safe import one_line
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.probes.applying import Scored

__all__ = ["score"]

_MODE = "reader"  # a text from outside: nobody knows which model wrote it, if any


def score(
    probe: Probe,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="A text, the path of a file, or - for standard input.")
    ] = None,
    *,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Score the subcalls of this stored run instead.")
    ] = None,
    db: Db = None,
    surface: Surface = None,
    context: Context = "",
    tokens: Annotated[bool, typer.Option("--tokens", help="Print the score of every token.")] = False,
    model: Model = None,
    device: Device = "auto",
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Score a text: the model that the probe is for reads it again (mode: reader). With --run: a stored run's subcalls.

    The rate is the share of harmless texts that score at least as high; where the probe is not calibrated on texts of this
    surface there is none, and the reason is said.
    """
    if (text is None) == (run is None):
        raise ConfigError("give a text to score, or --run RUN for the subcalls of a stored run")
    where = surface_named(surface) if surface else None
    folder = find_probe(probe)
    require_torch()
    if run is not None:
        score_run(folder, run, model=model, db=db, config=config, as_json=json_output)
        return
    assert text is not None
    from monitor.probes.applying import Applied
    from monitor.probes.artefact import read_sidecar
    from monitor.probes.words import Surface as Surfaces

    load_settings(config=config)
    whole = _text(text)
    loaded = Applied.load(folder, load_model(model, read_sidecar(folder).model, device=device, quiet=json_output))
    found = loaded.score(whole, context=context, surface=Surfaces(where) if where else None)
    sidecar, rate = loaded.artefact.sidecar, found.rate
    if json_output:
        emit_json(
            "monitor.probe-score/1",
            {
                "probe": sidecar.name,
                "mode": _MODE,
                "surface": where or sidecar.surface,
                "score": found.score,
                "fpr": rate.value,
                "fpr_interval": None if rate.value is None else [rate.low, rate.high],
                "calibration": rate.calibration or None,
                "cause": rate.cause or None,
                "unread_tokens": found.unread,
                "tokens": [{"start": one.start, "end": one.end, "score": one.score} for one in found.tokens],
            },
        )
        return
    sys.stdout.write(f"{sidecar.name} (mode: {_MODE}): {found.score:.4g}\n")
    if rate.value is None or rate.low is None or rate.high is None:
        sys.stdout.write(f"rate: unknown: {rate.cause}\n")
    else:
        interval = f"{100 * rate.low:.2f} to {100 * rate.high:.2f} %"
        sys.stdout.write(
            f"rate: {100 * rate.value:.2f} % of {one_line(rate.calibration, 80)} score as high ({interval})\n"
        )
    if found.unread:
        sys.stdout.write(f"not read: the last {found.unread:,} tokens, beyond the probe's {sidecar.max_tokens:,}\n")
    if tokens:
        _print_tokens(whole, found)


def _text(given: str) -> str:
    """The text itself, or that of the file or the stream. Raises ConfigError."""
    from monitor.canonical import escape_text

    if given == "-":
        return escape_text(sys.stdin.read())
    path = Path(given)
    try:
        is_file = path.is_file()
        return escape_text(path.read_text(encoding="utf-8") if is_file else given)
    except OSError:  # longer than a path can be
        return escape_text(given)
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: expected UTF-8 text, found other bytes at offset {exc.start}") from None


def _print_tokens(text: str, found: "Scored") -> None:
    table = Table("at", "token", "score", box=None, header_style="dim")
    for one in found.tokens:
        table.add_row(str(one.start), Text(one_line(repr(text[one.start : one.end]), 40)), f"{one.score:.4g}")
    stdout().print(table)
