"""``monitor evaluate attack``: what rules still catch once an attacker who knows them has rewritten what they matched."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from monitor.cli.console import emit_json, note, stdout
from monitor.cli.evaluate_scores import Html, Labelled, Markdown, print_table
from monitor.cli.options import Config, Json, load_settings
from monitor.cli.probe_parts import Device, Model, find_probe, load_model, require_torch, stages
from monitor.cli.safe import visible
from monitor.errors import ConfigError
from monitor.records import Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.audit.evaluation.attack import Attack, Target
    from monitor.audit.evaluation.cases import Cases
    from monitor.policy import PolicySet
    from monitor.settings import Settings

__all__ = ["attack"]


def attack(
    packs: Annotated[
        list[str] | None, typer.Argument(metavar="PACK", help="Packs by name or path; default: core.")
    ] = None,
    *,
    labelled: Labelled = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Also a peer's attacks: the folder with rules-atr/.")
    ] = None,
    level: Annotated[Level, typer.Option("--level", help="What counts as caught: a match of this level or above.")] = (
        Level.MEDIUM
    ),
    rewriter: Annotated[
        str | None,
        typer.Option(
            "--rewriter", metavar="MODEL", help="A model that rewrites too: embedded, provider:name or an alias."
        ),
    ] = None,
    rewrites: Annotated[
        int, typer.Option("--rewrites", min=1, metavar="N", help="How many records of each source it rewrites.")
    ] = 40,
    probe: Annotated[
        str | None,
        typer.Option("--probe", metavar="PROBE", help="With --labelled: what this probe says before and after."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which records the model rewrites, and its seed.")] = 0,
    html: Html = None,
    markdown: Markdown = None,
    model: Model = None,
    device: Device = "auto",
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Rewrite what rules match, by eleven scripted techniques and by a model, and see what they still catch.

    The bad records are those inside the rules' own tests (`expect: match`), the cases labelled true of --labelled files,
    and with --data a peer's attacks. That a rewritten text still says what it said is not checked. Exit code 0 whatever is
    caught. See docs/monitor-evaluation.md.
    """
    from monitor.audit.evaluation.attack import attack as tried
    from monitor.audit.evaluation.attack_report import attack_page, shape
    from monitor.audit.page.blocks import write
    from monitor.cli.scans import load_packs

    settings = load_settings(config=config)
    rules = load_packs(packs or ["core"])
    if probe is not None and not labelled:
        raise ConfigError("--probe needs --labelled cases: its threshold is set on those that are not bad")
    found: list[Attack] = []
    with stages(quiet=json_output) as told:
        for source, targets, cases in _sources(rules, labelled, data):
            stage = f"rewriting {source}"
            one = tried(rules, source, targets, level=level, told=_at(told, stage))
            if rewriter is not None:
                one = _with_model(
                    rules, one, targets, rewriter, settings, rewrites, seed, _at(told, f"{stage} by {rewriter}")
                )
            if probe is not None and cases is not None:
                one = _with_probe(one, cases, probe, model, device, _at(told, f"probe {probe}"), quiet=json_output)
            found.append(one)
    command = f"monitor {shlex.join(sys.argv[1:])}"
    written = write(attack_page(found, command), html=html, markdown=markdown) if html or markdown else []
    if json_output:
        emit_json("monitor.evaluation-attack/1", {**shape(found), "written": [str(path) for path in written]})
        return
    for one in found:
        _print(one)
    for path in written:
        note(f"written: {path}")


def _at(told: "Callable[[str, int, int], None]", stage: str) -> "Callable[[int, int], None]":
    return lambda done, total: told(stage, done, total)


def _sources(
    rules: "PolicySet", labelled: list[Path] | None, data: Path | None
) -> "list[tuple[str, list[Target], Cases | None]]":
    """Where bad records are from. Raises ConfigError."""
    from monitor.audit.evaluation.cases import read_cases
    from monitor.audit.evaluation.targets import of_cases, of_peer, of_tests

    found: list[tuple[str, list[Target], Cases | None]] = [("the rules' own tests", of_tests(rules), None)]
    for path in labelled or ():
        cases = read_cases(path)
        found.append((cases.name, of_cases(cases), cases))
    if data is not None:
        found.append(("a peer's attacks, development half", of_peer(data), None))
    return found


def _with_probe(  # noqa: PLR0917 - one for each option
    one: "Attack",
    cases: "Cases",
    probe: str,
    model: str | None,
    device: str,
    told: "Callable[[int, int], None]",
    *,
    quiet: bool,
) -> "Attack":
    """The attack with what a probe says of its records."""
    require_torch()
    from monitor.audit.evaluation.attack_probe import noticed
    from monitor.probes.applying import Applied
    from monitor.probes.artefact import read_sidecar
    from monitor.probes.evaluation.remembering import scores_of

    folder = find_probe(probe)
    applied = Applied.load(folder, load_model(model, read_sidecar(folder).model, device=device, quiet=quiet))
    name = applied.artefact.sidecar.name
    said = noticed(name, cases, one, lambda texts: scores_of(applied, texts, on_progress=told))
    return replace(one, noticed=tuple(said))


def _with_model(  # noqa: PLR0917 - one for each option
    rules: "PolicySet",
    one: "Attack",
    targets: "list[Target]",
    rewriter: str,
    settings: "Settings",
    most: int,
    seed: int,
    told: "Callable[[int, int], None]",
) -> "Attack":
    """The attack with what the model made of some of its targets."""
    from monitor.audit.evaluation.attack import caught_by, survival
    from monitor.audit.evaluation.model_rewriter import KEEPS, by_model
    from monitor.models.alias import read_aliases
    from monitor.models.resolve import resolve

    client = resolve(rewriter, aliases=read_aliases(settings.models), embedded=settings.embedded)
    more = by_model(rules, targets, client, level=one.level, most=most, seed=seed, told=told)
    known = {tried.target.key: caught_by(rules, tried.target.record, one.level) for tried in more}
    said = survival(f"{rewriter} ({len(more)} records)", KEEPS, more, known)
    return replace(one, survivals=(*one.survivals, said), tried=(*one.tried, *more))


def _print(found: "Attack") -> None:
    from monitor.audit.evaluation.attack_report import noticed_table, survival_table

    stdout().print(Text(f"\n{visible(found.source)}", style="bold"))
    caught = (
        f"{found.targets:,} bad records; rules of level {found.level.value} and above catch {found.caught:,} of them"
    )
    stdout().print(Text(caught), soft_wrap=True)
    print_table(survival_table(found.survivals))
    if found.noticed:
        print_table(noticed_table(found.noticed))
