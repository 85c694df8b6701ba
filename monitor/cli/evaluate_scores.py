"""``monitor evaluate scores``: recall at matched false-positive rates, and what reading n subcalls finds."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as Grid
from rich.text import Text

from monitor.cli.console import emit_json, note, stdout
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.probe_parts import Device, Model, find_probe, load_model, require_torch, stages
from monitor.cli.safe import visible
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from monitor.audit.evaluation.cases import Cases
    from monitor.audit.evaluation.detectors import Detector
    from monitor.audit.evaluation.scores_report import SetFigures
    from monitor.audit.page.blocks import Table
    from monitor.policy import PolicySet
    from monitor.probes.applying import Applied

__all__ = [
    "Data",
    "Html",
    "Labelled",
    "Markdown",
    "detectors_of",
    "print_table",
    "probe_of",
    "rules_of",
    "scores",
    "sets_of",
    "unseen_of",
]

Labelled = Annotated[
    list[Path] | None,
    typer.Option("--labelled", metavar="FILE", help="Labelled cases, one JSON object a line; may be given again."),
]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Folder with the public data: steps/, traces/agentrx/.")
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write the report there, as one page with plots.")
]
Markdown = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="Write the report there; its plots go into a folder beside it."),
]


def scores(
    packs: Annotated[
        list[str] | None,
        typer.Argument(metavar="PACK", help="Packs by name or path; default: core, for --reviews what was recorded."),
    ] = None,
    *,
    labelled: Labelled = None,
    data: Data = None,
    reviews: Annotated[bool, typer.Option("--reviews", help="The subcalls of the store that people labelled.")] = False,
    probe: Annotated[
        list[str] | None,
        typer.Option("--probe", metavar="PROBE", help="A probe by name or folder; may be given again."),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge", metavar="MODEL", help="Ask this local model the --question: embedded, a folder, a GGUF file."
        ),
    ] = None,
    question: Annotated[
        str | None, typer.Option("--question", metavar="TEXT", help="Asked of each case by --judge; yes is bad.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of folds, draws and ties.")] = 0,
    html: Html = None,
    markdown: Markdown = None,
    model: Model = None,
    device: Device = "auto",
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Measure rules, probes, both together and a judge on labelled subcalls: recall at 1, 5 and 10 % false positives, and
    what share of the bad is caught if people read n of them.

    Labelled subcalls are those of --labelled files, of the public data in --data, or of --reviews in the store. A judge
    is a column judge_score of a file, or a local model that is asked one question of each text. What a probe was fitted on
    is left out. See docs/monitor-evaluation.md.
    """
    require_torch()
    from monitor.audit.evaluation.measured import measured
    from monitor.audit.evaluation.reading_budget import curves
    from monitor.audit.evaluation.scores_report import SetFigures, scores_page, shape
    from monitor.audit.page.blocks import write

    if (judge is None) != (question is None):
        raise ConfigError("--judge and --question go together: which model is asked, and what")
    load_settings(config=config, db=db)
    rules = rules_of(packs, needed=bool(labelled or data))
    sets = sets_of(labelled or (), data, reviews=reviews, config=config, db=db)
    with stages(quiet=json_output) as told:
        probes = [probe_of(name, model, device, quiet=json_output) for name in probe or ()]
        sets = unseen_of(sets, probes)
        ask = _asker(judge, question or "", device, told, quiet=json_output) if judge else None
        found: list[SetFigures] = []
        for cases in sets:
            detectors = [*detectors_of(cases, rules, [one for one, _ in probes], told), *([ask(cases)] if ask else [])]
            told(f"measuring {cases.name}", 0, 1)
            one = measured(cases, detectors, seed=seed)
            found.append(SetFigures(one, tuple(curves(one, seed=seed))))
            told(f"measuring {cases.name}", 1, 1)
    written = write(scores_page(found, _command()), html=html, markdown=markdown) if html or markdown else []
    if json_output:
        emit_json("monitor.evaluation-scores/1", {**shape(found), "written": [str(path) for path in written]})
        return
    for figures in found:
        _print(figures)
    for path in written:
        note(f"written: {path}")


def _command() -> str:
    return f"monitor {shlex.join(sys.argv[1:])}"


def rules_of(packs: "Sequence[str] | None", *, needed: bool) -> "PolicySet | None":
    """The rules of these packs; of the pack core where none are named and they are needed."""
    if not packs and not needed:
        return None
    from monitor.cli.scans import load_packs

    return load_packs(packs or ["core"])


def sets_of(
    labelled: "Sequence[Path]", data: Path | None, *, reviews: bool, config: Path | None, db: str | None
) -> "list[Cases]":
    """The sets that are asked for. Raises ConfigError."""
    from monitor.audit.evaluation import cases as reading

    found = [reading.read_cases(path) for path in labelled]
    if data is not None:
        if not data.is_dir():
            raise ConfigError(f"{data}: expected the folder with the public data, found none")
        found += reading.read_steps_cases(data) if (data / "steps").is_dir() else []
        found += [reading.read_agentrx_cases(data)] if (data / "traces" / "agentrx").is_dir() else []
    if reviews:
        from monitor.audit.evaluation.reviewed import reviewed_cases
        from monitor.store import Store

        settings = load_settings(config=config, db=db)
        with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
            found.append(reviewed_cases(store.reviews(), store.subcall))
    if not found:
        raise ConfigError("say on what: --labelled FILE, --data DIR with steps/ or traces/agentrx/ in it, or --reviews")
    return found


def probe_of(name: str, model: str | None, device: str, *, quiet: bool) -> "tuple[Applied, frozenset[str]]":
    """A probe with its model, and the groups that it was fitted on as far as its folder says."""
    from monitor.probes.applying import Applied
    from monitor.probes.artefact import read_sidecar
    from monitor.probes.config import read_config
    from monitor.probes.evaluation.remembering import fitted_groups

    folder = find_probe(name)
    applied = Applied.load(folder, load_model(model, read_sidecar(folder).model, device=device, quiet=quiet))
    recipe = folder / "train.yaml"
    return applied, fitted_groups(read_config(recipe)) if recipe.is_file() else frozenset()


def unseen_of(sets: "Sequence[Cases]", probes: "Sequence[tuple[Applied, frozenset[str]]]") -> "list[Cases]":
    """The cases of each set that no probe was fitted on. Raises ConfigError where there are none."""
    found = [cases for cases in (_unseen(cases, probes) for cases in sets) if cases.cases]
    if not found:
        raise ConfigError("the probe was fitted on all of these cases: give others")
    return found


def _unseen(cases: "Cases", probes: "Sequence[tuple[Applied, frozenset[str]]]") -> "Cases":
    """The cases that no probe was fitted on; where a probe's data are not there, a note says so."""
    from dataclasses import replace

    for applied, fitted in probes:
        name = applied.artefact.sidecar.name
        if fitted:
            seen = len({case.group for case in cases.cases} & fitted)
            cases = cases.without(fitted, f"{seen} groups are left out: the probe {name} was fitted on them")
        else:
            said = f"that the probe {name} was fitted on none of these is for you to know: its data are not here"
            cases = replace(cases, notes=(*cases.notes, said))
    return cases


def detectors_of(
    cases: "Cases", rules: "PolicySet | None", probes: "Sequence[Applied]", told: "Callable[[str, int, int], None]"
) -> "list[Detector]":
    """Rules, probes, and what came with the cases: a judge last."""
    from monitor.audit.evaluation.cases import JUDGE
    from monitor.audit.evaluation.detectors import RULES, by_given, by_probe, by_rules

    found = [by_rules(rules, cases)] if rules is not None else []
    for applied in probes:
        stage = f"probe {applied.artefact.sidecar.name} on {cases.name}"
        found.append(by_probe(applied, cases, on_progress=lambda done, total, s=stage: told(s, done, total)))  # type: ignore[misc]  # mypy has no type for the default
    given = [by_given(name, cases) for name in cases.given if name not in {one.name for one in found}]
    return sorted([*found, *given], key=lambda one: (one.name != RULES, one.name == JUDGE))


def _asker(
    judge: str, question: str, device: str, told: "Callable[[str, int, int], None]", *, quiet: bool
) -> "Callable[[Cases], Detector]":
    """What asks the model: log p(yes) - log p(no) at the first token of its answer."""
    import numpy as np

    from monitor.audit.evaluation.detectors import Detector
    from monitor.probes.evaluation.asking import answers

    asked = load_model(judge, device=device, quiet=quiet)

    def ask(cases: "Cases") -> "Detector":
        stage = f"asking {asked.facts.name} about {cases.name}"
        texts = [case.text for case in cases.cases]
        found = answers(asked, texts, question, on_progress=lambda done, total: told(stage, done, total))
        how = f"{asked.facts.name} asked: {question}"
        return Detector("judge", np.asarray(found, dtype=np.float64), how)

    return ask


def _print(one: "SetFigures") -> None:
    from monitor.audit.evaluation.scores_report import budget_table, counts, recall_table, warnings

    found = one.measured
    stdout().print(Text(f"\n{visible(found.cases.name)}", style="bold"))
    stdout().print(Text(visible(counts(found))), soft_wrap=True)
    for line in warnings(found):
        stdout().print(Text(visible(line), style="yellow"), soft_wrap=True)
    print_table(recall_table(found))
    print_table(budget_table(one.curves))
    for line in found.cases.notes:
        stdout().print(Text(visible(line), style="dim"), soft_wrap=True)


def print_table(shown: "Table") -> None:
    """A table of a page, on standard output."""
    grid = Grid(box=None, header_style="dim")
    for head in shown.heads:
        grid.add_column(Text(visible(head)))
    for row in shown.rows:
        grid.add_row(*(Text(visible(cell)) for cell in row))
    stdout().print(grid)
