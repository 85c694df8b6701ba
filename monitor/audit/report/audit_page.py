"""The report as a page. What was not measured is called unmeasured, and what is unknown is no zero."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from monitor.audit.intervals import wilson
from monitor.audit.page.blocks import Drawn, Page, Points, Said, Section, Text
from monitor.audit.page.svg import bars, stacked
from monitor.audit.report.cells import SHOWN, cut_table, minute, missing_of, real, share, whole
from monitor.audit.report.over_time import bars_of
from monitor.audit.report.people import people

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.audit.page.blocks import Block
    from monitor.audit.report.gathering import Gathered, Row

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
        ("People", ("report-decisions", "report-labels"), people),
    )
    sections = [Section(title, (*missing_of(found, names), *make(found))) for title, names, make in parts]
    lead: tuple[Block, ...] = (
        Text(f"{_period(found)} Made at {made_at}."),
        Text(Said(f"Database: {database}")),
        *_alarms(found),
        *missing_of(found, ("report-totals",)),
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
        unmeasured = whole(totals["unmeasured"]) + whole(totals["unjudged"])
        if unmeasured:
            part = share(unmeasured, totals["subcalls"])
            yield Text(
                f"{unmeasured:,} of {whole(totals['subcalls']):,} subcalls ({part}) are unmeasured: nothing was checked "
                "that could have found something, or they were not judged. They are no passes.",
                loud=True,
            )


def _summary(found: Gathered) -> Iterator[str]:
    totals = found.totals
    if not totals:
        return
    every = whole(totals["subcalls"])
    yield (
        f"{every:,} subcalls in {whole(totals['runs']):,} runs ({whole(totals['tool_subcalls']):,} of tools), started from "
        f"{minute(totals['first_at'])} to {minute(totals['last_at'])}."
    )
    verdicts = ", ".join(f"{whole(totals[name]):,} {name} ({share(totals[name], every)})" for name in VERDICTS)
    yield f"Verdicts: {verdicts}; {whole(totals['unjudged']):,} not judged."
    if totals["unchecked"]:
        yield f"Left unchecked by their recipe: {whole(totals['unchecked']):,} of {every:,} subcalls."
    if totals["waiting"]:
        yield f"Answers that wait for a person now: {whole(totals['waiting']):,}."
    model = whole(totals["model_subcalls"])
    if model:
        yield (
            f"Reasoning is absent from {whole(totals['without_reasoning']):,} of {model:,} subcalls of models "
            f"({share(totals['without_reasoning'], model)}): rules about reasoning had nothing to read there."
        )
    cost = "unknown" if totals["cost"] is None else f"${real(totals['cost']):,.4f}"
    unknown = f", without {whole(totals['cost_unknown']):,} of unknown cost" if totals["cost_unknown"] else ""
    yield (
        f"Spent: {whole(totals['input_tokens']):,} input and {whole(totals['output_tokens']):,} output tokens; "
        f"cost {cost}{unknown}."
    )
    if totals["judge_questions"]:
        cost = "an unknown amount" if totals["judge_cost"] is None else f"${real(totals['judge_cost']):,.4f}"
        yield f"Beside these, the monitor asked a judge {whole(totals['judge_questions']):,} times, for {cost}."


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
    top = [(str(row["role"]), {name: float(whole(row[name])) for name in VERDICTS}) for row in rows[:SHOWN]]
    alt = "Verdicts by role: " + "; ".join(
        f"{role}: " + ", ".join(f"{int(count)} {name}" for name, count in of.items() if count) for role, of in top
    )
    heads = ["role", "subcalls", *VERDICTS, "with a catch", "outage alone"]
    columns = ("subcalls", *VERDICTS, "with_catches", "outages_alone")
    return [
        Drawn(bars("roles", "Verdicts by role", alt, top, x="judged subcalls", colours=VERDICT_COLOURS)),
        *cut_table(heads, rows, lambda row: [Said(row["role"]), *(f"{whole(row[name]):,}" for name in columns)]),
        Text("A catch is a verdict because of what a check found; an outage, because a check could not look."),
    ]


def _rules(found: Gathered) -> list[Block]:
    rows = found.rows("report-rules")
    if not rows:
        return [Text("No rule matched. Whether rules were there to match: monitor policy coverage says.")]
    heads = ["rule", "pack", "level", "matches", "runs", "suppressed", "on trial", "labelled matches that are right"]

    def cells(row: Row) -> list[str]:
        counts = (f"{whole(row[name]):,}" for name in ("matches", "runs", "suppressed", "on_trial"))
        return [Said(row["name"]), Said(row["pack"]), Said(row["level"]), *counts, _precision(row)]

    return [*cut_table(heads, rows, cells)]


def _precision(row: Row) -> str:
    right, wrong = whole(row["right_matches"]), whole(row["wrong_matches"])
    return (
        f"{right} of {right + wrong} ({wilson(right, right + wrong)})" if right + wrong else "unmeasured: none labelled"
    )


def _budgets(found: Gathered) -> list[Block]:
    limits, roles = found.rows("report-budgets"), found.rows("report-spend-by-role")
    names = {"exceeded": "exceeded", "nearly": "90 % and more", "half": "50 to 90 %", "little": "less than 50 %"}
    blocks: list[Block] = []
    if limits:
        used = [
            (str(row["limit_name"]), {said: float(whole(row[name])) for name, said in names.items()}) for row in limits
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
        counts = (f"{whole(row[name]):,}" for name in ("subcalls", "calls", "input_tokens", "output_tokens"))
        cost = "unknown" if row["cost"] is None else f"${real(row['cost']):,.4f}"
        if row["cost"] is not None and row["cost_unknown"]:
            cost += f", that of {whole(row['cost_unknown']):,} unknown"
        return [Said(row["role"]), *counts, cost, f"{real(row['seconds']):,.1f}"]

    return [*blocks, *cut_table(heads, roles, cells)]


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
    counted = cut_table(
        heads, rows, lambda row: [Said(row["probe"]), Said(row["mode"]), *(f"{whole(row[name]):,}" for name in columns)]
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
        at = [f"{whole(row['tenth'])}" for row in of]
        counts = {
            "a rule matched": [float(whole(row["with_match"])) for row in of],
            "no rule matched": [float(whole(row["subcalls"]) - whole(row["with_match"])) for row in of],
        }
        alt = f"Subcalls by tenths of the score of {probe}, with a match of a rule: " + ", ".join(
            f"tenth {whole(row['tenth'])} ({real(row['lowest']):.3g} to {real(row['highest']):.3g}): "
            f"{whole(row['with_match'])} of {whole(row['subcalls'])}"
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
        (f"{row['name']}: {row['cause'] or 'no cause given'}", {"": float(whole(row["times"]))}) for row in rows[:SHOWN]
    ]
    alt = "Unknown findings by cause: " + "; ".join(f"{name}, {int(of[''])}" for name, of in top)
    heads = ["check", "name", "cause", "times", "runs", "last"]

    def cells(row: Row) -> list[str]:
        counts = (f"{whole(row['times']):,}", f"{whole(row['runs']):,}", minute(row["last_at"]))
        return [Said(row["check_kind"]), Said(row["name"]), Said(row["cause"] or "no cause given"), *counts]

    return [
        Text("An unknown is no no_match: the rule's on_unknown acted."),
        Drawn(bars("unknowns", "What could not be checked, by cause", alt, top, x="findings")),
        *cut_table(heads, rows, cells),
    ]


def _how(found: Gathered) -> Section:
    given = "".join(
        f" --param {name}={value}" for name, value in (("since", found.since), ("until", found.until)) if value
    )
    lines = [f"monitor audit ask {name}{given}" for name in found.answers]
    blocks = (Text("Each figure is the answer to a saved query, which gives the same again:"), Points(tuple(lines)))
    return Section("Where the figures are from", blocks)
