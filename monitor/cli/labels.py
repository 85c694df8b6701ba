"""One finding and what people say of it, for people and as JSON."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from monitor.cli.detail import surfaces
from monitor.cli.safe import highlighted, one_line, visible
from monitor.cli.scans import as_json
from monitor.records import Status, StoredSubcall

if TYPE_CHECKING:
    from monitor.audit.candidates import Candidate
    from monitor.audit.reviews import Opinion

__all__ = ["candidate_json", "head", "in_words", "label_lines", "opinion_json", "print_finding"]


def head(candidate: "Candidate") -> Text:
    """One line: what the finding says, of which rule, in which subcall."""
    trace, finding = candidate.trace, candidate.finding
    about = (
        f" ({finding.level.value}, {finding.pack or finding.check}{'' if candidate.recorded else ', evaluated now'})"
    )
    return Text.assemble(
        (f"{finding.status.value} ", "yellow"),
        (visible(finding.name), "bold"),
        (visible(about), "dim"),
        f" in {one_line(trace.call.role, 30)} ",
        (f"{trace.run_id[:8]}/{trace.span_id[:8]}", "cyan"),
    )


def print_finding(console: Console, candidate: "Candidate", stored: StoredSubcall) -> None:
    """The subcall's texts with the evidence marked in them, and what the rule is."""
    finding, texts = candidate.finding, surfaces(stored)
    console.print(Rule(head(candidate), align="left", style="yellow"))
    shown = dict.fromkeys(["task", *(span.surface for span in finding.evidence), "reasoning", "output"])
    for surface in shown:
        spans = [span for span in finding.evidence if span.surface == surface]
        text = highlighted(texts.get(surface, ""), spans, limit=200 if surface == "task" and not spans else 2_000)
        console.print(Text.assemble((f"{visible(surface):<10} ", "dim"), text), soft_wrap=True)
    console.print(Text(one_line(finding.cause or finding.title, 200), style="yellow"), soft_wrap=True)


def label_lines(opinion: "Opinion | None") -> Iterator[Text]:
    """What each person said."""
    if opinion is None:
        return
    older = " (of another version of the rule)" if opinion.other_version else ""
    if opinion.is_disputed:
        yield Text("disputed", style="bold yellow")
    for item in opinion.reviews:
        said, who, why = item.review.label.value, one_line(item.review.by, 40), one_line(item.review.why, 200)
        yield Text(f"{said} by {who} at {item.review.at[:16]}{older}: {why}")


def in_words(opinion: "Opinion | None", candidate: "Candidate") -> str:
    """What the finding is held to be by now, and by how many."""
    finding, count = candidate.finding, len(opinion.reviews) if opinion else 0
    word = opinion.word(finding.status) if opinion else "not labelled"
    people = "1 person says" if count == 1 else f"{count} people say"
    return f"{finding.status.value} {finding.name} is {word}, as {people}"


def opinion_json(opinion: "Opinion | None", status: Status) -> dict[str, Any]:
    """What people say of a finding that says ``status``."""
    return {
        "consensus": opinion.word(status) if opinion else None,
        "is_there": opinion.is_there if opinion else None,
        "other_version": opinion.other_version if opinion else False,
        "reviews": [{"id": item.id, **dict(item.review)} for item in opinion.reviews] if opinion else [],
    }


def candidate_json(candidate: "Candidate") -> dict[str, Any]:
    """The finding, its evidence, and what people say of it."""
    from monitor.audit.evidence import excerpts

    trace, finding = candidate.trace, candidate.finding
    return {
        "run_id": trace.run_id,
        "span_id": trace.span_id,
        "role": trace.call.role,
        "recipe": trace.recipe,
        "recorded": candidate.recorded,
        "finding": finding,
        "excerpts": [as_json(excerpt) for excerpt in excerpts(trace.call, trace.seen, finding)],
        **opinion_json(candidate.opinion, finding.status),
    }
