"""``monitor evaluate agreement``: how much people agree who labelled the same findings."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.text import Text

from monitor.cli.console import emit_json, stdout
from monitor.cli.evaluate_scores import print_table
from monitor.cli.options import Config, Db, Json, load_settings
from monitor.cli.runs import find_run
from monitor.cli.scans import Run

if TYPE_CHECKING:
    from monitor.audit.agreement import Kappa
    from monitor.audit.page.blocks import Table

__all__ = ["agreement"]


def agreement(run: Run = None, db: Db = None, config: Config = None, json_output: Json = False) -> None:
    """Compare people who labelled the same findings: how often they agree, and Cohen's kappa with its interval.

    A person's last label of a version of a rule counts; findings of which one of the two is unsure are counted apart.
    Second opinions that are given without a look at the first ones: monitor review --ask --second-opinion. Exit code 0
    whatever they agree on.
    """
    from monitor.audit.agreement import agreement as compared
    from monitor.store import Store

    settings = load_settings(config=config, db=db)
    with Store.open(settings.db, busy_seconds=settings.busy_seconds, create=False) as store:
        which = find_run(store, run).start.run_id if run is not None else None
        found = compared(store.reviews(which))
    if json_output:
        emit_json("monitor.agreement/1", {"pairs": [asdict(one) for one in found]})
        return
    if not found:
        stdout().print(Text("no finding is labelled by two people: monitor review --ask --second-opinion"))
        return
    print_table(agreement_table(found))


def agreement_table(found: "list[Kappa]") -> "Table":
    """Every two people."""
    from monitor.audit.page.blocks import Said, table

    rows = [
        [
            Said(one.first),
            Said(one.second),
            str(one.both),
            str(one.unsure),
            "unmeasured" if one.agreed is None else f"{100 * one.agreed:.0f} %",
            in_words(one),
        ]
        for one in found
    ]
    return table(["one", "the other", "both are sure of", "one is unsure of", "they agree on", "kappa"], rows)


def in_words(one: "Kappa") -> str:
    """Kappa with its interval, or why there is none."""
    if one.kappa is None:
        return f"undefined: {one.why}"
    if one.low is None or one.high is None:
        return f"{one.kappa:.2f} ({one.why})"
    return f"{one.kappa:.2f} ({one.low:.2f} to {one.high:.2f})"
