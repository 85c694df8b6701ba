"""The report as one HTML page: no script, nothing fetched, readable without the plots."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from monitor.probes.evaluation.plots import plots
from monitor.probes.evaluation.report import sentences
from monitor.probes.evaluation.tables import grids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.probes.evaluation.report import Report
    from monitor.probes.evaluation.tables import Grid

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.how, .about { color: #4a4a4a; max-width: 48rem; } .how { font-size: .9rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #dcdcdc; vertical-align: top; }
th { font-weight: 600; } td { font-variant-numeric: tabular-nums; }
.verdict { font-size: 1.15rem; font-weight: 600; border-left: .35rem solid #0b5cad; padding: .4rem .9rem; max-width:
48rem; } .alarm { border-left: .35rem solid #a3220a; background: #fdf1ee; padding: .5rem .9rem; max-width: 48rem; }
.plots { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: 0; } figcaption { font-weight: 600; }
svg { max-width: 100%; height: auto; }
"""


def page(report: Report) -> str:
    """The whole page. Texts from data and configuration are escaped."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    one, added = report.subject, report.added
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Probe {escape(one.name)}: evaluation</title><style>{_STYLE}</style></head><body><main>"
    yield f"<h1>Probe {escape(one.name)}</h1>"
    about = f"Finds: {one.finds}. Model {one.model}, {one.surface} ({one.format}). {one.recipe}."
    counts = f"{one.rows:,} texts ({one.positives:,} positive) in {one.groups:,} groups; {report.folds} grouped folds."
    yield f'<p class="about">{escape(about)} {escape(counts)} {escape(report.effort["name"].capitalize())} evaluation.</p>'
    yield f'<p class="verdict">Over the trace: {escape(added.verdict.value)}. Δ {escape(str(added.delta))}</p>'
    for alarm in (one for one in report.alarms if one.blocks):
        said = f"<strong>Alarm.</strong> {escape(alarm.message)}. The probe is not attached unless forced."
        yield f'<p class="alarm">{said}</p>'
    yield f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in sentences(report))}</ul>"
    yield '<div class="plots">'
    for title, drawn in plots(report):
        yield f"<figure><figcaption>{escape(title)}</figcaption>{drawn}</figure>"
    yield "</div>"
    for grid in grids(report):
        yield from _grid(grid)
    notes = (*report.notes, *report.shifts_missing)
    if notes:
        yield f"<h2>What limits this</h2><ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"
    yield "<h2>Where it is from</h2>"
    sources = (f"{part['name']}: {part['texts']:,} texts, {part['licence']}, {part['source']}" for part in one.data)
    yield f"<ul>{''.join(f'<li>{escape(source)}</li>' for source in sources)}</ul>"
    said = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    yield f'<p class="how">Data {escape(one.sha256)}; weights {escape(one.weights)}; {escape(said)}.</p>'
    yield "</main></body></html>"


def _grid(grid: Grid) -> Iterator[str]:
    yield f'<h2>{escape(grid.title)}</h2><p class="how">{escape(grid.how)}</p><div class="wide"><table>'
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in grid.heads)
    yield f"<thead><tr>{heads}</tr></thead><tbody>"
    for row in grid.rows:
        first, *rest = row
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        yield f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    yield "</tbody></table></div>"
