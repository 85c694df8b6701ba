"""``monitor policy backtest``: what packs would have flagged over a stored database."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from monitor.cli.console import emit_json
from monitor.cli.exit_codes import ExitCode
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.safe import one_line
from monitor.cli.scans import (
    Recipe,
    Role,
    Run,
    Samples,
    Seed,
    Since,
    Unchecked,
    Until,
    as_json,
    covered_json,
    excerpt_line,
    finish,
    load_packs,
    print_covered,
    print_line,
    scanning,
    wanted,
)
from monitor.records import Status

if TYPE_CHECKING:
    from monitor.audit.backtest import Backtest, RuleFigures
    from monitor.audit.reviews import Precision

__all__ = ["backtest", "register"]

Recall = Annotated[
    bool,
    typer.Option(
        "--recall", help="Say also how many of the subcalls that people labelled as positives each rule found."
    ),
]


def register(group: typer.Typer) -> None:
    """Add the command to ``monitor policy``."""
    group.command()(backtest)


def backtest(
    packs: Annotated[list[str], typer.Argument(metavar="PACK", help="Packs by name or path.")],
    *,
    run: Run = None,
    since: Since = None,
    until: Until = None,
    role: Role = None,
    recipe: Recipe = None,
    sample: Samples = 3,
    seed: Seed = 0,
    recall: Recall = False,
    unchecked: Unchecked = False,
    db: Db = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Say what packs would have flagged in what is stored. No model is called, and nothing is stored.

    For each rule: how often it matches, could not be evaluated or does not apply; examples; and how many of its matches are
    right, as far as people have labelled them (`monitor review`).

    Exit code 1 if a stored subcall could not be looked at: then the figures are not of everything.
    """
    from monitor.audit import backtest as audit
    from monitor.audit.reviews import Labels
    from monitor.store import Store

    rules = load_packs(packs)
    settings = load_settings(config=config, db=db)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        which = wanted(store, run, since, until, role, recipe)
        labels = Labels(store.reviews())
        with scanning(store, which, rules, quiet=json_output) as scanned:
            result = audit.backtest(rules, scanned, labels, samples=sample, seed=seed, unchecked=unchecked)
    if json_output:
        emit_json("monitor.backtest/1", _json(result, seed=seed))
        if not result.covered.is_whole:
            raise typer.Exit(ExitCode.UNEXPECTED)
        return
    _print(result, recall=recall)
    finish(result.covered)


def _print(result: "Backtest", *, recall: bool) -> None:
    print_covered(result.covered)
    for name, counts in (
        ("verdicts", result.verdicts),
        ("actions", result.actions),
        ("runs", result.run_verdicts),
    ):
        said = ", ".join(f"{count:,} {word.value}" for word, count in counts.most_common())
        print_line(f"{name:<9} {said or 'none'}")
    for figures in result.rules:
        print_line("")
        _print_rule(figures, recall=recall)


def _print_rule(figures: "RuleFigures", *, recall: bool) -> None:
    trial = ", on trial: it acts on nothing" if figures.shadow else ""
    about = f" ({figures.level.value}, {figures.action.value}, {figures.rule.pack}{trial})"
    print_line(Text.assemble((figures.rule.name, "bold"), (about, "dim")))
    matches = figures.counts[Status.MATCH]
    counts = ", ".join(f"{figures.counts[status]:,} {status.value}" for status in Status)
    runs = f" (in {len(figures.runs):,} run{'' if len(figures.runs) == 1 else 's'})" if matches else ""
    print_line(f"{counts}{runs}", 2)
    if figures.suppressed:
        print_line(f"{figures.suppressed:,} of the matches suppressed by a filter", 2)
    if matches:
        print_line(f"precision: {_precision(figures.precision)}", 2)
    if recall:
        print_line(f"recall: {_recall(figures)}", 2)
    for example in figures.samples:
        label = f"  {example.label}" if example.label else ""
        where = f"{example.run_id[:8]}/{example.span_id[:8]}  {one_line(example.role, 30)}{label}"
        print_line(Text(where, style="cyan"), 2)
        for excerpt in example.evidence:
            print_line(excerpt_line(excerpt), 4)
        for far in example.elsewhere:
            place = f" {far.surface} [{far.start}:{far.end}]" if far.surface else ""
            print_line(f"with {far.span_id[:8]}{place}", 4)


def _precision(precision: "Precision") -> str:
    """In words: a share with its interval, or that nothing was measured; and what is not in it."""
    apart = [
        f"{count:,} {what}"
        for count, what in (
            (precision.unsure, "unsure"),
            (precision.disputed, "disputed"),
            (precision.unlabelled, "not labelled"),
        )
        if count
    ]
    rest = f"; {', '.join(apart)}" if apart else ""
    share, interval = precision.share, precision.interval
    if share is None or interval is None:
        return f"unmeasured: nobody has labelled a match true or false{rest}"
    of = precision.labelled
    older = (
        f", {precision.other_version:,} of the labels about another version of the rule"
        if precision.other_version
        else ""
    )
    people = f"{len(precision.people)} {'person' if len(precision.people) == 1 else 'people'}"
    head = f"{precision.right} of {of} labelled matches are right: {100 * share:.0f} % (95 % interval {interval})"
    return f"{head}, by {people}{older}{rest}"


def _recall(figures: "RuleFigures") -> str:
    measured = figures.recall
    if measured is None:
        return "unmeasured: nobody has labelled a subcall as one that it should find"
    share, interval = measured
    return (
        f"found {figures.found} of {figures.found + figures.missed} subcalls that people labelled as positives: "
        f"{100 * share:.0f} % (95 % interval {interval}); of what nobody labelled it says nothing"
    )


def _json(result: "Backtest", *, seed: int) -> dict[str, Any]:
    return {
        "covered": covered_json(result.covered),
        "seed": seed,
        "verdicts": {word.value: count for word, count in result.verdicts.items()},
        "actions": {word.value: count for word, count in result.actions.items()},
        "run_verdicts": {word.value: count for word, count in result.run_verdicts.items()},
        "flagged": result.flagged,
        "rules": [_rule_json(figures) for figures in result.rules],
    }


def _rule_json(figures: "RuleFigures") -> dict[str, Any]:
    measured, precision = figures.recall, figures.precision
    return {
        "rule": figures.rule,
        "level": figures.level,
        "action": figures.action,
        "shadow": figures.shadow,
        "counts": {status.value: figures.counts[status] for status in Status},
        "suppressed": figures.suppressed,
        "runs": len(figures.runs),
        "precision": {
            "right": precision.right,
            "wrong": precision.wrong,
            "unsure": precision.unsure,
            "disputed": precision.disputed,
            "unlabelled": precision.unlabelled,
            "other_version": precision.other_version,
            "people": len(precision.people),
            "share": precision.share,
            "interval": as_json(precision.interval),
        },
        "recall": {
            "found": figures.found,
            "missed": figures.missed,
            "share": measured[0] if measured else None,
            "interval": as_json(measured[1]) if measured else None,
        },
        "samples": [as_json(example) for example in figures.samples],
    }
