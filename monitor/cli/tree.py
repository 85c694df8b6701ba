"""The tree of a run, drawn from its subcalls: the same for a run that is going and for one that is stored."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text
from rich.tree import Tree

from monitor.cli.probing import probe_line
from monitor.cli.safe import one_line
from monitor.records import FilterRef, Finding, StoredRun, StoredSubcall, Usage

__all__ = [
    "STYLES",
    "children_of",
    "draw",
    "expired",
    "notable",
    "run_label",
    "standing",
    "state_text",
    "subcall_label",
    "tokens",
    "verdict_text",
]

STYLES: Mapping[str, str] = {
    "ok": "green",
    "pass": "green",
    "flag": "yellow",
    "unmeasured": "yellow",
    "started": "cyan",
    "observed": "cyan",
    "awaiting_human": "bold yellow",
    "blocked": "bold red",
    "block": "bold red",
    "rejected": "bold red",
    "failed": "red",
    "budget_exceeded": "magenta",
    "cancelled": "magenta",
}
TASK_WIDTH = 60
DEEPEST_INDENT = 12  # levels; below that the depth is written out, for a screen has only so many columns


def children_of(subcalls: Iterable[StoredSubcall]) -> dict[str, list[StoredSubcall]]:
    """Return the subcalls by the span they hang under, ``""`` for the run itself, in the order given.

    A retry hangs under its first attempt. A subcall whose parent is not there hangs under the run: nothing is hidden.
    """
    listed = list(subcalls)
    known = {subcall.call.span_id for subcall in listed}
    children: defaultdict[str, list[StoredSubcall]] = defaultdict(list)
    for subcall in listed:
        parent = subcall.call.retry_of or subcall.call.parent_id or ""
        children[parent if parent in known and parent != subcall.call.span_id else ""].append(subcall)
    return children


def notable(subcall: StoredSubcall) -> list[Finding]:
    """Return the findings that a person is told of."""
    findings = subcall.judgement.findings if subcall.judgement else ()
    return [finding for finding in findings if finding.speaks]


def standing(finding: Finding) -> str:
    """What keeps a finding from acting: " (on trial)", or the filter that suppresses it; "" for all others."""
    if finding.shadow:
        return " (on trial)"
    return f" (suppressed by {one_line(finding.suppressed_by, 60)})" if finding.suppressed_by else ""


def expired(filters: Sequence[FilterRef]) -> list[str]:
    """A sentence for each filter that has expired."""
    return [
        f"the filter {one_line(one.name, 60)} ({one.filter_set}) expired on {one.expires}: it suppresses nothing"
        for one in filters
        if one.is_expired
    ]


def calls(usage: Usage) -> str:
    """The number of model calls, in words."""
    return "1 call" if usage.calls == 1 else f"{usage.calls:,} calls"


def tokens(usage: Usage) -> str:
    """``123+45 tokens``: input and output."""
    return f"{usage.input_tokens:,}+{usage.output_tokens:,} tokens"


def state_text(state: str) -> Text:
    """An outcome or a state in its colour."""
    return Text(state, style=STYLES.get(state, ""))


def verdict_text(verdict: str) -> Text:
    """A verdict in its colour."""
    return Text(verdict, style=STYLES.get(verdict, ""))


def _line(name: str) -> Text:
    """A label that is cut at the edge of the screen rather than wrapped: one subcall, one line."""
    return Text(no_wrap=True, overflow="ellipsis").append(name, style="bold")


def subcall_label(subcall: StoredSubcall) -> Text:
    """One line: role, attempt, outcome, verdict, tokens, seconds, id, and the beginning of the task."""
    call, observation = subcall.call, subcall.observation
    label = _line(one_line(call.role, 30))
    if call.kind == "tool":
        label.append(" (tool)", style="dim")
    if call.is_monitors:
        label.append(" (the monitor's own)", style="dim")
    if call.attempt > 1:
        label.append(f" (attempt {call.attempt})", style="dim")
    label.append("  ").append_text(state_text(subcall.state))
    if subcall.judgement:
        label.append("  ").append_text(verdict_text(subcall.judgement.verdict.value.value))
    if observation:
        about = "" if observation.usage_reported else "≤"
        used = observation.usage
        told = (
            f"{about}{tokens(used)}" if not about or used.input_tokens or used.output_tokens else "tokens not reported"
        )
        label.append(f"  {told}  {observation.seconds:.1f} s", style="dim")
    label.append(f"  {call.span_id[:8]}", style="dim cyan")
    label.append(f"  {one_line(call.task, TASK_WIDTH)}", style="dim")
    for decision in subcall.decisions:
        said = f"{decision.choice.value} by {one_line(decision.by, 40)}: {one_line(decision.why, 80)}"
        label.append(f"\n  decided: {said}", style="yellow")
    for score in subcall.judgement.probes if subcall.judgement else ():
        label.append("\n  ").append_text(probe_line(score))
    for finding in (one for one in notable(subcall) if one.check != "probe"):  # they have their line already
        label.append(f"\n  {finding.status.value}: {one_line(finding.name, 60)}", style="yellow")
        label.append(f" ({finding.level.value}, {finding.pack or finding.check}){standing(finding)}", style="dim")
        label.append(f" {one_line(finding.cause, 100)}" if finding.cause else "", style="dim")
    return label


def run_label(run: StoredRun) -> Text:
    """One line: recipe, state, verdict, usage, seconds, id and task."""
    start, end = run.start, run.stops[-1] if run.is_stopped else None
    label = _line(one_line(start.recipe, 40))
    label.append("  ").append_text(state_text(run.state))
    if end:
        label.append("  ").append_text(verdict_text(end.verdict.value.value))
        label.append(f"  {calls(end.usage)}  {tokens(end.usage)}  {end.seconds:.1f} s", style="dim")
    label.append(f"  {start.run_id[:8]}", style="dim cyan")
    label.append(f"  {one_line(start.task, TASK_WIDTH)}", style="dim")
    return label


def draw(label: Text, subcalls: Sequence[StoredSubcall], *, max_lines: int | None = None) -> Tree:
    """Draw the tree under ``label``.

    Args:
        label: The line of the run itself.
        subcalls: All subcalls, in order of their start.
        max_lines: How many lines there is room for. Where there are more, finished branches are drawn as one line that
            says how many subcalls it stands for, the earliest first: what still goes on stays in sight.
    """
    children = children_of(subcalls)
    folded = _fold(children, len(subcalls) + 1 - max_lines) if max_lines is not None else {}
    tree = Tree(label, guide_style="dim")
    pending = [(tree, subcall, 0) for subcall in reversed(children.get("", []))]
    while pending:  # a loop and not recursion: a stored tree may be deeper than Python's stack
        branch, subcall, level = pending.pop()
        span_id = subcall.call.span_id
        label = subcall_label(subcall)
        if level > DEEPEST_INDENT:
            label = Text.assemble(
                (f"depth +{level - DEEPEST_INDENT} ", "dim"), label, no_wrap=True, overflow="ellipsis"
            )
        if span_id in folded:
            label.append(f"  (+{folded[span_id]} finished)", style="dim italic")
        node = branch.add(label)
        if span_id not in folded:
            inner = node if level < DEEPEST_INDENT else branch
            pending.extend((inner, child, level + 1) for child in reversed(children.get(span_id, [])))
    return tree


def _fold(children: Mapping[str, Sequence[StoredSubcall]], surplus: int) -> dict[str, int]:
    """Choose finished branches to fold, from the top and the earliest, until ``surplus`` lines are saved."""
    folded: dict[str, int] = {}
    pending = list(children.get("", ()))
    while pending and surplus > 0:
        subcall = pending.pop(0)
        below = _below(children, subcall.call.span_id)
        if below and all(item.judgement for item in (subcall, *below)):
            folded[subcall.call.span_id] = len(below)
            surplus -= len(below)
        else:
            pending.extend(children.get(subcall.call.span_id, ()))
    return folded


def _below(children: Mapping[str, Sequence[StoredSubcall]], span_id: str) -> list[StoredSubcall]:
    found = list(children.get(span_id, ()))
    for item in found:  # grows while it is walked: breadth first
        found.extend(children.get(item.call.span_id, ()))
    return found
