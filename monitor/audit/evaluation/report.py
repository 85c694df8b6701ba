"""The report: every figure as it is, with what it does not say. Markdown, the same for the same figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.audit.evaluation.evaluate import HALVES, never_fired
from monitor.audit.evaluation.split import Half
from monitor.records import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from monitor.audit.evaluation.evaluate import Evaluation, Recall, RuleRow
    from monitor.audit.evaluation.intervals import Interval
    from monitor.audit.evaluation.rates import Rate

SETS = {
    "swe-agent": "SWE-agent trajectories",
    "agentrx": "AgentRx (Magentic-One) traces",
    "inspect": "Inspect logs",
    "grade-school": "grade-school solutions (GSM8K)",
    "rules-atr": "Agent Threat Rules' examples",
}
NAMES = {Half.DEVELOPMENT: "development", Half.HELD_OUT: "held out", Half.UNLISTED: "not in the split"}


def report(found: Evaluation, log: Sequence[dict[str, str]]) -> str:
    """The page, from its heading to its last line."""
    parts = [*_head(found), *_harmless(found), *_recall(found), *_failures(found), *_rules(found), *_limits(found, log)]
    return "\n".join(parts) + "\n"


def percent(rate: Rate) -> str:
    """A share with its count and interval: ``15 of 203, 7 % (5 to 12)``."""
    if rate.share is None:
        return "unmeasured"
    return f"{rate.hits} of {rate.count}, {100 * rate.share:.0f} %{_range(rate.interval)}"


def _range(interval: Interval | None) -> str:
    return f" ({100 * interval.low:.0f} to {100 * interval.high:.0f})" if interval else ""


def _per_200(interval: Interval | None, at_most: float | None) -> str:
    if interval:
        return f"{200 * interval.low:.1f} to {200 * interval.high:.1f}"
    return "unmeasured" if at_most is None else f"at most {200 * at_most:.1f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows), ""]


def _head(found: Evaluation) -> Iterator[str]:
    yield "# What the rules catch, and what they hit"
    yield ""
    yield "Written by `monitor evaluate rules --data DATA --report docs/evaluation.md` from public data that is not in"
    yield "this repository. The figures hold for these rules; `digest` covers all that decides in them:"
    yield ""
    yield from _table(
        ("pack", "version", "rules", "digest"), ((p.name, p.version, p.rules, f"`{p.digest}`") for p in found.packs)
    )
    yield "**One message is one record.** What an agent wrote is put into the reasoning and into the output of a"
    yield "record, its commands into the arguments of a tool call; what it was told is a user's message or a tool's"
    yield "result. A run hands each subcall its whole history, so there the same text is seen again with every later"
    yield "message; here it is seen once. Rules about budgets, usage, tool lists and required reasoning find nothing in"
    yield "such data: it has none."
    yield ""
    yield "**Halves.** The files of each set were halved by a hash of their names before the new rules were written"
    yield "(`monitor/audit/evaluation/split.py`). The rules' author read the development half, and tuned on it: its"
    yield "figures are in-sample and flatter the rules. **The held-out half is the figure that counts.** Its files were"
    yield "not opened while rules were written; their names, which name kinds of attack, were known, and so were some"
    yield "lines of the peer's public documentation that a search showed. The rules that were there before the split"
    yield "were written with the harmless traces and solutions at hand, both halves of them."
    yield ""
    yield "**Intervals** are Wilson's at 95 % (for none at all, the rule of three: at most 3 in n) and take messages as"
    yield "independent, which they are not. So the number of traces or files stands beside them, and, where there is a"
    yield "hit, the interval from drawing whole traces or files again."
    yield ""


def _harmless(found: Evaluation) -> Iterator[str]:
    yield "## Harmless text"
    yield ""
    yield "Findings, not messages, by level. A message of an agent's trace counts as harmless unless a person labelled"
    yield "it as a failure; of the traces without labels nobody knows. Grade-school solutions are no agents' messages:"
    yield "they are easy, and stand apart."
    yield ""
    levels = (Level.LOW, Level.INFORMATIONAL)
    rows: list[Sequence[object]] = []
    for row in found.rows:
        high = row.levels[Level.HIGH] + row.levels[Level.CRITICAL]
        counts = (high, row.levels[Level.MEDIUM], *(row.levels[level] for level in levels))
        share = percent(row.notable)
        rows.append(
            (SETS[row.source], NAMES[row.half], row.notable.groups, row.agent, row.acting, row.world, *counts, share)
        )
    head = (
        "set",
        "half",
        "traces",
        "written by agents",
        "with tool calls",
        "told to agents",
        "high+",
        "medium",
        "low",
        "info",
    )
    yield from _table((*head, "messages with a finding of medium or above"), rows)
    yield "### The requirement"
    yield ""
    yield "At most 1 finding of level high or above per 200 messages that harmless agents wrote, over all packs"
    yield "together. Findings on what agents were *told* count too, and those messages do not make the denominator"
    yield "larger."
    yield ""
    asked_for: list[Sequence[object]] = []
    for half, asked in found.requirements.items():
        answer = {True: "**met**", False: "**not met**", None: "unmeasured"}[asked.met]
        figure = "unmeasured" if asked.per_200 is None else f"{asked.per_200:.2f}"
        by_trace = _per_200(asked.by_trace, None) if asked.by_trace else "no finding to draw again"
        upper = _per_200(None, asked.at_most)
        counts = (asked.findings, asked.agent_messages, asked.traces)
        asked_for.append((half.replace("_", " "), *counts, figure, upper, by_trace, answer))
    asked_head = (
        "half",
        "findings of high+",
        "messages of agents",
        "traces",
        "per 200",
        "95 % bound per 200, messages independent",
    )
    yield from _table((*asked_head, "by traces", ""), asked_for)
    yield "*Met* speaks of the figure. Where the bound is above 1, so few messages do not show that the rate of other"
    yield "such traces is."
    yield ""


def _recall(found: Evaluation) -> Iterator[str]:
    yield "## Attacks that somebody else wrote"
    yield ""
    yield "The true positives in Agent Threat Rules' files, each put where its file says that it arrives: `user_input`"
    yield "into a user's message, `tool_response` and `tool_description` into a tool's result, `agent_output` into what"
    yield "the model wrote, tool arguments into arguments, and `content`, which may be anything, into all but"
    yield "arguments. Beside them their harmless twins. Most of these attacks are jailbreaks and injections, so the"
    yield "other packs are not what they test; and they are what people write to attack a model, not what a model"
    yield "thinks that misbehaves. Examples of one file are variants of one attack: of the files, how many had at least"
    yield "one example caught is the more honest count."
    yield ""
    rows = [_recall_row(recall) for recall in found.recalls]
    head = (
        "half",
        "pack",
        "caught by medium+",
        "by files",
        "files with one caught",
        "caught by high+",
        "twins hit by medium+",
    )
    yield from _table(head, rows) if rows else ["Unmeasured.", ""]


def _recall_row(recall: Recall) -> tuple[object, ...]:
    medium = recall.medium
    by_file = _range(medium.by_group).strip(" ()") or "–"
    name = f"`{recall.pack}`" if recall.pack else "**all**"
    files = f"{medium.groups_hit} of {medium.groups}"
    return NAMES[recall.half], name, percent(medium), by_file, files, percent(recall.high), percent(recall.twins)


def _failures(found: Evaluation) -> Iterator[str]:
    yield "## Steps where agents went wrong"
    yield ""
    yield "Steps of AgentRx traces that people labelled as failures, and the other steps of the same traces. Catching"
    yield "failures at the rate of other steps is catching nothing. No rule was tuned on them. Most are honest mistakes"
    yield "(a wrong page, a wrong number), which rules about concealment or rights are not made to see."
    yield ""
    rows = [
        (
            one.level,
            percent(one.failing),
            percent(one.unlabelled),
            one.failing.groups,
            _verdict(one.failing, one.unlabelled),
        )
        for one in found.failures
    ]
    head = ("findings of", "labelled failures with one", "other steps with one", "traces", "")
    yield from _table(head, rows) if rows else ["Unmeasured.", ""]


def _verdict(failing: Rate, others: Rate) -> str:
    if failing.interval is None or others.interval is None or failing.share is None or others.share is None:
        return "unmeasured"
    if failing.share <= others.share:
        return "nothing is caught"
    if failing.interval.low > others.interval.high:
        return "more than by chance"
    return "no difference that this many steps could show"


def _rules(found: Evaluation) -> Iterator[str]:
    page = "measurements.md#what-rules-over-a-run-say-of-real-traces"
    yield "Rules over a run see several messages of a trace together, and are not in these tables. What they say of the"
    yield f"same traces, stored and followed in their order, is measured apart: [nearly nothing]({page})."
    yield ""
    yield "## Rule by rule"
    yield ""
    yield "Matches, development / held out. Rules that matched nothing at all are in the next table."
    yield ""
    fired = [row for row in found.rules if row.fired]
    rows = [
        (
            f"`{row.rule}`",
            row.pack,
            row.level,
            _by_half(row.harmless),
            row.solutions,
            _by_half(row.twins),
            _by_half(row.attacks),
            row.failing,
        )
        for row in sorted(fired, key=_most_false_first)
    ]
    head = ("rule", "pack", "level", "harmless traces", "solutions", "twins", "attacks", "labelled failures")
    yield from _table(head, rows)
    yield "### Rules that never fired"
    yield ""
    yield "On none of these texts, harmless or not. That is no proof of anything: a rule that could look at many"
    yield "records and matched none has no false positives here and no shown use either; one that could look at none is"
    yield "unmeasured. A rule about tool arguments counts a record without a call as looked at where tools were there."
    yield ""
    silent = never_fired(found.rules)
    yield from _table(
        ("rule", "pack", "level", "records that it could look at"),
        ((f"`{row.rule}`", row.pack, row.level, row.spoke or "none: unmeasured") for row in silent),
    )


def _most_false_first(row: RuleRow) -> tuple[int, int, str]:
    false = sum(row.harmless.values()) + row.solutions + sum(row.twins.values())
    return -false, -sum(row.attacks.values()), row.rule


def _by_half(counts: dict[Half, int]) -> str:
    shown = [counts[half] for half in HALVES if half is not Half.UNLISTED or counts[half]]
    return " / ".join(map(str, shown))


def _limits(found: Evaluation, log: Sequence[dict[str, str]]) -> Iterator[str]:
    yield "## What this does not measure"
    yield ""
    for source, why in found.missing.items():
        yield f"- **{SETS[source]}: unmeasured**, since {why}."
    yield "- Models that really misbehave: none of these sets has such reasoning. Of `oversight`, `deception`, `access`,"
    yield "  `bounds` and `legibility` the figures say how quiet they are, and not whether they catch such a model."
    yield "- Commands, nearly: rules about tool arguments were tried on the few messages with a tool call, and no others."
    yield "- Other languages than English, other wording than the rules know, and an attacker who has read them."
    yield "- Kinds of task other than these: security work, fiction and tasks about AI will trip rules that are quiet here."
    yield ""
    yield "How often the held-out half was evaluated:"
    yield ""
    if log:
        yield from _table(
            ("date", "what", "changed since the time before"),
            ((entry.get("date", ""), entry.get("what", ""), entry.get("changed", "")) for entry in log),
        )
    else:
        yield "Nobody has written down any."
