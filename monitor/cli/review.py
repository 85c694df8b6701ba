"""``monitor review``: what people say of findings, one by one or at the terminal."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.audit.sampling import SampleBy
from monitor.cli.desk import Desk, Listing
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.run import db_flag
from monitor.cli.runs import LATEST, find_run
from monitor.cli.scans import Recipe, Role, Seed, load_packs, wanted
from monitor.errors import ConfigError
from monitor.records import Label, Status

if TYPE_CHECKING:
    from monitor.store import Store, Wanted

__all__ = ["register", "review"]

Ref = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="A run, or RUN/SUBCALL; may be cut; `latest` is the newest run and the default."
    ),
]
RuleName = Annotated[
    str | None,
    typer.Argument(metavar="RULE", help="The rule whose finding is labelled; without it, findings are listed."),
]
Said = Annotated[
    Label | None,
    typer.Argument(
        metavar="LABEL", help="true, false or unsure: it is right, is wrong, you cannot tell; without it you are asked."
    ),
]
Status_ = Annotated[
    list[Status] | None, typer.Option("--status", help="List findings that say this; default: match and unknown.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(review)


def review(
    ref: Ref = None,
    rule: RuleName = None,
    label: Said = None,
    *,
    why: Annotated[str | None, typer.Option("--why", help="The reason. It is stored with the label.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who says so. Default: user@host.")] = None,
    subcall: Annotated[str | None, typer.Option("--subcall", "-s", metavar="SPAN", help="Only this subcall.")] = None,
    only: Annotated[str | None, typer.Option("--rule", metavar="NAME", help="List only this rule's findings.")] = None,
    status: Status_ = None,
    everything: Annotated[bool, typer.Option("--all", help="Findings of all runs, and not of one.")] = False,
    role: Role = None,
    recipe: Recipe = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Only what nobody has labelled.")] = False,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", min=1, metavar="N", help="N of each rule's matches, those that `policy backtest` draws."
        ),
    ] = None,
    sample_by: Annotated[
        SampleBy | None,
        typer.Option(
            "--sample-by",
            help="With --sample: N of each rule (the default), N of all at random, or the N on the subcalls with the "
            "highest score.",
        ),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option(
            "--probe", metavar="NAME", help="With --sample-by score: this probe's recorded score, not the rules'."
        ),
    ] = None,
    seed: Seed = 0,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to list.")] = 50,
    ask: Annotated[bool, typer.Option("--ask", help="Ask about one after the other, at the terminal.")] = False,
    second: Annotated[
        bool, typer.Option("--second-opinion", help="With --ask: also what others have labelled and you have not.")
    ] = False,
    pack: Annotated[
        list[str] | None,
        typer.Option(
            "--pack", "-p", help="Take what this pack says now, and not what was recorded; may be given again."
        ),
    ] = None,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Label findings: is what the rule says right?

    Without RULE: list what matched or could not be evaluated, with the evidence and the labels so far. With RULE and a
    label: say that this finding is right (true), is wrong (false), or that you cannot tell (unsure). A no_match that is
    wrong is a miss.

    Every label is stored, with who and why. A person's last label of a finding counts; labels of several people all do.
    Nothing of the run changes. Exit code 1 if a stored subcall could not be looked at.
    """
    from monitor.orchestrate.deciding import this_person
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    rules = load_packs(pack) if pack else None
    person = by.strip() if by and by.strip() else this_person()
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        desk = Desk(store, rules, person, flag=db_flag(db))
        if rule is not None:
            run_id, span_id = _subcall(store, ref, subcall)
            desk.label(run_id, span_id, rule, label, why, json_output=json_output)
            return
        if label is not None or why is not None:
            raise ConfigError("say which finding: monitor review RUN/SUBCALL RULE true|false|unsure --why …")
        which, one = _which(store, ref, subcall, everything=everything, role=role, recipe=recipe)
        if ask and (json_output or not sys.stdin.isatty()):
            raise ConfigError(
                "--ask: there is no terminal to ask at; label by: monitor review RUN/SUBCALL RULE LABEL --why …"
            )
        default = {Status.MATCH} if ask or sample else {Status.MATCH, Status.UNKNOWN}
        _check_sampling(sample, sample_by, probe)
        listing = Listing(
            which,
            one,
            only,
            frozenset(status or default),
            unlabelled=unlabelled,
            sample=sample,
            seed=seed,
            sample_by=sample_by,
            probe=probe,
        )
        if ask:
            desk.ask(listing, second=second)
        else:
            desk.list(listing, limit=limit, json_output=json_output)


def _check_sampling(sample: int | None, sample_by: SampleBy | None, probe: str | None) -> None:
    """Raise ConfigError where options of sampling are given without what they are options of."""
    if sample_by is not None and sample is None:
        raise ConfigError("--sample-by says how a sample is chosen: say of how many with --sample N")
    if probe is not None and sample_by is not SampleBy.SCORE:
        raise ConfigError("--probe names the score that --sample-by score goes by")


def _subcall(store: "Store", ref: str | None, subcall: str | None) -> tuple[str, str]:
    """Run and span of the one subcall that is meant. Raises ConfigError and CatalogError."""
    run, separator, span = (ref or LATEST).strip().rpartition("/")
    if separator or subcall is not None:
        found = find_run(store, run if separator else span)
        return found.start.run_id, store.subcall(found.start.run_id, subcall or span).call.span_id
    if span == LATEST:
        raise ConfigError(
            "say which subcall of the latest run: monitor review latest/SUBCALL RULE true|false|unsure --why …"
        )
    return store.find_subcall(span)


def _which(
    store: "Store",
    ref: str | None,
    subcall: str | None,
    *,
    everything: bool,
    role: list[str] | None,
    recipe: list[str] | None,
) -> tuple["Wanted", str | None]:
    """What is gone through, and the one subcall of it if one is meant."""
    if everything:
        if ref is not None or subcall is not None:
            raise ConfigError("--all is of all runs: name no run with it")
        return wanted(store, None, None, None, role, recipe), None
    if subcall is not None or (ref and "/" in ref):
        run_id, span_id = _subcall(store, ref, subcall)
        return wanted(store, run_id, None, None, role, recipe), span_id
    return wanted(store, ref or LATEST, None, None, role, recipe), None
