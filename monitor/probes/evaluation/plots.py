"""Plots as SVG, each with a title and a description for those who do not see it."""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import re2
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from monitor.probes.evaluation.report import Report

_INK, _FAINT, _BLUE, _ORANGE = "#1b1b1b", "#9a9a9a", "#0b5cad", "#b3500b"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "monitor",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "font.family": "sans-serif",
}


_METADATA = re2.compile(r"(?s)<metadata>.*?</metadata>")
_IDS = tuple((re2.compile(rf"({mark})"), mark.replace("\\", "")) for mark in (' id="', r'href="#', r"url\(#"))
"""What names an element or points to one: each plot's ids get its title in front, for they are all on one page."""


def plots(report: Report) -> list[tuple[str, str]]:
    """Title and SVG of each plot that the report has the figures for."""
    found = [("ROC", roc(report)), ("Scores", scores(report))]
    if len(report.layers) > 1:
        found.append(("Layers", layers(report)))
    if any(one.auroc.measured for one in report.shifts):
        found.append(("Shifts", shifts(report)))
    return found


def roc(report: Report) -> str:
    """The ROC curves of the probe and of the baselines."""
    figure, axes = _begin(4.8, 4.8)
    for curve in report.curves[1:]:
        axes.plot(curve.false_positives, curve.true_positives, color=_FAINT, linewidth=0.9)
    measured = [one for one in report.baselines if one.auroc.measured]
    best = max(measured, key=lambda one: one.auroc.value, default=None)
    for curve in report.curves:
        if best is not None and curve.name == best.name:
            label = f"best baseline: {best.name} ({best.auroc.value:.2f})"
            axes.plot(curve.false_positives, curve.true_positives, "--", color=_ORANGE, linewidth=1.8, label=label)
    probe = report.curves[0]
    label = f"{probe.name} ({report.probe.auroc.value:.2f})"
    axes.plot(probe.false_positives, probe.true_positives, color=_BLUE, linewidth=2.4, label=label)
    axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.6, linestyle=":")
    axes.set(xlabel="false-positive rate", ylabel="share of positives found", xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    said = f"ROC curves. The probe's AUROC is {report.probe.auroc}"
    return _svg(figure, "ROC", f"{said}; the best baseline is {best.name}, {best.auroc}." if best else f"{said}.")


def scores(report: Report) -> str:
    """Histograms of the standardised scores by label."""
    figure, axes = _begin(5.6, 3.6)
    edges = np.array(report.histogram["edges"])
    for name, colour, style in (("negative", _ORANGE, "--"), ("positive", _BLUE, "-")):
        counts = np.array(report.histogram[name])
        axes.stairs(
            counts, edges, color=colour, linestyle=style, linewidth=1.8, label=f"{name} ({int(counts.sum()):,})"
        )
    axes.set(xlabel="score, in standard deviations of its fold", ylabel="texts")
    axes.legend(frameon=False)
    return _svg(figure, "Scores", "Histograms of the held-out scores of the probe, positive and negative texts apart.")


def layers(report: Report) -> str:
    """AUROC by layer, in the folds of the training rows."""
    figure, axes = _begin(5.6, 3.2)
    axes.plot(list(report.layers), list(report.layers.values()), "o-", color=_BLUE)
    axes.axhline(0.5, color=_INK, linewidth=0.6, linestyle=":")
    axes.set(xlabel="layer", ylabel="AUROC in training folds")
    axes.set_xticks(list(report.layers))
    told = ", ".join(f"layer {layer}: {value:.3f}" for layer, value in report.layers.items())
    return _svg(figure, "Layers", f"AUROC by layer, what was chosen by. {told}.")


def shifts(report: Report) -> str:
    """AUROC with its interval under each shift."""
    found = [one for one in report.shifts if one.auroc.measured]
    figure, axes = _begin(7.2, 0.9 + 0.42 * len(found))
    for place, one in enumerate(found):
        colour = _ORANGE if one.inverted else _BLUE
        axes.plot([one.auroc.low, one.auroc.high], [place, place], color=colour, linewidth=2)
        axes.plot(one.auroc.value, place, "s" if one.inverted else "o", color=colour)
        if one.within is not None and one.within.measured:
            axes.plot(one.within.value, place, "|", color=_INK, markersize=12)
    names = [f"{one.trained} → {one.tested}{' (ALARM)' if one.blocks else ''}" for one in found]
    axes.set_yticks(range(len(found)), names)
    axes.axvline(0.5, color=_INK, linewidth=0.6, linestyle=":")
    axes.set(xlabel="AUROC (tick: by fits on all kinds)", xlim=(0, 1.01), ylim=(len(found) - 0.5, -0.5))
    told = "; ".join(f"{name}: {one.auroc}" for name, one in zip(names, found, strict=True))
    return _svg(figure, "Shifts", f"AUROC under each shift. {told}.")


def _begin(width: float, height: float) -> tuple[Figure, Any]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def _svg(figure: Figure, title: str, description: str) -> str:
    """The figure as an ``svg`` element with a title and a description, and no date."""
    with mpl.rc_context(_STYLE):
        written = io.StringIO()
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]  # matplotlib's
    text = written.getvalue()
    body = _METADATA.sub("", text[text.index("<svg") :])
    for pattern, mark in _IDS:
        body = pattern.sub(rf"\1{title.lower()}-", body) if mark in body else body
    begin, _, rest = body.partition(">")
    label = f' role="img" aria-label="{escape(description, quote=True)}"'
    return f"{begin}{label}><title>{escape(title)}</title><desc>{escape(description)}</desc>{rest}"
