"""Plots as SVG, by hand: lines with bands, points with intervals, stacked bars.

matplotlib would draw them, but it is in the extra ``probes`` and fixes its colours in the file; an auditor's report needs
neither torch nor a light background. Colours are CSS variables, which a page gives for light, dark and paper; series differ
in dash and marker too, so that nothing is told by colour alone. Texts are escaped, and no plot has a script, a link, or
anything to fetch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from monitor.audit.page.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

COLOURS = 6
STYLE = """
:root { --ink: #1b1b1b; --faint: #8a8a8a; --grid: #e2e2e2; --paper: #ffffff;
  --c0: #0b5cad; --c1: #b3500b; --c2: #2f7a3a; --c3: #8a2be2; --c4: #9a7b00; --c5: #6b6b6b; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --faint: #9c9c9c; --grid: #3a3a3a; --paper: #161616;
  --c0: #6cb2ff; --c1: #ffa057; --c2: #7fd08a; --c3: #c9a0ff; --c4: #e0c34a; --c5: #b0b0b0; } }
@media print { :root { --ink: #000; --faint: #666; --grid: #ddd; --paper: #fff;
  --c0: #0b5cad; --c1: #b3500b; --c2: #2f7a3a; --c3: #8a2be2; --c4: #9a7b00; --c5: #6b6b6b; } }
svg.plot { font: 12px system-ui, sans-serif; fill: var(--ink); max-width: 100%; height: auto; }
"""
"""The variables that plots are drawn with: part of a page's style, and of a plot that is a file of its own."""

_DASHES = ("", "7 3", "2 3", "9 3 2 3", "1 4", "12 4")
_CHAR = 6.6  # the width of a character at 12 px, for room beside labels
_LONGEST = 46


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn plot. ``alt`` says in words what it shows; ``body`` is what is inside of the ``svg`` element."""

    name: str
    title: str
    alt: str
    width: int
    height: int
    body: str

    def inline(self) -> str:
        """The plot as an element of a page that has ``STYLE``."""
        return self._element("")

    def alone(self) -> str:
        """The plot as a file of its own."""
        paper = f'<rect width="{self.width}" height="{self.height}" fill="var(--paper)"/>'
        return self._element(f"<style>{STYLE}</style>{paper}") + "\n"

    def _element(self, before: str) -> str:
        title, alt = _text(self.title), _text(self.alt)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {self.width} {self.height}"'
        return (
            f'{head} width="{self.width}" height="{self.height}" role="img" aria-label="{alt}">'
            f"<title>{title}</title><desc>{alt}</desc>{before}{self.body}</svg>"
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A line through points (x, y). ``band`` are (x, low, high) around it."""

    name: str
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Estimated:
    """A value with its interval; None is unmeasured, and is said so."""

    name: str
    value: float | None
    low: float = 0.0
    high: float = 1.0


def lines(
    name: str,
    title: str,
    alt: str,
    drawn: Sequence[Line],
    *,
    x: str,
    y: str,
    top: float | None = None,
    share: bool = False,
    width: int = 640,
) -> Plot:
    """Lines over a common x, from 0; ``share`` writes y as per cent. ``top`` is the end of y; None takes what is needed."""
    x_top = max((point[0] for line in drawn for point in line.points), default=1.0) or 1.0
    y_top = top or max((point[1] for line in drawn for point in line.points), default=1.0) or 1.0
    legend = 18 * ((len(drawn) + 1) // 2)
    left, right, above, inner = 58, 16, 14 + legend, 260
    height = above + inner + 44

    def at(px: float, py: float) -> tuple[float, float]:
        return left + px / x_top * (width - left - right), above + inner - min(py / y_top, 1.0) * inner

    parts = list(_legend([line.name for line in drawn], left, width))
    for tick in _ticks(y_top):
        _, place = at(0, tick)
        said = f"{100 * tick:g} %" if share else f"{tick:,g}"
        parts.append(f'<path d="M{left} {place:.1f}H{width - right}" stroke="var(--grid)"/>')
        parts.append(f'<text x="{left - 6}" y="{place + 4:.1f}" text-anchor="end">{said}</text>')
    for tick in _ticks(x_top):
        place, _ = at(tick, 0)
        parts.append(f'<text x="{place:.1f}" y="{above + inner + 16}" text-anchor="middle">{tick:,g}</text>')
    parts.append(f'<path d="M{left} {above}V{above + inner}H{width - right}" fill="none" stroke="var(--ink)"/>')
    for number, line in enumerate(drawn):
        colour = f"var(--c{number % COLOURS})"
        if line.band:
            ends = [at(px, low) for px, low, _ in line.band] + [at(px, high) for px, _, high in reversed(line.band)]
            parts.append(f'<path d="{_path(ends)}Z" fill="{colour}" opacity="0.13"/>')
        path = _path([at(*point) for point in line.points])
        dash = f' stroke-dasharray="{_DASHES[number % COLOURS]}"' if number % COLOURS else ""
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
    parts.append(f'<text x="{(left + width - right) / 2:.0f}" y="{height - 8}" text-anchor="middle">{_text(x)}</text>')
    middle = above + inner / 2
    turned = f'transform="rotate(-90 14 {middle:.0f})"'
    parts.append(f'<text x="14" y="{middle:.0f}" text-anchor="middle" {turned}>{_text(y)}</text>')
    return Plot(name, title, alt, width, height, "".join(parts))


def intervals(
    name: str, title: str, alt: str, rows: Sequence[Estimated], *, x: str, chance: float | None = None, width: int = 640
) -> Plot:
    """A point and its interval for each row, on a scale from 0 to 100 %."""
    left = _room([row.name for row in rows])
    right, above, each = 64, 10, 24
    inner = each * len(rows)
    height = above + inner + 42

    def at(value: float) -> float:
        return left + value * (width - left - right)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path d="M{at(tick):.1f} {above}V{above + inner}" stroke="var(--grid)"/>')
        said = f"{100 * tick:g} %"
        parts.append(f'<text x="{at(tick):.1f}" y="{above + inner + 16}" text-anchor="middle">{said}</text>')
    if chance is not None:
        dashed = 'stroke="var(--faint)" stroke-dasharray="2 3"'
        parts.append(f'<path d="M{at(chance):.1f} {above}V{above + inner}" {dashed}/>')
    for number, row in enumerate(rows):
        place = above + each * number + each / 2
        parts.append(f'<text x="{left - 8}" y="{place + 4:.1f}" text-anchor="end">{_text(_cut(row.name))}</text>')
        if row.value is None:
            parts.append(f'<text x="{left + 6}" y="{place + 4:.1f}" fill="var(--faint)">unmeasured</text>')
            continue
        parts.append(
            f'<path d="M{at(row.low):.1f} {place}H{at(row.high):.1f}" stroke="var(--c0)" stroke-width="2"/>'
            f'<circle cx="{at(row.value):.1f}" cy="{place}" r="4.5" fill="var(--c0)"/>'
            f'<text x="{width - right + 8}" y="{place + 4:.1f}">{100 * row.value:.0f} %</text>'
        )
    parts.append(f'<text x="{(left + width - right) / 2:.0f}" y="{height - 6}" text-anchor="middle">{_text(x)}</text>')
    return Plot(name, title, alt, width, height, "".join(parts))


def stacked(
    name: str,
    title: str,
    alt: str,
    at: Sequence[str],
    counts: Mapping[str, Sequence[float]],
    *,
    y: str,
    colours: Sequence[int] = tuple(range(COLOURS)),
    width: int = 640,
) -> Plot:
    """Upright bars, one at each name of ``at``, of the parts that ``counts`` has, the first lowest."""
    top = max((sum(of[place] for of in counts.values()) for place in range(len(at))), default=1.0) or 1.0
    legend = 18 * ((len(counts) + 1) // 2)
    left, right, above, inner = 58, 36, 14 + legend, 220
    height = above + inner + 44
    step = (width - left - right) / max(1, len(at))
    parts = list(_legend(list(counts), left, width, filled=colours))
    whole = all(float(count).is_integer() for of in counts.values() for count in of)
    for tick in _ticks(top, whole=whole):
        place = above + inner - tick / top * inner
        parts.append(f'<path d="M{left} {place:.1f}H{width - right}" stroke="var(--grid)"/>')
        parts.append(f'<text x="{left - 6}" y="{place + 4:.1f}" text-anchor="end">{tick:,g}</text>')
    for place, label in enumerate(at):
        base = float(above + inner)
        for number, of in enumerate(counts.values()):
            tall = of[place] / top * inner
            base -= tall
            if tall > 0:
                parts.append(
                    _bar(left + place * step + step * 0.1, base, step * 0.8, tall, colours[number % len(colours)])
                )
        if _labelled(place, len(at), step):
            middle = left + (place + 0.5) * step
            parts.append(f'<text x="{middle:.1f}" y="{above + inner + 16}" text-anchor="middle">{_text(label)}</text>')
    parts.append(f'<path d="M{left} {above}V{above + inner}H{width - right}" fill="none" stroke="var(--ink)"/>')
    middle = above + inner / 2
    turned = f'transform="rotate(-90 14 {middle:.0f})"'
    parts.append(f'<text x="14" y="{middle:.0f}" text-anchor="middle" {turned}>{_text(y)}</text>')
    return Plot(name, title, alt, width, height, "".join(parts))


def bars(
    name: str,
    title: str,
    alt: str,
    rows: Sequence[tuple[str, Mapping[str, float]]],
    *,
    x: str,
    said: Callable[[float], str] = "{:,g}".format,
    colours: Sequence[int] = tuple(range(COLOURS)),
    width: int = 640,
) -> Plot:
    """Lying bars, one for each row, of the parts that its map has; the sum stands behind it."""
    names = list(dict.fromkeys(part for _, of in rows for part in of))
    legend = 18 * ((len(names) + 1) // 2) if len(names) > 1 else 0
    left = _room([row for row, _ in rows])
    right, above, each = 84, 10 + legend, 24
    inner = each * len(rows)
    height = above + inner + 28
    top = max((sum(of.values()) for _, of in rows), default=1.0) or 1.0
    parts = list(_legend(names, left, width, filled=colours)) if legend else []
    for number, (row, of) in enumerate(rows):
        place, reach = above + each * number, float(left)
        parts.append(f'<text x="{left - 8}" y="{place + 16}" text-anchor="end">{_text(_cut(row))}</text>')
        for part, value in of.items():
            long = value / top * (width - left - right)
            if long > 0:
                parts.append(_bar(reach, place + 4, long, each - 8, colours[names.index(part) % len(colours)]))
            reach += long
        parts.append(f'<text x="{reach + 6:.1f}" y="{place + 16}">{_text(said(sum(of.values())))}</text>')
    parts.append(f'<path d="M{left} {above}V{above + inner}" stroke="var(--ink)"/>')
    parts.append(f'<text x="{left}" y="{height - 8}">{_text(x)}</text>')
    return Plot(name, title, alt, width, height, "".join(parts))


def _legend(names: Sequence[str], left: float, width: int, *, filled: Sequence[int] = ()) -> Iterator[str]:
    half = (width - left) / 2
    for number, name in enumerate(names):
        x, y = left + half * (number % 2), 10 + 18 * (number // 2)
        if filled:
            yield _bar(x, y - 6, 22, 10, filled[number % len(filled)])
        else:
            dash = f' stroke-dasharray="{_DASHES[number % COLOURS]}"' if number % COLOURS else ""
            yield f'<path d="M{x:.0f} {y}h24" stroke="var(--c{number % COLOURS})" stroke-width="2"{dash}/>'
        yield f'<text x="{x + 30:.0f}" y="{y + 4}">{_text(_cut(name, int(half / _CHAR) - 5))}</text>'


def _bar(x: float, y: float, wide: float, tall: float, number: int) -> str:
    """A bar; the edges of neighbours are told apart by a gap of paper, and not by colour alone."""
    colour, shade = f"var(--c{number % COLOURS})", 1 - 0.12 * (number % 3)
    where = f'x="{x:.1f}" y="{y:.1f}" width="{max(wide, 0.5):.1f}" height="{max(tall, 0.5):.1f}"'
    return f'<rect {where} fill="{colour}" fill-opacity="{shade:.2f}" stroke="var(--paper)" stroke-width="0.8"/>'


def _ticks(top: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Round numbers from 0 to ``top``, ``most`` of them or fewer; ``whole`` ones where things are counted."""
    raw = top / most
    scale = 10 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next(scale * round_ for round_ in (1, 2, 5, 10) if scale * round_ >= raw * 0.999)
    step = max(1.0, step) if whole else step
    return [round(step * number, 10) for number in range(int(top / step + 1e-9) + 1)]


def _labelled(place: int, count: int, step: float) -> bool:
    """Whether there is room for the label at this place: every so many, beginning with the first."""
    every = max(1, math.ceil(11 * _CHAR / step)) if count > 1 else 1
    return place % every == 0


def _room(names: Sequence[str]) -> int:
    return int(14 + _CHAR * max((len(_cut(name)) for name in names), default=4))


def _cut(text: str, most: int = _LONGEST) -> str:
    shown = visible(" ".join(text[: 4 * _LONGEST].split()))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def _text(text: str) -> str:
    return escape(visible(text), quote=True)
