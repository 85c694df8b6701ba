"""What a page is made of, and its two forms.

Texts that come from a store or a file (names of roles and rules, reasons, tasks) are ``Said``: in HTML everything is
escaped, and in Markdown a ``Said`` can neither make a link, an image, markup nor a row of its own. A page has no script and
fetches nothing; a policy in its head tells the browser to hold it to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, TypeAlias

from monitor.audit.page.svg import STYLE
from monitor.audit.page.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from monitor.audit.page.svg import Plot


class Said(str):
    """A text from outside."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph. ``loud`` ones stand out."""

    text: str
    loud: bool = False


@dataclass(frozen=True, slots=True)
class Points:
    """A list of short texts."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of a row names it. ``empty`` is said instead where there are no rows."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "None."


@dataclass(frozen=True, slots=True)
class Drawn:
    """A plot."""

    plot: Plot


Block: TypeAlias = "Text | Points | Table | Drawn"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page. ``lead`` stands under its title."""

    title: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]

    @property
    def plots(self) -> tuple[Plot, ...]:
        """Every plot, in the order of the page."""
        blocks = [*self.lead, *(block for section in self.sections for block in section.blocks)]
        return tuple(block.plot for block in blocks if isinstance(block, Drawn))


# ------------------------------------------------------------------------------------------------------------- HTML

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = (
    STYLE
    + """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; margin-bottom: .3rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
p, ul { max-width: 48rem; } .wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--grid); vertical-align: top; }
thead th { border-bottom: 2px solid var(--faint); } tbody th { font-weight: 500; }
td { font-variant-numeric: tabular-nums; }
.loud { border-left: .35rem solid var(--c1); padding: .4rem .9rem; font-weight: 600; }
figure { margin: 1.2rem 0; } figcaption { font-weight: 600; margin-bottom: .3rem; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; } }
"""
)


def as_html(page: Page) -> str:
    """The page as one HTML file."""
    return "\n".join(_html(page)) + "\n"


def _html(page: Page) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_e(page.title)}</title><style>{_STYLE}</style></head><body><main>"
    yield f"<h1>{_e(page.title)}</h1>"
    for block in page.lead:
        yield from _html_block(block)
    for section in page.sections:
        yield f"<h2>{_e(section.title)}</h2>"
        for block in section.blocks:
            yield from _html_block(block)
    yield "</main></body></html>"


def _html_block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield f'<p class="loud">{_e(block.text)}</p>' if block.loud else f"<p>{_e(block.text)}</p>"
    elif isinstance(block, Points):
        yield f"<ul>{''.join(f'<li>{_e(item)}</li>' for item in block.items)}</ul>"
    elif isinstance(block, Drawn):
        yield f"<figure><figcaption>{_e(block.plot.title)}</figcaption>{block.plot.inline()}</figure>"
    elif not block.rows:
        yield f"<p>{_e(block.empty)}</p>"
    else:
        heads = "".join(f'<th scope="col">{_e(head)}</th>' for head in block.heads)
        yield f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>'
        for first, *rest in block.rows:
            yield f'<tr><th scope="row">{_e(first)}</th>{"".join(f"<td>{_e(cell)}</td>" for cell in rest)}</tr>'
        yield "</tbody></table></div>"


def _e(text: str) -> str:
    return escape(visible(text), quote=True)


# --------------------------------------------------------------------------------------------------------- Markdown

_MARKS = "\\`*_{}[]()<>#+-.!|~&:@$^=\"'"


def as_markdown(page: Page, plots: str = "") -> str:
    """The page as Markdown; ``plots`` is the folder of the plots' files, relative to it: without one they are left out."""
    lines = [f"# {_m(page.title)}", ""]
    for block in page.lead:
        lines += _markdown_block(block, plots)
    for section in page.sections:
        lines += [f"## {_m(section.title)}", ""]
        for block in section.blocks:
            lines += _markdown_block(block, plots)
    return "\n".join(lines).rstrip("\n") + "\n"


def _markdown_block(block: Block, plots: str) -> Iterator[str]:
    if isinstance(block, Text):
        yield f"**{_m(block.text)}**" if block.loud else _m(block.text)
    elif isinstance(block, Points):
        yield from (f"- {_m(item)}" for item in block.items)
    elif isinstance(block, Drawn):
        if not plots:
            return
        alt = _m(Said(block.plot.alt))
        yield f"![{alt}]({plots}/{block.plot.name}.svg)"
    elif not block.rows:
        yield _m(block.empty)
    else:
        yield f"| {' | '.join(_m(head) for head in block.heads)} |"
        yield f"|{'---|' * len(block.heads)}"
        yield from (f"| {' | '.join(_m(cell) for cell in row)} |" for row in block.rows)
    yield ""


def _m(text: str) -> str:
    """One line. What was said by others loses every meaning that a mark could give it; in our own texts only a bar does."""
    shown = " ".join(visible(text).split())
    if isinstance(text, Said):
        return "".join(f"\\{char}" if char in _MARKS else char for char in shown)
    return shown.replace("|", "\\|")


def write(page: Page, *, html: Path | None = None, markdown: Path | None = None) -> list[Path]:
    """Write the page where it is wanted; a Markdown file's plots stand in a folder beside it. Returns what was written.

    Raises:
        OSError: a file cannot be written.
    """
    written = []
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(as_html(page), encoding="utf-8")
        written.append(html)
    if markdown is not None:
        folder = f"{markdown.stem}-plots"
        (markdown.parent / folder).mkdir(parents=True, exist_ok=True)
        markdown.write_text(as_markdown(page, folder), encoding="utf-8")
        written.append(markdown)
        for plot in page.plots:
            path = markdown.parent / folder / f"{plot.name}.svg"
            path.write_text(plot.alone(), encoding="utf-8")
            written.append(path)
    return written


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], empty: str = "None.") -> Table:
    """A table from sequences."""
    return Table(tuple(heads), tuple(tuple(row) for row in rows), empty)
