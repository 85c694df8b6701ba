"""What attached probes said of a subcall: a line each, and the text shaded by the scores of its tokens."""

from collections.abc import Iterator, Sequence

from rich.text import Text

from monitor.cli.safe import one_line, visible
from monitor.records import ProbeScore, TokenScores

__all__ = ["highest", "probe_line", "shaded"]

SHADES = ("", "on color(17)", "on color(53)", "on color(89)", "on color(125)", "on color(161)")
"""From the lowest score to the highest: none, blue to red, such that white and black can be read on them."""
_SHADED = 20_000  # codepoints of one text; what comes after is not shaded


def probe_line(score: ProbeScore) -> Text:
    """One line: the probe, its score and whose activations it is of, the rate, and why there is none.

    Such as ``probe truth 1.31 (reader, reasoning; false-positive rate 0.02)``.
    """
    line = Text(f"probe {one_line(score.probe, 40)} ", style="dim")
    if not score.applies:
        return line.append(f"does not apply: {one_line(score.cause, 100)}")
    if score.score is None:
        return line.append("unknown", style="yellow").append(f": {one_line(score.cause, 160)}")
    speaks = score.fpr is not None and score.threshold is not None and score.score >= score.threshold
    line.append(f"{score.score:.3g}", style="bold yellow" if speaks else "")
    rate = f"false-positive rate {score.fpr:.2g}" if score.fpr is not None else "false-positive rate unknown"
    line.append(f" ({mode_text(score)}, {score.surface}; {rate})")
    if score.cause:
        line.append(f": {one_line(score.cause, 160)}")
    return line


def mode_text(score: ProbeScore) -> str:
    """Whose activations were scored, in words."""
    return {"own": "own model", "own_live": "own model, live", "reader": "reader", "": "mode unknown"}[score.mode]


def shaded(text: str, tokens: TokenScores) -> Text:
    """The text, safe to print, every token on a background that is the redder the higher its score is.

    Shades divide the range from the lowest to the highest score in equal parts. Where two tokens share a codepoint, the
    higher score counts.
    """
    levels: list[int | None] = [None] * min(len(text), _SHADED)
    low, high = min(tokens.scores, default=0.0), max(tokens.scores, default=0.0)
    for start, end, score in zip(tokens.starts, tokens.ends, tokens.scores, strict=True):
        level = round((score - low) / (high - low) * (len(SHADES) - 1)) if high > low else 0
        for place in range(start, min(end, len(levels))):
            levels[place] = max(level, levels[place] or 0)
    shown = Text()
    for start, end, shade in _stretches(levels):
        style = "dim strike" if shade is None else SHADES[shade]
        shown.append(visible(text[start:end]), style=style)
    if len(text) > len(levels):
        shown.append(f"\n[… {len(text) - len(levels):,} codepoints not shaded …]", style="dim italic")
    return shown


def _stretches(levels: Sequence[int | None]) -> Iterator[tuple[int, int, int | None]]:
    """The stretches of equal level: (start, end, level)."""
    start = 0
    for place in range(1, len(levels) + 1):
        if place == len(levels) or levels[place] != levels[start]:
            yield start, place, levels[start]
            start = place


def highest(text: str, tokens: TokenScores, most: int = 5) -> list[tuple[str, float]]:
    """The ``most`` tokens with the highest scores, as they stand in the text, the highest first."""
    ranked = sorted(zip(tokens.scores, tokens.starts, tokens.ends, strict=True), key=lambda item: (-item[0], item[1]))
    return [(text[start:end], score) for score, start, end in ranked[:most]]
