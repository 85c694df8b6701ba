r"""Text from models, tools and files, made safe to look at.

A terminal obeys what it prints: escape sequences can move the cursor over a verdict, set the window's title or, on some
terminals, type commands. Bidirectional controls reorder what a reader sees, and invisible characters hide a message from
the reader that the model can read. None of them reaches the terminal: each is shown as its escape, such as ``\x1b``.
"""

from collections.abc import Sequence

from rich.text import Text

from monitor.audit.page.visible import visible
from monitor.records import Span

__all__ = ["EVIDENCE", "highlighted", "one_line", "visible"]

EVIDENCE = "bold reverse red"


def one_line(text: str, width: int) -> str:
    """Return at most ``width`` characters of ``text`` on one line, cut with an ellipsis."""
    line = visible(" ".join(text[: width * 4].split()))
    return line if len(line) <= width else f"{line[: width - 1]}…"


def highlighted(text: str, spans: Sequence[Span], *, limit: int | None = None, context: int = 300) -> Text:
    """Return ``text``, safe to print, with the evidence marked in place.

    Args:
        text: The stored text; ``spans`` are codepoint offsets into it.
        spans: Evidence in this text; overlapping spans are merged.
        limit: Longest text shown whole. Of a longer one its head and ``context`` codepoints around each piece of evidence
            are shown, and how much was left out in between.
        context: See ``limit``.
    """
    marks = _merge([(span.start, min(span.end, len(text))) for span in spans])
    windows = [(0, len(text))]
    if limit is not None and len(text) > limit:
        windows = _merge([(0, limit), *((max(0, a - context), min(len(text), b + context)) for a, b in marks)])
    shown, position = Text(), 0
    for start, end in windows:
        if start > position:
            shown.append(f"\n[… {start - position:,} codepoints not shown …]\n", style="dim italic")
        _append(shown, text, start, end, marks)
        position = end
    if position < len(text):
        shown.append(f"\n[… {len(text) - position:,} codepoints not shown …]", style="dim italic")
    return shown


def _append(shown: Text, text: str, start: int, end: int, marks: Sequence[tuple[int, int]]) -> None:
    for mark_start, mark_end in marks:
        if mark_end <= start or mark_start >= end:
            continue
        shown.append(visible(text[start:mark_start]))
        shown.append(visible(text[max(start, mark_start) : mark_end]), style=EVIDENCE)
        start = mark_end
    shown.append(visible(text[start:end]))


def _merge(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(pairs):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
