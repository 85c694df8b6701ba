"""Probes over stored runs: what ``monitor probe score --run`` and ``monitor probe calibrate --role`` do."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from monitor.cli.console import emit_json, note, stdout
from monitor.cli.options import load_settings
from monitor.cli.probing import probe_line
from monitor.cli.scans import number, scanning, wanted
from monitor.errors import ConfigError
from monitor.records import StoredSubcall

if TYPE_CHECKING:
    from monitor.probes.scoring import Scorer
    from monitor.probes.sidecar import Calibration
    from monitor.store import Scanned

__all__ = ["calibrate_on_runs", "score_run"]


def score_run(folder: Path, run: str, *, model: str | None, db: str | None, config: Path | None, as_json: bool) -> None:
    """Score every subcall of a stored run, and print a line for each. Nothing is stored."""
    from monitor.probes.stored import scored
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    scorer = _scorer(folder, model, settings.probe_models)
    shown: list[dict[str, Any]] = []
    with (
        Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store,
        scanning(store, wanted(store, run, None, None, None, None), quiet=as_json) as found,
    ):
        for subcall, score in scored(scorer, _readable(found)):
            shown.append({"span_id": subcall.call.span_id, "role": subcall.call.role, **score.model_dump()})
            if not as_json:
                line = Text(f"{subcall.call.span_id[:8]} {subcall.call.role}  ").append_text(probe_line(score))
                stdout().print(line, soft_wrap=True)
    if as_json:
        emit_json("monitor.probe-run-scores/1", {"scores": shown})
    elif not shown:
        sys.stdout.write("the run has no subcall of a model that came back\n")


def calibrate_on_runs(
    folder: Path,
    role: str,
    run: Sequence[str],
    targets: Sequence[float],
    *,
    model: str | None,
    db: str | None,
    config: Path | None,
    quiet: bool,
) -> "list[Calibration]":
    """Calibrate on what a role wrote in stored runs; says on standard error what was left out, and why."""
    from monitor.probes.stored import of_role
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    scorer = _scorer(folder, model, settings.probe_models)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        runs: list[str | None] = list(run) or [None]
        subcalls: list[StoredSubcall] = []
        for one in runs:
            with scanning(store, wanted(store, one, None, None, [role], None), quiet=quiet) as found:
                subcalls += _readable(found)
    gathered = of_role(scorer, role, subcalls, targets)
    if not quiet:
        for reason, count in gathered.skipped.most_common():
            note(f"  left out: {number(count, 'subcall')} {reason}")
    return gathered.calibrations


def _scorer(folder: Path, model: str | None, models: dict[str, str]) -> "Scorer":
    from monitor.probes.scoring import Scorer
    from monitor.probes.sidecar_file import read_sidecar

    name = read_sidecar(folder).model.name
    if model is None and name != "embedded" and name not in models:
        raise ConfigError(f"the probe is for the model {name!r}: say where it is with --model PATH, or in probe_models")
    return Scorer.load(folder, "", {**models, **({name: model} if model else {})})


def _readable(found: "Iterator[Scanned]") -> Iterator[StoredSubcall]:
    for item in found:
        if item.subcall is None:
            note(f"  {item.run_id}/{item.span_id} cannot be read back: {item.problem}")
        else:
            yield item.subcall
