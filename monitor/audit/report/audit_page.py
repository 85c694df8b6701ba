"""The report as a page. What was not measured is called unmeasured, and what is unknown is no zero."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from monitor.audit.agreement import compared
from monitor.audit.intervals import wilson
from monitor.audit.page.blocks import Drawn, Page, Points, Said, Section, Text, table
from monitor.audit.page.svg import bars, stacked
from monitor.audit.report.over_time import bars_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from monitor.audit.agreement import Kappa
    from monitor.audit.page.blocks import Block
    from monitor.audit.report.gathering import Gathered, Row

SHOWN = 20
"""Rows of a table, bars of a plot; what is left out is counted."""
VERDICTS = ("block", "flag", "unmeasured", "pass")
VERDICT_COLOURS, LEVEL_COLOURS, USE_COLOURS = (3, 1, 5, 0), (3, 1, 4, 5), (3, 1, 4, 0)
LEVELS = {"high": "high and critical", "medium": "medium", "low": "low and informational", "unknowns": "unknown"}


def audit_page(found: Gathered, *, made_at: str, database: str) -> Page:
    """The report.

    Args:
        found: The answers.
        made_at: When they were asked for.
        database: Of which store, without any password.
    """
    parts: tuple[tuple[str, tuple[str, ...], Callable[[Gathered], list[Block]]], ...] = (
        ("Verdicts over time", ("report-verdicts-by-day",), _verdicts),
        ("Findings over time", ("report-findings-by-day",), _findings),
        ("By role", ("report-verdicts-by-role",), _roles),
        ("Rules", ("report-rules",), _rules),
        ("Budgets and spend", ("report-budgets", "report-spend-by-role"), _budgets),
        ("Probes beside the rules", ("report-probes", "report-probe-tenths"), _probes),
        ("What could not be checked", ("report-unknowns",), _unknowns),
        ("People", ("report-decisions", "report-labels"), _people),
    )
    sections = [Section(title, (*_missing(found, names), *make(found))) for title, names, make in parts]
    lead: tuple[Block, ...] = (
        Text(f"{_period(found)} Made at {made_at}."),
        Text(Said(f"Database: {database}")),
        *_alarms(found),
        *_missing(found, ("report-totals",)),
        Points(tuple(_summary(found))),
    )
    return Page("Audit report", lead, (*sections, _how(found)))


# ---------------------------------------------------------------------------------------------------------- the parts


def _period(found: Gathered) -> str:
    if found.since and found.until:
        return f"From {found.since} until before {found.until}."
    if found.since or found.until:
        return f"From {found.since} on." if found.since else f"Until before {found.until}."
    return "All that is stored."


def _alarms(found: Gathered) -> Iterator[Block]:
    if not found.is_whole:
        yield Text("Part of this report could not be had: what is missing is said where it should stand.", loud=True)
    totals = found.totals
    if not totals and "report-totals" not in found.missing:
        yield Text(
            "No subcall started in this period: there is nothing to report, and nothing was measured.", loud=True
        )
    elif totals:
        unmeasured = _int(totals["unmeasured"]) + _int(totals["unjudged"])
        if unmeasured:
            share = _share(unmeasured, totals["subcalls"])
            yield Text(
                f"{unmeasured:,} of {_int(totals['subcalls']):,} subcalls ({share}) are unmeasured: nothing was checked "
                "that could have found something, or they were not judged. They are no passes.",
                loud=True,
            )


def _summary(found: Gathered) -> Iterator[str]:
    totals = found.totals
    if not totals:
        return
    every = _int(totals["subcalls"])
    yield (
        f"{every:,} subcalls in {_int(totals['runs']):,} runs ({_int(totals['tool_subcalls']):,} of tools), started from "
        f"{_time(totals['first_at'])} to {_time(totals['last_at'])}."
    )
    verdicts = ", ".join(f"{_int(totals[name]):,} {name} ({_share(totals[name], every)})" for name in VERDICTS)
    yield f"Verdicts: {verdicts}; {_int(totals['unjudged']):,} not judged."
    if totals["unchecked"]:
        yield f"{_int(totals['unchecked']):,} subcalls were left unchecked by their recipe."
    if totals["waiting"]:
        yield f"{_int(totals['waiting']):,} answers wait for a person now."
    model = _int(totals["model_subcalls"])
    if model:
        yield (
            f"Reasoning is absent from {_int(totals['without_reasoning']):,} of {model:,} subcalls of models "
            f"({_share(totals['without_reasoning'], model)}): rules about reasoning had nothing to read there."
        )
    cost = "unknown" if totals["cost"] is None else f"${_float(totals['cost']):,.4f}"
    unknown = f", that of {_int(totals['cost_unknown']):,} subcalls being unknown" if totals["cost_unknown"] else ""
    yield (
        f"Spent: {_int(totals['input_tokens']):,} input and {_int(totals['output_tokens']):,} output tokens; "
        f"cost {cost}{unknown}."
    )


def _verdicts(found: Gathered) -> list[Block]:
    rows = found.rows("report-verdicts-by-day")
    if not rows:
        return [Text("No subcall was judged: unmeasured.")]
    unit, at, counts = bars_of(rows, VERDICTS)
    alt = f"Verdicts by {unit}, {at[0]} to {at[-1]}: " + "; ".join(f"{sum(of):,} {name}" for name, of in counts.items())
    return [
        Drawn(stacked("verdicts", f"Judged subcalls by {unit}", alt, at, counts, y="subcalls", colours=VERDICT_COLOURS))
    ]


def _findings(found: Gathered) -> list[Block]:
    rows = found.rows("report-findings-by-day")
    if not rows:
        judged = bool(found.rows("report-verdicts-by-day"))
        return [Text("No rule, budget or probe found anything." if judged else "Nothing was judged: unmeasured.")]
    unit, at, counts = bars_of(rows, tuple(LEVELS))
    named = {LEVELS[name]: of for name, of in counts.items()}
    alt = f"Findings by {unit}, {at[0]} to {at[-1]}: " + "; ".join(f"{sum(of):,} {name}" for name, of in named.items())
    said = (
        "Matches that act, by level, and checks that could not be made (unknown). Suppressed matches and rules on trial "
        "are not in it."
    )
    return [
        Text(said),
        Drawn(stacked("findings", f"Findings by {unit}", alt, at, named, y="findings", colours=LEVEL_COLOURS)),
    ]


def _roles(found: Gathered) -> list[Block]:
    rows = found.rows("report-verdicts-by-role")
    if not rows:
        return [Text("No subcall was judged: unmeasured.")]
    top = [(str(row["role"]), {name: float(_int(row[name])) for name in VERDICTS}) for row in rows[:SHOWN]]
    alt = "Verdicts by role: " + "; ".join(
        f"{role}: " + ", ".join(f"{int(count)} {name}" for name, count in of.items() if count) for role, of in top
    )
    heads = ["role", "subcalls", *VERDICTS, "with a catch", "outage alone"]
    columns = ("subcalls", *VERDICTS, "with_catches", "outages_alone")
    return [
        Drawn(bars("roles", "Verdicts by role", alt, top, x="judged subcalls", colours=VERDICT_COLOURS)),
        *_table(heads, rows, lambda row: [Said(row["role"]), *(f"{_int(row[name]):,}" for name in columns)]),
        Text("A catch is a verdict because of what a check found; an outage, because a check could not look."),
    ]


def _rules(found: Gathered) -> list[Block]:
    rows = found.rows("report-rules")
    if not rows:
        return [Text("No rule matched. Whether rules were there to match: monitor policy coverage says.")]
    heads = ["rule", "pack", "level", "matches", "runs", "suppressed", "on trial", "labelled matches that are right"]

    def cells(row: Row) -> list[str]:
        counts = (f"{_int(row[name]):,}" for name in ("matches", "runs", "suppressed", "on_trial"))
        return [Said(row["name"]), Said(row["pack"]), Said(row["level"]), *counts, _precision(row)]

    return [*_table(heads, rows, cells)]


def _precision(row: Row) -> str:
    right, wrong = _int(row["right_matches"]), _int(row["wrong_matches"])
    return (
        f"{right} of {right + wrong} ({wilson(right, right + wrong)})" if right + wrong else "unmeasured: none labelled"
    )


def _budgets(found: Gathered) -> list[Block]:
    limits, roles = found.rows("report-budgets"), found.rows("report-spend-by-role")
    names = {"exceeded": "exceeded", "nearly": "90 % and more", "half": "50 to 90 %", "little": "less than 50 %"}
    blocks: list[Block] = []
    if limits:
        used = [
            (str(row["limit_name"]), {said: float(_int(row[name])) for name, said in names.items()}) for row in limits
        ]
        alt = "Use of limits by runs: " + "; ".join(
            f"{limit}: " + ", ".join(f"{int(count)} {name}" for name, count in of.items() if count)
            for limit, of in used
        )
        blocks.append(
            Drawn(
                bars(
                    "budgets",
                    "Runs by how much of each limit they used",
                    alt,
                    used,
                    x="runs that ended",
                    colours=USE_COLOURS,
                )
            )
        )
    else:
        blocks.append(Text("No run with a limit of its own ended: how much of budgets is used is unmeasured."))
    heads = ["role", "subcalls", "calls", "input tokens", "output tokens", "cost", "seconds"]

    def cells(row: Row) -> list[str]:
        counts = (f"{_int(row[name]):,}" for name in ("subcalls", "calls", "input_tokens", "output_tokens"))
        cost = "unknown" if row["cost"] is None else f"${_float(row['cost']):,.4f}"
        return [Said(row["role"]), *counts, cost, f"{_float(row['seconds']):,.1f}"]

    return [*blocks, *_table(heads, roles, cells)]


def _probes(found: Gathered) -> list[Block]:
    rows = found.rows("report-probes")
    if not rows:
        return [Text("No probe was attached to any subcall: unmeasured.")]
    heads = [
        "probe",
        "mode",
        "subcalls",
        "both speak",
        "probe alone",
        "rules alone",
        "neither",
        "no threshold",
        "failed",
        "n/a",
    ]
    columns = (
        "subcalls",
        "both_speak",
        "probe_alone",
        "rules_alone",
        "neither",
        "without_threshold",
        "failed",
        "not_applicable",
    )
    counted = _table(
        heads, rows, lambda row: [Said(row["probe"]), Said(row["mode"]), *(f"{_int(row[name]):,}" for name in columns)]
    )
    blocks: list[Block] = [
        Text(
            "A probe speaks where its score reaches the threshold of its calibrated rate; rules speak where one matches. "
            "The mode says whose activations were read: a reader's are a classifier of the text."
        ),
        *counted,
    ]
    tenths: defaultdict[str, list[Row]] = defaultdict(list)
    for row in found.rows("report-probe-tenths"):
        tenths[str(row["probe"])].append(row)
    for number, (probe, of) in enumerate(list(tenths.items())[:SHOWN], 1):
        at = [f"{_int(row['tenth'])}" for row in of]
        counts = {
            "a rule matched": [float(_int(row["with_match"])) for row in of],
            "no rule matched": [float(_int(row["subcalls"]) - _int(row["with_match"])) for row in of],
        }
        alt = f"Subcalls by tenths of the score of {probe}, with a match of a rule: " + ", ".join(
            f"tenth {_int(row['tenth'])} ({_float(row['lowest']):.3g} to {_float(row['highest']):.3g}): "
            f"{_int(row['with_match'])} of {_int(row['subcalls'])}"
            for row in of
        )
        title = f"Probe {probe}: rules’ matches by tenths of its score, the lowest first"
        blocks.append(Drawn(stacked(f"probe-{number}", title, alt, at, counts, y="subcalls")))
    return blocks


def _unknowns(found: Gathered) -> list[Block]:
    rows = found.rows("report-unknowns")
    if not rows:
        judged = bool(found.rows("report-verdicts-by-day"))
        return [Text("Every check that applied could be made." if judged else "Nothing was judged: unmeasured.")]
    top = [
        (f"{row['name']}: {row['cause'] or 'no cause given'}", {"": float(_int(row["times"]))}) for row in rows[:SHOWN]
    ]
    alt = "Unknown findings by cause: " + "; ".join(f"{name}, {int(of[''])}" for name, of in top)
    heads = ["check", "name", "cause", "times", "runs", "last"]

    def cells(row: Row) -> list[str]:
        counts = (f"{_int(row['times']):,}", f"{_int(row['runs']):,}", _time(row["last_at"]))
        return [Said(row["check_kind"]), Said(row["name"]), Said(row["cause"] or "no cause given"), *counts]

    return [
        Text("An unknown is no no_match: the rule's on_unknown acted."),
        Drawn(bars("unknowns", "What could not be checked, by cause", alt, top, x="findings")),
        *_table(heads, rows, cells),
    ]


def _people(found: Gathered) -> list[Block]:
    decisions, labels = found.rows("report-decisions"), found.rows("report-labels")
    blocks: list[Block] = []
    if decisions:
        heads = ["decision", "how many", "people", "mean wait", "longest wait"]

        def cells(row: Row) -> list[str]:
            counts = (f"{_int(row['decisions']):,}", f"{_int(row['people']):,}")
            return [Said(row["choice"]), *counts, _wait(row["mean_seconds"]), _wait(row["longest_seconds"])]

        blocks += _table(heads, decisions, cells)
    else:
        blocks.append(Text("Nobody decided anything."))
    if not labels:
        return [*blocks, Text("Nobody labelled a finding: how often the rules are right is unmeasured.")]
    people = {str(row["reviewed_by"]) for row in labels}
    blocks.append(
        Text(f"{len(labels):,} labels of findings by {len(people):,} {'person' if len(people) == 1 else 'people'}.")
    )
    pairs = agreement_of(labels)
    if not pairs:
        return [*blocks, Text("No finding was labelled by two people: their agreement is unmeasured.")]
    heads = ["one", "the other", "both are sure of", "they agree on", "Cohen’s kappa"]
    rows = [[Said(one.first), Said(one.second), str(one.both), *_kappa(one)] for one in pairs[:SHOWN]]
    return [*blocks, table(heads, rows)]


def agreement_of(labels: Sequence[Row]) -> list[Kappa]:
    """Every two people who labelled a finding in common, from rows of ``report-labels``."""
    said: defaultdict[tuple[str, str, str, str], dict[str, bool | None]] = defaultdict(dict)
    for row in labels:
        key = str(row["run_id"]), str(row["span_id"]), str(row["rule_id"] or row["name"]), str(row["rule_hash"])
        is_there = None if row["label"] == "unsure" else (row["label"] == "true") is not (row["status"] == "no_match")
        said[key][str(row["reviewed_by"])] = is_there
    return compared(said)


def _kappa(one: Kappa) -> tuple[str, str]:
    agreed = "unmeasured" if one.agreed is None else f"{100 * one.agreed:.0f} %"
    if one.kappa is None:
        return agreed, f"undefined: {one.why}"
    if one.low is None or one.high is None:
        return agreed, f"{one.kappa:.2f} ({one.why})"
    return agreed, f"{one.kappa:.2f} ({one.low:.2f} to {one.high:.2f})"


def _how(found: Gathered) -> Section:
    given = "".join(
        f" --param {name}={value}" for name, value in (("since", found.since), ("until", found.until)) if value
    )
    lines = [f"monitor audit ask {name}{given}" for name in found.answers]
    blocks = (Text("Each figure is the answer to a saved query, which gives the same again:"), Points(tuple(lines)))
    return Section("Where the figures are from", blocks)


# --------------------------------------------------------------------------------------------------------------- cells


def _missing(found: Gathered, names: Sequence[str]) -> Iterator[Block]:
    for name in names:
        if name in found.missing:
            yield Text(Said(f"Unmeasured: {name} could not be answered ({found.missing[name]})."), loud=True)
        if name in found.cut:
            yield Text(f"The answer to {name} was cut: what follows is of its first rows alone.", loud=True)


def _table(heads: Sequence[str], rows: Sequence[Row], cells: Callable[[Row], list[str]]) -> list[Block]:
    blocks: list[Block] = [table(heads, [cells(row) for row in rows[:SHOWN]])]
    if len(rows) > SHOWN:
        blocks.append(Text(f"{len(rows) - SHOWN:,} more are not shown."))
    return blocks


def _int(value: Any) -> int:
    return int(value or 0)


def _float(value: Any) -> float:
    return float(value or 0)


def _share(part: Any, whole: Any) -> str:
    return f"{100 * _float(part) / _float(whole):.1f} %" if whole else "unmeasured"


def _time(value: Any) -> str:
    return str(value)[:16].replace("T", " ") if value else "unknown"


def _wait(seconds: Any) -> str:
    if seconds is None:
        return "unknown"
    value = _float(seconds)
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"
