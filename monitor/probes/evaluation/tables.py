"""The report as tables: for a terminal, and as Markdown. The same rows for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.probes.evaluation.report import HOW, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from monitor.probes.evaluation.base import Estimate
    from monitor.probes.evaluation.metrics import Metrics, Recall
    from monitor.probes.evaluation.report import Report
    from monitor.probes.evaluation.shift import Shift


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: its title, how its figures come about, its heads, its rows. Cells are plain text."""

    title: str
    how: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def grids(report: Report) -> list[Grid]:
    """All tables of a report, in the order of what matters."""
    found = [_methods(report), _added(report), _nulls(report), _shifts(report)]
    if report.filtered.fired:
        found.append(_filtered(report))
    if report.causal is not None and report.causal.effects:
        found.append(_causal(report))
    if report.layers:
        found.append(_layers(report))
    return found


def markdown(report: Report) -> str:
    """The report as Markdown: what it says, its tables, what they do not say. The same for the same figures."""
    lines = [f"## {report.subject.name}", "", *_about(report), ""]
    lines += [f"- {line}" for line in sentences(report)] + [""]
    for grid in grids(report):
        lines += [f"### {grid.title}", "", grid.how, "", *_table(grid), ""]
    lines += [f"- {note}" for note in (*report.notes, *report.shifts_missing)]
    return "\n".join(lines).rstrip() + "\n"


def _about(report: Report) -> Iterator[str]:
    one = report.subject
    yield (
        f"Finds: {one.finds}. Model {one.model} ({one.surface}, {one.format}); {one.recipe}. {one.rows:,} texts "
        f"({one.positives:,} positive) in {one.groups:,} groups, {report.folds} grouped folds, seed {report.seed}, "
        f"{report.effort['name']} evaluation. {HOW['interval'][0].upper()}{HOW['interval'][1:]}"
    )


def _table(grid: Grid) -> list[str]:
    lines = [f"| {' | '.join(grid.heads)} |", f"|{'---|' * len(grid.heads)}"]
    return [*lines, *(f"| {' | '.join(cell.replace('|', '∣') for cell in row)} |" for row in grid.rows)]


def figure(estimate: Estimate) -> str:
    """``0.912 (0.887 to 0.934)``, or that it was not measured."""
    return str(estimate)


def _recall(recall: Recall) -> str:
    return f"{figure(recall.recall)}{'' if recall.supported or not recall.recall.measured else ' (few negatives)'}"


def _methods(report: Report) -> Grid:
    def row(one: Metrics) -> tuple[str, ...]:
        recalls = (_recall(recall) for recall in one.recalls)
        return one.name, figure(one.auroc), *recalls, f"{one.rows:,}", f"{one.fit_share:.2f}"

    heads = ("method", "AUROC", *(f"recall at {100 * one.rate:g} % FPR" for one in report.probe.recalls), "texts", "s")
    rows = tuple(row(one) for one in (report.probe, *report.baselines))
    return Grid("The probe and its baselines", f"AUROC: {HOW['auroc']} Recall: {HOW['recall']}", heads, rows)


def _added(report: Report) -> Grid:
    one = report.added
    rows = (
        ("trace", figure(one.trace), ", ".join(one.columns)),
        ("trace + probe", figure(one.both), ""),
        ("Δ", figure(one.delta), f"one-sided 95 % bound {one.bound:.3f}, of {one.margin:g} that would count"),
        ("verdict", one.verdict.value, one.why),
    )
    return Grid("What it adds to reading the trace", HOW["added"], ("", "AUROC", ""), rows)


def _nulls(report: Report) -> Grid:
    null, control = report.null, report.control
    least, most = min(null.permuted, default=0.5), max(null.permuted, default=0.5)
    rows = [
        ("discriminant on the true labels", f"{null.observed:.3f}"),
        (f"on {len(null.permuted)} permutations", f"{least:.3f} to {most:.3f}, p = {null.p:.3g}"),
    ]
    if control.note:
        rows.append(("control task", f"not possible: {control.note}"))
    else:
        rows += [
            ("true labels, UNGROUPED split", figure(control.real)),
            ("labels by chance for each group, UNGROUPED split", figure(control.control)),
            ("selectivity", figure(control.selectivity)),
            ("share called rightly: true, by chance", "{:.3f}, {:.3f}".format(*control.accuracies)),
            ("rows with another of their group", f"{100 * control.shared:.0f} %"),
        ]
    return Grid("Where there is nothing to find", f"{HOW['null']} {HOW['control']}", ("", "AUROC"), tuple(rows))


def _shifts(report: Report) -> Grid:
    heads = ("shift", "trained on", "tested on", "AUROC", "by fits on all kinds", "texts", "")
    rows = [
        (
            one.kind,
            one.trained,
            one.tested,
            figure(one.auroc),
            "" if one.within is None else figure(one.within),
            f"{one.rows:,}",
            _turned(one),
        )
        for one in report.shifts
    ]
    return Grid("Under a shift", HOW["shift"], heads, tuple(rows))


def _turned(one: Shift) -> str:
    if one.blocks:
        return "ALARM: inverted"
    return "inverted, if not trained on it" if one.inverted else ""


def _filtered(report: Report) -> Grid:
    one = report.filtered
    rows = (
        ("as scored", figure(one.scored), ""),
        ("tokens not pooled", figure(one.not_pooled), f"{one.changes[0]:+.2f}"),
        ("text cut out", figure(one.cut_out), f"{one.changes[1]:+.2f}"),
    )
    title = f"Without the evidence of rules ({one.fired:,} texts, {one.bare:,} with nothing else)"
    return Grid(title, HOW["filtered"], ("", "AUROC", "mean change, in deviations"), rows)


def _causal(report: Report) -> Grid:
    found = report.causal
    assert found is not None

    def randoms(values: Sequence[float], p: float) -> str:
        return f"{min(values):+.3f} to {max(values):+.3f}, p = {p:.2g}" if values else ""

    rows = tuple(
        (
            one.name,
            figure(one.shift),
            randoms(one.random_shift, one.p_shift),
            figure(one.kl),
            randoms(one.random_kl, one.p_kl),
            ", ".join(found.top.get(one.name, ())[:3]),
        )
        for one in found.effects
    )
    heads = ("direction", "change of log p(yes)/p(no)", "random ones", "KL, nats", "random ones", "likeliest next")
    untouched = ", ".join(found.top.get("untouched", ())[:3])
    place = f"Layer {found.layer}, {found.texts} texts, pushed by {found.push:.3g}."
    how = f"{HOW['causal']} Asked: “{found.question}” {place} Untouched, the likeliest next: {untouched}."
    return Grid("The causal check", how, heads, rows)


def _layers(report: Report) -> Grid:
    rows = tuple((str(layer), f"{value:.3f}") for layer, value in report.layers.items())
    how = "The best mean AUROC of each layer in the folds of training rows: what was chosen by, not a result."
    return Grid("Layers", how, ("layer", "AUROC"), rows)
